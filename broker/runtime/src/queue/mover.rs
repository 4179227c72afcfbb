//! Copies dead letters to their topic, each once, whatever crashes.
//!
//! ```text
//! dying (durable) ──► copy, numbered by the lane (durable) ──► dead (durable) ──► the next batch
//! ```
//!
//! **Invariants:**
//! * A lane has one batch on its way, and the next one leaves when the lane knows for good where the last one is. So
//!   after a crash at most one batch is in doubt, and the partition that has it says so.
//! * A letter that cannot be copied stays on its way, and keeps its record from retention: nothing is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_core::delivery::{
    DeadLetterConfig, DeadLetterFacts, Dying, LaneId, Letter, LetterLimits, dead_letter_topic, letter_batch,
};
use tidelog_core::partition::RememberedBatch;
use tidelog_model::record::Record;
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, ProducerId, Timestamp, TopicName};
use uuid::Uuid;

use super::read::read_at;
use crate::broker::{CreateTopic, WeakBroker};
use crate::error::BrokerError;
use crate::owner::Acks;
use crate::partition::Partition;
use crate::topic::Topic;

/// The most letters of one batch.
const LETTERS: usize = 500;
/// The first and the longest pause after a failure, in milliseconds.
const PAUSE_MS: i64 = 1_000;
const PAUSE_MAX_MS: i64 = 30_000;
/// Sequences of producers have so many bits.
const SEQUENCE_MASK: u64 = 0x7fff_ffff;

/// How far the dead letters of a lane are.
#[derive(Debug)]
pub(super) struct Mover {
    busy: bool,
    /// Letters with smaller numbers are durably on their way.
    durable: u64,
    /// Whether it is known that no batch is in doubt.
    sure: bool,
    /// Where the last batch is has to be stored.
    landed: bool,
    failures: u32,
    pause: Option<(Timestamp, String)>,
}

impl Mover {
    /// A mover of a lane all of whose letters so far are durably on their way.
    pub(super) const fn new(durable: u64) -> Self {
        Self { busy: false, durable, sure: false, landed: false, failures: 0, pause: None }
    }

    /// Letters with smaller numbers are durably on their way now; and so is the note where the last batch is, if
    /// it had `landed`.
    pub(super) fn stored(&mut self, durable: u64, landed: bool) {
        self.durable = self.durable.max(durable);
        if landed {
            self.busy = false;
        }
    }

    /// The last batch was copied.
    pub(super) fn moved(&mut self) {
        (self.sure, self.landed, self.failures, self.pause) = (true, true, 0, None);
    }

    /// Whether the events of the lane that are taken now say where the last batch is.
    pub(super) const fn take_landed(&mut self) -> bool {
        std::mem::replace(&mut self.landed, false)
    }

    /// The last batch was not copied, or nobody knows.
    pub(super) fn failed(&mut self, now: Timestamp, error: &BrokerError) {
        let pause = PAUSE_MS.saturating_mul(1 << self.failures.min(5)).min(PAUSE_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some((now.plus_millis(pause), error.message.clone()));
        (self.busy, self.sure) = (false, false);
    }

    /// Why nothing is copied.
    pub(super) fn problem(&self) -> Option<&str> {
        self.pause.as_ref().map(|(_, why)| why.as_str())
    }

    /// When to try again.
    pub(super) fn next_try(&self) -> Option<Timestamp> {
        self.pause.as_ref().filter(|_| !self.busy).map(|(until, _)| *until)
    }

    /// The letters to copy now; it is busy from then on when there are some. Whether no earlier batch is in doubt.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        dying: impl FnOnce(usize) -> Vec<Dying>,
    ) -> Option<(Vec<Dying>, bool)> {
        if self.busy || self.next_try().is_some_and(|until| until > now) {
            return None;
        }
        let mut letters = dying(LETTERS);
        letters.retain(|letter| letter.sequence < self.durable);
        self.busy = !letters.is_empty();
        self.busy.then_some((letters, self.sure))
    }
}

/// Where a batch of letters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) partition: PartitionIndex,
    pub(super) base: Offset,
}

/// What copying a batch needs to know.
pub(super) struct Move {
    pub(super) broker: WeakBroker,
    pub(super) group: GroupId,
    pub(super) group_id: Uuid,
    pub(super) config: DeadLetterConfig,
    pub(super) topic: TopicName,
    pub(super) partition: Arc<Partition>,
    pub(super) lane: LaneId,
    pub(super) letters: Vec<Dying>,
    /// Whether no earlier batch is in doubt.
    pub(super) sure: bool,
}

