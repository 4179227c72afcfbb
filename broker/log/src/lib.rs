//! One partition's record batches on a device: append, flush, read, recover, trim, compact.
//!
//! Already assigned batches in, durable end out, bytes by offset back. This crate knows nothing of
//! topics' rules, groups or clients, and has no clock and no async: time is an argument, waiting is the
//! caller's. [`PartitionLog`] is the seam at which another engine can take the place of local segments.
//!
//! **Invariants**
//! * A batch is reported committed only after the sync its flush policy promises has returned.
//! * After a failed sync nothing of that partition is written or synced again.
//! * Nothing below the durable floor is ever cut off; nothing above it is served before it is synced.
//! * A name is made durable before anything behind it is reported committed.

mod config;
pub mod disk;
mod engine;
mod error;
mod extent;
mod local;
mod os_disk;
#[cfg(any(test, feature = "sim"))]
pub mod sim_disk;

pub use config::{CleanupPolicy, FlushPolicy, LogConfig};
pub use engine::{
    AbortedTransaction, AppendFailure, AppendFailureKind, Bounds, CommitListener, LocateOutcome, LogStats,
    Maintained, OpenedLog, PartitionId, PartitionLog, ProducerEntry, ProducerFact, ProducerSnapshot,
    ReadOutcome, ReadSlice, ReadWait, RecoveryReport, VerifyReport,
};
pub use error::{OpenError, ReadError, StorageError};
pub use extent::Extent;
pub use local::{LogDir, LogDirOptions, Threads, epoch_end};
pub use os_disk::OsDisk;
