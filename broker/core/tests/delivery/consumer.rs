//! What consumers do: take records, and settle them well, badly, late, twice or never.

use tidelog_core::delivery::{
    Acquire, Acquired, DelayedEdge, Delivery, OrderMode, Outcome, Reason, Settle, SettleStatus, Verb,
};

use super::planted::Plant;
use super::shadow::{At, Lease};
use super::world::{Broken, Held, World, delay_of, ensure, index, offset};

impl World {
    pub(crate) fn acquire(
        &mut self,
        member: u64,
        records_max: usize,
        healthy: bool,
    ) -> Result<usize, Broken> {
        self.tick()?;
        let lease_ms = if self.rng.percent(50) { None } else { Some(self.rng.millis(20_000)) };
        let bytes_max = if self.rng.percent(20) { 25 } else { 1_000 };
        let ask = Acquire { member, records_max, bytes_max, lease_ms };
        let has_budget = healthy || !self.rng.percent(10);
        let now = self.told();
        let acquired = self.lane.acquire(now, ask, &mut self.partition, &mut || has_budget);
        self.tell(|| format!("member {member} takes {acquired:?}"));
        ensure!(acquired.records.len() <= records_max, "more records than asked for: {acquired:?}");
        let batch: Vec<usize> = acquired.records.iter().map(|one| index(one.offset)).collect();
        for delivery in &acquired.records {
            ensure!(has_budget || delivery.attempt == 1, "a retry without budget: {delivery:?}");
            self.check_delivery(delivery, &batch)?;
        }
        if !batch.is_empty() {
            self.lease(&acquired, member, lease_ms)?;
        }
        self.check()?;
        Ok(batch.len())
    }

    fn check_delivery(&mut self, delivery: &Delivery, batch: &[usize]) -> Result<(), Broken> {
        let at = index(delivery.offset);
        let (shadow, record) = (&self.shadow, &self.shadow.records[at]);
        ensure!(at >= self.partition.log_start, "I18: {delivery:?} was deleted");
        if let At::Waiting { due, since, delay } = record.at {
            ensure!(due <= shadow.clock, "I4: {delivery:?} {} ms early", due - shadow.clock);
            ensure!(shadow.now - since >= delay, "I4: {delivery:?} after {} ms", shadow.now - since);
        }
        ensure!(!record.is_terminal(), "I1: {delivery:?} again, which is {record:?}");
        ensure!(shadow.is_free(at), "I6: {delivery:?} is {record:?}");
        ensure!(shadow.is_in_order(at, batch, self.policy.order), "I5: {delivery:?} before its time");
        ensure!(delivery.attempt == record.attempts + 1, "I11: {delivery:?} of {record:?}");
        ensure!(delivery.redrives == record.redrives, "I14: {delivery:?} of {record:?}");
        ensure!(!record.alone || batch.len() == 1, "{delivery:?} in {batch:?} must go alone");
        self.delivered[at] += 1;
        let most = u32::from(self.policy.max_attempts) + self.crashes;
        let is_counted = self.is_prompt && self.policy.order != OrderMode::Partition;
        ensure!(
            !is_counted || self.delivered[at] <= most,
            "I3: {delivery:?} the {}th time",
            self.delivered[at]
        );
        Ok(())
    }

    fn lease(&mut self, acquired: &Acquired, member: u64, lease_ms: Option<i64>) -> Result<(), Broken> {
        let lease = acquired.lease;
        let batch: Vec<usize> = acquired.records.iter().map(|one| index(one.offset)).collect();
        let before = self.leases_seen.insert(lease, batch.clone());
        ensure!(before.is_none(), "I6: the lease {lease} twice");
        ensure!(batch.is_sorted(), "a batch that is not in order: {batch:?}");
        let policy = self.policy.lease;
        let wanted = lease_ms.unwrap_or(policy.default_ms).clamp(policy.min_ms, policy.max_ms);
        ensure!(
            acquired.deadline.millis() == self.wall() + wanted || self.plant == Plant::FrozenClock,
            "the lease ends at {} and not in {wanted} ms",
            acquired.deadline
        );
        let since = self.shadow.clock;
        self.shadow.leases.insert(lease, Lease { member, since, deadline: since + wanted });
        if self.policy.order == OrderMode::Partition {
            let other = self.shadow.records.iter().enumerate().find(|(at, record)| {
                matches!(record.at, At::Leased(_)) && record.redrives == 0 && *at < batch[0]
            });
            ensure!(other.is_none(), "I5: {batch:?} are out with {other:?}");
        }
        for at in batch {
            let record = &mut self.shadow.records[at];
            record.at = At::Leased(lease);
            record.attempts += 1;
            self.held.push(Held { member, lease, offset: at });
        }
        Ok(())
    }

