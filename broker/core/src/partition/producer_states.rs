//! What a partition remembers of idempotent producers: enough to tell a batch that was sent again from a new
//! one, and a new one from one that came too early. The rules are Kafka's (`ProducerStateEntry`,
//! `ProducerAppendInfo`; KIP-98, KIP-360).
//!
//! ```text
//! producer id ► epoch, its last 5 batches: first and last sequence, base offset, when it was appended
//! ```
//!
//! **Invariants:**
//! * What is remembered follows from the batches in the log alone: [`ProducerStates::reset`] gives exactly the
//!   state before the batches that were taken back, and replaying headers gives what appending them gave.
//! * The sequences remembered of a producer have no gaps, and its newest batch is always among them.
//! * At most [`ProducerLimits::producers_max`] producers are let in by [`ProducerStates::decide`].

use std::collections::{BTreeMap, VecDeque};

use tidelog_model::batch::BatchHeader;
use tidelog_model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::append::AppendReject;

/// How many batches of a producer are remembered; as many may be on the way at one time.
pub const BATCHES_REMEMBERED: usize = 5;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerLimits {
    /// The most producers of one partition.
    pub producers_max: usize,
    /// A producer that has appended nothing for so long is forgotten (`producer.id.expiration.ms`).
    pub expiration_ms: i64,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { producers_max: 100_000, expiration_ms: 24 * 60 * 60 * 1000 }
    }
}

/// One batch as it is remembered; what a snapshot holds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedBatch {
    /// Its producer.
    pub id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: Sequence,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// How far its last record is from its first, in sequences and offsets.
    pub offset_delta: i32,
    /// When it was appended.
    pub timestamp: Timestamp,
}

impl RememberedBatch {
    fn of(header: &BatchHeader, now: Timestamp) -> Self {
        Self {
            id: header.producer_id,
            epoch: header.producer_epoch,
            last_sequence: plus(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: now,
        }
    }

    /// The sequence of its first record.
    #[must_use]
    pub const fn first_sequence(&self) -> Sequence {
        let (last, delta) = (self.last_sequence.0, self.offset_delta);
        // Sequences go from 0 to the largest number and begin again.
        Sequence(if last >= delta { last - delta } else { i32::MAX - (delta - last) + 1 })
    }

    /// The offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        let delta = i64::from(self.offset_delta);
        Offset::new(self.last_offset.get().saturating_sub(delta)).unwrap_or(Offset::ZERO)
    }
}

/// The sequence `count` records after `sequence`.
const fn plus(sequence: Sequence, count: i32) -> Sequence {
    let (room, one) = (i32::MAX - sequence.0, 1);
    Sequence(if count <= room { sequence.0 + count } else { count - room - one })
}

/// A producer: its last batches of one epoch, the newest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    newest: RememberedBatch,
    /// Those before the newest; the newest of them first.
    older: [Option<RememberedBatch>; BATCHES_REMEMBERED - 1],
}

impl Producer {
    const fn new(first: RememberedBatch) -> Self {
        Self { epoch: first.epoch, newest: first, older: [None; BATCHES_REMEMBERED - 1] }
    }

    /// Takes in the next batch; one that does not continue the sequence begins anew.
    fn push(&mut self, batch: RememberedBatch) {
        let follows = batch.epoch == self.epoch
            && batch.first_sequence() == self.expected()
            && batch.last_offset > self.newest.last_offset;
        if !follows {
            *self = Self::new(batch);
            return;
        }
        self.older.rotate_right(1);
        if let Some(slot) = self.older.first_mut() {
            *slot = Some(self.newest);
        }
        self.newest = batch;
    }

    const fn expected(&self) -> Sequence {
        plus(self.newest.last_sequence, 1)
    }

    /// Oldest first.
    fn batches(&self) -> impl Iterator<Item = &RememberedBatch> {
        self.older.iter().rev().flatten().chain(std::iter::once(&self.newest))
    }
}

/// What a batch of an idempotent producer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerVerdict {
    /// A new one.
    New,
    /// One that is in the log already.
    Duplicate(RememberedBatch),
}

/// What a batch was before another took its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Undo {
    base_offset: Offset,
    id: ProducerId,
    before: Option<Producer>,
}

/// The producers of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerStates {
    limits: ProducerLimits,
    producers: BTreeMap<i64, Producer>,
    /// How to take back what the log may still lose, by offset.
    undo: VecDeque<Undo>,
}

