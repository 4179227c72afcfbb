//! What becomes of a record that failed.

use tidelog_model::{Offset, Timestamp};

use super::Lane;
use super::settle::Outcome;
use crate::delivery::event::Op;
use crate::delivery::policy::{Backoff, Cause, DelayedEdge, OrderMode, Reason};
use crate::delivery::window::{Failure, State};

/// How long a record waits that should die while there is no room for it, in milliseconds.
const CONDEMNED_MS: i64 = 1_000;

impl<B: Backoff> Lane<B> {
    /// The consumer says that a record failed. `None` when that would kill it and there is no room.
    pub(super) fn nack(
        &mut self,
        offset: Offset,
        delay_ms: Option<i64>,
        reason: Option<Reason>,
    ) -> Option<Outcome> {
        let attempts = self.window.get(offset)?.attempts;
        if attempts >= self.policy.max_attempts {
            return self.kill(offset, Cause::MaxAttempts, reason);
        }
        if self.is_crowded() && self.policy.delayed_edge == DelayedEdge::EarlyDeadLetter {
            return self.kill(offset, Cause::DelayedEdge, reason);
        }
        let delay_ms = delay_ms.map_or_else(
            || self.backoff.delay_ms(offset, u32::from(attempts)),
            |asked| asked.clamp(0, self.policy.max_delay_ms),
        );
        self.delay(offset, delay_ms.max(0), reason, false);
        Some(Outcome::Delayed)
    }

    /// A consumer has fallen silent with a record in its hands.
    fn lose(&mut self, offset: Offset) {
        let Some(attempts) = self.window.get(offset).map(|open| open.attempts) else { return };
        if attempts < self.policy.max_attempts {
            let crowded = self.is_crowded() && self.policy.delayed_edge == DelayedEdge::EarlyDeadLetter;
            if crowded && self.kill(offset, Cause::DelayedEdge, None).is_some() {
                return;
            }
            let delay_ms = self.backoff.delay_ms(offset, u32::from(attempts));
            self.delay(offset, delay_ms.max(0), None, true);
        } else {
            self.condemn(offset);
        }
    }

    /// Whether as many records are delayed as may be.
    fn is_crowded(&self) -> bool {
        self.window.counts().delayed >= self.policy.window.delayed
    }

    /// A record dies whose last attempt ended without a word; while there is no room it waits for that.
    pub(super) fn condemn(&mut self, offset: Offset) {
        if self.kill(offset, Cause::LeaseExpired, None).is_none() {
            self.delay(offset, CONDEMNED_MS, None, true);
        }
    }

    fn delay(&mut self, offset: Offset, delay_ms: i64, reason: Option<Reason>, silent: bool) {
        let (at, due) = (self.clock, self.clock.plus_millis(delay_ms));
        let late = self.policy.max_attempts.div_ceil(2);
        let changed = self.window.change(offset, |open| {
            let before = std::mem::replace(&mut open.state, State::Delayed(due));
            open.alone = silent && open.attempts >= late;
            fail(&mut open.failure, at, reason.clone());
            (before, open.attempts, open.alone)
        });
        let Some((before, attempts, alone)) = changed else { return };
        self.ops.push(Op::Delayed { offset, attempts, alone, at, due, reason });
        self.left(before);
        self.rewind(before, offset);
    }

    /// In order, gives back uncounted what was handed out behind a record that a consumer had and has no more.
    fn rewind(&mut self, before: State, offset: Offset) {
        if self.policy.order != OrderMode::Partition || !matches!(before, State::Leased(_)) {
            return;
        }
        let behind = self.window.range(offset.next(), Offset::MAX);
        let leased = behind.filter(|(_, open)| matches!(open.state, State::Leased(_)));
        let leased: Vec<Offset> = leased.map(|(offset, _)| offset).collect();
        for offset in leased {
            self.put_back(offset, false);
        }
    }

    /// The consumer gives a record back unharmed.
    pub(super) fn release(&mut self, offset: Offset) -> Option<Outcome> {
        if self.window.get(offset)?.releases >= self.policy.max_releases {
            return self.nack(offset, None, Some(Reason::new("RELEASED", "given back too often")));
        }
        let before = self.window.get(offset)?.state;
        self.put_back(offset, true);
        self.rewind(before, offset);
        Some(Outcome::Released)
    }