    /// A consumer says something of a record that it has, or believes to have.
    pub(crate) fn settle_one(&mut self, healthy: bool) -> Result<(), Broken> {
        self.tick()?;
        let ghost = !healthy && self.rng.percent(15) && !self.lost.is_empty();
        let held = if ghost {
            let one = self.rng.index(self.lost.len());
            self.lost[one]
        } else if self.held.is_empty() {
            return Ok(());
        } else {
            let one = self.rng.index(self.held.len());
            self.held.swap_remove(one)
        };
        let verb = if healthy { Verb::Ack } else { self.verb(held.offset) };
        if matches!(verb, Verb::Renew { .. }) && !ghost {
            self.held.push(held);
        } else if !ghost {
            self.lost.push(held);
        }
        let last = if self.rng.percent(20) { held.offset + self.rng.index(4) } else { held.offset };
        self.settle(held, last, verb)
    }

    fn verb(&mut self, offset: usize) -> Verb {
        let reason = self.rng.percent(50).then(|| Reason::new("CODE", "text"));
        let is_poison = offset % 7 == 3;
        let delay_ms = self.rng.percent(20).then(|| 1 + self.rng.millis(90_000));
        match self.rng.below(100) {
            0..45 if !is_poison => Verb::Ack,
            0..70 => Verb::Nack { delay_ms, reason },
            70..80 => Verb::Release,
            80..87 => Verb::Reject { reason },
            _ => Verb::Renew { lease_ms: delay_ms },
        }
    }

    /// Settles `held.offset..=last`, and sees whether the answer is right.
    pub(crate) fn settle(&mut self, held: Held, last: usize, verb: Verb) -> Result<(), Broken> {
        let mut lease = held.lease;
        if self.plant == Plant::FencedByMember
            && let At::Leased(now) = self.shadow.records[held.offset].at
            && self.shadow.leases[&now].member == held.member
        {
            lease = now;
        }
        let told = match (&verb, self.plant) {
            (Verb::Release, Plant::ReleaseFails) => Verb::Nack { delay_ms: Some(0), reason: None },
            _ => verb.clone(),
        };
        let settle = Settle { lease, first: offset(held.offset), last: offset(last), verb: told };
        let answer = self.lane.settle(&settle);
        self.tell(|| format!("member {} {settle:?}: {answer:?}", held.member));
        for at in held.offset..=last {
            let status = answer
                .results
                .iter()
                .find(|(first, last, _)| index(*first) <= at && at <= index(*last))
                .map(|(_, _, status)| *status);
            ensure!(status.is_some(), "nothing is said of {at}: {answer:?}");
            if let Some(status) = status {
                self.settled_as(&Held { offset: at, ..held }, &verb, status)?;
            }
        }
        let changes = answer.results.iter().any(|(_, _, status)| matches!(status, SettleStatus::Done(_)));
        ensure!(!changes || answer.must_wait, "{answer:?} must wait until it is durable");
        self.check()
    }

    /// A record was settled.
    fn settled_as(&mut self, held: &Held, verb: &Verb, status: SettleStatus) -> Result<(), Broken> {
        let Held { lease, offset: at, .. } = *held;
        let Some(record) = self.shadow.records.get(at).cloned() else { return Ok(()) };
        if record.at != At::Leased(lease) {
            return self.settled_again(held, status);
        }
        let policy = self.policy;
        let spent = record.attempts >= policy.max_attempts;
        let lane = self.lane.counts();
        let no_room = lane.dying >= policy.window.dying;
        let crowded = lane.delayed >= policy.window.delayed;
        let early = crowded && policy.delayed_edge == DelayedEdge::EarlyDeadLetter;
        let free = record.releases >= policy.max_releases;
        match (verb, status) {
            (Verb::Ack, SettleStatus::Done(Outcome::Acked)) => self.shadow.records[at].at = At::Acked,
            (Verb::Nack { delay_ms, .. }, SettleStatus::Done(Outcome::Delayed)) if !spent => {
                let asked = delay_ms.map(|asked| asked.clamp(0, policy.max_delay_ms));
                let delay = asked.unwrap_or_else(|| delay_of(at, record.attempts));
                self.shadow.delay(at, delay, false, &policy);
            }
            (Verb::Release, SettleStatus::Done(Outcome::Delayed)) if !spent && free => {
                self.shadow.delay(at, delay_of(at, record.attempts), false, &policy);
            }
            (Verb::Nack { .. }, SettleStatus::Done(Outcome::Dead)) if spent || early => self.dies(at),
            (Verb::Release, SettleStatus::Done(Outcome::Dead)) if (spent || early) && free => self.dies(at),
            (Verb::Reject { .. }, SettleStatus::Done(Outcome::Dead)) => {
                self.shadow.records[at].rejected = true;
                self.dies(at);
            }
            (Verb::Release, SettleStatus::Done(Outcome::Released)) if !free => {
                let record = &mut self.shadow.records[at];
                (record.at, record.attempts) = (At::Free, record.attempts - 1);
                record.releases += 1;
                self.delivered[at] -= 1;
                self.rewound(at);
            }
            (Verb::Nack { .. } | Verb::Reject { .. } | Verb::Release, SettleStatus::RetryLater)
                if no_room =>
            {
                self.held.push(*held);
                return Ok(());
            }
            (Verb::Renew { lease_ms }, SettleStatus::Renewed) => {
                self.renewed(lease, *lease_ms);
                return Ok(());
            }
            (Verb::Release, _) => return Err(format!("I11: {status:?} of {record:?} that was released")),
            _ => return Err(format!("{verb:?} of {record:?} gives {status:?}")),
        }
        if let SettleStatus::Done(outcome) = status {
            let (first, last) = (offset(at), offset(at));
            let settle = Settle { lease, first, last, verb: verb.clone() };
            self.settled.push((settle, outcome));
        }
        Ok(())
    }

