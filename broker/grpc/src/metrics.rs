//! Counters of the gRPC calls, as plain atomics that the server renders.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

/// The upper bounds of the duration buckets, in milliseconds; one more bucket holds everything above.
pub const DURATION_BUCKETS_MS: [f64; 14] =
    [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0];

/// How many gRPC status codes there are.
const CODES: usize = 17;

macro_rules! apis {
    ($($name:ident),+ $(,)?) => {
        /// The calls of the services. A request of a produce stream counts as one call; a fetch stream
        /// counts once, when it ends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are those of the calls")]
        pub enum Api { $($name),+ }

        impl Api {
            /// Every call.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The call's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

apis!(
    CreateTopic,
    ListTopics,
    DescribeTopic,
    AlterTopic,
    DeleteTopic,
    AddPartitions,
    DeleteRecords,
    Produce,
    ProduceBatches,
    ProduceRecords,
    InitProducerId,
    Fetch,
    FetchRecords,
    ListOffsets,
    CommitOffsets,
    FetchOffsets,
    ListGroups,
    SeekGroup,
    DeleteOffsets,
    DeleteGroup,
    Heartbeat,
    DescribeGroup,
    Subscribe,
    Receive,
    Settle,
    CreateQueueGroup,
    AlterQueueGroup,
    DescribeQueueGroup,
    ListRetries,
    RunRetriesNow,
    ListDeadLetters,
    Redrive,
    ResolveDeadLetters,
);

/// What was counted of every call.
#[derive(Debug)]
pub struct ApiMetrics {
    apis: [ApiStats; Api::ALL.len()],
}

/// What was counted of one call.
#[derive(Debug, Default)]
pub struct ApiStats {
    in_flight: AtomicI64,
    codes: [AtomicU64; CODES],
    buckets: [AtomicU64; DURATION_BUCKETS_MS.len() + 1],
    duration_micros: AtomicU64,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self { apis: std::array::from_fn(|_| ApiStats::default()) }
    }
}

impl ApiMetrics {
    /// The counters of each call.
    pub fn iter(&self) -> impl Iterator<Item = (Api, &ApiStats)> {
        Api::ALL.into_iter().zip(&self.apis)
    }

    fn stats(&self, api: Api) -> Option<&ApiStats> {
        self.apis.get(api as usize)
    }

    /// Counts a call that ended with `code` after `duration`.
    pub(crate) fn record(&self, api: Api, code: Code, duration: Duration) {
        if let Some(stats) = self.stats(api) {
            stats.record(code, duration);
        }
    }

    /// Moves the number of calls that are being served.
    pub(crate) fn add_in_flight(&self, api: Api, change: i64) {
        if let Some(stats) = self.stats(api) {
            stats.in_flight.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Serves a call and counts it; one that the client gives up counts as cancelled.
    pub(crate) async fn observe<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let mut open = OpenCall { metrics: self, api, started: Instant::now(), code: Code::Cancelled };
        self.add_in_flight(api, 1);
        let result = call.await;
        open.code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        result
    }
}

struct OpenCall<'a> {
    metrics: &'a ApiMetrics,
    api: Api,
    started: Instant,
    code: Code,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.metrics.add_in_flight(self.api, -1);
        self.metrics.record(self.api, self.code, self.started.elapsed());
    }
}

impl ApiStats {
    fn record(&self, code: Code, duration: Duration) {
        let slot = usize::try_from(i32::from(code)).ok().and_then(|code| self.codes.get(code));
        if let Some(count) = slot {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let millis = duration.as_secs_f64() * 1_000.0;
        let bucket = DURATION_BUCKETS_MS.partition_point(|bound| *bound < millis);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.duration_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Calls (for produce and fetch: streams) that are being served.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How often calls ended with each code, codes that never occurred left out.
    pub fn codes(&self) -> impl Iterator<Item = (Code, u64)> {
        let codes = (0..).map(Code::from_i32);
        let counts = self.codes.iter().map(|count| count.load(Ordering::Relaxed));
        codes.zip(counts).filter(|(_, count)| *count > 0)
    }

    /// How many calls took as long as each bucket of [`DURATION_BUCKETS_MS`] says (not cumulative; the last
    /// is everything above), and how long all of them took together in seconds.
    #[must_use]
    pub fn durations(&self) -> ([u64; DURATION_BUCKETS_MS.len() + 1], f64) {
        let mut counts = [0; DURATION_BUCKETS_MS.len() + 1];
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        let sum = Duration::from_micros(self.duration_micros.load(Ordering::Relaxed));
        (counts, sum.as_secs_f64())
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
