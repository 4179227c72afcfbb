//! What a partition remembers of idempotent producers: enough to tell a batch that was sent again from a new
//! one, and a new one from one that came too early. The rules are Kafka's (`ProducerStateEntry`,
//! `ProducerAppendInfo`; KIP-98, KIP-360).
//!
//! ```text
//! producer id ► epoch, its last 5 batches: first and last sequence, base offset, when it was appended
//!               the first offset of its open transaction, the epoch of the coordinator that ended the last one
//! ```
//!
//! **Invariants:**
//! * What is remembered follows from the batches in the log alone: [`ProducerStates::reset`] gives exactly the
//!   state before the batches that were taken back, and replaying headers gives what appending them gave.
//! * The sequences remembered of a producer have no gaps, and its newest batch is always among them.
//! * A producer is not forgotten while its transaction is open.
//! * At most [`ProducerLimits::producers_max`] producers are let in by [`ProducerStates::decide`].
//! * A source ([`ProducerId::is_source`]) is never forgotten and never refused for want of room: it may come back
//!   after any time and must find where it stood. There are as many as the broker has made.

use std::collections::{BTreeMap, VecDeque};

use tidelog_model::batch::{BatchHeader, ControlMarker};
use tidelog_model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::append::AppendReject;
use super::unstable::Unstable;

/// How many batches of a producer are remembered; as many may be on the way at one time.
pub const BATCHES_REMEMBERED: usize = 5;

/// The epoch of the coordinator of a producer whose transactions none has ended.
const NO_COORDINATOR: i32 = -1;

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

/// One batch as it is remembered.
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
    let (room, one) = (i32::MAX.saturating_sub(sequence.0), 1);
    Sequence(if count <= room { sequence.0 + count } else { count - room - one })
}

/// What a snapshot holds of a batch and its producer, or of a producer without a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerRow {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// One of its last batches in that epoch.
    pub batch: Option<RememberedBatch>,
    /// When it was last heard of.
    pub timestamp: Timestamp,
    /// The epoch of the coordinator that ended its last transaction; -1 when none has.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// A producer and its last batches of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    coordinator_epoch: i32,
    transaction_start: Option<Offset>,
    /// When it was last heard of.
    active: Timestamp,
    /// The offset after what was last heard of it.
    end: Offset,
    /// The newest first.
    batches: [Option<RememberedBatch>; BATCHES_REMEMBERED],
}

impl Producer {
    const fn new(epoch: ProducerEpoch, active: Timestamp) -> Self {
        Self {
            epoch,
            coordinator_epoch: NO_COORDINATOR,
            transaction_start: None,
            active,
            end: Offset::ZERO,
            batches: [None; BATCHES_REMEMBERED],
        }
    }

    fn newest(&self) -> Option<&RememberedBatch> {
        self.batches.first().and_then(Option::as_ref)
    }

    /// Takes in the next batch; one that does not continue the sequence begins anew.
    fn push(&mut self, batch: RememberedBatch) {
        let follows = batch.epoch == self.epoch
            && batch.first_sequence() == self.expected()
            && self.newest().is_some_and(|newest| batch.last_offset > newest.last_offset);
        if !follows {
            self.batches = [None; BATCHES_REMEMBERED];
        }
        self.epoch = batch.epoch;
        self.batches.rotate_right(1);
        if let Some(slot) = self.batches.first_mut() {
            *slot = Some(batch);
        }
        self.active = batch.timestamp;
        self.end = batch.last_offset.next();
    }

    /// Takes in the batch of an append.
    fn append(&mut self, header: &BatchHeader, now: Timestamp) {
        self.push(RememberedBatch::of(header, now));
        if header.is_transactional() {
            self.transaction_start.get_or_insert(header.base_offset);
        }
    }

    /// Takes in the marker that ends its transaction. A newer epoch begins with it.
    fn end_transaction(&mut self, header: &BatchHeader, marker: ControlMarker, now: Timestamp) {
        if header.producer_epoch.0 > self.epoch.0 {
            self.epoch = header.producer_epoch;
            self.batches = [None; BATCHES_REMEMBERED];
        }
        self.coordinator_epoch = marker.coordinator_epoch;
        self.transaction_start = None;
        self.active = now;
        self.end = header.next_offset();
    }

