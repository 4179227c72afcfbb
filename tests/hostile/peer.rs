//! A broker under attack, and what is watched of it: its memory, its log, and whether others are served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse, ProduceRequest, ProduceResponse};
use tempfile::TempDir;
use tidelog_client::{Client, NewTopic};
use tidelog_model::Timestamp;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_tests::broker::{BrokerCommand, BrokerProcess};
use tidelog_tests::kafka::{Api, Connection};
use tidelog_tests::wait::wait_until;

pub(crate) const API_VERSIONS: Api = Api::old(18, 0);
const PRODUCE: Api = Api::flexible(0, 9);
/// How long anything may take that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A broker with the topic `honest`.
pub(crate) struct Target {
    pub(crate) broker: BrokerProcess,
    _home: TempDir,
}

impl Target {
    pub(crate) async fn start(settings: &[&str]) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = BrokerCommand::new(home.path().join("data"))?;
        for setting in settings {
            command = command.argument("--set").argument(*setting);
        }
        let broker = command.start()?;
        let admin = Client::connect(&broker.url()).await?.admin();
        admin.create_topic(NewTopic::new("honest").partitions(1)).await?;
        Ok(Self { broker, _home: home })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.broker.kafka_addr()
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address()).await
    }

    /// Memory that the broker has in use, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.broker.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// Waits for a line of the broker's log that holds all of these.
    pub(crate) fn logs(&self, words: &[&str]) -> Result<()> {
        let waited = wait_until(&format!("the log says {words:?}"), SOON, || {
            Ok(self.broker.log().lines().any(|line| words.iter().all(|word| line.contains(word))))
        });
        waited.map(drop).with_context(|| self.broker.log_tail())
    }

    /// Writes a record as any client does.
    pub(crate) async fn serves_others(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        asked(&mut connection).await?;
        let mut builder = BatchBuilder::new(Compression::None, 0);
        builder.append(Timestamp::from_millis(1_000), None, Some(b"honest"), &[]);
        let mut partition = PartitionProduceData::default();
        partition.records = Some(builder.build()?.into_bytes());
        let mut topic = TopicProduceData::default();
        (topic.name, topic.partition_data) = ("honest".into(), vec![partition]);
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        (request.acks, request.timeout_ms, request.topic_data) = (-1, 10_000, vec![topic]);
        let answer: ProduceResponse = connection.ask(PRODUCE, &request).await?;
        let row = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let code = row.context("an answer without the partition")?.error_code;
        ensure!(code == 0, "an honest record is refused with {code}");
        Ok(())
    }
}

/// Asks what there is on this connection.
pub(crate) async fn asked(connection: &mut Connection) -> Result<()> {
    let answer: ApiVersionsResponse = connection.ask(API_VERSIONS, &ApiVersionsRequest::default()).await?;
    ensure!(answer.error_code == 0, "ApiVersions is answered with {}", answer.error_code);
    Ok(())
}

/// A frame with this header and body, of the right length.
pub(crate) fn frame(api: Api, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i16(api.key);
    frame.put_i16(api.version);
    frame.put_i32(7);
    frame.put_i16(1);
    frame.put_u8(b'c');
    if api.flexible {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    announced(i32::try_from(frame.len()).unwrap_or(i32::MAX), &frame)
}

/// Bytes after a length that need not be theirs.
pub(crate) fn announced(length: i32, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(length);
    frame.put_slice(bytes);
    frame.freeze()
}