    /// A record may be handed out again, and the attempt that it was out for does not count.
    fn put_back(&mut self, offset: Offset, counts: bool) {
        let changed = self.window.change(offset, |open| {
            let before = std::mem::replace(&mut open.state, State::Available);
            open.attempts = open.attempts.saturating_sub(1);
            open.releases = open.releases.saturating_add(u8::from(counts));
            (before, open.attempts, open.releases)
        });
        let Some((before, attempts, releases)) = changed else { return };
        self.ops.push(Op::Released { offset, attempts, releases });
        self.left(before);
        self.offer(offset, Timestamp::from_millis(0));
    }

    /// Sends a record to the dead letters. `None` when too many are on their way.
    pub(super) fn kill(&mut self, offset: Offset, cause: Cause, reason: Option<Reason>) -> Option<Outcome> {
        if self.window.counts().dying >= self.policy.window.dying {
            return None;
        }
        let (sequence, at) = (self.next_sequence, self.clock);
        let (before, key, attempts) = self.window.change(offset, |open| {
            let before = std::mem::replace(&mut open.state, State::Dying(sequence, cause));
            fail(&mut open.failure, at, reason.clone());
            (before, open.key, open.attempts)
        })?;
        self.next_sequence = sequence.saturating_add(1);
        self.ops.push(Op::Dying { offset, attempts, sequence, cause, key, at, reason });
        self.dying.insert(sequence, offset);
        self.quarantine(key);
        self.ready.remove(offset);
        self.left(before);
        self.rewind(before, offset);
        Some(Outcome::Dead)
    }

    /// A record whose key has died follows it, if there is room; if not it waits where it is.
    pub(super) fn die_with_its_key(&mut self, offset: Offset) {
        self.kill(offset, Cause::KeyFollow, None);
    }

    /// A delayed record is due.
    pub(super) fn come_due(&mut self, due: Timestamp, offset: Offset) {
        let silent = self.window.get(offset).is_some_and(|open| open.alone);
        let spent = self.window.get(offset).is_some_and(|open| open.attempts >= self.policy.max_attempts);
        // There was no room for it before.
        if silent && spent {
            return self.condemn(offset);
        }
        self.offer(offset, due);
    }

    /// Ends the leases whose time is over.
    pub(super) fn end_leases(&mut self) {
        while let Some((deadline, lease)) = self.lease_ends.pop_first() {
            if deadline > self.clock {
                self.lease_ends.insert((deadline, lease));
                return;
            }
            self.end_lease(lease);
        }
    }

    /// Ends the leases of a member that is gone for good: that counts as an attempt.
    pub fn member_left(&mut self, now: Timestamp, member: u64) {
        self.tick(now);
        let leases = self.leases.iter().filter(|(_, lease)| lease.member == member);
        let leases: Vec<u64> = leases.map(|(id, _)| *id).collect();
        leases.into_iter().for_each(|lease| self.end_lease(lease));
    }

    fn end_lease(&mut self, id: u64) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.lease_ends.remove(&(lease.deadline, id));
        let records = self.window.range(lease.first, lease.last);
        let held = records.filter(|(_, open)| open.state == State::Leased(id));
        let held: Vec<Offset> = held.map(|(offset, _)| offset).collect();
        for offset in held {
            // A rewind may have taken it back a moment ago.
            if self.window.get(offset).is_some_and(|open| open.state == State::Leased(id)) {
                self.lose(offset);
            }
        }
    }

    /// Whoever had a record has it no more.
    fn left(&mut self, before: State) {
        if let State::Leased(lease) = before {
            self.leave_lease(lease);
        }
    }

    /// A key has one dead letter more.
    pub(super) fn quarantine(&mut self, key: u32) {
        if key != 0 {
            let count = self.quarantine.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }
}

/// Notes a failure.
pub(super) fn fail(failure: &mut Option<Failure>, at: Timestamp, reason: Option<Reason>) {
    let first = failure.as_ref().map_or(at, |failure| failure.first);
    *failure = Some(Failure { first, last: at, reason });
}
