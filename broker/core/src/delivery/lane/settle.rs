//! Taking records back from consumers.
//!
//! A settle names the lease, not the consumer: who has lost a record cannot settle it, also when it has got the same
//! record again. A settle that was done is remembered for a while, so that one that is sent again gets its answer.

use std::collections::{BTreeMap, VecDeque};

use tidelog_model::Offset;

use super::Lane;
use crate::delivery::event::Op;
use crate::delivery::policy::{Backoff, Cause, Reason};
use crate::delivery::window::State;

/// How many leases are remembered, and how many runs of records of one outcome in all.
const LEASES_REMEMBERED: usize = 4_096;
const RUNS_REMEMBERED: usize = 65_536;

/// What a consumer says of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// They are done.
    Ack,
    /// They failed and are to come again.
    Nack {
        /// When, in milliseconds from now; as the group's backoff says when `None`.
        delay_ms: Option<i64>,
        /// Why.
        reason: Option<Reason>,
    },
    /// They are given back unharmed.
    Release,
    /// They failed and will fail again.
    Reject {
        /// Why.
        reason: Option<Reason>,
    },
    /// The consumer needs more time, for all records of the lease.
    Renew {
        /// How much from now on, in milliseconds; the group's default when `None`.
        lease_ms: Option<i64>,
    },
}

/// Settles the records of a lease between two offsets, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// The lease.
    pub lease: u64,
    /// The first.
    pub first: Offset,
    /// The last.
    pub last: Offset,
    /// What is said of them.
    pub verb: Verb,
}

/// What has become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is settled.
    Acked,
    /// It comes again later.
    Delayed,
    /// It becomes a dead letter.
    Dead,
    /// It may be handed out again.
    Released,
}

/// The answer for some records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleStatus {
    /// It is so.
    Done(Outcome),
    /// The lease goes on.
    Renewed,
    /// It was said before; this is what has become of them.
    AlreadySettled(Outcome),
    /// The lease has ended, or the records were never under it: nothing was changed.
    StaleLease,
    /// Too many records are on their way to the dead letters: nothing was changed, say it again later.
    RetryLater,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// The answers, by first and last offset.
    pub results: Vec<(Offset, Offset, SettleStatus)>,
    /// The answer must not leave before the events so far are durable.
    pub must_wait: bool,
    /// How many records are acknowledged by it.
    pub acked: u64,
    /// How many failed and come again.
    pub delayed: u64,
    /// How many died.
    pub dead: u64,
}

impl Settled {
    fn add(&mut self, offset: Offset, status: SettleStatus) {
        let count = match status {
            SettleStatus::Done(Outcome::Acked) => Some(&mut self.acked),
            SettleStatus::Done(Outcome::Delayed) => Some(&mut self.delayed),
            SettleStatus::Done(Outcome::Dead) => Some(&mut self.dead),
            _ => None,
        };
        count.into_iter().for_each(|count| *count = count.saturating_add(1));
        match self.results.last_mut() {
            Some((_, last, before)) if *before == status && last.next() == offset => *last = offset,
            _ => self.results.push((offset, offset, status)),
        }
    }

    /// Puts the answers in order, joins those that are equal over what others have in between, and says of every
    /// offset outside of them that the lease does not have it. What was settled before is not joined: a record in
    /// between may have been lost since.
    fn fill(&mut self, first: Offset, last: Offset) {
        self.results.sort_unstable_by_key(|(first, ..)| *first);
        let mut filled = Vec::with_capacity(self.results.len());
        let mut next = Some(first);
        for (from, to, status) in std::mem::take(&mut self.results) {
            if let Some((_, last_to, before)) = filled.last_mut()
                && *before == status
                && !matches!(status, SettleStatus::AlreadySettled(_))
            {
                *last_to = to;
                next = (to < last).then(|| to.next());
                continue;
            }
            if let Some(stale) = next.filter(|next| *next < from) {
                filled.push((stale, from.before(), SettleStatus::StaleLease));
            }
            filled.push((from, to, status));
            next = (to < last).then(|| to.next());
        }
        if let Some(stale) = next.filter(|next| *next <= last) {
            filled.push((stale, last, SettleStatus::StaleLease));
        }
        self.results = filled;
    }
}

/// What has become of the records of leases.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    leases: BTreeMap<u64, Vec<(Offset, Offset, Outcome)>>,
    order: VecDeque<u64>,
    runs: usize,
}

impl Memory {
    fn add(&mut self, lease: u64, offset: Offset, outcome: Outcome) {
        if !self.leases.contains_key(&lease) {
            self.order.push_back(lease);
        }
        let runs = self.leases.entry(lease).or_default();
        match runs.last_mut() {
            Some((_, last, before)) if *before == outcome && last.next() == offset => *last = offset,
            _ => {
                runs.push((offset, offset, outcome));
                self.runs = self.runs.saturating_add(1);
            }
        }
        while self.order.len() > LEASES_REMEMBERED || self.runs > RUNS_REMEMBERED {
            let oldest = self.order.pop_front().and_then(|oldest| self.leases.remove(&oldest));
            let Some(forgotten) = oldest else { return };
            self.runs = self.runs.saturating_sub(forgotten.len());
        }
    }

