//! A lane read back from its events, and the events that rebuild it.
//!
//! An event speaks of records that were handed out. Those below that were not spoken of were handed out too, or
//! waited, and are to be handed out again.

use thiserror::Error;
use tidelog_model::{LeaderEpoch, Offset, Timestamp};

use super::Lane;
use super::fail::fail;
use crate::delivery::event::{DeadRecord, KeptRecord, LaneEvent, LaneId, Op};
use crate::delivery::policy::{Backoff, Cause, LanePolicy, OrderMode};
use crate::delivery::window::{Open, State};

/// The most records that can be in a window, whatever its limit: more in an event is a broken event.
const WINDOW_MAX: u64 = 16_000_000;
/// How many operations an event of a snapshot has.
const SNAPSHOT_OPS: usize = 4_096;

/// An event that does not fit the lane.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a stored event speaks of offset {offset}, {ahead} records ahead of all others: the log is broken")]
pub struct ReplayError {
    /// The offset.
    pub offset: Offset,
    /// How far ahead it is.
    pub ahead: u64,
}

impl<B: Backoff> Lane<B> {
    /// A lane to be read back: [`Self::apply`] its events, then call [`Self::loaded`].
    #[must_use]
    pub fn replay(id: LaneId, policy: LanePolicy, backoff: B, run: LeaderEpoch) -> Self {
        Self::empty(id, policy, backoff, run)
    }

    /// Takes a stored event in.
    ///
    /// # Errors
    /// When the event cannot be one of this lane.
    pub fn apply(&mut self, event: &LaneEvent) -> Result<(), ReplayError> {
        event.ops.iter().try_for_each(|op| self.apply_op(op))
    }

    fn apply_op(&mut self, op: &Op) -> Result<(), ReplayError> {
        match op {
            Op::Began { start } => self.begin(*start),
            Op::From { start, at } => {
                self.clock = self.clock.max(*at);
                if self.end == Offset::ZERO && self.window.len() == 0 {
                    self.begin(*start);
                }
            }
            Op::Settled { first, last } => {
                self.raise(*first)?;
                let settled: Vec<Offset> =
                    self.window.range(*first, *last).map(|(offset, _)| offset).collect();
                settled.into_iter().for_each(|offset| drop(self.close(offset)));
                self.end = self.end.max(last.next());
                self.advance();
            }
            Op::Attempted { offset, attempts } => {
                self.stored(*offset, |open| {
                    open.state = State::Available;
                    open.attempts = *attempts;
                })?;
            }
            Op::Delayed { offset, attempts, alone, at, due, reason } => {
                self.clock = self.clock.max(*at);
                self.stored(*offset, |open| {
                    open.state = State::Delayed(*due);
                    (open.attempts, open.alone) = (*attempts, *alone);
                    fail(&mut open.failure, *at, reason.clone());
                })?;
            }
            Op::Released { offset, attempts, releases } => {
                self.stored(*offset, |open| {
                    open.state = State::Available;
                    (open.attempts, open.releases) = (*attempts, *releases);
                })?;
            }
            Op::Dying { offset, attempts, sequence, cause, key, at, reason } => {
                self.clock = self.clock.max(*at);
                self.stored(*offset, |open| {
                    open.state = State::Dying(*sequence, *cause);
                    open.attempts = *attempts;
                    fail(&mut open.failure, *at, reason.clone());
                })?;
                self.join(*offset, *key);
                self.dying.insert(*sequence, *offset);
                self.quarantine(*key);
                self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
            }
            Op::Dead { first, last, partition, base } => self.bury(*first, *last, *partition, *base),
            Op::Redriven { offset, redrive } => self.revive(*redrive, *offset),
            Op::Resolved { offset } => drop(self.forget_dead(*offset)),
            Op::NextSequence { sequence } => self.next_sequence = self.next_sequence.max(*sequence),
            Op::Kept { offset, record } => self.keep(*offset, record, None, 0)?,
            Op::KeptDying { offset, record, sequence, cause, key } => {
                self.keep(*offset, record, Some((*sequence, *cause)), *key)?;
            }
            Op::KeptDead { offset, record } => self.keep_dead(*offset, record),
        }
        Ok(())
    }

    /// Changes a record that was stored, which is there from then on.
    fn stored(&mut self, offset: Offset, change: impl FnOnce(&mut Open)) -> Result<(), ReplayError> {
        self.raise(offset.next())?;
        self.ready.remove(offset);
        self.window.change(offset, |open| {
            change(open);
            open.acquired = open.acquired.max(open.attempts);
        });
        Ok(())
    }

    /// Makes the records below `end` known of which nothing was said: somebody may have had them.
    fn raise(&mut self, end: Offset) -> Result<(), ReplayError> {
        let ahead = end.since(self.end);
        if ahead > WINDOW_MAX {
            return Err(ReplayError { offset: end, ahead });
        }
        while self.end < end {
            self.window.insert(self.end, Open::new(0));
            self.end = self.end.next();
        }
        Ok(())
    }

