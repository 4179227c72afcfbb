//! What Tidelog is asked to do, through its SDK, against a broker in another process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt;
use hdrhistogram::Histogram;
use tidelog_client::{Client, NewTopic, Position, Producer, Record, TopicName};
use tokio::sync::Mutex;

use crate::limits::noise;
use crate::stats::{megabytes_per_second, quantile};

/// The payload of one record, in bytes.
pub(crate) const RECORD_BYTES: usize = 1024;

/// Creates a topic of its own for one repetition.
pub(crate) async fn topic(client: &Client, name: &str, partitions: i32, flush: &str) -> Result<()> {
    let topic = NewTopic::new(name)
        .partitions(partitions)
        .config("tidelog.flush.policy", flush)
        .config("max.message.bytes", "4194304");
    client.admin().create_topic(topic).await?;
    Ok(())
}

/// A producer set up for throughput: batches of 1 MiB, several on the way at once.
pub(crate) fn producer(client: &Client) -> Result<Producer> {
    Ok(client
        .producer()
        .linger(Duration::from_millis(5))
        .batch_bytes(1 << 20)
        .memory_bytes(128 << 20)
        .build()?)
}

/// Sends `count` records over the partitions in turn and waits until all are acknowledged: MB a second.
pub(crate) async fn produce(client: &Client, topic: &str, partitions: i32, count: u64) -> Result<f64> {
    let producer = producer(client)?;
    let topic = TopicName::new(topic)?;
    let values = values();
    let started = Instant::now();
    let mut last = None;
    for (number, value) in (0..count).zip(values.iter().cycle()) {
        let partition = i32::try_from(number % u64::try_from(partitions)?)?;
        let record = Record::new(topic.clone()).value(value.clone()).partition(partition);
        last = Some(producer.enqueue(record).await?);
    }
    producer.flush().await?;
    let elapsed = started.elapsed();
    last.context("no record was sent")?.await?;
    Ok(megabytes_per_second(count * u64::try_from(RECORD_BYTES)?, elapsed))
}

/// Values of one record each, different from each other and from what a device could shrink.
fn values() -> Vec<Bytes> {
    let noise = Bytes::from(noise(1 << 20));
    (0..noise.len() / RECORD_BYTES)
        .map(|at| noise.slice(at * RECORD_BYTES..(at + 1) * RECORD_BYTES))
        .collect()
}

/// Reads `count` records from the start, batch by batch: MB a second of values.
pub(crate) async fn consume_batches(client: &Client, topic: &str, count: u64) -> Result<f64> {
    let started = Instant::now();
    let mut consumer = client.consumer().topic(topic).start(Position::Earliest).build().await?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        for record in consumer.next_batch().await.context("the stream ended early")??.records {
            bytes += u64::try_from(record.value.map_or(0, |value| value.len()))?;
            seen += 1;
        }
    }
    Ok(megabytes_per_second(bytes, started.elapsed()))
}

/// Reads `count` records from the start, one by one: MB a second of values.
pub(crate) async fn consume(client: &Client, topic: &str, count: u64) -> Result<f64> {
    let started = Instant::now();
    let mut consumer = client.consumer().topic(topic).start(Position::Earliest).build().await?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        let record = consumer.next().await.context("the stream ended early")??;
        bytes += u64::try_from(record.value.map_or(0, |value| value.len()))?;
        seen += 1;
    }
    Ok(megabytes_per_second(bytes, started.elapsed()))
}

/// One durable record at a time: the median and the 99th percentile of a send.
pub(crate) async fn one_at_a_time(
    client: &Client,
    topic: &str,
    count: usize,
) -> Result<(Duration, Duration)> {
    let producer = client.producer().linger(Duration::ZERO).build()?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let record = Record::new(topic).value(vec![b'x'; RECORD_BYTES]).partition(0);
        let started = Instant::now();
        producer.send(record).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok((quantile(&times, 0.5), quantile(&times, 0.99)))
}

/// Numbers, each at the moment it is due. From a thread of its own: the timer of an async runtime is a
/// millisecond coarse, which is more than what is measured.
fn ticks(gap: Duration, count: u32) -> tokio::sync::mpsc::UnboundedReceiver<(u32, Instant)> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let begun = Instant::now();
        for number in 0..count {
            let due = begun + gap * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send((number, due)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One small durable record a second to each of `partitions`, spread evenly over the second, for `seconds`:
/// the latency of each send from the moment it was due (open loop).
pub(crate) async fn trickle(
    client: &Client,
    topic: &str,
    partitions: i32,
    seconds: u32,
) -> Result<Histogram<u64>> {
    let producer = Arc::new(client.producer().linger(Duration::ZERO).build()?);
    let latencies = Arc::new(Mutex::new(Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?));
    let gap = Duration::from_secs(1) / u32::try_from(partitions)?;
    let mut ticks = ticks(gap, u32::try_from(partitions)? * seconds);
    let mut sends = tokio::task::JoinSet::new();
    while let Some((number, due)) = ticks.recv().await {
        let partition = i32::try_from(number)? % partitions;
        let record = Record::new(topic).value(vec![b'x'; 100]).partition(partition);
        let (producer, latencies) = (Arc::clone(&producer), Arc::clone(&latencies));
        sends.spawn(async move {
            producer.send(record).await?;
            let micros = u64::try_from(due.elapsed().as_micros())?;
            latencies.lock().await.record(micros)?;
            anyhow::Ok(())
        });
        while let Some(done) = sends.try_join_next() {
            done??;
        }
    }
    while let Some(done) = sends.join_next().await {
        done??;
    }
    let histogram = latencies.lock().await.clone();
    Ok(histogram)
}
