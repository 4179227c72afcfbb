//! What the cases are made of: producers, readers, and the records that every client must carry unharmed.

use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value as Json;

/// How long the broker may take to answer one request.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);
/// How long to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(150);
/// When the first of the plain records was made.
pub(crate) const TIME: i64 = 1_600_000_000_000;

/// A record with all that the protocol carries of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Settings of a client beside its broker.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// The broker under test, and the records of `records.json`.
pub(crate) struct Kafka {
    bootstrap: String,
    pub(crate) admin: AdminClient<DefaultClientContext>,
    pub(crate) shapes: Vec<Row>,
}

/// Keeps what became of each record: its offset, or why it was not delivered.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Vec<Result<i64, KafkaError>>>>);

impl ClientContext for Deliveries {}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    }
}

impl Kafka {
    pub(crate) fn new(bootstrap: String, records: &str) -> Result<Self> {
        let rows: Vec<Json> = serde_json::from_slice(&fs::read(records)?)?;
        let shapes = rows.iter().map(row).collect::<Option<Vec<Row>>>();
        let shapes = shapes.with_context(|| format!("{records} is not as expected"))?;
        let admin = ClientConfig::new().set("bootstrap.servers", &bootstrap).create()?;
        Ok(Self { bootstrap, admin, shapes })
    }

    fn config(&self, settings: Settings<'_>) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    /// Sends to partition 0 and returns the offsets that the broker gave.
    pub(crate) fn produce(&self, topic: &str, rows: &[Row], settings: Settings<'_>) -> Result<Vec<i64>> {
        let rows: Vec<(i32, Row)> = rows.iter().map(|row| (0, row.clone())).collect();
        self.send(topic, &rows, settings)
    }

    /// Sends each record to its partition and returns the offsets, sorted: answers come on two threads, that of the
    /// producer and the one that flushes.
    pub(crate) fn send(&self, topic: &str, rows: &[(i32, Row)], settings: Settings<'_>) -> Result<Vec<i64>> {
        let deliveries = Deliveries::default();
        let producer: ThreadedProducer<Deliveries> = self
            .config(&[&[("linger.ms", "5")], settings].concat())
            .create_with_context(deliveries.clone())?;
        for (partition, row) in rows {
            let mut record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(topic).partition(*partition).timestamp(row.timestamp);
            record.key = row.key.as_deref();
            record.payload = row.value.as_deref();
            if !row.headers.is_empty() {
                record = record.headers(headers(row));
            }
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(PATIENCE)?;
        let outcomes = deliveries.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(outcomes.len() == rows.len(), "{} of {} records were answered", outcomes.len(), rows.len());
        let mut offsets: Vec<i64> = outcomes.into_iter().collect::<Result<_, _>>()?;
        offsets.sort_unstable();
        Ok(offsets)
    }

    /// A consumer that commits only what it is told to.
    pub(crate) fn consumer(&self, group: &str, settings: Settings<'_>) -> Result<BaseConsumer> {
        let mut config = self.config(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
        ]);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Ok(config.create()?)
    }

    /// The first records of partition 0.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Result<Vec<Row>> {
        let reader = self.consumer("unused", &[])?;
        reader.assign(&partition(topic, Offset::Beginning)?)?;
        take(&reader, count)?.iter().map(plain_row).collect()
    }
}

fn row(json: &Json) -> Option<Row> {
    let header = |pair: &Json| Some((pair.get(0)?.as_str()?.to_owned(), bytes(pair.get(1)?)?));
    Some(Row {
        timestamp: json.get("timestamp")?.as_i64()?,
        key: bytes(json.get("key")?)?,
        value: bytes(json.get("value")?)?,
        headers: json.get("headers")?.as_array()?.iter().map(header).collect::<Option<_>>()?,
    })
}

/// Base64 or null; nothing when it is neither.
fn bytes(json: &Json) -> Option<Option<Vec<u8>>> {
    match json {
        Json::Null => Some(None),
        other => STANDARD.decode(other.as_str()?).ok().map(Some),
    }
}

fn headers(row: &Row) -> OwnedHeaders {
    let with = |all: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
        all.insert(Header { key, value: value.as_deref() })
    };
    row.headers.iter().fold(OwnedHeaders::new(), with)
}

fn plain_row(message: &OwnedMessage) -> Result<Row> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Ok(Row {
        timestamp: message.timestamp().to_millis().context("a record without timestamp")?,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|one| (one.key.to_owned(), one.value.map(<[u8]>::to_vec))).collect(),
    })
}

/// Records that compress, but not to nothing.
pub(crate) fn plain(count: u32) -> Vec<Row> {
    let value = |number: u32| (0..300_u32).map(|at| ((number * 7 + at * at) % 64) as u8).collect();
    let row = |number: u32| Row {
        timestamp: TIME + i64::from(number),
        key: None,
        value: Some(value(number)),
        headers: Vec::new(),
    };
    (0..count).map(row).collect()
}

/// One record that does not compress well.
pub(crate) fn big(size: usize) -> Vec<Row> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    let value = (0..size).map(|_| next()).collect();
    vec![Row { timestamp: TIME, key: Some(b"big".to_vec()), value: Some(value), headers: Vec::new() }]
}

pub(crate) fn equal<T: PartialEq + Debug>(found: T, wanted: T) -> Result<()> {
    let cut = |value: &T| format!("{value:?}").chars().take(2000).collect::<String>();
    ensure!(found == wanted, "found {} but wanted {}", cut(&found), cut(&wanted));
    Ok(())
}

/// Asks until it holds; the condition does its own waiting.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > end {
            bail!("waited {PATIENCE:?} in vain: {what}");
        }
    }
    Ok(())
}

/// The next records, at least so many of them.
pub(crate) fn take(reader: &BaseConsumer, count: usize) -> Result<Vec<OwnedMessage>> {
    let mut found = Vec::new();
    until(&format!("{count} records"), || {
        if let Some(message) = reader.poll(Duration::from_millis(200)) {
            found.push(message?.detach());
        }
        Ok(found.len() >= count)
    })?;
    Ok(found)
}

/// Partition 0 at this offset.
pub(crate) fn partition(topic: &str, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset)?;
    Ok(list)
}

/// The code with which the broker refused it.
pub(crate) fn refusal<T: Debug>(outcome: Result<T>) -> Result<RDKafkaErrorCode> {
    let Err(error) = outcome else { bail!("it was accepted: {outcome:?}") };
    match error.downcast_ref() {
        Some(KafkaError::AdminOp(code) | KafkaError::MessageProduction(code)) => Ok(*code),
        _ => Err(error.context("it was not refused by the broker")),
    }
}
