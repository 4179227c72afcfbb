//! The numbers by which the broker knows a batch again: a producer id and a sequence per partition. Pure.
//!
//! ```text
//! next ► batches are stamped in the order in which they are sent ► the broker refuses one: its number does not
//!        follow ► lost ► a new producer id ► whatever of the partition is not answered is stamped again, from 0
//! ```
//!
//! A batch that fails for good leaves a hole. Nothing is done about it until the broker complains: if the
//! batch was stored all the same, there is no hole. A complaint says that the batch is *not* stored, because at
//! most [`IN_FLIGHT_PER_LANE`] batches of a partition are unanswered and the broker knows that many of the last
//! ones again. So stamping it again cannot store it twice.
//!
//! **Invariant:** a sequence of an id is used for one batch only, except that a batch which is sent again keeps
//! its own.

use std::collections::{BTreeSet, HashMap};

use tidelog_model::{ProducerEpoch, ProducerId, Sequence};

use super::accumulator::LaneId;

/// How many of a partition's batches may be unanswered; the broker remembers as many.
pub(super) const IN_FLIGHT_PER_LANE: usize = 5;

/// What a batch is stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) sequence: Sequence,
}

#[derive(Debug)]
pub(super) struct Numbering {
    enabled: bool,
    /// The id for partitions that begin.
    current: Option<(ProducerId, ProducerEpoch)>,
    /// The next stamp of each partition that was begun.
    lanes: HashMap<LaneId, Stamp>,
    lost: BTreeSet<LaneId>,
}

impl Numbering {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, current: None, lanes: HashMap::new(), lost: BTreeSet::new() }
    }

    /// How many of a partition's batches may be unanswered.
    pub(super) const fn in_flight_max(&self) -> usize {
        if self.enabled { IN_FLIGHT_PER_LANE } else { usize::MAX }
    }

    /// Whether batches can be stamped and sent.
    pub(super) fn is_ready(&self) -> bool {
        !self.enabled || (self.current.is_some() && self.lost.is_empty())
    }

    /// Whether the broker has to be asked for an id.
    pub(super) const fn needs_id(&self) -> bool {
        self.enabled && self.current.is_none()
    }

    /// Takes an id that was never used.
    pub(super) const fn begin(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.current = Some((id, epoch));
    }

    /// The stamp of a partition's next batch; `None` where batches are not numbered.
    pub(super) fn next(&mut self, lane: LaneId, records: usize) -> Option<Stamp> {
        let (id, epoch) = self.current?;
        let next = self.lanes.entry(lane).or_insert(Stamp { id, epoch, sequence: Sequence(0) });
        let stamp = *next;
        next.sequence = after(stamp.sequence, records);
        Some(stamp)
    }

    /// The broker has refused the number of a batch that was stamped with `id`.
    pub(super) fn lost(&mut self, lane: LaneId, id: ProducerId) {
        if self.lanes.get(&lane).is_none_or(|next| next.id != id) {
            // A batch from before the last time.
            return;
        }
        self.lanes.remove(&lane);
        self.lost.insert(lane);
        // Its sequences in this partition cannot be used again; those of other partitions go on with it.
        self.current = self.current.filter(|(current, _)| *current != id);
    }

    /// The partitions whose unanswered batches are to be stamped again now.
    pub(super) fn take_lost(&mut self) -> BTreeSet<LaneId> {
        if self.needs_id() { BTreeSet::new() } else { std::mem::take(&mut self.lost) }
    }
}

/// Sequences go up to the largest number and begin again at 0.
fn after(sequence: Sequence, records: usize) -> Sequence {
    let sum = i64::from(sequence.0).saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
    Sequence(i32::try_from(sum % (1 << 31)).unwrap_or(0))
}

#[cfg(test)]
#[path = "numbering_tests.rs"]
mod tests;
