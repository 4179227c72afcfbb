//! What a classic group waits for, as data.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::Timestamp;

/// What has to happen in time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The members have to join again; or more members may join a group that was empty.
    Rebalance,
    /// The members have to ask for their assignment.
    Sync,
    /// A member has to give a sign of life.
    Member(String),
}

/// At most one deadline for each timer.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    deadlines: BTreeMap<Timer, Timestamp>,
    order: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    /// Sets a deadline, in place of the one there was.
    pub(super) fn set(&mut self, timer: Timer, deadline: Timestamp) {
        self.cancel(&timer);
        self.deadlines.insert(timer.clone(), deadline);
        self.order.insert((deadline, timer));
    }

    /// Takes a deadline away, if there is one.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(deadline) = self.deadlines.remove(timer) {
            self.order.remove(&(deadline, timer.clone()));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the first timer whose deadline is not after `now`.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Option<Timer> {
        let timer =
            self.order.first().filter(|(deadline, _)| *deadline <= now).map(|(_, timer)| timer.clone())?;
        self.cancel(&timer);
        Some(timer)
    }
}
