//! What the Kafka listener counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use crate::dispatch::{Outcome, Pending, Refused};
use crate::versions::{APIS, Api};

/// The upper bounds of the duration buckets, in milliseconds; one more bucket holds everything above.
pub const REQUEST_BUCKETS_MS: [f64; 14] =
    [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0];

/// Counters of a listener; all of them only grow, except what is open and in flight.
#[derive(Debug)]
pub struct KafkaStats {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    requests: AtomicU64,
    broken: AtomicU64,
    /// In the order of [`APIS`].
    apis: Vec<RequestStats>,
}

impl Default for KafkaStats {
    fn default() -> Self {
        let apis = APIS.iter().map(|_| RequestStats::default()).collect();
        let (open, accepted, refused) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { open, accepted, refused, requests: AtomicU64::new(0), broken: AtomicU64::new(0), apis }
    }
}

/// How requests of one API ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEnd {
    /// It was answered, or wanted no answer. What the answer says is the client's matter.
    Answered,
    /// The connection was closed over it: it is broken, or there was no room for it.
    Refused,
    /// The connection ended before.
    Cancelled,
}

impl RequestEnd {
    /// Every end.
    pub const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Cancelled];
}

/// What was counted of one API.
#[derive(Debug, Default)]
pub struct RequestStats {
    in_flight: AtomicI64,
    ends: [AtomicU64; RequestEnd::ALL.len()],
    buckets: [AtomicU64; REQUEST_BUCKETS_MS.len() + 1],
    duration_micros: AtomicU64,
}

impl RequestStats {
    /// Requests that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many ended so.
    #[must_use]
    pub fn ended(&self, end: RequestEnd) -> u64 {
        self.ends.get(end as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many requests took as long as each bucket of [`REQUEST_BUCKETS_MS`] says (not cumulative; the last
    /// has no bound), and the sum of all in seconds. Waiting for earlier answers of the connection counts.
    #[must_use]
    pub fn durations(&self) -> ([u64; REQUEST_BUCKETS_MS.len() + 1], f64) {
        let counts = std::array::from_fn(|index| {
            self.buckets.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
        });
        let micros = Duration::from_micros(self.duration_micros.load(Ordering::Relaxed));
        (counts, micros.as_secs_f64())
    }

    fn record(&self, end: RequestEnd, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.ends.get(end as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let millis = took.as_secs_f64() * 1_000.0;
        let bucket = REQUEST_BUCKETS_MS.partition_point(|bound| *bound < millis);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A request from its first byte in the hands of the broker to its end; counted when dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    stats: Arc<KafkaStats>,
    api: usize,
    begun: Instant,
    end: RequestEnd,
}

impl OpenRequest {
    /// A request of an API of the table.
    pub(crate) fn new(stats: Arc<KafkaStats>, api: &'static Api) -> Self {
        let api = APIS.partition_point(|row| row.key < api.key);
        if let Some(counted) = stats.apis.get(api) {
            counted.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        Self { stats, api, begun: Instant::now(), end: RequestEnd::Cancelled }
    }

    /// The connection is closed over it.
    pub(crate) fn refused(mut self) {
        self.end = RequestEnd::Refused;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(counted) = self.stats.apis.get(self.api) {
            counted.record(self.end, self.begun.elapsed());
        }
    }
}

/// A pending answer that is counted when it is there.
pub(crate) struct Counted {
    pending: Pending,
    open: Option<OpenRequest>,
}

impl Counted {
    pub(crate) const fn new(pending: Pending, open: OpenRequest) -> Self {
        Self { pending, open: Some(open) }
    }
}

impl Future for Counted {
    type Output = Result<Outcome, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.pending.as_mut().poll(cx));
        if let Some(mut open) = self.open.take() {
            open.end = if outcome.is_ok() { RequestEnd::Answered } else { RequestEnd::Refused };
        }
        Poll::Ready(outcome)
    }
}

impl KafkaStats {
    /// What was counted of each API, in the order of the table.
    pub fn apis(&self) -> impl Iterator<Item = (&'static Api, &RequestStats)> {
        APIS.iter().zip(&self.apis)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were taken.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were closed at once because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Requests that were dispatched.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections that were closed because of what the peer sent.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns how many there are with this one.
    pub(crate) fn count_refused(&self) -> u64 {
        self.refused.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }
}
