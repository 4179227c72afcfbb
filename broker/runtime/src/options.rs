//! Everything about a broker that its operator may choose.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidelog_core::catalog::CatalogLimits;
use tidelog_core::group::{GroupConfig, GroupLimits};
use tidelog_core::partition::ProducerLimits;
use tidelog_log::OsDisk;
use tidelog_log::disk::Disk;

use crate::clock::{Clock, SystemClock};
use crate::open_error::OpenError;

/// The options of a broker. [`BrokerOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The data directory; created when it does not exist.
    pub data_dir: PathBuf,
    /// The file system it lies on.
    pub disk: Arc<dyn Disk>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Configs of topics that do not set them themselves.
    pub topic_defaults: BTreeMap<String, String>,
    /// Partitions of a topic created without a number.
    pub default_partitions: i32,
    /// Whether [`crate::Broker::topic_or_create`] creates topics.
    pub auto_create_topics: bool,
    /// Bytes of requests on their way into logs, in all.
    pub in_flight_bytes_max: usize,
    /// How long a request waits for room in that budget.
    pub admission_wait_max: Duration,
    /// The most bytes one read returns (but always at least one batch).
    pub read_bytes_max: usize,
    /// Reads of cold data that run at one time; each may hold a thread.
    pub blocking_reads_max: usize,
    /// Partitions that are recovered at one time.
    pub recovery_threads: usize,
    /// Files that are flushed at one time.
    pub sync_threads: usize,
    /// How often retention and compaction look at the partitions.
    pub maintenance_interval: Duration,
    /// How often the free space is looked at (more often while much is written).
    pub disk_check_interval: Duration,
    /// Free bytes below which produce is refused; commits of offsets and deletions may still use them, so that
    /// a full disk can be dealt with.
    pub disk_reserve_bytes: u64,
    /// Limits of the catalog.
    pub catalog_limits: CatalogLimits,
    /// What partitions remember of idempotent producers.
    pub producer_limits: ProducerLimits,
    /// How groups behave.
    pub group_config: GroupConfig,
    /// Limits of groups and committed offsets.
    pub group_limits: GroupLimits,
}

impl BrokerOptions {
    /// The defaults for a broker with its data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            data_dir: data_dir.into(),
            disk: Arc::new(OsDisk),
            clock: Arc::new(SystemClock),
            topic_defaults: BTreeMap::new(),
            default_partitions: 1,
            auto_create_topics: false,
            in_flight_bytes_max: 256 * 1024 * 1024,
            admission_wait_max: Duration::from_secs(2),
            read_bytes_max: 16 * 1024 * 1024,
            blocking_reads_max: 32,
            // Recovery waits for the device more than for the processor.
            recovery_threads: (cores * 4).min(32),
            // They wait for the device, which takes many syncs side by side better than in turn.
            sync_threads: 16,
            maintenance_interval: Duration::from_secs(30),
            disk_check_interval: Duration::from_secs(1),
            disk_reserve_bytes: 256 * 1024 * 1024,
            catalog_limits: CatalogLimits::default(),
            producer_limits: ProducerLimits::default(),
            group_config: GroupConfig::default(),
            group_limits: GroupLimits::default(),
        }
    }

    /// Checks what types cannot.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let positive = |option: &'static str, value: usize| {
            if value > 0 {
                return Ok(());
            }
            Err(OpenError::Option { option, actual: value.to_string(), allowed: "it must be at least 1" })
        };
        positive("default_partitions", usize::try_from(self.default_partitions).unwrap_or(0))?;
        positive("in_flight_bytes_max", self.in_flight_bytes_max)?;
        positive("read_bytes_max", self.read_bytes_max)?;
        positive("blocking_reads_max", self.blocking_reads_max)?;
        positive("recovery_threads", self.recovery_threads)?;
        positive("sync_threads", self.sync_threads)?;
        let interval = |option: &'static str, value: Duration| {
            if !value.is_zero() {
                return Ok(());
            }
            Err(OpenError::Option {
                option,
                actual: format!("{value:?}"),
                allowed: "it must be longer than 0",
            })
        };
        positive("producer_limits.producers_max", self.producer_limits.producers_max)?;
        positive(
            "producer_limits.expiration_ms",
            usize::try_from(self.producer_limits.expiration_ms).unwrap_or(0),
        )?;
        let group = &self.group_config;
        if group.min_session_timeout_ms > group.max_session_timeout_ms {
            return Err(OpenError::Option {
                option: "group_config.min_session_timeout_ms",
                actual: group.min_session_timeout_ms.to_string(),
                allowed: "it must not be more than max_session_timeout_ms",
            });
        }
        positive("group_limits.members_max", self.group_limits.members_max)?;
        interval("maintenance_interval", self.maintenance_interval)?;
        interval("disk_check_interval", self.disk_check_interval)
    }
}
