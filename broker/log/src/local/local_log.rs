//! One partition in local segment files: the [`PartitionLog`] that readers and the owner hold.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tidelog_model::batch::{AssignedBatch, BatchHeader};
use tidelog_model::{LeaderEpoch, Offset, Timestamp};

use super::compact_swap::Progress;
use super::epochs::Epochs;
use super::floor::{Floor, FloorTable};
use super::producers;
use super::queue::{CommitQueue, Line, Pending};
use super::read::{self, Want};
use super::retain::{self, Dropped};
use super::scan;
use super::segment::Segment;
use super::transactions::{self, Knowledge};
use super::writer::{WriteError, Writer};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::engine::{
    AbortedTransaction, AppendFailure, AppendFailureKind, Bounds, CommitListener, LocateOutcome, LogStats,
    Maintained, PartitionId, PartitionLog, ProducerEntry, ProducerFact, ProducerSnapshot, ReadWait,
    VerifyReport,
};
use crate::error::{ReadError, StorageError, failed};

/// Bytes that are broken, and what lies before them.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub(super) path: PathBuf,
    pub(super) position: u64,
    pub(super) offset: Offset,
    pub(super) reason: String,
}

impl Damage {
    /// What an error says of broken bytes, if that is what it is about.
    pub(super) fn of(error: ReadError) -> Option<Self> {
        match error {
            ReadError::Corrupt { path, position, offset, reason } => {
                Some(Self { path, position, offset, reason })
            }
            ReadError::OutOfRange { .. } | ReadError::Storage(_) => None,
        }
    }

    fn error(&self) -> ReadError {
        ReadError::from(self)
    }
}

impl From<&Damage> for ReadError {
    fn from(damage: &Damage) -> Self {
        Self::Corrupt {
            path: damage.path.clone(),
            position: damage.position,
            offset: damage.offset,
            reason: damage.reason.clone(),
        }
    }
}

/// What only the writing side changes.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) writer: Writer,
    /// The numbering that is written; batches of others are dropped.
    pub(super) incarnation: u64,
    /// Why nothing is written any more.
    pub(super) failed: Option<String>,
    /// The commit thread is syncing the active segment.
    pub(super) syncing: bool,
    /// How many times it has begun to.
    pub(super) syncs: u64,
    /// Bytes of the active segment are durable in the journal only.
    pub(super) journaled: bool,
    /// Bytes of the active segment are not durable at all, because the policy did not ask for it.
    pub(super) loose: bool,
    /// The partition is being removed: nothing of it is to be noted any more, its id may be used again.
    pub(super) removed: bool,
}

impl Tail {
    /// The commit thread goes to sync the active segment.
    pub(super) const fn begin_sync(&mut self) {
        self.syncing = true;
        self.syncs = self.syncs.wrapping_add(1);
    }
}

/// A partition of a data directory.
pub(super) struct LocalLog {
    pub(super) id: PartitionId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) floors: Arc<FloorTable>,
    pub(super) listener: Arc<dyn CommitListener>,
    queue: Arc<CommitQueue>,
    line: Line,
    me: Weak<Self>,
    /// A thread is about to tell the owner that nothing is taken any more.
    rejecting: AtomicBool,
    config: RwLock<Arc<LogConfig>>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    log_start: AtomicI64,
    damage: Option<Damage>,
    pub(super) epochs: Epochs,
    tail: Mutex<Tail>,
    pub(super) transactions: Knowledge,
    /// Held by the one pass of maintenance or trim that may drop segments.
    pub(super) dropped: Mutex<Vec<Dropped>>,
    /// Held by the one pass of compaction; taken before `dropped`.
    pub(super) compacted: Mutex<Progress>,
}

impl std::fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalLog").field("id", &self.id).field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What opening a partition has put together.
pub(super) struct Parts {
    pub(super) id: PartitionId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) floors: Arc<FloorTable>,
    pub(super) listener: Arc<dyn CommitListener>,
    pub(super) queue: Arc<CommitQueue>,
    pub(super) config: LogConfig,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) log_start: Offset,
    pub(super) damage: Option<Damage>,
    pub(super) compacted: Progress,
    pub(super) epochs: Epochs,
    pub(super) writer: Writer,
}

