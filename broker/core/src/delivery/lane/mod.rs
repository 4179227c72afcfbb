//! One queue group's view of one partition.
//!
//! ```text
//!            start                                  end
//! ── settled ──┤ settled, or in the window in a state ├── backlog: nobody had it yet, costs nothing ──
//! ```
//!
//! **Invariants:**
//! * A record below `end` is settled, dead, or in the window; `start` is the first in the window, or `end`, and moves
//!   forward only. Only a dead letter that is redriven may be in the window below `start`.
//! * A record is in the hands of one consumer at a time, under one lease; a lease id is never used twice, also by a
//!   later run, because its upper half is the run's leader epoch.
//! * Time never goes back, and never stands still: while the clock that it is told is behind what it once was, the
//!   lane's clock goes on from there. What it says of deadlines is by the clock that it is told.
//! * Replaying the events gives the lane without its leases ([`Lane::snapshot`] of both is equal).

mod acquire;
mod dying;
mod fail;
mod inspect;
mod replay;
mod retention;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{LeaderEpoch, Offset, Timestamp};

pub use self::acquire::{Acquire, Acquired, Blocked, Delivery, RecordKind, RecordSource, SourceRecord};
pub use self::dying::{DeadLetter, Dying, Redrive};
pub use self::inspect::Retry;
pub use self::replay::ReplayError;
use self::settle::Memory;
pub use self::settle::{Outcome, Settle, SettleStatus, Settled, Verb};
use super::event::{DeadRecord, LaneEvent, LaneId, Op};
use super::order::Gates;
use super::policy::{Backoff, LanePolicy, OnDead, OrderMode};
use super::window::{Open, Ready, State, Window};

/// A lease: some records in a consumer's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    member: u64,
    /// All its records lie between these, both included.
    first: Offset,
    last: Offset,
    /// How many are still out.
    records: usize,
    since: Timestamp,
    deadline: Timestamp,
}

/// How many records of a lane are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounts {
    /// The first offset that is not settled.
    pub start: Offset,
    /// The first offset that nobody had yet.
    pub end: Offset,
    /// Records in the window that may be handed out, or wait for an earlier one.
    pub available: usize,
    /// Records in consumers' hands.
    pub leased: usize,
    /// Records that wait for their next attempt.
    pub delayed: usize,
    /// Records on their way to the dead letters.
    pub dying: usize,
    /// Dead letters that are not resolved.
    pub dead: usize,
    /// When the next delayed record is due.
    pub next_due: Option<Timestamp>,
    /// Records that retention deleted before anybody had them.
    pub skipped: u64,
}

/// A queue group's view of a partition. It owns no clock and does no I/O.
#[derive(Debug)]
pub struct Lane<B> {
    id: LaneId,
    policy: LanePolicy,
    backoff: B,
    start: Offset,
    end: Offset,
    window: Window,
    /// Records that may be handed out now, again or since they were given back.
    ready: Ready,
    gates: Gates,
    leases: BTreeMap<u64, Lease>,
    lease_ends: BTreeSet<(Timestamp, u64)>,
    /// The lower half of the next lease id.
    next_lease: u32,
    run: LeaderEpoch,
    dying: BTreeMap<u64, Offset>,
    next_sequence: u64,
    dead: BTreeMap<Offset, DeadRecord>,
    /// The redrive that a record of the window was part of last.
    redrives: BTreeMap<Offset, u64>,
    /// Keys with unresolved dead letters and how many, in [`OnDead::Follow`].
    quarantine: BTreeMap<u32, usize>,
    clock: Timestamp,
    /// The time that was told last.
    told: Timestamp,
    memory: Memory,
    skipped: u64,
    ops: Vec<Op>,
}

impl<B: Backoff> Lane<B> {
    /// A lane that begins at `start`, in the run of this leader epoch.
    #[must_use]
    pub fn new(id: LaneId, policy: LanePolicy, backoff: B, start: Offset, run: LeaderEpoch) -> Self {
        let mut lane = Self::empty(id, policy, backoff, run);
        lane.ops.push(Op::Began { start });
        lane.begin(start);
        lane
    }

    fn empty(id: LaneId, policy: LanePolicy, backoff: B, run: LeaderEpoch) -> Self {
        Self {
            id,
            policy,
            backoff,
            start: Offset::ZERO,
            end: Offset::ZERO,
            window: Window::default(),
            ready: Ready::default(),
            gates: Gates::default(),
            leases: BTreeMap::new(),
            lease_ends: BTreeSet::new(),
            next_lease: 0,
            run,
            dying: BTreeMap::new(),
            next_sequence: 0,
            dead: BTreeMap::new(),
            redrives: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            clock: Timestamp::from_millis(0),
            told: Timestamp::from_millis(0),
            memory: Memory::default(),
            skipped: 0,
            ops: Vec::new(),
        }
    }

    /// The partition it is of.
    #[must_use]
    pub const fn id(&self) -> LaneId {
        self.id
    }

