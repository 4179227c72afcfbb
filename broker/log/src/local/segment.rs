//! One segment: a file of batches back to back, with its indexes.
//!
//! Readers share it with the writer: bytes below [`Segment::size`] never change, except that a write that
//! failed half-way is cut off again before anything of it was reported.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tidelog_model::batch::{BATCH_OVERHEAD, BatchHeader};
use tidelog_model::{Offset, Timestamp};

use super::file;
use super::index::{self, IndexBytes, OffsetEntry, TimeEntry};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::ReadWait;
use crate::error::{ReadError, StorageError, failed};

/// The ends of the names of the files that a new segment has. It may come to have a transaction index.
const CREATED: [&str; 3] = ["log", "index", "timeindex"];
/// The bytes read at once when only headers are looked at and batches are small.
const WALK_BYTES: usize = 16 * 1024;
/// The same while batches are so large that reading past their headers would be for nothing.
const PROBE_BYTES: usize = 512;

/// A segment's indexes.
#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) offsets: IndexBytes,
    pub(super) times: IndexBytes,
    /// The aborted transactions whose marker is in the segment.
    pub(super) aborted: IndexBytes,
}

/// One segment of a partition.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: Offset,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    indexes: RwLock<Indexes>,
    size: AtomicU64,
    next_offset: AtomicI64,
    max_timestamp: AtomicI64,
    /// Below this offset compaction may have left gaps.
    gaps_to: AtomicI64,
}

/// A batch's header and where it stands in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) header: BatchHeader,
    pub(super) position: u64,
}

impl Placed {
    /// Where the next batch starts.
    pub(super) const fn end(&self) -> u64 {
        self.position + self.header.size_bytes as u64
    }
}

/// Goes from header to header.
#[derive(Debug)]
pub(super) struct HeaderWalk<'a> {
    segment: &'a Segment,
    wait: ReadWait,
    position: u64,
    expected: Offset,
    /// What an index says of the first batch, until it is confirmed.
    entry: Option<OffsetEntry>,
    chunk: Vec<u8>,
    chunk_at: u64,
    large: bool,
}

impl<'a> HeaderWalk<'a> {
    /// From the batch that `entry` leads to, or from the first.
    pub(super) fn new(segment: &'a Segment, entry: Option<OffsetEntry>, wait: ReadWait) -> Self {
        Self {
            segment,
            wait,
            position: entry.map_or(0, OffsetEntry::place),
            expected: segment.base,
            entry,
            chunk: Vec::new(),
            chunk_at: 0,
            // The first header decides; an index leads close to what is wanted.
            large: true,
        }
    }

    /// The next batch: `Some(None)` at the end, `None` when the device would have to be asked.
    pub(super) fn next(&mut self) -> Result<Option<Option<Placed>>, ReadError> {
        if self.position >= self.segment.size() {
            return Ok(Some(None));
        }
        let Some(at) = self.fill()? else { return Ok(None) };
        let bytes = self.chunk.get(at..).unwrap_or_default();
        let gaps_to = if self.entry.is_some() { Offset::MAX } else { self.segment.gaps_to() };
        let placed = self.segment.placed(bytes, self.position, self.expected, gaps_to)?;
        if let Some(entry) = self.entry.take()
            && entry.last_offset(self.segment.base) != placed.header.last_offset()
        {
            let reason = "the index entry leads to another batch";
            return Err(self.segment.corrupt(self.position, self.expected, reason));
        }
        self.position = placed.end();
        self.expected = placed.header.next_offset();
        self.large = placed.header.size() > WALK_BYTES / 4;
        Ok(Some(Some(placed)))
    }