    fn keep(
        &mut self,
        offset: Offset,
        record: &KeptRecord,
        dying: Option<(u64, Cause)>,
        key: u32,
    ) -> Result<(), ReplayError> {
        self.raise(offset.next())?;
        let state = match (dying, record.due) {
            (Some((sequence, cause)), _) => State::Dying(sequence, cause),
            (None, Some(due)) => State::Delayed(due),
            (None, None) => State::Available,
        };
        self.ready.remove(offset);
        let known = self.window.get(offset).map_or(0, |open| open.key);
        let open = Open {
            state,
            failure: record.failure.clone(),
            attempts: record.attempts,
            acquired: record.attempts,
            releases: record.releases,
            redrives: record.redrives,
            alone: record.alone,
            ..Open::new(known)
        };
        self.window.insert(offset, open);
        if record.redrive != 0 {
            self.redrives.insert(offset, record.redrive);
        }
        if let Some((sequence, _)) = dying {
            self.join(offset, key);
            if self.dying.insert(sequence, offset).is_none() {
                self.quarantine(key);
            }
        }
        Ok(())
    }

    fn keep_dead(&mut self, offset: Offset, record: &DeadRecord) {
        if self.dead.insert(offset, record.clone()).is_none() {
            self.quarantine(record.key);
        }
    }

    /// The key of a record of the window is known.
    fn join(&mut self, offset: Offset, key: u32) {
        if self.policy.order == OrderMode::Key {
            self.window.change(offset, |open| open.key = key);
            self.gates.join(key, offset);
        }
    }

    /// The records whose keys have to be looked up, in [`OrderMode::Key`], before anything is handed out.
    #[must_use]
    pub fn keys_needed(&self) -> Vec<Offset> {
        if self.policy.order != OrderMode::Key {
            return Vec::new();
        }
        let dying = |state| matches!(state, State::Dying(..));
        let unknown = self.window.iter().filter(|(_, open)| open.key == 0 && !dying(open.state));
        unknown.map(|(offset, _)| offset).collect()
    }

    /// Ends the reading back, at the time `now`. `keys` gives the hash of the key of each record that
    /// [`Self::keys_needed`] has named (0 for none), or `None` when there is no such record.
    pub fn loaded(&mut self, now: Timestamp, mut keys: impl FnMut(Offset) -> Option<u32>) {
        (self.clock, self.told) = (self.clock.max(now), now);
        for offset in self.keys_needed() {
            match keys(offset) {
                Some(key) => self.join(offset, key),
                None => self.gone(offset),
            }
        }
        let latest = self.clock.plus_millis(self.policy.max_delay_ms);
        let late = self.policy.max_attempts.div_ceil(2);
        let offsets: Vec<Offset> = self.window.iter().map(|(offset, _)| offset).collect();
        for offset in offsets {
            let Some(open) = self.window.get(offset) else { continue };
            match open.state {
                State::Delayed(due) if due > latest => {
                    // The clock was set back, and nothing that is stored tells by how much.
                    self.window.change(offset, |open| open.state = State::Delayed(latest));
                }
                // Nobody has heard of its last attempt.
                State::Available if open.attempts >= self.policy.max_attempts => {
                    self.condemn(offset);
                }
                State::Available => {
                    self.window.change(offset, |open| open.alone |= open.attempts >= late);
                    self.offer(offset, Timestamp::from_millis(0));
                }
                State::Delayed(_) | State::Leased(_) | State::Dying(..) => {}
            }
        }
        self.tick(now);
    }

    /// Events that rebuild the lane. Read after those before them they change nothing, also when the last of
    /// them are missing.
    #[must_use]
    pub fn snapshot(&self) -> Vec<LaneEvent> {
        let mut ops = vec![
            Op::From { start: self.start, at: self.clock },
            Op::NextSequence { sequence: self.next_sequence },
        ];
        let mut settled = self.start;
        for (offset, open) in self.window.iter() {
            if offset >= self.start {
                if offset > settled {
                    ops.push(Op::Settled { first: settled, last: offset.before() });
                }
                settled = offset.next();
            }
            self.snapshot_record(offset, open, &mut ops);
        }
        if self.end > settled {
            ops.push(Op::Settled { first: settled, last: self.end.before() });
        }
        let dead = self.dead.iter();
        ops.extend(dead.map(|(offset, record)| Op::KeptDead { offset: *offset, record: record.clone() }));
        let mut events = Vec::new();
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(SNAPSHOT_OPS));
            events.push(LaneEvent { lane: self.id, ops: std::mem::replace(&mut ops, rest) });
        }
        events
    }

    fn snapshot_record(&self, offset: Offset, open: &Open, ops: &mut Vec<Op>) {
        let leased = matches!(open.state, State::Leased(_));
        // The first attempt of a record that is out is not stored.
        let attempts = if leased && open.attempts == 1 { 0 } else { open.attempts };
        let record = KeptRecord {
            attempts,
            releases: open.releases,
            redrives: open.redrives,
            redrive: self.redrives.get(&offset).copied().unwrap_or(0),
            alone: open.alone,
            due: if let State::Delayed(due) = open.state { Some(due) } else { self.ready.due(offset) },
            failure: open.failure.clone(),
        };
        ops.push(match open.state {
            State::Dying(sequence, cause) => Op::KeptDying { offset, record, sequence, cause, key: open.key },
            _ => Op::Kept { offset, record },
        });
    }
}