    fn expected(&self) -> Sequence {
        self.newest().map_or(Sequence(0), |newest| plus(newest.last_sequence, 1))
    }

    /// Oldest first.
    fn batches(&self) -> impl Iterator<Item = &RememberedBatch> {
        self.batches.iter().rev().flatten()
    }

    fn rows(&self, id: ProducerId) -> impl Iterator<Item = ProducerRow> {
        let row = ProducerRow {
            id,
            epoch: self.epoch,
            batch: None,
            timestamp: self.active,
            coordinator_epoch: self.coordinator_epoch,
            transaction_start: self.transaction_start,
        };
        let bare = self.newest().is_none().then_some(row);
        let with = move |batch: &RememberedBatch| {
            let timestamp = batch.timestamp;
            ProducerRow { batch: Some(*batch), timestamp, ..row }
        };
        self.batches().map(with).chain(bare)
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
    unstable: Unstable,
}

impl ProducerStates {
    /// No producer is known.
    #[must_use]
    pub const fn new(limits: ProducerLimits) -> Self {
        Self { limits, producers: BTreeMap::new(), undo: VecDeque::new(), unstable: Unstable::new() }
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

    /// The first offset of the transactions that are open, or whose end the log may still lose.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        self.unstable.first()
    }

    /// What a batch of this header is at the time `now`. Its producer id must not be none.
    ///
    /// # Errors
    /// [`AppendReject::StaleProducerEpoch`], [`AppendReject::OutOfOrderSequence`],
    /// [`AppendReject::TooManyProducers`].
    pub fn decide(&self, header: &BatchHeader, now: Timestamp) -> Result<ProducerVerdict, AppendReject> {
        let (id, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let known = self.producers.get(&id.0).filter(|known| !self.is_expired(id, known, now));
        let Some(known) = known else {
            // Whoever takes the place of an expired producer of the same id needs no room.
            let new = !id.is_source() && !self.producers.contains_key(&id.0);
            if new && self.producers.len() >= self.limits.producers_max {
                return Err(AppendReject::TooManyProducers { limit: self.limits.producers_max });
            }
            return Ok(ProducerVerdict::New);
        };
        let rests_on = known.end;
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
        self.change(header, now, |known| known.append(header, now));
    }

    /// Takes in the assigned batch that ends a producer's transaction.
    pub fn apply_marker(&mut self, header: &BatchHeader, marker: ControlMarker, now: Timestamp) {
        self.change(header, now, |known| known.end_transaction(header, marker, now));
    }

    fn change(&mut self, header: &BatchHeader, now: Timestamp, change: impl FnOnce(&mut Producer)) {
        let id = header.producer_id;
        let before = self.producers.get(&id.0).copied();
        self.undo.push_back(Undo { base_offset: header.base_offset, id, before });
        let known = before.filter(|known| !self.is_expired(id, known, now));
        let mut known = known.unwrap_or(Producer::new(header.producer_epoch, now));
        change(&mut known);
        let start = before.and_then(|before| before.transaction_start);
        self.unstable.moved(start, known.transaction_start, header.next_offset());
        self.producers.insert(id.0, known);
    }

    /// Takes in a batch of the log, at a start at the time `now`, and the marker that it is if it ends a
    /// transaction. When it was appended is known only where the broker's clock has stamped it; otherwise its
    /// producer counts as active now, so that none is forgotten too early.
    pub fn replay(&mut self, header: &BatchHeader, marker: Option<ControlMarker>, now: Timestamp) {
        if header.producer_id == ProducerId::NONE || (header.is_control() && marker.is_none()) {
            return;
        }
        let appended = if header.is_log_append_time() { header.max_timestamp.min(now) } else { now };
        let known = self.producers.get(&header.producer_id.0).copied();
        let mut known = known.unwrap_or(Producer::new(header.producer_epoch, appended));
        match marker {
            Some(marker) => known.end_transaction(header, marker, appended),
            None => known.append(header, appended),
        }
        self.put(header.producer_id, known);
    }

    /// Takes in a row of a snapshot; those of a producer come in the order of their offsets.
    pub fn restore(&mut self, row: ProducerRow) {
        let known = self.producers.get(&row.id.0).copied();
        let mut known = known.unwrap_or(Producer::new(row.epoch, row.timestamp));
        known.batches = if known.epoch == row.epoch { known.batches } else { [None; BATCHES_REMEMBERED] };
        known.epoch = row.epoch;
        known.active = row.timestamp;
        row.batch.into_iter().for_each(|batch| known.push(batch));
        known.coordinator_epoch = row.coordinator_epoch;
        known.transaction_start = row.transaction_start;
        self.put(row.id, known);
    }

    /// Takes in how a producer stands by what the log will not lose.
    fn put(&mut self, id: ProducerId, known: Producer) {
        let before = self.producers.insert(id.0, known);
        self.unstable.restored(before.and_then(|before| before.transaction_start), known.transaction_start);
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
        let idle = self.producers.iter().filter(|(id, known)| !is_kept(ProducerId(**id), known));
        let mut ends: Vec<Offset> = idle.map(|(_, known)| known.end).collect();
        let Some(gone) = self.producers.len().checked_sub(keep).and_then(|count| count.checked_sub(1)) else {
            return;
        };
        let Some(last) = ends.len().checked_sub(1) else { return };
        let (_, newest_gone, _) = ends.select_nth_unstable(gone.min(last));
        let newest_gone = *newest_gone;
        self.producers.retain(|id, known| is_kept(ProducerId(*id), known) || known.end > newest_gone);
    }

    /// Forgets who has appended nothing for too long.
    pub fn expire(&mut self, now: Timestamp) {
        let limit = self.limits.expiration_ms;
        self.producers.retain(|id, known| !expired(ProducerId(*id), known, limit, now));
    }

    fn is_expired(&self, id: ProducerId, known: &Producer, now: Timestamp) -> bool {
        expired(id, known, self.limits.expiration_ms, now)
    }

    /// The newest batch of a producer.
    #[must_use]
    pub fn newest(&self, id: ProducerId) -> Option<RememberedBatch> {
        self.producers.get(&id.0).and_then(Producer::newest).copied()
    }

    /// The log will not lose what lies below `end`.
    pub fn committed(&mut self, end: Offset) {
        while self.undo.front().is_some_and(|undo| undo.base_offset < end) {
            self.undo.pop_front();
        }
        self.unstable.committed(end);
    }

    /// Takes back the batches from `end` on, which must not have been reported committed.
    pub fn reset(&mut self, end: Offset) {
        while self.undo.back().is_some_and(|undo| undo.base_offset >= end) {
            let Some(undo) = self.undo.pop_back() else { return };
            let now = match undo.before {
                Some(before) => self.producers.insert(undo.id.0, before),
                None => self.producers.remove(&undo.id.0),
            };
            let start = |known: Option<Producer>| known.and_then(|known| known.transaction_start);
            self.unstable.taken_back(start(now), start(undo.before));
        }
    }

    /// What is remembered below `end`, which is committed or later; the batches of a producer oldest first.
    #[must_use]
    pub fn rows_below(&self, end: Offset) -> Vec<ProducerRow> {
        // Where a producer stood before its first batch from `end` on.
        let mut before: BTreeMap<i64, Option<&Producer>> = BTreeMap::new();
        for undo in self.undo.iter().filter(|undo| undo.base_offset >= end) {
            before.entry(undo.id.0).or_insert(undo.before.as_ref());
        }
        let mut rows = Vec::with_capacity(self.producers.len());
        for (id, known) in &self.producers {
            let known = before.get(id).copied().unwrap_or(Some(known));
            rows.extend(known.into_iter().flat_map(|known| known.rows(ProducerId(*id))));
        }
        rows
    }
}

/// Whether it must not be forgotten, however long it was idle.
const fn is_kept(id: ProducerId, known: &Producer) -> bool {
    id.is_source() || known.transaction_start.is_some()
}

const fn expired(id: ProducerId, known: &Producer, expiration_ms: i64, now: Timestamp) -> bool {
    !is_kept(id, known) && now.millis().saturating_sub(known.active.millis()) >= expiration_ms
}

#[cfg(test)]
#[path = "producer_states_tests.rs"]
mod tests;
