//! The writing half of a partition: the active segment and its growing indexes.
//!
//! Only the commit thread writes (and maintenance, which takes the same lock to roll). A write that fails
//! half-way is cut off again, so that the file ends at a boundary of batches whenever the lock is free.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::batch::AssignedBatch;
use tidelog_model::{Offset, Timestamp};

use super::file::{self, wide};
use super::floor::Floor;
use super::index::{IndexBytes, OffsetEntry, TimeEntry};
use super::segment::Segment;
use super::transactions::Ongoing;
use super::txn_index;
use crate::config::{FlushPolicy, LogConfig};
use crate::disk::{Disk, DiskFile, OpenMode, SealedBytes};
use crate::error::{StorageError, failed};

/// How much is copied before the device is told to begin.
const PIECE_BYTES: u64 = 1 << 20;

/// Where the active segment stands.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub(super) segment: Arc<Segment>,
    /// `None` where nothing may be written, or the files could not be made: indexes are hints.
    index_files: Option<IndexFiles>,
    state: ActiveState,
    /// Bytes were written since the last sync.
    pub(super) dirty: bool,
    /// The base of a next segment that could not be made. What is left of it is not removed durably yet: that
    /// comes before anything else is written, because it must not stand beside a segment that goes on past it.
    unmade: Option<Offset>,
    /// The transactions that have not ended; `None` until a look at the log has told.
    pub(super) ongoing: Option<Ongoing>,
}

/// What is known of the segment that goes on growing.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActiveState {
    /// When it was created or opened.
    pub(super) created: Timestamp,
    /// The time of its first batch.
    pub(super) first_timestamp: Timestamp,
    /// The largest time so far, and the last offset of the batch that has it.
    pub(super) max_timestamp: Timestamp,
    pub(super) max_timestamp_end: Offset,
    pub(super) bytes_since_entry: u64,
}

impl ActiveState {
    pub(super) const fn new(created: Timestamp) -> Self {
        Self {
            created,
            first_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            max_timestamp_end: Offset::ZERO,
            bytes_since_entry: 0,
        }
    }
}

impl Writer {
    /// Goes on with a segment; its index files are written anew from what is in memory.
    pub(super) fn resume(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segment: Arc<Segment>,
        state: ActiveState,
    ) -> Self {
        let index_files = IndexFiles::open(disk.as_ref(), &segment);
        let index_files = index_files.map_err(|error| {
            tracing::warn!(%error, "the index of an active segment is in memory only");
        });
        let index_files = index_files.ok();
        Self { disk, dir, segment, index_files, state, dirty: false, unmade: None, ongoing: None }
    }

    /// Stands at the end of a segment and never writes.
    pub(super) fn fenced(disk: Arc<dyn Disk>, dir: PathBuf, segment: Arc<Segment>) -> Self {
        let state = ActiveState::new(Timestamp::NONE);
        let index_files = None;
        Self { disk, dir, segment, index_files, state, dirty: false, unmade: None, ongoing: None }
    }

    /// The next offset of the file.
    pub(super) fn end(&self) -> Offset {
        self.segment.next_offset()
    }

    /// What a sync that returns now makes known.
    pub(super) fn floor(&self) -> Floor {
        Floor { segment: self.segment.base, bytes: self.segment.size(), end: self.end() }
    }

    /// Whether the active segment must be closed before `batch` is written behind the batches of `run`, which
    /// have `ahead` bytes.
    pub(super) fn must_roll(
        &self,
        run: &[AssignedBatch],
        ahead: u64,
        batch: &AssignedBatch,
        config: &LogConfig,
        now: Timestamp,
    ) -> bool {
        let size = self.segment.size().saturating_add(ahead);
        if size == 0 {
            return false;
        }
        let header = batch.header();
        let grown = size.saturating_add(u64::from(header.size_bytes));
        let first = match run.first() {
            Some(first) if self.segment.size() == 0 => first.header().max_timestamp,
            _ => self.state.first_timestamp,
        };
        grown > u64::from(config.segment_bytes)
            || self.age(first, header.max_timestamp, now) >= config.segment_ms
            || self.segment.indexes().offsets.len() >= to_usize(config.segment_index_bytes)
            || OffsetEntry::new(self.segment.base, header.last_offset(), size).is_none()
    }

    /// The time between the segment's first batch and the next one by the records' own times, so that the
    /// records of a backfill do not get a segment each; by the clock where records have no times.
    fn age(&self, first: Timestamp, next: Timestamp, now: Timestamp) -> i64 {
        let (first, next) = match first {
            Timestamp::NONE => (self.state.created, now),
            first if next == Timestamp::NONE => (first, now),
            first => (first, next),
        };
        next.millis().saturating_sub(first.millis())
    }

