//! Load on a broker that may die at any moment: producers and readers of the SDK, and one that asks for
//! watermarks. Everything they ask and are told goes into a [`Recorder`].
//!
//! **Invariant:** a send that ended with an error counts as refused only when the error says that nothing
//! was written; so the checker judges that claim of the SDK too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use tidelog_client::{
    Client, Compression, Consumer, ConsumerRecord, Error, ErrorKind, Offset, PartitionIndex, Position,
    Producer, Record, TopicName, TopicPartition,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::history::{Event, Recorder, Seen, Tp};
use crate::payload::{Value, mixed};
use crate::wait::let_pass;

/// Sends of one producer that are not settled.
const IN_FLIGHT_MAX: usize = 256;
/// How long a send may be tried: longer than any restart of the broker.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// The topics of a load, by their number in the history.
#[derive(Clone, Debug)]
pub struct Topics {
    names: Vec<(TopicName, i32)>,
}

impl Topics {
    /// These topics with so many partitions each.
    ///
    /// # Errors
    /// When a name is not allowed.
    pub fn new(topics: &[(&str, i32)]) -> Result<Self> {
        let topic = |(name, partitions): &(&str, i32)| Ok((TopicName::new(name)?, *partitions));
        Ok(Self { names: topics.iter().map(topic).collect::<Result<_>>()? })
    }

    /// Every partition.
    #[must_use]
    pub fn partitions(&self) -> Vec<Tp> {
        let numbered = (0..).zip(&self.names);
        numbered
            .flat_map(|(topic, (_, partitions))| {
                (0..*partitions).map(move |partition| Tp { topic, partition })
            })
            .collect()
    }

    /// A topic's name.
    ///
    /// # Panics
    /// When the topic is none of these.
    #[must_use]
    #[expect(clippy::expect_used, reason = "only a test with a wrong topic number gets here")]
    pub fn name(&self, tp: Tp) -> &TopicName {
        let index = usize::try_from(tp.topic).unwrap_or(usize::MAX);
        self.names.get(index).map(|(name, _)| name).expect("the topic is one of the load's")
    }

    /// The partition as the SDK names it.
    #[must_use]
    pub fn topic_partition(&self, tp: Tp) -> TopicPartition {
        let partition = PartitionIndex::new(tp.partition).unwrap_or_default();
        TopicPartition { topic: self.name(tp).clone(), partition }
    }

    fn tp(&self, record: &ConsumerRecord) -> Option<Tp> {
        let topic = self.names.iter().position(|(name, _)| *name == record.topic)?;
        Some(Tp { topic: u32::try_from(topic).ok()?, partition: record.partition.get() })
    }
}