impl LocalLog {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self::of(parts, Weak::clone(me)))
    }

    fn of(parts: Parts, me: Weak<Self>) -> Self {
        let failed = parts.damage.as_ref().map(|damage| damage.error().to_string());
        Self {
            id: parts.id,
            disk: parts.disk,
            dir: parts.dir,
            floors: parts.floors,
            listener: parts.listener,
            line: parts.queue.line(parts.id),
            queue: parts.queue,
            me,
            rejecting: AtomicBool::new(false),
            config: RwLock::new(Arc::new(effective(parts.config))),
            segments: RwLock::new(Arc::new(parts.segments)),
            log_start: AtomicI64::new(parts.log_start.get()),
            damage: parts.damage,
            epochs: parts.epochs,
            tail: Mutex::new(Tail {
                writer: parts.writer,
                incarnation: 0,
                failed,
                syncing: false,
                syncs: 0,
                journaled: false,
                loose: false,
                removed: false,
            }),
            transactions: Knowledge::default(),
            dropped: Mutex::new(Vec::new()),
            compacted: Mutex::new(parts.compacted),
        }
    }

    pub(super) fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the active segment and starts the next one.
    pub(super) fn roll(&self, tail: &mut Tail, now: Timestamp) -> Result<(), WriteError> {
        let next = tail.writer.roll(now)?;
        self.change_segments(|segments| segments.push(next));
        self.note_synced(tail);
        Ok(())
    }

    /// Takes note that a sync of the active segment has returned, after the last write to it.
    pub(super) fn note_synced(&self, tail: &mut Tail) {
        tail.writer.dirty = false;
        tail.journaled = false;
        tail.loose = false;
        self.note_floor(tail);
    }

    /// Ends the numbering because the device failed; nothing is written any more.
    pub(super) fn fence(tail: &mut Tail, reason: String) -> AppendFailure {
        tail.failed = Some(reason.clone());
        Self::end_numbering(tail, AppendFailureKind::Failed { reason })
    }

    /// Ends the numbering.
    pub(super) fn end_numbering(tail: &mut Tail, kind: AppendFailureKind) -> AppendFailure {
        tail.incarnation += 1;
        AppendFailure { kind, end: tail.writer.end(), incarnation: tail.incarnation }
    }

    /// Tells the owner that nothing is taken any more.
    pub(super) fn reject_gone(&self) {
        let failure = Self::end_numbering(&mut self.tail(), AppendFailureKind::Gone);
        self.listener.rejected(failure);
    }

    /// The same from another thread: the owner may hold a lock of its own.
    fn reject_late(&self) {
        let Some(log) = self.me.upgrade() else { return };
        if self.rejecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let rejecting = std::thread::Builder::new().name("log-reject".to_owned()).spawn(move || {
            // First, so that a batch that comes from here on gets a rejection of its own.
            log.rejecting.store(false, Ordering::Release);
            log.reject_gone();
        });
        if let Err(error) = rejecting {
            self.rejecting.store(false, Ordering::Release);
            tracing::error!(%error, dir = %self.dir.display(), "a batch that came after the end gets no answer");
        }
    }

    /// Remembers that all that is written is durable.
    pub(super) fn note_floor(&self, tail: &Tail) {
        self.record_floor(tail, tail.writer.floor());
    }

    pub(super) fn record_floor(&self, tail: &Tail, floor: Floor) {
        if tail.removed {
            return;
        }
        // A floor that lags is safe, so one that cannot be written is no reason to refuse a batch.
        if let Err(error) = self.floors.record(self.id, floor) {
            tracing::warn!(%error, "the durable floor lags behind");
        }
    }

    pub(super) fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut guard = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = guard.as_ref().clone();
        change(&mut next);
        *guard = Arc::new(next);
    }

    pub(super) fn raise_log_start(&self, start: Offset) -> Offset {
        self.log_start.fetch_max(start.get(), Ordering::AcqRel);
        self.log_start()
    }

    /// Makes everything written durable, for a clean end.
    pub(super) fn finish(&self) -> Result<(), StorageError> {
        let mut tail = self.tail();
        if let Some(reason) = &tail.failed {
            let source = std::io::Error::other(reason.clone());
            return if self.damage.is_some() { Ok(()) } else { Err(failed("close", &self.dir)(source)) };
        }
        tail.writer.finish()?;
        transactions::settle(self, &tail)?;
        self.note_floor(&tail);
        Ok(())
    }

    /// The end of what can be read at all: everything, or what lies before the damage.
    pub(super) fn sound_end(&self, segments: &[Arc<Segment>]) -> Offset {
        match &self.damage {
            Some(damage) => damage.offset,
            None => segments.last().map_or(Offset::ZERO, |segment| segment.next_offset()),
        }
    }

    /// Whether bytes that were durable are broken.
    pub(super) const fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Names broken bytes.
    pub(super) fn check_damage(&self) -> Result<(), ReadError> {
        self.damage.as_ref().map_or(Ok(()), |damage| Err(damage.error()))
    }

    fn check_range(&self, offset: Offset, segments: &[Arc<Segment>]) -> Result<(), ReadError> {
        let (log_start, end) = (self.log_start(), self.sound_end(segments));
        match &self.damage {
            Some(damage) if offset >= damage.offset => Err(damage.error()),
            _ if offset < log_start || offset > end => Err(ReadError::OutOfRange { offset, log_start, end }),
            _ => Ok(()),
        }
    }
}

