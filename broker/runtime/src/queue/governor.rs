//! How much of a group may be tried: its retry budget and its breaker.

use tidelog_core::delivery::{Admission, Breaker, Budget, QueueConfig, Settled, Verb};
use tidelog_model::Timestamp;

/// What a consumer says when something that it needs does not answer: it weighs twice as much as other failures.
const DEPENDENCY: &str = "DEPENDENCY";

/// The governor of a group.
#[derive(Debug)]
pub(super) struct Governor {
    budget: Budget,
    breaker: Breaker,
}

impl Governor {
    pub(super) fn new(config: &QueueConfig) -> Self {
        Self { budget: Budget::new(config.budget), breaker: Breaker::new(config.breaker) }
    }

    pub(super) fn reconfigure(&mut self, config: &QueueConfig) {
        self.budget.resize(config.budget);
        self.breaker.resize(config.breaker);
    }

    /// Whether records may be handed out.
    pub(super) fn admit(&mut self, now: Timestamp) -> Admission {
        self.breaker.admit(now)
    }

    /// Whether a record that has failed may be tried again now.
    pub(super) fn may_retry(&mut self, now: Timestamp) -> bool {
        self.budget.try_take(now)
    }

    /// When there may be another retry.
    pub(super) fn next_retry(&self, now: Timestamp) -> Timestamp {
        self.budget.next_at(now)
    }

    /// Takes note of what consumers say of their records.
    pub(super) fn heard(&mut self, now: Timestamp, verb: &Verb, settled: &Settled) {
        if settled.acked > 0 {
            self.budget.succeeded(now, settled.acked);
            self.breaker.outcome(now, settled.acked, 0);
        }
        let failed = settled.delayed.saturating_add(settled.dead);
        if let Verb::Nack { reason, .. } = verb
            && failed > 0
        {
            let weight = 1 + u64::from(reason.as_ref().is_some_and(|reason| reason.code() == DEPENDENCY));
            self.breaker.outcome(now, 0, failed.saturating_mul(weight));
        }
        if settled.dead > 0 {
            self.breaker.died(now, settled.dead);
        }
    }
}