    fn dies(&mut self, at: usize) {
        let clock = self.shadow.clock;
        self.shadow.records[at].at = At::Condemned { due: clock };
        let policy = self.policy;
        self.shadow.rewind(at, &policy);
    }

    fn rewound(&mut self, at: usize) {
        let policy = self.policy;
        self.shadow.rewind(at, &policy);
    }

    fn renewed(&mut self, lease: u64, lease_ms: Option<i64>) {
        let policy = self.policy.lease;
        let clock = self.shadow.clock;
        let Some(lease) = self.shadow.leases.get_mut(&lease) else { return };
        let wanted = lease_ms.unwrap_or(policy.default_ms).clamp(policy.min_ms, policy.max_ms);
        let end = (clock + wanted).min(lease.since + policy.total_ms);
        lease.deadline = lease.deadline.max(end);
    }

    /// What is settled, or was never under the lease, stays as it is.
    fn settled_again(&mut self, held: &Held, status: SettleStatus) -> Result<(), Broken> {
        let same = |(settle, _): &&(Settle, Outcome)| {
            settle.lease == held.lease && index(settle.first) == held.offset
        };
        let before = self.settled.iter().find(same).map(|(_, outcome)| *outcome);
        let right = match (before, status) {
            (Some(before), SettleStatus::AlreadySettled(now)) => before == now,
            // It was taken back a moment ago, by a failure before it in the same call.
            (None, SettleStatus::Done(Outcome::Released)) if self.is_of_lease(held) => {
                self.policy.order == OrderMode::Partition
            }
            (None, SettleStatus::StaleLease) => true,
            // Offsets without a record, or of another consumer, between two of a lease.
            (None, _) => !self.is_of_lease(held) && self.is_between(held),
            _ => false,
        };
        ensure!(right, "I6: {status:?} of {held:?}, which was {before:?}");
        if let (None, SettleStatus::Done(Outcome::Released)) = (before, status)
            && self.is_of_lease(held)
        {
            let (first, last) = (offset(held.offset), offset(held.offset));
            let settle = Settle { lease: held.lease, first, last, verb: Verb::Release };
            self.settled.push((settle, Outcome::Released));
        }
        Ok(())
    }

    fn is_of_lease(&self, held: &Held) -> bool {
        self.leases_seen.get(&held.lease).is_some_and(|batch| batch.contains(&held.offset))
    }

    fn is_between(&self, held: &Held) -> bool {
        let batch = self.leases_seen.get(&held.lease);
        let (first, last) = (batch.and_then(|batch| batch.first()), batch.and_then(|batch| batch.last()));
        first.is_some_and(|first| *first < held.offset) && last.is_some_and(|last| held.offset < *last)
    }

    /// I9: what was said is said again.
    pub(crate) fn repeat(&mut self) -> Result<(), Broken> {
        self.tick()?;
        if self.settled.is_empty() {
            return Ok(());
        }
        let one = self.rng.index(self.settled.len());
        let (mut settle, outcome) = self.settled[one].clone();
        if self.rng.percent(30) {
            settle.verb = Verb::Nack { delay_ms: None, reason: None };
        }
        let answer = self.lane.settle(&settle);
        let expected = [(settle.first, settle.last, SettleStatus::AlreadySettled(outcome))];
        ensure!(answer.results == expected, "I9: {settle:?} was {outcome:?} and is {answer:?}");
        ensure!(answer.must_wait, "I9: {answer:?} may not be durable yet");
        ensure!(self.lane.take_event().is_none(), "I9: {settle:?} has changed something");
        self.check()
    }

    pub(crate) fn leave(&mut self, member: u64) -> Result<(), Broken> {
        self.tick()?;
        self.tell(|| format!("member {member} leaves"));
        let now = self.told();
        self.lane.member_left(now, member);
        let leases: Vec<u64> =
            self.shadow.leases.iter().filter(|(_, held)| held.member == member).map(|(id, _)| *id).collect();
        let policy = self.policy;
        leases.into_iter().for_each(|lease| self.shadow.end_lease(lease, delay_of, &policy));
        let (gone, stay) = self.held.iter().partition(|held| held.member == member);
        self.held = stay;
        self.lost.extend::<Vec<Held>>(gone);
        self.check()
    }
}