    /// Makes the chunk hold the header at the position; answers where in it.
    fn fill(&mut self) -> Result<Option<usize>, ReadError> {
        let held = self.position.checked_sub(self.chunk_at).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = held.filter(|at| at.saturating_add(BATCH_OVERHEAD) <= self.chunk.len()) {
            return Ok(Some(at));
        }
        let left = usize::try_from(self.segment.size() - self.position).unwrap_or(usize::MAX);
        self.chunk.resize(left.min(if self.large { PROBE_BYTES } else { WALK_BYTES }), 0);
        self.chunk_at = self.position;
        let read = match self.wait {
            ReadWait::MayBlock => {
                file::read_at(self.segment.file.as_ref(), &mut self.chunk, self.position).map(Some)
            }
            ReadWait::CachedOnly => self.segment.file.read_cached_at(&mut self.chunk, self.position),
        };
        // A failed read must not leave a chunk that looks filled.
        self.chunk.truncate(read.as_ref().ok().copied().flatten().unwrap_or(0));
        let Some(read) = read.map_err(failed("read", &self.segment.path))? else { return Ok(None) };
        let short = read < left.min(BATCH_OVERHEAD);
        Ok(if short && self.wait == ReadWait::CachedOnly { None } else { Some(0) })
    }
}

/// The name of a file of the segment with this base.
pub(super) fn file_name(base: Offset, extension: &str) -> String {
    format!("{:020}.{extension}", base.get())
}

/// The base offset in the name of a file with this extension.
pub(super) fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { digits.parse().ok().and_then(Offset::new) } else { None }
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

