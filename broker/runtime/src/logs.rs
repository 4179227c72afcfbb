//! Where the words of the log meet those of the broker: configs and errors.

use tidelog_core::catalog::{Flush, TopicConfig};
use tidelog_log::{CleanupPolicy, FlushPolicy, LogConfig, OpenError, ReadError, StorageError};
use tidelog_model::{ErrorCode, Offset};

use crate::error::BrokerError;

/// A topic's configs, as far as the log is concerned.
pub(crate) fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        index_interval_bytes: config.index_interval_bytes,
        segment_index_bytes: config.segment_index_bytes,
        flush: match config.flush {
            Flush::Sync => FlushPolicy::Sync,
            Flush::Interval { ms } => FlushPolicy::Interval { ms },
            Flush::Os => FlushPolicy::Os,
        },
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        cleanup: CleanupPolicy { delete: config.cleanup_delete, compact: config.cleanup_compact },
        delete_retention_ms: config.delete_retention_ms,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        file_delete_delay_ms: config.file_delete_delay_ms,
        batch_bytes_max: config.batch_bytes_max,
    }
}

/// Why a read failed.
pub(crate) fn read_error(partition: &str, error: &ReadError) -> BrokerError {
    match error {
        // Retention or a deletion of records came between the look at the watermarks and the read.
        ReadError::OutOfRange { offset, log_start, end } => {
            out_of_range(partition, *offset, *log_start, *end)
        }
        ReadError::Corrupt { .. } => BrokerError::new(
            ErrorCode::CorruptLog,
            format!("partition {partition} has broken bytes that were durable: {error}"),
        ),
        ReadError::Storage(failed) => storage_error(&format!("reading partition {partition}"), failed),
    }
}

/// An offset outside the log.
pub(crate) fn out_of_range(partition: &str, offset: Offset, log_start: Offset, end: Offset) -> BrokerError {
    let message = format!("offset {offset} is outside partition {partition}, which has {log_start} to {end}");
    let limit = if offset < log_start { log_start } else { end };
    BrokerError::new(ErrorCode::OffsetOutOfRange, message).field("offset").limit(limit.get(), offset.get())
}

/// Why an operation on files failed.
pub(crate) fn storage_error(doing: &str, error: &StorageError) -> BrokerError {
    let code = if error.is_disk_full() { ErrorCode::DiskFull } else { ErrorCode::StorageFailed };
    BrokerError::new(code, format!("{doing} failed: {error}"))
}

/// Why a partition has no log.
pub(crate) fn open_error(partition: &str, error: &OpenError) -> BrokerError {
    let doing = format!("opening partition {partition}");
    match error {
        OpenError::Storage(failed) => storage_error(&doing, failed),
        OpenError::Locked { .. }
        | OpenError::Foreign { .. }
        | OpenError::NewerFormat { .. }
        | OpenError::BrokenFile { .. } => {
            BrokerError::new(ErrorCode::CorruptLog, format!("{doing} failed: {error}"))
        }
    }
}

/// Why a partition serves only what lies before broken bytes.
pub(crate) fn corrupt(partition: &str, end: Offset, reason: &str) -> BrokerError {
    let message = format!(
        "partition {partition} has broken bytes that were durable ({reason}): it takes no writes, and records \
         before offset {end} can be read"
    );
    BrokerError::new(ErrorCode::CorruptLog, message)
}
