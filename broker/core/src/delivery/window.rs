//! The records of a lane that are not settled, by offset.
//!
//! **Invariants:** the counts are those of the records that are there; a record is in `ready` only while it is
//! available, and every delayed record has its entry in `due`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use tidelog_model::{Offset, Timestamp};

use super::policy::{Cause, Reason};
use super::records::ByOffset;

/// What a record that is not settled is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It may be handed out, if its order allows.
    Available,
    /// A consumer has it, under this lease.
    Leased(u64),
    /// It may be handed out from then on.
    Delayed(Timestamp),
    /// It is to be copied to the dead letters, as this number of them.
    Dying(u64, Cause),
}

/// When a record failed, and why the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) reason: Option<Reason>,
}

/// A record that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) state: State,
    pub(super) failure: Option<Failure>,
    /// The hash of its key; 0 when it has none, or when nobody asks.
    pub(super) key: u32,
    /// How many attempts have begun.
    pub(super) attempts: u16,
    /// How often it was handed out, whether that counts as an attempt or not.
    pub(super) acquired: u16,
    pub(super) releases: u8,
    pub(super) redrives: u8,
    /// Its last attempt ended without a word, late: it is handed out alone.
    pub(super) alone: bool,
}

impl Open {
    pub(super) const fn new(key: u32) -> Self {
        Self {
            state: State::Available,
            failure: None,
            key,
            attempts: 0,
            acquired: 0,
            releases: 0,
            redrives: 0,
            alone: false,
        }
    }

    /// Whether it has been in a consumer's hands.
    pub(super) const fn is_attempted(&self) -> bool {
        self.attempts > 0 || self.redrives > 0
    }
}

/// How many records are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) available: usize,
    pub(super) leased: usize,
    pub(super) delayed: usize,
    pub(super) dying: usize,
}

impl Counts {
    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Available => &mut self.available,
            State::Leased(_) => &mut self.leased,
            State::Delayed(_) => &mut self.delayed,
            State::Dying(..) => &mut self.dying,
        }
    }
}

/// The records that are not settled.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    open: ByOffset<Open>,
    counts: Counts,
    /// Delayed records, the first due first; may name records that are not delayed any more.
    due: BinaryHeap<Reverse<(Timestamp, Offset)>>,
}

impl Window {
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Open> {
        self.open.get(offset)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The first record at or after `from`.
    pub(super) fn first_from(&self, from: Offset) -> Option<(Offset, &Open)> {
        self.range(from, Offset::MAX).next()
    }

    /// The records of these offsets, both included.
    pub(super) fn range(&self, first: Offset, last: Offset) -> impl Iterator<Item = (Offset, &Open)> {
        self.open.range(first, last)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Offset, &Open)> {
        self.open.iter()
    }

    pub(super) fn insert(&mut self, offset: Offset, open: Open) {
        self.remove(offset);
        *self.counts.of(open.state) += 1;
        if let State::Delayed(due) = open.state {
            self.due.push(Reverse((due, offset)));
        }
        self.open.insert(offset, open);
    }

    pub(super) fn remove(&mut self, offset: Offset) -> Option<Open> {
        let open = self.open.remove(offset)?;
        *self.counts.of(open.state) -= 1;
        self.forget_stale();
        Some(open)
    }

    /// Changes a record; `None` when it is not there.
    pub(super) fn change<T>(&mut self, offset: Offset, change: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let open = self.open.get_mut(offset)?;
        let before = open.state;
        let result = change(open);
        let after = open.state;
        if before != after {
            *self.counts.of(before) -= 1;
            *self.counts.of(after) += 1;
            if let State::Delayed(due) = after {
                self.due.push(Reverse((due, offset)));
            }
            self.forget_stale();
        }
        Some(result)
    }

    /// When the first delayed record is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        // The heap's top is right unless it is stale, and then it is early: its owner looks in vain once.
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Makes a delayed record available that is due at the time `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Offset)> {
        while let Some(Reverse((due, offset))) = self.due.peek().copied() {
            if due > now {
                return None;
            }
            self.due.pop();
            if self.open.get(offset).is_some_and(|open| open.state == State::Delayed(due)) {
                self.change(offset, |open| open.state = State::Available);
                return Some((due, offset));
            }
        }
        None
    }

    /// Keeps stale entries from outgrowing the others.
    fn forget_stale(&mut self) {
        if self.due.len() > 64 && self.due.len() / 2 > self.counts.delayed {
            let open = &self.open;
            let is_live = |Reverse((due, offset)): &Reverse<(Timestamp, Offset)>| {
                open.get(*offset).is_some_and(|open| open.state == State::Delayed(*due))
            };
            self.due.retain(is_live);
        }
    }
}

/// Records that may be handed out again, the one that has been due for longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready {
    by_due: BTreeSet<(Timestamp, Offset)>,
    due: ByOffset<Timestamp>,
}

impl Ready {
    /// Adds a record; one that is there already keeps its place.
    pub(super) fn insert(&mut self, due: Timestamp, offset: Offset) {
        if self.due.get(offset).is_none() {
            self.due.insert(offset, due);
            self.by_due.insert((due, offset));
        }
    }

    pub(super) fn remove(&mut self, offset: Offset) {
        if let Some(due) = self.due.remove(offset) {
            self.by_due.remove(&(due, offset));
        }
    }

    /// Since when a record was due that had to wait.
    pub(super) fn due(&self, offset: Offset) -> Option<Timestamp> {
        self.due.get(offset).copied().filter(|due| due.millis() > 0)
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// The first after `after`.
    pub(super) fn next_after(&self, after: Option<(Timestamp, Offset)>) -> Option<(Timestamp, Offset)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_due.range((from, Unbounded)).next().copied()
    }
}
