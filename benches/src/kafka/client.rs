//! The loads, all through librdkafka, so that the client is the same whoever serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::limits::noise;
use crate::scenario::RECORD_BYTES;
use crate::stats::megabytes_per_second;

/// How long anything may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records at the front of the open loop that are not counted.
const WARM_UP_SECONDS: u64 = 3;

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("broker.address.family", "v4");
    config
}

/// Creates a topic that takes batches of 1 MiB.
pub(crate) fn create_topic(bootstrap: &str, name: &str, partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create()?;
    let topic =
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "4194304");
    let created = admin.create_topics([&topic], &AdminOptions::new());
    for result in tokio::runtime::Handle::current().block_on(created)? {
        result.map_err(|(name, error)| anyhow::anyhow!("topic {name} was not created: {error}"))?;
    }
    Ok(())
}

/// Counts what was acknowledged.
#[derive(Debug, Default)]
struct Deliveries {
    stored: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone)]
struct Counting(Arc<Deliveries>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.stored } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn producer(bootstrap: &str, linger_ms: &str) -> Result<(ThreadedProducer<Counting>, Arc<Deliveries>)> {
    let deliveries = Arc::new(Deliveries::default());
    let producer = config(bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", linger_ms)
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("queue.buffering.max.messages", "0")
        .create_with_context(Counting(Arc::clone(&deliveries)))?;
    Ok((producer, deliveries))
}

/// Sends `count` records and waits until all are acknowledged by `acks=all`: MB a second.
pub(crate) fn produce(bootstrap: &str, topic: &str, partitions: i32, count: u64) -> Result<f64> {
    let (producer, deliveries) = producer(bootstrap, "5")?;
    let noise = noise(1 << 20);
    let values: Vec<&[u8]> = noise.chunks_exact(RECORD_BYTES).collect();
    let started = Instant::now();
    for (number, value) in (0..count).zip(values.iter().cycle()) {
        let partition = i32::try_from(number % u64::try_from(partitions)?)?;
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(value).partition(partition);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    producer.flush(PATIENCE)?;
    let elapsed = started.elapsed();
    let (stored, failed) =
        (deliveries.stored.load(Ordering::Relaxed), deliveries.failed.load(Ordering::Relaxed));
    ensure!((stored, failed) == (count, 0), "{stored} of {count} records were stored, {failed} failed");
    Ok(megabytes_per_second(count * u64::try_from(RECORD_BYTES)?, elapsed))
}

/// A consumer that knows the topic's leader: one that is assigned partitions before it does asks for their offsets
/// half a second later, whoever serves.
fn consumer(bootstrap: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "131072")
        .set("queued.min.messages", "1000000")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    consumer.fetch_metadata(Some(topic), PATIENCE)?;
    Ok(consumer)
}

fn assign(consumer: &BaseConsumer, topic: &str, partitions: i32, from: Offset) -> Result<()> {
    let mut places = TopicPartitionList::new();
    for partition in 0..partitions {
        places.add_partition_offset(topic, partition, from)?;
    }
    Ok(consumer.assign(&places)?)
}

/// Reads `count` records from the start: MB a second.
pub(crate) fn consume(bootstrap: &str, topic: &str, partitions: i32, count: u64) -> Result<f64> {
    let consumer = consumer(bootstrap, topic)?;
    let started = Instant::now();
    assign(&consumer, topic, partitions, Offset::Beginning)?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        let record = consumer.poll(PATIENCE).context("no record came")??;
        bytes += u64::try_from(record.payload_len())?;
        seen += 1;
    }
    Ok(megabytes_per_second(bytes, started.elapsed()))
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Sends `rate` records a second for `seconds`, each at its own time, and reads them at the same time: how long
/// each took from the moment it was due to the moment the application had it, in microseconds.
pub(crate) fn end_to_end(bootstrap: &str, topic: &str, rate: u64, seconds: u64) -> Result<Histogram<u64>> {
    let total = rate * (seconds + WARM_UP_SECONDS);
    let reader = consumer(bootstrap, topic)?;
    assign(&reader, topic, 1, Offset::Beginning)?;
    let (producer, _) = producer(bootstrap, "0")?;
    let topic = topic.to_owned();
    let sender = std::thread::spawn(move || -> Result<()> {
        let (begun, begun_micros) = (Instant::now(), now_micros());
        let mut value = vec![b'x'; RECORD_BYTES];
        for number in 0..total {
            let due_micros = number * 1_000_000 / rate;
            std::thread::sleep(Duration::from_micros(due_micros).saturating_sub(begun.elapsed()));
            if let Some(stamp) = value.get_mut(..8) {
                stamp.copy_from_slice(&(begun_micros + due_micros).to_be_bytes());
            }
            let record = BaseRecord::<(), [u8]>::to(&topic).payload(&value).partition(0);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(PATIENCE)?)
    });
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for number in 0..total {
        let record = reader.poll(PATIENCE).context("no record came")??;
        let stamp =
            record.payload().and_then(|value| value.first_chunk::<8>()).context("a record without a time")?;
        if number >= rate * WARM_UP_SECONDS {
            histogram.record(now_micros().saturating_sub(u64::from_be_bytes(*stamp)).max(1))?;
        }
    }
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    Ok(histogram)
}