/// Only closed segments are compacted: where records must be compacted at some age, their segment is closed then.
fn effective(mut config: LogConfig) -> LogConfig {
    if config.cleanup.compact {
        config.segment_ms = config.segment_ms.min(config.max_compaction_lag_ms);
    }
    config
}

/// The place of the segment that holds `offset`, or that of the first one.
pub(super) fn segment_of(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
}

impl PartitionLog for LocalLog {
    fn append(&self, batch: AssignedBatch, incarnation: u64, now: Timestamp) {
        if !self.queue.push(self.line, &self.me, Pending { batch, incarnation, now }) {
            self.reject_late();
        }
    }

    fn locate(
        &self,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
        wait: ReadWait,
    ) -> Result<LocateOutcome, ReadError> {
        let segments = self.segments();
        self.check_range(from, &segments)?;
        let up_to = up_to.min(self.sound_end(&segments));
        let mut from = from;
        for segment in segments.get(segment_of(&segments, from)..).unwrap_or_default() {
            if from >= up_to {
                break;
            }
            match read::locate(segment, Want { from, up_to, bytes_max, wait })? {
                LocateOutcome::Nothing(next_offset) => from = next_offset,
                outcome => return Ok(outcome),
            }
        }
        Ok(LocateOutcome::Nothing(from.min(up_to)))
    }

    fn offset_for_timestamp(
        &self,
        target: Timestamp,
        up_to: Offset,
    ) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        let segments = self.segments();
        let (start, up_to) = (self.log_start(), up_to.min(self.sound_end(&segments)));
        for segment in segments.iter().filter(|segment| segment.next_offset() > start) {
            if segment.base >= up_to {
                break;
            }
            if segment.max_timestamp() < target {
                continue;
            }
            let found = read::offset_for_timestamp(segment, target, start, up_to)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn max_timestamp(&self, up_to: Offset) -> Result<Option<Timestamp>, ReadError> {
        let segments = self.segments();
        let (start, up_to) = (self.log_start(), up_to.min(self.sound_end(&segments)));
        let mut largest = Timestamp::NONE;
        let seen = segments.iter().filter(|segment| segment.base < up_to && segment.next_offset() > start);
        for segment in seen {
            let whole = segment.base >= start && segment.next_offset() <= up_to;
            let of_segment =
                if whole { segment.max_timestamp() } else { read::max_timestamp(segment, start, up_to)? };
            largest = largest.max(of_segment);
        }
        Ok((largest != Timestamp::NONE).then_some(largest))
    }

    fn for_each_header(&self, from: Offset, visit: &mut dyn FnMut(&BatchHeader)) -> Result<(), ReadError> {
        let segments = self.segments();
        for segment in segments.get(segment_of(&segments, from)..).unwrap_or_default() {
            segment.walk(segment.sound_entry_before(from)?, &mut |placed| {
                if placed.header.next_offset() > from {
                    visit(&placed.header);
                }
                true
            })?;
        }
        self.check_damage()
    }

    fn trim(&self, new_start: Offset) -> Result<Offset, StorageError> {
        retain::trim(self, new_start)
    }

    fn maintain(&self, now: Timestamp, up_to: Bounds) -> Result<Maintained, StorageError> {
        retain::maintain(self, now, up_to)
    }

    fn reconfigure(&self, config: LogConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(effective(config));
    }

    fn log_start(&self) -> Offset {
        Offset::new(self.log_start.load(Ordering::Acquire)).unwrap_or(Offset::ZERO)
    }

    fn leader_epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.epochs.entries().to_vec()
    }

    fn save_producers(&self, at: Offset, entries: &[ProducerEntry]) -> Result<(), StorageError> {
        transactions::save_producers(self, at, entries)
    }

    fn load_producers(&self) -> Result<Option<ProducerSnapshot>, StorageError> {
        producers::load(self.disk.as_ref(), &self.dir, self.sound_end(&self.segments()))
    }

    fn replay_producers(&self, tell: &mut dyn FnMut(ProducerFact<'_>)) -> Result<(), ReadError> {
        transactions::replay(self, &mut self.tail(), tell)
    }

    fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        transactions::aborted(self, from, to)
    }

    fn stats(&self) -> LogStats {
        let segments = self.segments();
        LogStats { size_bytes: segments.iter().map(|segment| segment.size()).sum(), segments: segments.len() }
    }

    fn verify(&self) -> Result<VerifyReport, ReadError> {
        let current = self.epochs.entries().last().map_or(i32::MAX, |(epoch, _)| epoch.get());
        let report = scan::verify(&self.segments(), current)?;
        self.check_damage().map(|()| report)
    }
}
