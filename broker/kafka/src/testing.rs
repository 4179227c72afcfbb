//! A broker in a directory of its own, for the tests of handlers.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidelog_model::Timestamp;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_runtime::{Broker, BrokerOptions, CreateTopic};
use tokio_util::sync::CancellationToken;

use crate::context::{Call, Context, KafkaOptions, Shared};
use crate::names::topic_name;
use crate::stats::KafkaStats;

/// A broker and the context of one connection to it.
pub(crate) struct Bench {
    pub(crate) context: Arc<Context>,
    _dir: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(KafkaOptions::default(), |_| ()).await
    }

    pub(crate) async fn with(options: KafkaOptions, change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut broker = BrokerOptions::new(dir.path());
        broker.disk_reserve_bytes = 0;
        change(&mut broker);
        let broker = Broker::open(broker).await.unwrap();
        let (stats, drain) = (Arc::new(KafkaStats::default()), CancellationToken::new());
        let shared = Arc::new(Shared::new(broker, options, stats, drain));
        let peer = "127.0.0.1:50000".parse().unwrap();
        let local = "127.0.0.1:9092".parse().unwrap();
        Self { context: Arc::new(Context { shared, peer, local }), _dir: dir }
    }

    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.context.broker()
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) {
        let name = topic_name(name).unwrap();
        let spec = CreateTopic {
            name,
            partitions: Some(partitions),
            configs: std::collections::BTreeMap::new(),
            validate_only: false,
        };
        self.broker().create_topic(spec).await.unwrap();
    }
}

/// A request of this version.
pub(crate) fn call(version: i16) -> Call {
    Call { version, client_id: "test".to_owned() }
}

/// A batch of records without keys: their timestamps and values.
pub(crate) fn batch(records: &[(i64, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for (timestamp, value) in records {
        builder.append(Timestamp::from_millis(*timestamp), None, Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap().into_bytes()
}

impl Bench {
    /// Appends a batch durably.
    pub(crate) async fn append(&self, topic: &str, index: i32, records: &[(i64, &str)]) {
        let partition = crate::names::partition(self.broker(), topic, index).unwrap();
        let checked = tidelog_runtime::check_batch(batch(records), partition.batch_rules()).await.unwrap();
        let appended = partition.append(checked, tidelog_runtime::Acks::Durable, None).unwrap();
        appended.ack.await.unwrap();
    }
}
