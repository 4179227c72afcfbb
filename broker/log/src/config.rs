//! What a topic's configs mean to its partitions' logs; the defaults are Kafka's.

/// When a batch counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// When it is on stable storage.
    #[default]
    Sync,
    /// When it is written; flushed at least this often, so that a power cut takes back no more than that.
    Interval {
        /// The longest time between two flushes, in milliseconds.
        ms: u64,
    },
    /// When it is written; the operating system flushes when it likes.
    Os,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Drop segments by age and size.
    pub delete: bool,
    /// Keep the last record of each key.
    pub compact: bool,
}

/// The settings of one partition's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// A segment is closed before it grows past this, in bytes.
    pub segment_bytes: u32,
    /// A segment is closed when its first record is this old, in milliseconds.
    pub segment_ms: i64,
    /// An index entry is added after this many bytes.
    pub index_interval_bytes: u32,
    /// A segment is closed when its offset index reaches this size, in bytes.
    pub segment_index_bytes: u32,
    /// When a batch counts as committed.
    pub flush: FlushPolicy,
    /// Segments whose newest record is older are dropped; `None` keeps them for ever. Milliseconds.
    pub retention_ms: Option<i64>,
    /// The oldest segments are dropped while the rest is larger; `None` is no bound. Bytes.
    pub retention_bytes: Option<u64>,
    /// What happens to old records.
    pub cleanup: CleanupPolicy,
    /// How long compaction keeps tombstones, in milliseconds.
    pub delete_retention_ms: i64,
    /// Compaction leaves records younger than this alone, in milliseconds.
    pub min_compaction_lag_ms: i64,
    /// Compaction takes records older than this whatever the dirty ratio says, in milliseconds.
    pub max_compaction_lag_ms: i64,
    /// Compaction starts when this share of the log is not compacted yet.
    pub min_cleanable_dirty_ratio: f64,
    /// Deleted files stay this long under another name, in milliseconds.
    pub file_delete_delay_ms: i64,
    /// The largest batch, in bytes.
    pub batch_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            flush: FlushPolicy::Sync,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            cleanup: CleanupPolicy { delete: true, compact: false },
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            file_delete_delay_ms: 60_000,
            batch_bytes_max: tidelog_model::limits::BATCH_BYTES_MAX_DEFAULT,
        }
    }
}