impl ProducerStates {
    /// No producer is known.
    #[must_use]
    pub const fn new(limits: ProducerLimits) -> Self {
        Self { limits, producers: BTreeMap::new(), undo: VecDeque::new() }
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What a batch of this header is at the time `now`. Its producer id must not be none.
    ///
    /// # Errors
    /// [`AppendReject::StaleProducerEpoch`], [`AppendReject::OutOfOrderSequence`],
    /// [`AppendReject::TooManyProducers`].
    pub fn decide(&self, header: &BatchHeader, now: Timestamp) -> Result<ProducerVerdict, AppendReject> {
        let (id, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let known = self.producers.get(&id.0).filter(|known| !self.is_expired(known, now));
        let Some(known) = known else {
            // Whoever takes the place of an expired producer of the same id needs no room.
            if self.producers.len() >= self.limits.producers_max && !self.producers.contains_key(&id.0) {
                return Err(AppendReject::TooManyProducers { limit: self.limits.producers_max });
            }
            return Ok(ProducerVerdict::New);
        };
        let rests_on = known.newest.last_offset.next();
        if epoch.0 < known.epoch.0 {
            return Err(AppendReject::StaleProducerEpoch { id, epoch, current: known.epoch, rests_on });
        }
        let expected = if epoch == known.epoch { known.expected() } else { Sequence(0) };
        if first == expected {
            return Ok(ProducerVerdict::New);
        }
        let last = plus(first, header.last_offset_delta);
        let same = |batch: &&RememberedBatch| {
            epoch == batch.epoch && batch.first_sequence() == first && batch.last_sequence == last
        };
        match known.batches().find(same) {
            Some(batch) => Ok(ProducerVerdict::Duplicate(*batch)),
            None => Err(AppendReject::OutOfOrderSequence { id, epoch, found: first, expected, rests_on }),
        }
    }

    /// Takes an assigned batch in, appended at the time `now`.
    pub fn apply(&mut self, header: &BatchHeader, now: Timestamp) {
        let batch = RememberedBatch::of(header, now);
        let before = self.producers.get(&batch.id.0).copied();
        self.undo.push_back(Undo { base_offset: header.base_offset, id: batch.id, before });
        match before.filter(|known| !self.is_expired(known, now)) {
            Some(mut known) => {
                known.push(batch);
                self.producers.insert(batch.id.0, known);
            }
            None => {
                self.producers.insert(batch.id.0, Producer::new(batch));
            }
        }
    }

    /// Takes in a batch of the log, at a start at the time `now`. When it was appended is known only where the
    /// broker's clock has stamped it; otherwise its producer counts as active now, so that none is forgotten
    /// too early.
    pub fn replay(&mut self, header: &BatchHeader, now: Timestamp) {
        if header.producer_id == ProducerId::NONE || header.is_control() {
            return;
        }
        let appended = if header.is_log_append_time() { header.max_timestamp.min(now) } else { now };
        self.restore(RememberedBatch::of(header, appended));
    }

    /// Takes in a batch of a snapshot; those of a producer come in the order of their offsets.
    pub fn restore(&mut self, batch: RememberedBatch) {
        match self.producers.get_mut(&batch.id.0) {
            Some(known) => known.push(batch),
            None => {
                self.producers.insert(batch.id.0, Producer::new(batch));
            }
        }
        // Also while a long log of short-lived producers is replayed, memory has a bound.
        if self.producers.len() > self.limits.producers_max.saturating_mul(2) {
            self.forget_oldest(self.limits.producers_max);
        }
    }

    /// Ends a replay: leaves room for new producers.
    pub fn restored(&mut self, now: Timestamp) {
        self.expire(now);
        if self.producers.len() > self.limits.producers_max {
            self.forget_oldest(self.limits.producers_max / 4 * 3);
        }
    }

    fn forget_oldest(&mut self, keep: usize) {
        let mut ends: Vec<Offset> = self.producers.values().map(|known| known.newest.last_offset).collect();
        let Some(gone) = ends.len().checked_sub(keep).and_then(|count| count.checked_sub(1)) else { return };
        let (_, newest_gone, _) = ends.select_nth_unstable(gone);
        let newest_gone = *newest_gone;
        self.producers.retain(|_, known| known.newest.last_offset > newest_gone);
    }

    /// Forgets who has appended nothing for too long.
    pub fn expire(&mut self, now: Timestamp) {
        let limit = self.limits.expiration_ms;
        self.producers.retain(|_, known| !expired(known, limit, now));
    }

    fn is_expired(&self, known: &Producer, now: Timestamp) -> bool {
        expired(known, self.limits.expiration_ms, now)
    }

    /// The log will not lose what lies below `end`.
    pub fn committed(&mut self, end: Offset) {
        while self.undo.front().is_some_and(|undo| undo.base_offset < end) {
            self.undo.pop_front();
        }
    }

    /// Takes back the batches from `end` on, which must not have been reported committed.
    pub fn reset(&mut self, end: Offset) {
        while self.undo.back().is_some_and(|undo| undo.base_offset >= end) {
            let Some(undo) = self.undo.pop_back() else { return };
            match undo.before {
                Some(before) => self.producers.insert(undo.id.0, before),
                None => self.producers.remove(&undo.id.0),
            };
        }
    }

    /// The batches remembered below `end`, which is committed or later; those of a producer oldest first.
    #[must_use]
    pub fn batches_below(&self, end: Offset) -> Vec<RememberedBatch> {
        // Where a producer stood before its first batch from `end` on.
        let mut before: BTreeMap<i64, Option<&Producer>> = BTreeMap::new();
        for undo in self.undo.iter().filter(|undo| undo.base_offset >= end) {
            before.entry(undo.id.0).or_insert(undo.before.as_ref());
        }
        let mut batches = Vec::with_capacity(self.producers.len());
        for (id, known) in &self.producers {
            let known = before.get(id).copied().unwrap_or(Some(known));
            batches.extend(known.into_iter().flat_map(Producer::batches));
        }
        batches
    }
}

const fn expired(known: &Producer, expiration_ms: i64, now: Timestamp) -> bool {
    now.millis().saturating_sub(known.newest.timestamp.millis()) >= expiration_ms
}

#[cfg(test)]
#[path = "producer_states_tests.rs"]
mod tests;
