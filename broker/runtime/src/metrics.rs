//! What the broker counts: plain atomics that a front end renders. Per-partition gauges come from walking
//! the topics, so that a deleted topic leaves nothing behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// The number of buckets; the last one holds everything above the largest bound.
const BUCKETS: usize = 24;
/// The first bucket's upper bound in microseconds; each bound is twice the one before.
const FIRST_BOUND_US: u64 = 16;

/// How long something took, in buckets that double from 16 µs to about 67 s.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Each bucket's upper bound in seconds with the number of observations at or below it; the last bound
    /// is infinite, so its number counts everything.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all observations in seconds.
    pub sum_seconds: f64,
}

impl HistogramSnapshot {
    /// The number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    pub(crate) fn observe_many(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // The number of doublings from the first bound up to one that holds the value.
        let doublings = micros.div_ceil(FIRST_BOUND_US).max(1).next_power_of_two().trailing_zeros();
        let index = usize::try_from(doublings).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(times, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// The histogram now.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut bound_us = FIRST_BOUND_US;
        let mut total = 0;
        let mut buckets = Vec::with_capacity(BUCKETS);
        for (index, bucket) in self.buckets.iter().enumerate() {
            total += bucket.load(Ordering::Relaxed);
            let last = index + 1 == BUCKETS;
            let bound = if last { f64::INFINITY } else { Duration::from_micros(bound_us).as_secs_f64() };
            buckets.push((bound, total));
            bound_us = bound_us.saturating_mul(2);
        }
        let sum_seconds = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        HistogramSnapshot { buckets, sum_seconds }
    }
}

/// Everything the broker counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Batches appended by clients and committed.
    pub batches_in: Counter,
    /// Records in them.
    pub records_in: Counter,
    /// Their bytes.
    pub bytes_in: Counter,
    /// Batches of idempotent producers that were stored already and came again.
    pub duplicates_in: Counter,
    /// New generations of classic groups that were stored.
    pub rebalances_classic: Counter,
    /// New epochs of consumer groups that were stored.
    pub rebalances_consumer: Counter,
    /// Reads that returned batches.
    pub reads: Counter,
    /// The bytes they returned.
    pub bytes_out: Counter,
    /// Reads that had to ask the device.
    pub cold_reads: Counter,
    /// Batches refused because they break a rule.
    pub rejected_invalid: Counter,
    /// Requests refused for want of memory.
    pub rejected_overloaded: Counter,
    /// Batches refused, or dropped from the queue, because the disk is full.
    pub rejected_disk_full: Counter,
    /// Batches refused, or left in doubt, because the storage failed.
    pub rejected_storage: Counter,
    /// From the moment a batch gets its offsets until it is committed.
    pub append_seconds: Histogram,
    /// Segments' bytes that retention, compaction and deletions of records freed.
    pub bytes_deleted: Counter,
    /// Rounds of retention and compaction that failed.
    pub maintenance_failures: Counter,
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
