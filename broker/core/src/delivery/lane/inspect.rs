//! What the owner of a lane and an operator look at.

use tidelog_model::{Offset, Timestamp};

use super::Lane;
use crate::delivery::event::Op;
use crate::delivery::policy::{Backoff, Reason};
use crate::delivery::window::State;

/// A record that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Its offset.
    pub offset: Offset,
    /// How many attempts it had.
    pub attempts: u16,
    /// When it may be handed out again.
    pub due: Timestamp,
    /// When it failed first.
    pub first_failure: Timestamp,
    /// When it failed last.
    pub last_failure: Timestamp,
    /// What was said the last time.
    pub reason: Option<Reason>,
}

impl<B: Backoff> Lane<B> {
    /// The number that the next dead letter will have.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The first record that is not settled, also one that was redriven below [`Self::end`]'s window; the end when
    /// there is none. Whoever keeps the log from here on loses no record.
    #[must_use]
    pub fn first_unsettled(&self) -> Offset {
        self.window.first_from(Offset::ZERO).map_or(self.end, |(offset, _)| offset)
    }

    /// Whether a record that was handed out before, or waited for one, may be handed out now.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.ready.len() > 0
    }

    /// The leases: whose, and how many records are still out under each.
    pub fn leases(&self) -> impl Iterator<Item = (u64, usize)> {
        self.leases.values().map(|lease| (lease.member, lease.records))
    }

    /// How many leases this run has given out.
    #[must_use]
    pub const fn leases_given(&self) -> u32 {
        self.next_lease
    }

    /// A lane that is read back again in the same run goes on behind the leases that it gave out before.
    pub fn skip_leases(&mut self, given: u32) {
        self.next_lease = self.next_lease.max(given);
    }

    /// The records that wait for their next attempt, from an offset on, in the order of their offsets.
    pub fn retries(&self, from: Offset) -> impl Iterator<Item = Retry> {
        self.window.range(from, Offset::MAX).filter_map(|(offset, open)| {
            let State::Delayed(due) = open.state else { return None };
            let failure = open.failure.as_ref();
            Some(Retry {
                offset,
                attempts: open.attempts,
                due: self.as_told(due),
                first_failure: failure.map_or(Timestamp::NONE, |failure| failure.first),
                last_failure: failure.map_or(Timestamp::NONE, |failure| failure.last),
                reason: failure.and_then(|failure| failure.reason.clone()),
            })
        })
    }

    /// Lets records that wait for their next attempt be handed out at once: those between two offsets, both
    /// included, at most `count` of them. How many, and where to go on.
    pub fn retry_now(
        &mut self,
        now: Timestamp,
        first: Offset,
        last: Offset,
        count: usize,
    ) -> (usize, Option<Offset>) {
        self.tick(now);
        let waiting = self.window.range(first, last);
        let waiting = waiting.filter(|(_, open)| matches!(open.state, State::Delayed(_)));
        let mut waiting: Vec<Offset> =
            waiting.map(|(offset, _)| offset).take(count.saturating_add(1)).collect();
        let next = if waiting.len() > count { waiting.pop() } else { None };
        let due = self.clock;
        for offset in &waiting {
            let changed = self.window.change(*offset, |open| {
                open.state = State::Delayed(due);
                (open.attempts, open.alone, open.failure.clone())
            });
            let Some((attempts, alone, failure)) = changed else { continue };
            let (at, reason) = failure.map_or((due, None), |failure| (failure.last, failure.reason));
            self.ops.push(Op::Delayed { offset: *offset, attempts, alone, at, due, reason });
        }
        self.tick(now);
        (waiting.len(), next)
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
