//! Writes records into a topic, with headers added that say where each came from.
//!
//! **Invariants:** key, value, headers and (unless told otherwise) the timestamp stay as they are, and the
//! provenance comes behind the headers. Receipts are confirmed in the order in which the records were given, so
//! a checkpoint never has a gap below it. What an interrupted run wrote behind its last checkpoint is known from
//! its provenance, and is not written again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::FutureExt;
use tidelog_client::admin::TopicDescription;
use tidelog_client::{
    Bytes, Client, ConsumerRecord, Offset, Position, Producer, ReadFilter, Receipt, Record, RecordMetadata,
    SendError, TopicName, TopicPartition,
};

use super::Confirm;
use crate::failure::{Exit, Failure};
use crate::replay::args::{PartitionBy, Timestamps};
use crate::replay::checkpoint::SinkMark;
use crate::replay::ledger::Ledger;

/// The replay that wrote a record.
const ID_HEADER: &str = "x-tidelog-replay-id";
/// Where the record came from: topic/partition/offset.
const ORIGIN_HEADER: &str = "x-tidelog-origin";
/// When it was replayed.
const AT_HEADER: &str = "x-tidelog-replayed-at";

/// Records whose receipts may be outstanding; their bytes are bounded by the producer.
const OUTSTANDING_MAX: usize = 65_536;
/// How long to wait for the last receipts of a replay that ends early.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// Where a record came from.
pub(in crate::replay) type Origin = (TopicPartition, Offset);

/// How long to wait until what an earlier run wrote can be read.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(30);

/// Records that were written by an earlier run.
pub(in crate::replay) type Written = BTreeSet<Origin>;

/// Writes records into a topic.
#[derive(Debug)]
pub(in crate::replay) struct TopicSink {
    producer: Producer,
    topic: TopicName,
    partitions: i32,
    partition_by: PartitionBy,
    timestamps: Timestamps,
    replay_id: Bytes,
    /// The partition of the next record in turn.
    turn: i32,
    outstanding: VecDeque<Sent>,
    already: Written,
    /// A record was not stored: nothing given after it may count as confirmed.
    failed: bool,
    /// Behind the last record confirmed, in each partition of the target.
    next: BTreeMap<i32, i64>,
}

#[derive(Debug)]
struct Sent {
    slot: usize,
    origin: Origin,
    /// `None`: an earlier run wrote it.
    receipt: Option<Receipt>,
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(in crate::replay) struct Ways {
    /// The partition.
    pub(in crate::replay) partition_by: PartitionBy,
    /// The timestamp.
    pub(in crate::replay) timestamps: Timestamps,
}

impl TopicSink {
    /// Writes into this topic. `next` is where each of its partitions ended when the replay was begun or last
    /// saved, and `already` what an earlier run wrote behind that.
    pub(in crate::replay) fn open(
        client: &Client,
        target: &TopicDescription,
        ways: Ways,
        replay_id: &str,
        next: BTreeMap<i32, i64>,
        already: Written,
    ) -> Result<Self, Failure> {
        Ok(Self {
            // A broker that is restarted is waited for, as the reader does.
            producer: client.producer().breaker(None).build()?,
            topic: target.name.clone(),
            partitions: i32::try_from(target.partitions.len()).unwrap_or(i32::MAX).max(1),
            partition_by: ways.partition_by,
            timestamps: ways.timestamps,
            replay_id: Bytes::copy_from_slice(replay_id.as_bytes()),
            turn: 0,
            outstanding: VecDeque::new(),
            already,
            failed: false,
            next,
        })
    }

    /// Sends a record; waits only while there is no room.
    pub(in crate::replay) async fn write(
        &mut self,
        slot: usize,
        record: ConsumerRecord,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let id = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        let origin = (id, record.offset);
        if self.outstanding.len() >= OUTSTANDING_MAX {
            self.settle_first(ledger).await?;
        }
        let receipt = if self.already.remove(&origin) {
            None
        } else {
            let record = self.copy(record);
            let enqueued = self.producer.enqueue(record).await;
            Some(enqueued.map_err(|error| self.not_stored(&origin, &error))?)
        };
        self.outstanding.push_back(Sent { slot, origin, receipt });
        Ok(())
    }

    fn copy(&mut self, record: ConsumerRecord) -> Record {
        let origin = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let now = jiff::Timestamp::now();
        let at = format!("{now:.3}");
        let mut headers = record.headers;
        headers.extend([
            (Bytes::from_static(ID_HEADER.as_bytes()), Some(self.replay_id.clone())),
            (Bytes::from_static(ORIGIN_HEADER.as_bytes()), Some(Bytes::from(origin))),
            (Bytes::from_static(AT_HEADER.as_bytes()), Some(Bytes::from(at))),
        ]);
        let mut copy = Record::new(&self.topic).headers(headers);
        let has_key = record.key.is_some();
        if let Some(key) = record.key {
            copy = copy.key(key);
        }
        if let Some(value) = record.value {
            copy = copy.value(value);
        }
        if self.timestamps == Timestamps::Keep {
            copy = copy.timestamp(record.timestamp);
        }
        match self.partition_by {
            PartitionBy::Key if has_key => copy,
            // Together, so that their order stays.
            PartitionBy::Key => copy.partition(record.partition.get() % self.partitions),
            PartitionBy::Same => copy.partition(record.partition.get()),
            PartitionBy::RoundRobin => {
                let partition = self.turn;
                self.turn = (self.turn + 1) % self.partitions;
                copy.partition(partition)
            }
        }
    }

