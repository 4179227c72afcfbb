//! How long to wait before the next try: exponential with full jitter. Pure: randomness is an argument.

use std::time::Duration;

/// The ceilings of the waits; each wait is drawn evenly between zero and the ceiling ("full jitter"), so that
/// many clients that lost the same broker do not come back at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, failures: 0 }
    }

    /// Counts a failure and returns how long to wait; `random` is drawn evenly from all values of `u32`.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let ceiling = self.initial.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Starts again after a success.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
