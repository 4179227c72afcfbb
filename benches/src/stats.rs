//! What a series of repetitions says: the median, with the smallest and largest beside it.

use std::fmt;
use std::time::Duration;

/// The figures of one scenario over its repetitions, all in one unit where larger or smaller is better as
/// the scenario says.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    values: Vec<f64>,
}

impl Series {
    /// A series without values.
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Adds the figure of one repetition.
    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    /// The middle value, or not-a-number for an empty series.
    pub(crate) fn median(&self) -> f64 {
        self.values.get(self.values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn bounds(&self) -> (f64, f64) {
        let at = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (at(self.values.first()), at(self.values.last()))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.bounds();
        if self.values.len() < 2 {
            return write!(f, "{}", figure(self.median()));
        }
        write!(f, "{} [{}..{}]", figure(self.median()), figure(low), figure(high))
    }
}

/// Three significant digits, as far as a benchmark's figures are worth.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Megabytes (10^6 bytes) a second.
pub(crate) fn megabytes_per_second(bytes: u64, elapsed: Duration) -> f64 {
    lossy(bytes) / 1e6 / elapsed.as_secs_f64()
}

/// Milliseconds with their fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A count as a figure; exact up to 2^53, which no benchmark reaches.
#[expect(clippy::cast_precision_loss, reason = "figures are rounded to three digits anyway")]
pub(crate) fn lossy(count: u64) -> f64 {
    count as f64
}

/// The value below which the share `quantile` of the sorted durations lies.
pub(crate) fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
    let at = (lossy(last.try_into().unwrap_or(u64::MAX)) * quantile).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or_default()
}