/// What the clients of one load share.
#[derive(Clone, Debug)]
pub struct Load {
    /// The broker.
    pub url: String,
    /// What is written and read.
    pub topics: Topics,
    /// Where everything is noted.
    pub recorder: Recorder,
    /// Set when the producers shall end.
    pub stop: Arc<AtomicBool>,
    /// How often the broker was asked, after a cut, whether it knows a stored batch again.
    pub repeated: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One producer: bursts of records of random sizes to random partitions until the stop. Returns when
    /// every send is settled.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub async fn produce(self, number: u32, seed: u64) -> Result<()> {
        let mut random = seed ^ u64::from(number).wrapping_mul(0x9e37);
        let client = Client::connect(&self.url).await?;
        let producer = producer(&client, number)?;
        if is_idempotent(number) {
            self.recorder.record(Event::Idempotent { at: self.recorder.now(), producer: number.into() });
        }
        let partitions = self.topics.partitions();
        let free = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let mut receipts = JoinSet::new();
        let mut sequence = 0;
        while !self.stopped() {
            for _ in 0..=draw(&mut random, 50) {
                let permit = Arc::clone(&free).acquire_owned().await.context("the semaphore is open")?;
                let value = Value::new(number, sequence);
                sequence += 1;
                let tp = pick(&partitions, &mut random).context("there are partitions")?;
                let size = usize::try_from(draw(&mut random, 1500))?;
                self.send(&producer, value, tp, size, permit, &mut receipts).await;
            }
            while receipts.try_join_next().is_some() {}
            let_pass(Duration::from_millis(draw(&mut random, 40))).await;
        }
        // The outcome of each send is in the history; this only makes the last batch leave.
        drop(producer.close(DELIVERY_TIMEOUT).await);
        while receipts.join_next().await.is_some() {}
        Ok(())
    }

    async fn send(
        &self,
        producer: &Producer,
        value: Value,
        tp: Tp,
        size: usize,
        permit: tokio::sync::OwnedSemaphorePermit,
        receipts: &mut JoinSet<()>,
    ) {
        let record = Record::new(self.topics.name(tp))
            .key(value.to_string())
            .value(value.encode(size))
            .partition(tp.partition);
        let recorder = self.recorder.clone();
        recorder.record(Event::SendInvoked { at: recorder.now(), value, tp });
        match producer.enqueue(record).await {
            Err(error) => note_failure(&recorder, value, error.error()),
            Ok(receipt) => {
                receipts.spawn(async move {
                    let outcome = receipt.await;
                    drop(permit);
                    let at = recorder.now();
                    match outcome {
                        Ok(stored) => {
                            let offset = stored.offset.get();
                            recorder.record(Event::SendAcked { at, value, tp, offset });
                        }
                        Err(error) => note_failure(&recorder, value, error.error()),
                    }
                });
            }
        }
    }

    /// One reader of every partition, from the start or where a predecessor stopped, until the stop.
    ///
    /// # Errors
    /// Whatever the SDK does not get over by itself: a reader must survive every restart of the broker.
    pub async fn read(self, number: u32, seed: u64) -> Result<()> {
        let mut random = seed ^ u64::from(number).wrapping_mul(0x1234_5678_9abc);
        let client = Client::connect(&self.url).await?;
        let mut next: BTreeMap<Tp, i64> = BTreeMap::new();
        while !self.stopped() {
            let mut consumer = self.reader(&client, number, &next).await?;
            // A reader is given up now and then and another one starts, often somewhat before that place.
            for _ in 0..draw(&mut random, 20_000) {
                let record = tokio::select! {
                    biased;
                    record = consumer.next() => record.context("an endless read ended")??,
                    () = let_pass(Duration::from_millis(300)) => {
                        if self.stopped() { break } else { continue }
                    }
                };
                let tp = self.topics.tp(&record).context("a record of another topic")?;
                next.insert(tp, record.offset.get() + 1);
                let seen = seen(&record);
                self.recorder.record(Event::Read { at: self.recorder.now(), reader: number, tp, seen });
                if self.stopped() {
                    break;
                }
            }
            for from in next.values_mut() {
                let back = i64::try_from(draw(&mut random, 1000))?;
                *from = from.saturating_sub(back).max(0);
            }
        }
        Ok(())
    }

    async fn reader(&self, client: &Client, number: u32, next: &BTreeMap<Tp, i64>) -> Result<Consumer> {
        loop {
            let mut builder =
                client.consumer().backoff(Duration::from_millis(10), Duration::from_millis(200));
            for tp in self.topics.partitions() {
                let from = next.get(&tp).copied().unwrap_or(0);
                let at = self.recorder.now();
                self.recorder.record(Event::ReadFrom { at, reader: number, tp, from });
                let position = Position::Offset(Offset::new(from).context("an offset")?);
                builder = builder.partition(self.topics.name(tp).as_str(), tp.partition, position);
            }
            match builder.build().await {
                Err(error) if error.is_retryable() => let_pass(Duration::from_millis(20)).await,
                consumer => return Ok(consumer?),
            }
        }
    }

    /// Asks for the watermarks of every partition again and again, until the stop.
    ///
    /// # Errors
    /// An answer that is neither the watermarks nor "not now".
    pub async fn ask_watermarks(self) -> Result<()> {
        let client = Client::connect(&self.url).await?;
        while !self.stopped() {
            let answer = self.watermarks(&client).await;
            if let Err(error) = answer
                && !error.is_retryable()
                && error.kind() != ErrorKind::Unreachable
            {
                return Err(error.into());
            }
            let_pass(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    async fn watermarks(&self, client: &Client) -> Result<(), Error> {
        let partitions = self.topics.partitions();
        let asked: Vec<_> =
            partitions.iter().map(|tp| (self.topics.topic_partition(*tp), Position::Latest)).collect();
        let invoked = self.recorder.now();
        let answers = client.admin().list_offsets(&asked).await?;
        let at = self.recorder.now();
        for (tp, answer) in partitions.into_iter().zip(answers) {
            let (log_start, high_watermark) = (answer.log_start.get(), answer.high_watermark.get());
            self.recorder.record(Event::Watermarks { invoked, at, tp, log_start, high_watermark });
        }
        Ok(())
    }

    /// Reads everything that is in the log when all is over.
    ///
    /// # Errors
    /// When it cannot all be read.
    pub async fn final_read(&self, client: &Client) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for tp in self.topics.partitions() {
            // A partition with broken bytes has no end, and says so here.
            let asked = [(self.topics.topic_partition(tp), Position::Latest)];
            let answers = client.admin().list_offsets(&asked).await?;
            let answer = answers.first().context("an answer")?;
            let mut consumer = client
                .consumer()
                .partition(self.topics.name(tp).as_str(), tp.partition, Position::Earliest)
                .until([(self.topics.topic_partition(tp), answer.high_watermark)])
                .build()
                .await?;
            let mut records = Vec::new();
            while let Some(record) = consumer.next().await {
                records.push(seen(&record.with_context(|| format!("reading {tp:?} at the end"))?));
            }
            let (log_start, high_watermark) = (answer.log_start.get(), answer.high_watermark.get());
            events.push(Event::FinalRead { tp, log_start, high_watermark, records });
        }
        Ok(events)
    }
}

/// All but one, which shows that sends are repeated at all: some of its records are in the log twice.
const fn is_idempotent(number: u32) -> bool {
    number != 4
}

/// Producers differ: with and without retries, with and without compression, small and large batches.
fn producer(client: &Client, number: u32) -> Result<Producer> {
    let compression = match number % 3 {
        0 => Compression::None,
        1 => Compression::Lz4,
        _ => Compression::Zstd,
    };
    let builder = client
        .producer()
        .compression(compression)
        .idempotence(is_idempotent(number))
        .retries(number.is_multiple_of(2))
        .batch_bytes(if number % 4 < 2 { 8 * 1024 } else { 1024 * 1024 })
        .backoff(Duration::from_millis(10), Duration::from_millis(200))
        .breaker(None)
        .delivery_timeout(DELIVERY_TIMEOUT);
    Ok(builder.build()?)
}

fn note_failure(recorder: &Recorder, value: Value, error: &Error) {
    let at = recorder.now();
    if error.may_have_been_written() {
        recorder.record(Event::SendUnknown { at, value });
    } else {
        recorder.record(Event::SendFailed { at, value });
    }
}

/// A record as the checker wants it: its value counts only with the key that belongs to it.
fn seen(record: &ConsumerRecord) -> Seen {
    let value = record.value.as_deref().and_then(Value::decode);
    let value = value.filter(|value| record.key.as_deref() == Some(value.to_string().as_bytes()));
    Seen { offset: record.offset.get(), value }
}

/// A number in `0..below`, or 0 when there is none.
pub fn draw(random: &mut u64, below: u64) -> u64 {
    mixed(random).checked_rem(below).unwrap_or(0)
}

pub(crate) fn pick(partitions: &[Tp], random: &mut u64) -> Option<Tp> {
    let index = draw(random, u64::try_from(partitions.len()).ok()?);
    partitions.get(usize::try_from(index).ok()?).copied()
}
