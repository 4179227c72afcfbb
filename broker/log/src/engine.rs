//! The seam: what a storage engine of one partition does for its owner.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::batch::{AssignedBatch, BatchHeader, ControlMarker};
use tidelog_model::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
};

use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::extent::Extent;

/// A partition for its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionIndex,
}

/// One partition's log.
///
/// Its owner assigns offsets and keeps one incarnation of its numbering; [`CommitListener::rejected`] ends an
/// incarnation and names the next one.
pub trait PartitionLog: Debug + Send + Sync {
    /// Takes a batch to be written. Never blocks on the device: what became of it is told to the listener, on
    /// another thread, also after the data directory was closed or the partition removed. Batches of an
    /// incarnation that has ended are dropped.
    fn append(&self, batch: AssignedBatch, incarnation: u64, now: Timestamp);

    /// Where whole batches lie, from the one that contains or follows `from` to the last that ends before `up_to`,
    /// of at most `bytes_max` bytes, but at least one when there is one. Their headers are read, nothing more.
    ///
    /// # Errors
    /// [`ReadError`]: out of range, broken bytes, or a failing device.
    fn locate(
        &self,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
        wait: ReadWait,
    ) -> Result<LocateOutcome, ReadError>;

    /// The bytes of what [`Self::locate`] finds.
    ///
    /// # Errors
    /// As [`Self::locate`].
    fn read(
        &self,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
        wait: ReadWait,
    ) -> Result<ReadOutcome, ReadError> {
        match self.locate(from, up_to, bytes_max, wait)? {
            LocateOutcome::Batches(extent) => {
                let bytes = extent.read(0, extent.size(), wait)?;
                let slice = |bytes| ReadSlice { bytes, next_offset: extent.next_offset() };
                Ok(bytes.map_or(ReadOutcome::WouldBlock, |bytes| ReadOutcome::Batches(slice(bytes))))
            }
            LocateOutcome::Nothing(next_offset) => {
                Ok(ReadOutcome::Batches(ReadSlice { bytes: Bytes::new(), next_offset }))
            }
            LocateOutcome::WouldBlock => Ok(ReadOutcome::WouldBlock),
        }
    }

    /// The first record below `up_to` whose timestamp is at or after `target`. May block on the device.
    ///
    /// # Errors
    /// [`ReadError`]: broken bytes or a failing device.
    fn offset_for_timestamp(
        &self,
        target: Timestamp,
        up_to: Offset,
    ) -> Result<Option<(Offset, Timestamp)>, ReadError>;

    /// The largest timestamp of the records below `up_to`; `None` when none of them has one. May block on the
    /// device.
    ///
    /// # Errors
    /// [`ReadError`]: broken bytes or a failing device.
    fn max_timestamp(&self, up_to: Offset) -> Result<Option<Timestamp>, ReadError>;

    /// Visits the headers of the batches from the one that contains or follows `from` to the end.
    ///
    /// # Errors
    /// [`ReadError`]: broken bytes or a failing device.
    fn for_each_header(&self, from: Offset, visit: &mut dyn FnMut(&BatchHeader)) -> Result<(), ReadError>;

    /// Makes `new_start` the log's start, durably; the records before it are gone. Returns the log's start,
    /// which never moves back. May block on the device.
    ///
    /// # Errors
    /// When the device fails.
    fn trim(&self, new_start: Offset) -> Result<Offset, StorageError>;

    /// Applies retention and compaction to what lies below these bounds, and removes files deleted long enough
    /// ago. May block on the device.
    ///
    /// # Errors
    /// When the device fails.
    fn maintain(&self, now: Timestamp, up_to: Bounds) -> Result<Maintained, StorageError>;

    /// Uses other settings from now on.
    fn reconfigure(&self, config: LogConfig);

    /// The first offset kept.
    fn log_start(&self) -> Offset;

    /// The leader epochs with the offsets where they begin, both ascending; the last one is that of this run
    /// (KIP-101, KIP-320; [`crate::epoch_end`] answers what readers ask). It stays known of dropped records.
    fn leader_epochs(&self) -> Vec<(LeaderEpoch, Offset)>;

    /// Keeps what is remembered of idempotent producers below `at`, which is committed, durably. May block on
    /// the device.
    ///
    /// # Errors
    /// When the device fails; an older snapshot serves then.
    fn save_producers(&self, at: Offset, entries: &[ProducerEntry]) -> Result<(), StorageError>;

    /// The newest of [`Self::save_producers`] that still holds, for a start; the headers from its offset on say
    /// the rest.
    ///
    /// # Errors
    /// When the device fails.
    fn load_producers(&self) -> Result<Option<ProducerSnapshot>, StorageError>;

