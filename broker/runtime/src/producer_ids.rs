//! Producer ids: each is given out once in the life of a data directory.
//!
//! ```text
//! producer id = leader epoch of this run (31 bits) | number of the id in this run (32 bits)
//! ```
//!
//! **Invariant:** no id is given out twice, whenever the broker was killed. The leader epoch is raised durably at
//! each start, before anything else, so an id needs no write of its own and nothing has to be found again.

use std::sync::atomic::{AtomicU32, Ordering};

use tidelog_model::{LeaderEpoch, ProducerId};

/// The source of producer ids of one run.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    epoch: LeaderEpoch,
    next: AtomicU32,
}

impl ProducerIds {
    /// The ids of the run with this leader epoch.
    pub(crate) const fn new(epoch: LeaderEpoch) -> Self {
        Self { epoch, next: AtomicU32::new(0) }
    }

    /// An id that nobody has; `None` when the run has no more.
    pub(crate) fn next(&self) -> Option<ProducerId> {
        let number = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(1));
        number.ok().map(|number| ProducerId(i64::from(self.epoch.get()) << u32::BITS | i64::from(number)))
    }
}

#[cfg(test)]
#[path = "producer_ids_tests.rs"]
mod tests;