    /// Takes the receipts that have come, or waits for all.
    pub(in crate::replay) async fn confirm(
        &mut self,
        ledger: &mut Ledger,
        how: Confirm,
    ) -> Result<(), Failure> {
        if self.failed {
            return Ok(());
        }
        match how {
            // The producer gives up by itself when it has tried for long enough.
            Confirm::All => return self.settle_all(ledger).await,
            Confirm::Soon => {
                let settled = tokio::time::timeout(CLOSE_DEADLINE, self.settle_all(ledger)).await;
                return settled.unwrap_or_else(|_| {
                    let count = self.outstanding.len();
                    let message = format!("{count} records were not acknowledged within {CLOSE_DEADLINE:?}");
                    Err(Failure::new(Exit::Unreachable, message))
                });
            }
            Confirm::Ready => {}
        }
        while let Some(first) = self.outstanding.front_mut() {
            let outcome = match &mut first.receipt {
                None => None,
                Some(receipt) => match receipt.now_or_never() {
                    None => return Ok(()),
                    Some(outcome) => Some(outcome),
                },
            };
            self.settled(outcome, ledger)?;
        }
        Ok(())
    }

    async fn settle_all(&mut self, ledger: &mut Ledger) -> Result<(), Failure> {
        while !self.outstanding.is_empty() {
            self.settle_first(ledger).await?;
        }
        Ok(())
    }

    /// Waits for the first receipt outstanding. Cancel-safe: it is taken when it has come.
    async fn settle_first(&mut self, ledger: &mut Ledger) -> Result<(), Failure> {
        let Some(first) = self.outstanding.front_mut() else { return Ok(()) };
        let outcome = match &mut first.receipt {
            None => None,
            Some(receipt) => Some(receipt.await),
        };
        self.settled(outcome, ledger)
    }

    /// The first record outstanding has come to its end.
    fn settled(
        &mut self,
        outcome: Option<Result<RecordMetadata, SendError>>,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let Some(sent) = self.outstanding.pop_front() else { return Ok(()) };
        if let Some(outcome) = outcome {
            let stored = outcome.map_err(|error| {
                self.failed = true;
                self.outstanding.clear();
                self.not_stored(&sent.origin, &error)
            })?;
            let next = self.next.entry(stored.partition.get()).or_default();
            *next = (*next).max(stored.offset.next().get());
        }
        ledger.confirm(sent.slot, sent.origin.1);
        Ok(())
    }

    fn not_stored(&self, (id, offset): &Origin, error: &SendError) -> Failure {
        let failure = Failure::from(error.error());
        failure.within(&format!("offset {offset} of {id} was not stored in {}", self.topic))
    }

    /// How far it has come.
    pub(in crate::replay) fn mark(&self) -> SinkMark {
        SinkMark::Topic { next: self.next.clone() }
    }
}

/// What a replay has written into its target behind these offsets: the run may have ended before it could save
/// that. Waits until what is written there can be read: the last batches of a run that was killed may still be
/// on their way to the disk.
pub(in crate::replay) async fn written_since(
    client: &Client,
    target: &str,
    replay_id: &str,
    next: &BTreeMap<i32, i64>,
) -> Result<Written, Failure> {
    let target = client.admin().describe_topic(target).await?;
    let mut consumer =
        client.consumer().filter(ReadFilter::new().header_equals(ID_HEADER, replay_id.to_owned()));
    let mut ends = Vec::new();
    for partition in &target.partitions {
        let index = partition.partition.get();
        let next = next.get(&index).copied().and_then(Offset::new).unwrap_or_default();
        // Retention may have taken records since.
        let start = next.max(partition.log_start);
        if start < partition.log_end {
            consumer = consumer.partition(target.name.as_str(), index, Position::Offset(start));
            let id = TopicPartition { topic: target.name.clone(), partition: partition.partition };
            ends.push((id, partition.log_end));
        }
    }
    if ends.is_empty() {
        return Ok(Written::new());
    }
    let mut consumer = consumer.until(ends).build().await?;
    let read = async {
        let mut written = Written::new();
        while let Some(batch) = consumer.next_batch().await {
            written.extend(batch?.records.iter().filter_map(origin_of));
        }
        Ok(written)
    };
    tokio::time::timeout(CATCH_UP_DEADLINE, read).await.unwrap_or_else(|_| {
        let message = format!("the last records of {} do not become readable", target.name);
        Err(Failure::new(Exit::Unreachable, message).with_help("look at the broker's disk, then try again"))
    })
}

/// Where a record says that it came from. The last header counts: records that were replayed before have
/// several.
fn origin_of(record: &ConsumerRecord) -> Option<Origin> {
    let header = record.headers.iter().rev().find(|(name, _)| name == ORIGIN_HEADER)?;
    let text = std::str::from_utf8(header.1.as_ref()?).ok()?;
    let mut parts = text.split('/');
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let topic = TopicName::new(topic).ok()?;
    let partition = tidelog_client::PartitionIndex::new(partition.parse().ok()?)?;
    Some((TopicPartition { topic, partition }, Offset::new(offset.parse().ok()?)?))
}
