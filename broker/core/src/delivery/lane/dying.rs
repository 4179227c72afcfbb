//! Dead letters: on their way, there, and back again.
//!
//! A record that dies gets the next number of its lane. Dead letters are copied in the order of these numbers, one
//! after the other, so that a copy that may have been made before a crash is recognised by its number.

use tidelog_model::{Offset, PartitionIndex, Timestamp};

use super::Lane;
use crate::delivery::event::{DeadRecord, Op};
use crate::delivery::policy::{Backoff, Cause, OnDead, Reason};
use crate::delivery::window::{Open, State};

/// A record on its way to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dying {
    /// Its number among the dead letters of the lane.
    pub sequence: u64,
    /// Its offset.
    pub offset: Offset,
    /// Why it dies.
    pub cause: Cause,
    /// How many attempts it had.
    pub attempts: u16,
    /// How often it was redriven.
    pub redrives: u8,
    /// When it failed first.
    pub first_failure: Timestamp,
    /// When it failed last.
    pub last_failure: Timestamp,
    /// What was said the last time.
    pub reason: Option<Reason>,
}

/// A record that is in the dead letters and not resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset in the partition that it is of.
    pub offset: Offset,
    /// Its number among the dead letters of the lane.
    pub sequence: u64,
    /// The partition of the dead letters that it is in.
    pub partition: PartitionIndex,
    /// Where in that.
    pub place: Offset,
    /// How often it was redriven.
    pub redrives: u8,
}

/// What becomes of a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redrive {
    /// It is to be handed out again.
    Done,
    /// It is no dead letter, or none any more.
    NotDead,
    /// This redrive has had it before.
    HadIt,
    /// It was redriven as often as it may be.
    TooOften {
        /// How often that is.
        limit: u8,
    },
}

impl<B: Backoff> Lane<B> {
    /// The first records on their way to the dead letters, in the order of their numbers.
    #[must_use]
    pub fn dying(&self, count: usize) -> Vec<Dying> {
        let numbers = self.dying.iter().take(count);
        let dying = |(sequence, offset): (&u64, &Offset)| {
            let open = self.window.get(*offset)?;
            let State::Dying(_, cause) = open.state else { return None };
            let failure = open.failure.as_ref();
            Some(Dying {
                sequence: *sequence,
                offset: *offset,
                cause,
                attempts: open.attempts,
                redrives: open.redrives,
                first_failure: failure.map_or(Timestamp::NONE, |failure| failure.first),
                last_failure: failure.map_or(Timestamp::NONE, |failure| failure.last),
                reason: failure.and_then(|failure| failure.reason.clone()),
            })
        };
        numbers.filter_map(dying).collect()
    }

    /// The dead letters of these numbers, both included, are in this partition of the dead letters, one after
    /// the other from `base` on. Those that are not on their way are passed over.
    pub fn died(&mut self, first: u64, last: u64, partition: PartitionIndex, base: Offset) {
        if self.dying.range(first..=last.max(first)).next().is_none() {
            return;
        }
        let was_full = self.window.counts().dying >= self.policy.window.dying;
        self.ops.push(Op::Dead { first, last, partition, base });
        self.bury(first, last, partition, base);
        // Who had to wait because there was no room may follow its key now.
        let waiting = was_full && self.policy.on_dead == OnDead::Follow;
        let keys: Vec<u32> = if waiting { self.quarantine.keys().copied().collect() } else { Vec::new() };
        for key in keys {
            if let Some(offset) = self.gates.first(key) {
                self.offer(offset, Timestamp::from_millis(0));
            }
        }
    }

    pub(super) fn bury(&mut self, first: u64, last: u64, partition: PartitionIndex, base: Offset) {
        let buried: Vec<(u64, Offset)> = self
            .dying
            .range(first..=last.max(first))
            .map(|(sequence, offset)| (*sequence, *offset))
            .collect();
        for (sequence, offset) in buried {
            let redrive = self.redrives.get(&offset).copied().unwrap_or(0);
            let Some(open) = self.close(offset) else { continue };
            let place = base.plus(sequence.saturating_sub(first));
            let Open { key, redrives, .. } = open;
            self.dead.insert(offset, DeadRecord { sequence, partition, place, key, redrives, redrive });
        }
    }

    /// The dead letters that are not resolved, from an offset on.
    pub fn dead_letters(&self, from: Offset) -> impl Iterator<Item = DeadLetter> {
        self.dead.range(from..).map(|(offset, dead)| DeadLetter {
            offset: *offset,
            sequence: dead.sequence,
            partition: dead.partition,
            place: dead.place,
            redrives: dead.redrives,
        })
    }

    /// Hands a dead letter out again, from its first attempt on, as part of the redrive `id` (not 0).
    pub fn redrive(&mut self, now: Timestamp, id: u64, offset: Offset) -> Redrive {
        self.tick(now);
        let in_window = self.redrives.get(&offset).is_some_and(|redrive| *redrive == id);
        let Some(dead) = self.dead.get(&offset) else {
            return if in_window { Redrive::HadIt } else { Redrive::NotDead };
        };
        if dead.redrive == id {
            return Redrive::HadIt;
        }
        if dead.redrives >= self.policy.max_redrives {
            return Redrive::TooOften { limit: self.policy.max_redrives };
        }
        self.ops.push(Op::Redriven { offset, redrive: id });
        self.revive(id, offset);
        self.offer(offset, Timestamp::from_millis(0));
        Redrive::Done
    }

    pub(super) fn revive(&mut self, id: u64, offset: Offset) {
        let Some(dead) = self.dead.remove(&offset) else { return };
        self.unquarantine(dead.key);
        let redrives = dead.redrives.saturating_add(1);
        self.redrives.insert(offset, id);
        self.open(offset, Open { redrives, ..Open::new(dead.key) });
    }

    /// Takes note that a dead letter is done with; whether it was one.
    pub fn resolve(&mut self, offset: Offset) -> bool {
        let resolved = self.forget_dead(offset);
        if resolved {
            self.ops.push(Op::Resolved { offset });
        }
        resolved
    }

    pub(super) fn forget_dead(&mut self, offset: Offset) -> bool {
        let Some(dead) = self.dead.remove(&offset) else { return false };
        self.unquarantine(dead.key);
        // The key may go on.
        if let Some(first) = self.gates.first(dead.key) {
            self.offer(first, Timestamp::from_millis(0));
        }
        true
    }

    fn unquarantine(&mut self, key: u32) {
        if let Some(count) = self.quarantine.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.quarantine.remove(&key);
            }
        }
    }
}