    fn within(&self, lease: u64, first: Offset, last: Offset) -> Vec<(Offset, Offset, Outcome)> {
        let runs = self.leases.get(&lease).into_iter().flatten();
        let mut found: Vec<_> = runs
            .filter(|(from, to, _)| *from <= last && *to >= first)
            .map(|(from, to, outcome)| ((*from).max(first), (*to).min(last), *outcome))
            .collect();
        found.sort_unstable();
        found
    }
}

impl<B: Backoff> Lane<B> {
    /// Takes records back. Time must have passed to now ([`Lane::tick`]): a lease that has ended settles nothing.
    pub fn settle(&mut self, settle: &Settle) -> Settled {
        let Settle { lease, first, last, verb } = settle;
        let mut settled = Settled::default();
        let remembered = self.memory.within(*lease, *first, *last);
        for (from, to, outcome) in &remembered {
            settled.results.push((*from, *to, SettleStatus::AlreadySettled(*outcome)));
        }
        // What was said before must be durable before it is said again.
        settled.must_wait = !remembered.is_empty();
        let held = self.held(*lease, *first, *last);
        if held.is_empty() {
            settled.fill(*first, *last);
            return settled;
        }
        match verb {
            Verb::Renew { lease_ms } => self.renew(*lease, *lease_ms),
            Verb::Ack => self.ack(*lease, &held),
            Verb::Nack { .. } | Verb::Release | Verb::Reject { .. } => {}
        }
        for offset in held {
            let status = match verb {
                Verb::Ack => SettleStatus::Done(Outcome::Acked),
                Verb::Renew { .. } => SettleStatus::Renewed,
                Verb::Nack { delay_ms, reason } => {
                    self.give_back(*lease, offset, |lane| lane.nack(offset, *delay_ms, reason.clone()))
                }
                Verb::Reject { reason } => {
                    let rejected = |lane: &mut Self| lane.kill(offset, Cause::Rejected, reason.clone());
                    self.give_back(*lease, offset, rejected)
                }
                Verb::Release => self.give_back(*lease, offset, |lane| lane.release(offset)),
            };
            settled.add(offset, status);
        }
        // An acknowledgement may be lost without harm: the record comes again.
        settled.must_wait |= !matches!(verb, Verb::Renew { .. });
        settled.fill(*first, *last);
        settled
    }

    /// The records of a lease between two offsets that are still out.
    fn held(&self, lease: u64, first: Offset, last: Offset) -> Vec<Offset> {
        let Some(held) = self.leases.get(&lease) else { return Vec::new() };
        let (first, last) = (first.max(held.first), last.min(held.last));
        if first > last {
            return Vec::new();
        }
        let records = self.window.range(first, last);
        records.filter(|(_, open)| open.state == State::Leased(lease)).map(|(offset, _)| offset).collect()
    }

    /// Settles `held`, which are in order: a run for each group with nothing unsettled in between.
    fn ack(&mut self, lease: u64, held: &[Offset]) {
        let mut run: Option<(Offset, Offset)> = None;
        for offset in held.iter().copied() {
            self.memory.add(lease, offset, Outcome::Acked);
            let joined = run.filter(|(_, last)| {
                let next = self.window.first_from(last.next());
                next.is_none_or(|(next, _)| next >= offset)
            });
            if joined.is_none() {
                run.into_iter().for_each(|(first, last)| self.ops.push(Op::Settled { first, last }));
            }
            run = Some((joined.map_or(offset, |(first, _)| first), offset));
            self.close(offset);
        }
        run.into_iter().for_each(|(first, last)| self.ops.push(Op::Settled { first, last }));
    }

    /// Lets `give` decide what becomes of a record of a lease.
    fn give_back(
        &mut self,
        lease: u64,
        offset: Offset,
        give: impl FnOnce(&mut Self) -> Option<Outcome>,
    ) -> SettleStatus {
        // A rewind may have taken it back a moment ago.
        if self.window.get(offset).is_none_or(|open| open.state != State::Leased(lease)) {
            self.memory.add(lease, offset, Outcome::Released);
            return SettleStatus::Done(Outcome::Released);
        }
        match give(self) {
            Some(outcome) => {
                self.memory.add(lease, offset, outcome);
                SettleStatus::Done(outcome)
            }
            None => SettleStatus::RetryLater,
        }
    }

    fn renew(&mut self, id: u64, lease_ms: Option<i64>) {
        let policy = self.policy.lease;
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let wanted =
            lease_ms.unwrap_or(policy.default_ms).clamp(policy.min_ms, policy.max_ms.max(policy.min_ms));
        let end = self.clock.plus_millis(wanted).min(lease.since.plus_millis(policy.total_ms));
        let deadline = end.max(lease.deadline);
        self.lease_ends.remove(&(lease.deadline, id));
        lease.deadline = deadline;
        self.lease_ends.insert((deadline, id));
    }

    /// When a lease ends, if it is still there.
    #[must_use]
    pub fn lease_deadline(&self, lease: u64) -> Option<tidelog_model::Timestamp> {
        self.leases.get(&lease).map(|lease| self.as_told(lease.deadline))
    }
}