impl Segment {
    /// Creates an empty segment in `dir`, over whatever an attempt that failed has left under its names. Its
    /// names are durable when this returns.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Self, StorageError> {
        remove_if_there(disk, &dir.join(file_name(base, super::txn_index::EXTENSION)))?;
        for extension in CREATED {
            let path = dir.join(file_name(base, extension));
            // Emptying one that is there would not do: a power cut could bring its old bytes back.
            remove_if_there(disk, &path)?;
            disk.open(&path, OpenMode::CreateNew).map_err(failed("create", &path))?;
        }
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
        Self::open(disk, dir, base)
    }

    /// Removes what a [`Self::create`] that failed has left, durably.
    pub(super) fn discard(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), StorageError> {
        for extension in CREATED {
            remove_if_there(disk, &dir.join(file_name(base, extension)))?;
        }
        disk.sync_dir(dir).map_err(failed("sync", dir))
    }

    /// Removes the index files, durably.
    pub(super) fn discard_indexes(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), StorageError> {
        for extension in ["index", "timeindex"] {
            remove_if_there(disk, &dir.join(file_name(base, extension)))?;
        }
        disk.sync_dir(dir).map_err(failed("sync", dir))
    }

    /// Opens a segment as it stands; its end and indexes are for recovery to find.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Self, StorageError> {
        Self::open_as(disk, dir.join(file_name(base, "log")), base)
    }

    /// As [`Self::open`], for a segment that has not its final name yet.
    pub(super) fn open_as(disk: &dyn Disk, path: PathBuf, base: Offset) -> Result<Self, StorageError> {
        let file = disk.open(&path, OpenMode::ReadWrite).map_err(failed("open", &path))?;
        let size = file.size().map_err(failed("read the size of", &path))?;
        let empty = || IndexBytes::Growing(Vec::new());
        Ok(Self {
            base,
            path,
            file,
            indexes: RwLock::new(Indexes { offsets: empty(), times: empty(), aborted: empty() }),
            size: AtomicU64::new(size),
            next_offset: AtomicI64::new(base.get()),
            max_timestamp: AtomicI64::new(Timestamp::NONE.millis()),
            gaps_to: AtomicI64::new(0),
        })
    }

    /// The bytes of whole batches.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The offset after the last batch.
    pub(super) fn next_offset(&self) -> Offset {
        Offset::new(self.next_offset.load(Ordering::Acquire)).unwrap_or(self.base)
    }

    /// The largest timestamp of its records.
    pub(super) fn max_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.max_timestamp.load(Ordering::Acquire))
    }

    /// Moves the end; the writer and recovery alone call this.
    pub(super) fn set_end(&self, size: u64, next_offset: Offset, max_timestamp: Timestamp) {
        self.max_timestamp.store(max_timestamp.millis(), Ordering::Release);
        self.next_offset.store(next_offset.get(), Ordering::Release);
        self.size.store(size, Ordering::Release);
    }

    /// Below this offset compaction may have left gaps.
    pub(super) fn gaps_to(&self) -> Offset {
        Offset::new(self.gaps_to.load(Ordering::Acquire)).unwrap_or(Offset::ZERO)
    }

    /// Lets offsets below this one be missing; recovery and compaction alone call this.
    pub(super) fn allow_gaps_to(&self, offset: Offset) {
        self.gaps_to.store(offset.get(), Ordering::Release);
    }

    pub(super) fn indexes(&self) -> RwLockReadGuard<'_, Indexes> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn indexes_mut(&self) -> RwLockWriteGuard<'_, Indexes> {
        self.indexes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index entry to start from when looking for the batch that holds `offset`.
    pub(super) fn entry_before(&self, offset: Offset) -> Option<OffsetEntry> {
        index::entry_before(&self.indexes().offsets, self.base, offset)
    }

    /// The same, if it leads to the batch it names.
    pub(super) fn sound_entry_before(&self, offset: Offset) -> Result<Option<OffsetEntry>, ReadError> {
        let Some(entry) = self.entry_before(offset) else { return Ok(None) };
        match HeaderWalk::new(self, Some(entry), ReadWait::MayBlock).next() {
            Ok(_) => Ok(Some(entry)),
            Err(ReadError::Storage(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Whether the batch that an entry of the time index names is there and has the time that it says.
    pub(super) fn has_time(&self, entry: TimeEntry) -> Result<bool, ReadError> {
        let last = self.base.plus(u64::from(entry.relative.unsigned_abs()));
        let mut found = false;
        let walked = self.walk(self.sound_entry_before(last)?, &mut |placed| {
            let header = &placed.header;
            found = header.last_offset() == last && header.max_timestamp == entry.timestamp;
            header.last_offset() < last
        });
        match walked {
            Err(ReadError::Storage(error)) => Err(error.into()),
            walked => Ok(found && walked.is_ok()),
        }
    }

    /// The path of one of the segment's other files.
    pub(super) fn sibling(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }

    /// Visits the batches from the one that `entry` leads to (or the first) until `visit` answers `false` or
    /// the segment ends.
    ///
    /// An entry that leads astray is an error before anything is visited.
    pub(super) fn walk(
        &self,
        entry: Option<OffsetEntry>,
        visit: &mut dyn FnMut(&Placed) -> bool,
    ) -> Result<(), ReadError> {
        let mut walk = HeaderWalk::new(self, entry, ReadWait::MayBlock);
        while let Some(placed) = walk.next()?.flatten() {
            if !visit(&placed) {
                break;
            }
        }
        Ok(())
    }

    /// The header at the front of `bytes`, which stand at `position`, if it continues the chain of offsets.
    /// A checksum does not cover the offset: without the chain a broken one would be served, or passed over.
    pub(super) fn placed(
        &self,
        bytes: &[u8],
        position: u64,
        expected: Offset,
        gaps_to: Offset,
    ) -> Result<Placed, ReadError> {
        let header = BatchHeader::parse(bytes).map_err(|e| self.corrupt(position, expected, e))?;
        let placed = Placed { header, position };
        if placed.end() > self.size() {
            return Err(self.corrupt(position, expected, "the batch passes the end of the file"));
        }
        if header.base_offset < expected || (header.base_offset > expected && expected >= gaps_to) {
            let reason =
                format!("the batch starts at offset {} where {expected} follows", header.base_offset);
            return Err(self.corrupt(position, expected, reason));
        }
        // Before recovery has found the end, it is the base.
        let end = self.next_offset();
        if end > self.base && header.next_offset() > end {
            let reason = format!("the batch ends at {}, the segment at {end}", header.next_offset());
            return Err(self.corrupt(position, expected, reason));
        }
        Ok(placed)
    }

    /// Names the place of broken bytes.
    pub(super) fn corrupt(&self, position: u64, offset: Offset, reason: impl ToString) -> ReadError {
        ReadError::Corrupt { path: self.path.clone(), position, offset, reason: reason.to_string() }
    }
}
