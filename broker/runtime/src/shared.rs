//! What all partitions of a broker share: the clock, the counters, the disk's state, the problems.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidelog_core::partition::ProducerLimits;
use tidelog_model::{ErrorCode, PartitionIndex, TopicName};
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::error::BrokerError;
use crate::metrics::Metrics;

/// A partition as people name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionIndex,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Why a partition is not fully in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A write or flush failed: the broker is not ready any more.
    StorageFailed(String),
    /// Recovery found durable bytes broken, or could not read the files; the other partitions go on.
    SinceStart(String),
}

impl Problem {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::StorageFailed(text) | Self::SinceStart(text) => text,
        }
    }
}

/// How often a client should ask a full disk again.
const DISK_RETRY_MS: i64 = 1_000;

/// The shared state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// Slots for reads that may block.
    pub(crate) blocking_reads: Arc<Semaphore>,
    pub(crate) read_bytes_max: usize,
    pub(crate) producer_limits: ProducerLimits,
    closing: AtomicBool,
    /// Asks for what is remembered of producers to be written down before maintenance comes.
    saving: Notify,
    disk: DiskSpace,
    problems: Mutex<BTreeMap<PartitionKey, Problem>>,
}

/// What is known of the free space.
#[derive(Debug)]
struct DiskSpace {
    reserve: u64,
    low: AtomicBool,
    free: AtomicU64,
    /// Bytes appended since the free space was asked for.
    appended: AtomicU64,
    /// Asks for a look at the free space before its time.
    look: Notify,
}

impl Shared {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        reserve: u64,
        blocking_reads: usize,
        read_bytes_max: usize,
        producer_limits: ProducerLimits,
    ) -> Self {
        let disk = DiskSpace {
            reserve,
            low: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
            appended: AtomicU64::new(0),
            look: Notify::new(),
        };
        Self {
            clock,
            metrics: Metrics::default(),
            blocking_reads: Arc::new(Semaphore::new(blocking_reads.max(1))),
            read_bytes_max,
            producer_limits,
            closing: AtomicBool::new(false),
            saving: Notify::new(),
            disk,
            problems: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Refuses new work from now on; `false` when that was so already.
    pub(crate) fn close(&self) -> bool {
        !self.closing.swap(true, Ordering::AcqRel)
    }

    /// Refuses when the disk's free space is below the reserve.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), BrokerError> {
        if self.disk.low.load(Ordering::Relaxed) {
            self.metrics.rejected_disk_full.add(1);
            return Err(self.disk_full_error());
        }
        // At full speed a disk fills between two regular looks: look again each time a quarter of what is
        // left may have been written.
        let appended = self.disk.appended.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if appended >= (self.disk.free.load(Ordering::Relaxed) / 4).max(1 << 20) {
            self.disk.look.notify_one();
        }
        Ok(())
    }

    /// Takes note of the free space; `Some(low)` when that changed whether it is low.
    pub(crate) fn note_free_bytes(&self, free: u64) -> Option<bool> {
        self.disk.free.store(free, Ordering::Relaxed);
        self.disk.appended.store(0, Ordering::Relaxed);
        let low = free < self.disk.reserve;
        (self.disk.low.swap(low, Ordering::Relaxed) != low).then_some(low)
    }

    pub(crate) fn want_saving(&self) {
        self.saving.notify_one();
    }

    /// Waits until a partition wants what it remembers of producers written down.
    pub(crate) async fn saving_wanted(&self) {
        self.saving.notified().await;
    }

    /// Waits until someone wants the free space looked at.
    pub(crate) async fn look_wanted(&self) {
        self.disk.look.notified().await;
    }

    pub(crate) fn disk_full_error(&self) -> BrokerError {
        self.disk.look.notify_one();
        let message = "the disk is full: writes resume by themselves when there is room again (free space, lower \
                       retention.ms or retention.bytes, or delete topics)";
        BrokerError::new(ErrorCode::DiskFull, message).retry_after(DISK_RETRY_MS)
    }

    /// The free space and the reserve, when the free space is below it.
    pub(crate) fn disk_low(&self) -> Option<(u64, u64)> {
        let low = self.disk.low.load(Ordering::Relaxed);
        low.then(|| (self.disk.free.load(Ordering::Relaxed), self.disk.reserve))
    }

    pub(crate) fn report(&self, key: &PartitionKey, problem: Problem) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), problem);
    }

    pub(crate) fn forget(&self, topic: &TopicName) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| key.topic != *topic);
    }

    /// Forgets the problems of a topic's partitions from `first` on: they were never in service.
    pub(crate) fn forget_from(&self, topic: &TopicName, first: i32) {
        let unserved = |key: &PartitionKey| key.topic == *topic && key.partition.get() >= first;
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !unserved(key));
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
