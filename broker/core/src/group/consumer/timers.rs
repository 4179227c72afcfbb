//! When members are given up: not stored, they start anew when the group is loaded.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::Timestamp;

use crate::group::assignor::MemberId;

/// What a member must do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Send a heartbeat.
    Session,
    /// Give up partitions.
    Rebalance,
}

/// At most one deadline of each kind for each member.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    deadlines: BTreeMap<(MemberId, Timer), Timestamp>,
    order: BTreeSet<(Timestamp, MemberId, Timer)>,
}

impl Timers {
    /// No deadlines.
    pub(super) const fn new() -> Self {
        Self { deadlines: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets the member's deadline, in place of the one it had.
    pub(super) fn set(&mut self, member: &MemberId, timer: Timer, deadline: Timestamp) {
        self.cancel(member, timer);
        self.deadlines.insert((member.clone(), timer), deadline);
        self.order.insert((deadline, member.clone(), timer));
    }

    /// Takes the member's deadline away, if it has one.
    pub(super) fn cancel(&mut self, member: &MemberId, timer: Timer) {
        if let Some(deadline) = self.deadlines.remove(&(member.clone(), timer)) {
            self.order.remove(&(deadline, member.clone(), timer));
        }
    }

    /// Takes all deadlines of a member away.
    pub(super) fn forget(&mut self, member: &MemberId) {
        self.cancel(member, Timer::Session);
        self.cancel(member, Timer::Rebalance);
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(deadline, ..)| *deadline)
    }

    /// The first member whose deadline is not after `now`.
    pub(super) fn expired(&self, now: Timestamp) -> Option<MemberId> {
        self.order.first().filter(|(deadline, ..)| *deadline <= now).map(|(_, member, _)| member.clone())
    }
}