    /// Appends batches that all belong into the active segment.
    pub(super) fn write(&mut self, batches: &[AssignedBatch], config: &LogConfig) -> Result<(), WriteError> {
        let Some(last) = batches.last() else { return Ok(()) };
        self.discard_unmade()?;
        let end = last.header().next_offset();
        let start = self.segment.size();
        // Set first: a write that fails may have changed the file all the same.
        self.dirty = true;
        let synced_next = config.flush == FlushPolicy::Sync;
        if let Err(error) = write_batches(self.segment.file.as_ref(), batches, start, synced_next) {
            let cause = failed("write", &self.segment.path)(error);
            // Part of it may be there: without the cut a later write could leave it in front of itself.
            // And without the sync a power cut could bring back what its owner was told is not there.
            let cut = self.segment.file.set_size(start).and_then(|()| self.segment.file.sync_data());
            return Err(match cut {
                Ok(()) => WriteError::CutBack(cause),
                Err(_) => WriteError::Unknown(cause),
            });
        }
        let mut position = start;
        for batch in batches {
            self.index(batch, position, config);
            position = position.saturating_add(u64::from(batch.header().size_bytes));
        }
        self.segment.set_end(position, end, self.state.max_timestamp);
        Ok(())
    }

    fn index(&mut self, batch: &AssignedBatch, position: u64, config: &LogConfig) {
        let header = batch.header();
        if position == 0 {
            self.state.first_timestamp = header.max_timestamp;
        }
        if header.max_timestamp > self.state.max_timestamp {
            self.state.max_timestamp = header.max_timestamp;
            self.state.max_timestamp_end = header.last_offset();
        }
        if self.state.bytes_since_entry > u64::from(config.index_interval_bytes)
            && let Some(entry) = OffsetEntry::new(self.segment.base, header.last_offset(), position)
        {
            self.segment.indexes_mut().offsets.push(&entry.encode());
            self.push_time_entry();
            self.state.bytes_since_entry = 0;
        }
        let size = u64::from(header.size_bytes);
        self.state.bytes_since_entry = self.state.bytes_since_entry.saturating_add(size);
        let aborted = self.ongoing.as_mut().and_then(|ongoing| ongoing.append(batch));
        if let Some(aborted) = aborted {
            self.segment.indexes_mut().aborted.push(&txn_index::encode(&aborted));
        }
    }

    fn push_time_entry(&self) {
        let ActiveState { max_timestamp, max_timestamp_end, .. } = self.state;
        if let Some(entry) = TimeEntry::new(self.segment.base, max_timestamp, max_timestamp_end) {
            self.segment.indexes_mut().times.push_time(entry);
        }
    }

    /// Writes index entries that are only in memory. Indexes are hints, so this is not synced.
    pub(super) fn write_indexes(&mut self) -> Result<(), StorageError> {
        let Some(files) = &mut self.index_files else { return Ok(()) };
        files.catch_up(&self.segment)
    }

    /// Makes the indexes durable. They are hints, but of the bytes that are there: what they said of a tail that
    /// was cut off must not come back. So files that could not be written anew are removed.
    pub(super) fn settle_indexes(&self) -> Result<(), StorageError> {
        let Some(files) = &self.index_files else {
            return Segment::discard_indexes(self.disk.as_ref(), &self.dir, self.segment.base);
        };
        let sync = |file: &dyn DiskFile, extension| {
            file.sync_data().map_err(failed("sync", &self.segment.sibling(extension)))
        };
        sync(files.offsets.as_ref(), "index")?;
        sync(files.times.as_ref(), "timeindex")
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.segment.file.sync_data().map_err(failed("sync", &self.segment.path))?;
        self.dirty = false;
        Ok(())
    }

    /// Closes the active segment, durably, and starts the next one. Returns it.
    pub(super) fn roll(&mut self, now: Timestamp) -> Result<Arc<Segment>, WriteError> {
        // After a failed sync nothing is known of the bytes before: that is the end of this partition.
        self.sync().map_err(WriteError::Unknown)?;
        let base = self.end();
        match Segment::create(self.disk.as_ref(), &self.dir, base) {
            Ok(next) => Ok(self.start(Arc::new(next), now)),
            Err(error) => {
                self.unmade = Some(base);
                match self.discard_unmade() {
                    Ok(()) | Err(WriteError::CutBack(_)) => Err(WriteError::CutBack(error)),
                    Err(WriteError::Unknown(_)) => Err(WriteError::Unknown(error)),
                }
            }
        }
    }

    fn discard_unmade(&mut self) -> Result<(), WriteError> {
        let Some(base) = self.unmade else { return Ok(()) };
        Segment::discard(self.disk.as_ref(), &self.dir, base).map_err(|error| {
            // Even that takes an open file. Nothing was written past it so far.
            if error.is_out_of_files() { WriteError::CutBack(error) } else { WriteError::Unknown(error) }
        })?;
        self.unmade = None;
        Ok(())
    }