    /// The first offset that nobody had yet: where new records are read.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// What has changed since the last call, to be made durable in this order before any answer leaves that
    /// [`Settled::must_wait`].
    pub fn take_event(&mut self) -> Option<LaneEvent> {
        let ops = std::mem::take(&mut self.ops);
        (!ops.is_empty()).then_some(LaneEvent { lane: self.id, ops })
    }

    /// Other rules from now on, of the same order mode. What is on its way stays: a lower limit kills no record
    /// that somebody has.
    pub fn reconfigure(&mut self, policy: LanePolicy, backoff: B) {
        (self.policy, self.backoff) = (policy, backoff);
    }

    /// Begins anew at `start`: forgets every record and takes every lease back. Dead letters stay. Not while
    /// records are on their way to the dead letters, whose numbers have no gaps; whether it was done.
    #[must_use]
    pub fn reset(&mut self, start: Offset) -> bool {
        if !self.dying.is_empty() {
            return false;
        }
        self.ops.push(Op::Began { start });
        self.begin(start);
        true
    }

    fn begin(&mut self, start: Offset) {
        self.window = Window::default();
        (self.ready, self.gates) = (Ready::default(), Gates::default());
        self.leases.clear();
        self.lease_ends.clear();
        self.dying.clear();
        self.redrives.clear();
        self.memory = Memory::default();
        self.quarantine.clear();
        let keys: Vec<u32> = self.dead.values().map(|dead| dead.key).collect();
        keys.into_iter().for_each(|key| self.quarantine(key));
        (self.start, self.end) = (start, start);
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let lease = self.lease_ends.first().map(|(deadline, _)| *deadline);
        [lease, self.window.next_due()].into_iter().flatten().min().map(|deadline| self.as_told(deadline))
    }

    /// When it will be `time` by the clock that is told, if nobody sets it again.
    fn as_told(&self, time: Timestamp) -> Timestamp {
        time.plus_millis(self.told.millis().saturating_sub(self.clock.millis()))
    }

    /// Lets time pass: leases end, delayed records are due.
    pub fn tick(&mut self, now: Timestamp) {
        let passed = now.millis().saturating_sub(self.told.millis()).max(0);
        self.clock = self.clock.plus_millis(passed).max(now);
        self.told = now;
        self.end_leases();
        while let Some((due, offset)) = self.window.pop_due(self.clock) {
            self.come_due(due, offset);
        }
    }

    /// How many records are where.
    #[must_use]
    pub fn counts(&self) -> LaneCounts {
        let counts = self.window.counts();
        LaneCounts {
            start: self.start,
            end: self.end,
            available: counts.available,
            leased: counts.leased,
            delayed: counts.delayed,
            dying: counts.dying,
            dead: self.dead.len(),
            next_due: self.window.next_due().map(|due| self.as_told(due)),
            skipped: self.skipped,
        }
    }

    /// The hashes of keys for which most records wait, with the record that they wait for and their number.
    #[must_use]
    pub fn gating_keys(&self, count: usize) -> Vec<(u32, Offset, usize)> {
        self.gates.longest(count)
    }

    /// Puts a record into the window.
    fn open(&mut self, offset: Offset, open: Open) {
        if self.policy.order == OrderMode::Key {
            self.gates.join(open.key, offset);
        }
        self.window.insert(offset, open);
    }

    /// Takes a record out of the window and lets the next of its key go.
    fn close(&mut self, offset: Offset) -> Option<Open> {
        let open = self.window.remove(offset)?;
        self.ready.remove(offset);
        self.redrives.remove(&offset);
        if let State::Leased(lease) = open.state {
            self.leave_lease(lease);
        }
        if let State::Dying(sequence, _) = open.state {
            self.dying.remove(&sequence);
        }
        if let Some(next) = self.gates.leave(open.key, offset) {
            self.offer(next, Timestamp::from_millis(0));
        }
        self.advance();
        Some(open)
    }

    /// Moves the start to the first record that is not settled.
    fn advance(&mut self) {
        let first = self.window.first_from(self.start).map_or(self.end, |(offset, _)| offset);
        self.start = self.start.max(first.min(self.end));
    }

    /// Lets a record be handed out that has been due since then, if it is available and its order allows.
    fn offer(&mut self, offset: Offset, due: Timestamp) {
        let Some(open) = self.window.get(offset) else { return };
        if open.state != State::Available || !self.gates.is_first(open.key, offset) {
            return;
        }
        if self.follows(open.key) && open.redrives == 0 {
            self.die_with_its_key(offset);
        } else {
            self.ready.insert(due, offset);
        }
    }

    /// Whether records of the key die with it.
    fn follows(&self, key: u32) -> bool {
        self.policy.on_dead == OnDead::Follow
            && self.policy.order == OrderMode::Key
            && key != 0
            && self.quarantine.contains_key(&key)
    }

    /// A lease has one record less.
    fn leave_lease(&mut self, id: u64) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.records = lease.records.saturating_sub(1);
        if lease.records == 0 {
            let deadline = lease.deadline;
            self.leases.remove(&id);
            self.lease_ends.remove(&(deadline, id));
        }
    }
}

#[cfg(test)]
mod testkit;
#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