impl Move {
    /// Copies the first of the letters, at least one.
    ///
    /// # Errors
    /// When the topic of the dead letters is not there, or takes nothing: nothing is lost by it.
    pub(super) async fn run(self) -> Result<Moved, BrokerError> {
        let topic = self.dead_letter_topic().await?;
        let first =
            self.letters.first().ok_or_else(|| BrokerError::internal("there is no letter to copy"))?;
        let source = source_of(self.group_id, self.lane)?;
        if !self.sure
            && let Some(moved) = find_copied(&topic, source, &self.letters)?
        {
            return Ok(moved);
        }
        let count = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX).max(1);
        let index = PartitionIndex::new(self.partition.index().get() % count);
        let target = index.and_then(|index| topic.partition(index));
        let target = target.ok_or_else(|| BrokerError::unknown_topic(topic.name()))?;
        let offsets = self.offsets();
        let mut records = BTreeMap::new();
        read_at(&self.partition, &offsets, |record| drop(records.insert(record.offset, record))).await?;
        let letters: Vec<Letter<'_>> =
            self.letters.iter().map(|dying| self.letter(dying, &records)).collect();
        let limits = LetterLimits {
            batch_bytes_max: target.batch_rules().batch_bytes_max,
            copy_record: self.config.copy_record,
        };
        let (batch, copied) = letter_batch(source, &letters, limits)
            .map_err(|error| BrokerError::internal(format!("a dead letter could not be written: {error}")))?;
        let appended = target.append_from_source(batch, Acks::Durable, None)?;
        let base = appended.base_offset;
        appended.ack.await?;
        let last = first.sequence.saturating_add(u64::try_from(copied.saturating_sub(1)).unwrap_or(0));
        Ok(Moved { first: first.sequence, last, partition: target.index(), base })
    }

    /// The offsets of the letters, in order.
    fn offsets(&self) -> Vec<Offset> {
        let mut offsets: Vec<Offset> = self.letters.iter().map(|letter| letter.offset).collect();
        offsets.sort_unstable();
        offsets
    }

    fn letter<'a>(&self, dying: &Dying, records: &'a BTreeMap<Offset, Record>) -> Letter<'a> {
        let record = records.get(&dying.offset);
        let reason = dying.reason.as_ref();
        let facts = DeadLetterFacts {
            topic: self.topic.clone(),
            partition: self.partition.index(),
            offset: dying.offset,
            group: self.group.clone(),
            attempts: dying.attempts,
            cause: dying.cause,
            reason: reason
                .map_or_else(Default::default, |reason| (reason.code().to_owned(), reason.text().to_owned())),
            first_failure: dying.first_failure,
            last_failure: dying.last_failure,
            original_timestamp: record.map_or(Timestamp::NONE, |record| record.timestamp),
            redrives: dying.redrives,
            sequence: dying.sequence,
            truncated: record.is_none(),
        };
        Letter { facts, record }
    }

    /// The topic of the dead letters, which is made when it may be.
    async fn dead_letter_topic(&self) -> Result<Arc<Topic>, BrokerError> {
        let broker = self.broker.upgrade().ok_or_else(BrokerError::shutting_down)?;
        let name = topic_of(&self.group, &self.config)?;
        if let Some(topic) = broker.topic(&name) {
            return Ok(topic);
        }
        if !self.config.auto_create {
            let message = format!(
                "there is no topic {name} for the dead letters of group {}: create it, or set \
                 errors.deadletterqueue.auto.create.topics.enable",
                self.group.as_str()
            );
            return Err(BrokerError::new(ErrorCode::UnknownTopicOrPartition, message));
        }
        // Dead letters wait for people.
        let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let spec = CreateTopic { name: name.clone(), partitions: None, configs, validate_only: false };
        match broker.create_topic(spec).await {
            Ok(_) => tracing::info!(group = self.group.as_str(), topic = %name, "created for dead letters"),
            Err(error) if error.code == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error),
        }
        broker.topic(&name).ok_or_else(|| BrokerError::unknown_topic(&name))
    }
}

/// The topic of a group's dead letters.
///
/// # Errors
/// When none was named and the group's name cannot be part of one.
pub(crate) fn topic_of(group: &GroupId, config: &DeadLetterConfig) -> Result<TopicName, BrokerError> {
    let named = config.topic.clone().map_or_else(|| dead_letter_topic(group), Ok);
    named.map_err(|error| BrokerError::new(ErrorCode::InvalidConfig, error.to_string()).field("configs"))
}

/// The id under which a lane writes its letters: the same in every run, and nobody else's.
fn source_of(group: Uuid, lane: LaneId) -> Result<ProducerId, BrokerError> {
    let mut name = lane.topic_id.uuid().as_bytes().to_vec();
    name.extend(lane.partition.get().to_be_bytes());
    // The lower 62 bits of a hash that was made for names.
    let number = Uuid::new_v5(&group, &name).as_u128() & ((1 << 62) - 1);
    let source = i64::try_from(number).ok().and_then(ProducerId::source);
    source.ok_or_else(|| BrokerError::internal("the number of a lane is out of range"))
}

/// The first of the letters that are copied already, if they are.
fn find_copied(topic: &Topic, source: ProducerId, letters: &[Dying]) -> Result<Option<Moved>, BrokerError> {
    for partition in topic.partitions() {
        let newest = partition.source_position(source)?;
        let copied = newest.and_then(|newest| covered(&newest, letters));
        if let Some((first, last, base)) = copied {
            return Ok(Some(Moved { first, last, partition: partition.index(), base }));
        }
    }
    Ok(None)
}

/// Which of the letters a batch holds: the first and last number, and the offset of the first.
fn covered(newest: &RememberedBatch, letters: &[Dying]) -> Option<(u64, u64, Offset)> {
    let first = letters.first()?.sequence;
    let last_in_batch = u64::try_from(newest.last_sequence.0).ok()?;
    let in_batch = u64::try_from(newest.offset_delta).ok()?;
    // How far the first letter is before the last of the batch; far when it is behind it.
    let before = last_in_batch.wrapping_sub(first) & SEQUENCE_MASK;
    if before > in_batch {
        return None;
    }
    let base = newest.last_offset.get().checked_sub(i64::try_from(before).ok()?)?;
    Some((first, first.saturating_add(before), Offset::new(base)?))
}

#[cfg(test)]
#[path = "mover_tests.rs"]
mod tests;