    /// Tells all that a start has to know of producers: what [`Self::save_producers`] has kept, and the batches
    /// behind it to the end. May block on the device.
    ///
    /// # Errors
    /// [`ReadError`]: broken bytes, behind which nothing was told, or a failing device.
    fn replay_producers(&self, tell: &mut dyn FnMut(ProducerFact<'_>)) -> Result<(), ReadError>;

    /// The aborted transactions that have records in `from..to`, by their first offset. `to` must not lie above
    /// the last stable offset. The first call may block on the device.
    ///
    /// # Errors
    /// [`ReadError`]: broken bytes or a failing device.
    fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError>;

    /// How much there is.
    fn stats(&self) -> LogStats;

    /// Reads everything and checks every checksum and the chain of offsets. May block for long.
    ///
    /// # Errors
    /// [`ReadError`] names the first byte that is broken.
    fn verify(&self) -> Result<VerifyReport, ReadError>;
}

/// A batch of an idempotent producer, as far as it is remembered, and how the producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of the batch's last record; [`Sequence::NONE`] without a batch of this epoch.
    pub last_sequence: Sequence,
    /// The offset of its last record; `None` without a batch of this epoch.
    pub last_offset: Option<Offset>,
    /// How far its last record is from its first.
    pub offset_delta: i32,
    /// When it was appended.
    pub timestamp: Timestamp,
    /// The epoch of the coordinator that has ended a transaction of the producer last; -1 when none has.
    pub coordinator_epoch: i32,
    /// The first offset of the transaction that the producer has not ended.
    pub transaction_start: Option<Offset>,
}

/// Something that a log tells of producers.
#[derive(Debug, Clone, Copy)]
pub enum ProducerFact<'a> {
    /// A batch below the newest snapshot. Those of a producer come in their order.
    Remembered(&'a ProducerEntry),
    /// A batch in the log, and the marker that it is if it ends a transaction.
    Batch(&'a BatchHeader, Option<ControlMarker>),
}

/// A transaction that was aborted: its records are not for readers of committed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// The first offset of the transactions that were open when it ended, or the offset after its marker.
    pub last_stable: Offset,
}

/// What was remembered of idempotent producers at one offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// Everything below it is in the entries.
    pub at: Offset,
    /// Of each producer one or more batches, in their order.
    pub entries: Vec<ProducerEntry>,
}

/// Hears what becomes of appended batches. Called on a thread of the log's own without any lock of the log held;
/// must not block on I/O.
pub trait CommitListener: Send + Sync {
    /// Everything below `end` is written: it survives a crash of the process.
    fn written(&self, end: Offset);
    /// Everything below `end` is as durable as the flush policy promises.
    fn committed(&self, end: Offset);
    /// Batches of the incarnation that were not committed never will be.
    fn rejected(&self, failure: AppendFailure);
}

/// The end of an incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendFailure {
    /// Why.
    pub kind: AppendFailureKind,
    /// The next offset to assign.
    pub end: Offset,
    /// The incarnation to use from now on.
    pub incarnation: u64,
}

/// Why batches were rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendFailureKind {
    /// No room: they are not in the log. Later batches are tried again.
    DiskFull,
    /// As many files are open as may be: they are not in the log. Later batches are tried again.
    OutOfFiles {
        /// Which limit was met, and what to do.
        reason: String,
    },
    /// The data directory was closed or the partition removed before: they are not in the log, and no later batch
    /// is taken.
    Gone,
    /// The device failed: whether they are in the log is unknown until a restart, and no later batch is taken.
    Failed {
        /// What happened.
        reason: String,
    },
}

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadWait {
    /// Only what is in memory.
    CachedOnly,
    /// Whatever it takes.
    MayBlock,
}

/// What a read found.
#[derive(Debug)]
pub enum ReadOutcome {
    /// Batches, or nothing because nothing lies below the bound.
    Batches(ReadSlice),
    /// The device would have to be asked: read again with [`ReadWait::MayBlock`].
    WouldBlock,
}

/// Where batches lie.
#[derive(Debug)]
pub enum LocateOutcome {
    /// There.
    Batches(Extent),
    /// Nothing lies below the bound: where the next read starts.
    Nothing(Offset),
    /// The device would have to be asked: look again with [`ReadWait::MayBlock`].
    WouldBlock,
}

/// Whole batches, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSlice {
    /// Their bytes; the first batch may begin before the offset asked for.
    pub bytes: Bytes,
    /// Where the next read starts.
    pub next_offset: Offset,
}

/// How far a log may be maintained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Retention drops nothing from here on: the records may still be lost, or nobody could have read them.
    pub high_watermark: Offset,
    /// Retention drops nothing from here on, because somebody is not done with the records.
    pub held_from: Offset,
    /// Compaction touches nothing from here on: everything below belongs to no open transaction.
    pub last_stable: Offset,
}

impl Bounds {
    /// Those of a log without open transactions that nobody holds.
    #[must_use]
    pub const fn stable(high_watermark: Offset) -> Self {
        Self { high_watermark, held_from: Offset::MAX, last_stable: high_watermark }
    }
}

/// What one pass of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// The log's start afterwards.
    pub log_start: Offset,
    /// Where retention would have moved the log's start if nobody held records below.
    pub wanted_start: Offset,
    /// Bytes of segments dropped by retention.
    pub deleted_bytes: u64,
    /// Bytes saved by compaction.
    pub compacted_bytes: u64,
}

/// How much a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// Segments, the active one included.
    pub segments: usize,
}

/// What a check of everything found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Batches checked.
    pub batches: u64,
    /// Records they say they hold.
    pub records: u64,
    /// Bytes checked.
    pub bytes: u64,
}

/// An opened log and what opening it found.
#[derive(Debug)]
pub struct OpenedLog {
    /// The log.
    pub log: Arc<dyn PartitionLog>,
    /// What was found.
    pub recovery: RecoveryReport,
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The first offset kept.
    pub log_start: Offset,
    /// The next offset to assign.
    pub log_end: Offset,
    /// Bytes of a torn tail that were cut off, and kept beside the segment.
    pub truncated_bytes: u64,
    /// Where the torn tail was kept.
    pub torn_tail: Option<PathBuf>,
    /// The tail needed no scan, because the last shutdown was clean.
    pub clean: bool,
    /// Bytes known to be durable are broken: the log serves what lies before them and takes no writes.
    pub corrupt: Option<String>,
}