    fn start(&mut self, next: Arc<Segment>, now: Timestamp) -> Arc<Segment> {
        self.push_time_entry();
        if let Err(error) = self.write_indexes() {
            tracing::warn!(%error, "an index lags behind");
        }
        seal_indexes(self.disk.as_ref(), &self.segment);
        txn_index::seal(self.disk.as_ref(), &self.segment);
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        let ongoing = self.ongoing.take();
        let resumed = Self::resume(disk, dir, Arc::clone(&next), ActiveState::new(now));
        *self = Self { ongoing, ..resumed };
        next
    }

    /// Makes the segment and its index files whole for a clean end.
    pub(super) fn finish(&mut self) -> Result<(), StorageError> {
        if self.dirty {
            self.sync()?;
        }
        self.push_time_entry();
        self.write_indexes()
    }
}

/// Writes batches one after the other. Where a sync comes next and there is much to write, the device begins
/// with the first piece while the others are copied.
fn write_batches(
    file: &dyn DiskFile,
    batches: &[AssignedBatch],
    start: u64,
    synced_next: bool,
) -> io::Result<()> {
    let mut position = start;
    let mut rest = batches;
    while !rest.is_empty() {
        let mut length = 0_u64;
        let count = rest.iter().take_while(|batch| {
            let more = length < PIECE_BYTES;
            length += if more { u64::from(batch.header().size_bytes) } else { 0 };
            more
        });
        let (piece, after) = rest.split_at(count.count());
        let mut parts: Vec<IoSlice<'_>> = piece
            .iter()
            .flat_map(|batch| [IoSlice::new(batch.prefix()), IoSlice::new(batch.rest())])
            .collect();
        file::write_all(file, &mut parts, position)?;
        if synced_next && length >= PIECE_BYTES {
            // A hint: the sync tells whether the bytes arrived.
            file.begin_writeback(position, length).unwrap_or_default();
        }
        position = position.saturating_add(length);
        rest = after;
    }
    Ok(())
}

/// The files behind growing indexes.
#[derive(Debug)]
struct IndexFiles {
    offsets: Arc<dyn DiskFile>,
    times: Arc<dyn DiskFile>,
    offsets_written: usize,
    times_written: usize,
}

impl IndexFiles {
    fn open(disk: &dyn Disk, segment: &Segment) -> Result<Self, StorageError> {
        let open = |extension| {
            let path = segment.sibling(extension);
            let file = disk.open(&path, OpenMode::Create).map_err(failed("open", &path))?;
            file.set_size(0).map_err(failed("empty", &path))?;
            Ok::<_, StorageError>(file)
        };
        let (offsets, times) = (open("index")?, open("timeindex")?);
        let mut files = Self { offsets, times, offsets_written: 0, times_written: 0 };
        files.catch_up(segment)?;
        Ok(files)
    }

    fn catch_up(&mut self, segment: &Segment) -> Result<(), StorageError> {
        let indexes = segment.indexes();
        let put = |file: &dyn DiskFile, all: &[u8], written: &mut usize| -> io::Result<()> {
            let new = all.get(*written..).unwrap_or_default();
            if !new.is_empty() {
                file::write_all(file, &mut [IoSlice::new(new)], wide(*written))?;
                *written = all.len();
            }
            Ok(())
        };
        put(self.offsets.as_ref(), &indexes.offsets, &mut self.offsets_written)
            .map_err(failed("write", &segment.sibling("index")))?;
        put(self.times.as_ref(), &indexes.times, &mut self.times_written)
            .map_err(failed("write", &segment.sibling("timeindex")))
    }
}

/// Swaps the growing indexes of a closed segment for maps of its files, writing them first where they differ.
/// Where that fails they stay in memory.
pub(super) fn seal_indexes(disk: &dyn Disk, segment: &Segment) {
    let sealed = |extension: &str, memory: &[u8]| {
        let path = segment.sibling(extension);
        if file::read_small(disk, &path)?.as_deref() != Some(memory) {
            let dir = path.parent().unwrap_or(Path::new("."));
            let name = super::segment::file_name(segment.base, extension);
            file::replace(disk, dir, &name, memory)?;
        }
        map_index(disk, &path)
    };
    let maps = {
        let indexes = segment.indexes();
        sealed("index", &indexes.offsets)
            .and_then(|offsets| Ok((offsets, sealed("timeindex", &indexes.times)?)))
    };
    match maps {
        Ok((offsets, times)) => {
            let mut indexes = segment.indexes_mut();
            indexes.offsets = IndexBytes::Sealed(offsets);
            indexes.times = IndexBytes::Sealed(times);
        }
        Err(error) => tracing::warn!(%error, "the indexes of a closed segment are kept in memory"),
    }
}

/// The bytes of an index file that does not change any more.
pub(super) fn map_index(disk: &dyn Disk, path: &Path) -> Result<SealedBytes, StorageError> {
    let file = disk.open(path, OpenMode::Read).map_err(failed("open", path))?;
    file.map_sealed().map_err(failed("map", path))
}

/// A write did not happen.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing of it is in the file.
    CutBack(StorageError),
    /// What of it is in the file is not known.
    Unknown(StorageError),
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
