//! The circuit breaker for a dead broker. Pure: time is an argument.
//!
//! ```text
//! closed ──failures in a row──▶ open ──cool-down over──▶ half-open ──a try fails──▶ open
//!    ▲                                                       └──────an answer comes──▶ closed
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::builder::Breaker;

/// Whether the producer's circuit breaker lets records through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The broker answers, or failed less often in a row than the breaker allows.
    Closed,
    /// Too many failures in a row: `enqueue` fails at once until the cool-down is over.
    Open,
    /// The cool-down is over: the next try decides whether it closes or opens again.
    HalfOpen,
}

#[derive(Debug)]
pub(super) struct CircuitBreaker {
    settings: Option<Breaker>,
    failures: u32,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    pub(super) const fn new(settings: Option<Breaker>) -> Self {
        Self { settings, failures: 0, open_until: None }
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// How long it stays open, when it is.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        self.open_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// A connection or stream failed. Returns whether that opened the breaker.
    pub(super) fn on_failure(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let Some(settings) = self.settings else { return false };
        if self.failures < settings.failures {
            return false;
        }
        self.open_until = Some(now + settings.cooldown);
        true
    }

    /// The broker answered. Returns whether that closed the breaker.
    pub(super) const fn on_answer(&mut self) -> bool {
        self.failures = 0;
        self.open_until.take().is_some()
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
