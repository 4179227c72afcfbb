//! Opening a partition: from the files of whatever end the last run had to a log that can be served.
//!
//! **Invariants**
//! * Bytes below the durable floor are never cut off: what does not hold there is named and the partition
//!   takes no writes. Above the floor the first byte that does not hold ends the log; the rest is kept
//!   beside it as evidence.
//! * What lies above the floor is read from the device, not from a cache that a failed sync may have left
//!   behind, and it is synced before anybody sees it.
//! * A read error says nothing about the bytes: nothing is cut off for one.
//! * Running it again after a crash inside it gives the same log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::{LeaderEpoch, Offset, Timestamp};

use super::file;
use super::floor::Floor;
use super::index::{self, IndexBytes, OffsetEntry};
use super::producers;
use super::scan::{Chain, Scan, TailEnd, scan_tail};
use super::segment::{Segment, base_of};
use super::torn;
use super::writer::ActiveState;
use crate::disk::Disk;
use crate::error::{OpenError, ReadError, StorageError, failed};

/// What recovery found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) active: ActiveState,
    pub(super) truncated_bytes: u64,
    pub(super) torn_tail: Option<PathBuf>,
    /// The tail was known to be durable to its last byte, so nothing was scanned.
    pub(super) whole: bool,
    pub(super) damage: Option<ReadError>,
}

impl Recovered {
    /// The next offset to assign.
    pub(super) fn end(&self) -> Offset {
        self.segments.last().map_or(Offset::ZERO, |segment| segment.next_offset())
    }

    /// Lets the log go on at its start, without anything in it.
    pub(super) fn restart_at(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        known: Known,
    ) -> Result<(), StorageError> {
        self.segments = vec![Arc::new(Segment::create(disk, dir, known.log_start)?)];
        self.active = ActiveState::new(known.now);
        Ok(())
    }
}

/// What the caller knows of the partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) floor: Option<Floor>,
    /// The last run has ended cleanly.
    pub(super) clean: bool,
    /// Segments wholly below it may be gone.
    pub(super) log_start: Offset,
    pub(super) index_interval_bytes: u32,
    /// Below this offset compaction may have left gaps.
    pub(super) cleaned_to: Offset,
    /// That of this run.
    pub(super) epoch: LeaderEpoch,
    pub(super) now: Timestamp,
}

/// Opens the segments of `dir`, which exists and holds no half-done work of others.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, known: Known) -> Result<Recovered, OpenError> {
    let mut segments = Vec::new();
    for base in segment_bases(disk, dir)? {
        let segment = Segment::open(disk, dir, base)?;
        segment.allow_gaps_to(known.cleaned_to);
        segments.push(Arc::new(segment));
    }
    let damage = missing(dir, &segments, known);
    if segments.is_empty() {
        segments.push(Arc::new(Segment::create(disk, dir, Offset::ZERO)?));
    }
    let mut recovery =
        Recovery { disk, dir, known, segments, truncated_bytes: 0, torn_tail: None, whole: true };
    let ended = match damage {
        Some(damage) => Err(damage.into()),
        None => recovery.run(),
    };
    match ended {
        Ok(active) => {
            let end = recovery.segments.last().map_or(Offset::ZERO, |segment| segment.next_offset());
            producers::remove_past(disk, dir, end)?;
            Ok(recovery.finish(active, None))
        }
        Err(OpenFailure::Damage(error)) => {
            let active = ActiveState::new(known.now);
            Ok(recovery.finish(active, Some(error)))
        }
        Err(OpenFailure::Storage(error)) => Err(error.into()),
    }
}

fn segment_bases(disk: &dyn Disk, dir: &Path) -> Result<Vec<Offset>, StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    let mut bases: Vec<Offset> = entries.iter().filter_map(|entry| base_of(&entry.name, "log")).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// A segment of which bytes were durable has to be there: files do not get lost by a crash.
fn missing(dir: &Path, segments: &[Arc<Segment>], known: Known) -> Option<ReadError> {
    // A floor that could not be written lags behind, and may lead to a segment that was dropped.
    let floor = known.floor.filter(|floor| floor.end > known.log_start)?;
    if segments.iter().any(|segment| segment.base == floor.segment) {
        return None;
    }
    let path = dir.join(super::segment::file_name(floor.segment, "log"));
    let before = segments.iter().filter(|segment| segment.base < floor.segment).count();
    // What lies before the missing segment cannot be told from its names alone: nothing is served.
    let offset = segments.first().filter(|_| before > 0).map_or(Offset::ZERO, |segment| segment.base);
    let reason = format!("the segment is missing, {} bytes of it were durable", floor.bytes);
    Some(ReadError::Corrupt { path, position: 0, offset, reason })
}

enum OpenFailure {
    Damage(ReadError),
    Storage(StorageError),
}

impl From<StorageError> for OpenFailure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<ReadError> for OpenFailure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            error => Self::Damage(error),
        }
    }
}

/// What of a segment was known to be durable: its first `bytes`, which end at the offset `end`.
#[derive(Debug, Clone, Copy)]
struct Durable {
    bytes: u64,
    end: Offset,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    known: Known,
    segments: Vec<Arc<Segment>>,
    truncated_bytes: u64,
    torn_tail: Option<PathBuf>,
    whole: bool,
}

impl Recovery<'_> {
    fn run(&mut self) -> Result<ActiveState, OpenFailure> {
        let mut active = ActiveState::new(self.known.now);
        let mut chain = Chain::new(self.known.cleaned_to, self.known.epoch.get());
        let mut at = 0;
        while let Some(segment) = self.segments.get(at).map(Arc::clone) {
            let next = self.segments.get(at + 1).map(|next| next.base);
            let mut scan = self.segment(&segment, next, &mut chain)?;
            if let Some(next) = next.filter(|_| at + 1 < self.segments.len()) {
                chain.end_at(next).map_err(|reason| {
                    segment.set_end(scan.position, chain.expected, scan.max_timestamp);
                    segment.corrupt(scan.position, chain.expected, reason)
                })?;
                segment.set_end(scan.position, next, scan.max_timestamp);
                super::writer::seal_indexes(self.disk, &segment);
            } else {
                scan.find_opened_at(&segment)?;
                active = scan.active(self.known.now);
            }
            at += 1;
        }
        self.disk.sync_dir(self.dir).map_err(failed("sync", self.dir))?;
        Ok(active)
    }

    /// Finds the end of one segment, and its indexes.
    fn segment(
        &mut self,
        segment: &Segment,
        next: Option<Offset>,
        chain: &mut Chain,
    ) -> Result<Scan, OpenFailure> {
        let durable = self.durable(segment, next);
        let size = segment.size();
        if size < durable.bytes {
            let scan = self.below(segment, Durable { bytes: size, ..durable }, chain)?;
            segment.set_end(scan.position, chain.expected, scan.max_timestamp);
            let reason = format!("the file has {size} bytes, {} were durable", durable.bytes);
            return Err(segment.corrupt(size, chain.expected, reason).into());
        }
        let mut scan = self.below(segment, durable, chain)?;
        if scan.position < size {
            self.whole = false;
            let end = scan_tail(segment, &mut scan, chain, self.known.index_interval_bytes)?;
            segment.set_end(scan.position, chain.expected, scan.max_timestamp);
            if let TailEnd::Torn(reason) = end {
                self.cut_tail(segment, &reason)?;
            }
            segment.file.sync_data().map_err(failed("sync", &segment.path))?;
        } else {
            segment.set_end(scan.position, chain.expected, scan.max_timestamp);
            if next.is_none() && !self.known.clean {
                // It may end here because a run that was killed has cut it, and not synced the cut.
                segment.file.sync_data().map_err(failed("sync", &segment.path))?;
            }
        }
        Ok(scan)
    }

    fn durable(&self, segment: &Segment, next: Option<Offset>) -> Durable {
        match (self.known.floor, next) {
            (Some(floor), Some(next)) if segment.base < floor.segment => {
                Durable { bytes: segment.size(), end: next }
            }
            (Some(floor), _) if segment.base == floor.segment => {
                Durable { bytes: floor.bytes, end: floor.end }
            }
            _ => Durable { bytes: 0, end: segment.base },
        }
    }

    /// Goes over what was durable: by the indexes to near its end, then from header to header. Indexes that
    /// do not hold are made again.
    fn below(&self, segment: &Segment, durable: Durable, chain: &mut Chain) -> Result<Scan, OpenFailure> {
        self.load_indexes(segment, durable)?;
        let start = *chain;
        let entry = index::last_offset_entry(&segment.indexes().offsets);
        let time = index::last_time_entry(&segment.indexes().times);
        // The largest time is taken from it: retention goes by that.
        let times_hold = time.map_or(Ok(true), |time| segment.has_time(time)).map_err(OpenFailure::from)?;
        if let Some(entry) = entry.filter(|_| times_hold) {
            match self.walk(segment, durable, Some(entry), chain) {
                Ok(scan) => return Ok(scan),
                Err(ReadError::Storage(error)) => return Err(error.into()),
                Err(_) => *chain = start,
            }
        }
        let mut indexes = segment.indexes_mut();
        indexes.offsets.truncate(0);
        indexes.times.truncate(0);
        drop(indexes);
        match self.walk(segment, durable, None, chain) {
            Ok(scan) => Ok(scan),
            Err(ReadError::Corrupt { path, position, reason, .. }) => {
                segment.set_end(position, chain.expected, Timestamp::NONE);
                Err(ReadError::Corrupt { path, position, offset: chain.expected, reason }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what holds of the index files into memory.
    fn load_indexes(&self, segment: &Segment, durable: Durable) -> Result<(), StorageError> {
        let load = |extension| file::read_small(self.disk, &segment.sibling(extension));
        let mut offsets = load("index")?.unwrap_or_default();
        offsets.truncate(index::sound_offset_bytes(&offsets, durable.bytes));
        let mut times = load("timeindex")?.unwrap_or_default();
        times.truncate(index::sound_time_bytes(&times, segment.base, durable.end));
        // A power cut can leave one of them shorter than the other: past its last entry the time index says
        // nothing of what is the largest time, so the walk starts there.
        offsets.truncate(index::last_time_entry(&times).map_or(0, |last| index::bytes_up_to(&offsets, last)));
        if offsets.is_empty() {
            // Whether a time index holds is known only by the walk that an offset index starts.
            times.clear();
        }
        let mut indexes = segment.indexes_mut();
        indexes.offsets = IndexBytes::Growing(offsets);
        indexes.times = IndexBytes::Growing(times);
        Ok(())
    }

    fn walk(
        &self,
        segment: &Segment,
        durable: Durable,
        entry: Option<OffsetEntry>,
        chain: &mut Chain,
    ) -> Result<Scan, ReadError> {
        let mut scan = Scan::start(segment, entry);
        chain.begin(segment.base, entry.is_some());
        let mut broken = None;
        if scan.position < durable.bytes {
            segment.walk(entry, &mut |placed| {
                if let Err(reason) = chain.follow(&placed.header) {
                    broken = Some((placed.position, reason));
                    return false;
                }
                scan.take(segment, placed, self.known.index_interval_bytes);
                placed.end() < durable.bytes
            })?;
        }
        if let Some((position, reason)) = broken {
            return Err(segment.corrupt(position, chain.expected, reason));
        }
        if scan.position != durable.bytes {
            let reason = "the bytes known to be durable end inside a batch";
            return Err(segment.corrupt(scan.position.min(durable.bytes), chain.expected, reason));
        }
        Ok(scan)
    }

    /// Keeps the torn tail beside the segment, cuts it off, and sets later segments aside.
    fn cut_tail(&mut self, segment: &Segment, reason: &str) -> Result<(), StorageError> {
        let good = segment.size();
        let size = segment.file.size().map_err(failed("read the size of", &segment.path))?;
        let kept = match torn::keep(self.disk, self.dir, segment, good, size) {
            Ok(kept) => Some(kept),
            // Nobody was promised these bytes: for want of room they are not worth keeping a partition off.
            Err(error) if error.is_disk_full() => None,
            Err(error) => return Err(error),
        };
        let later = self.segments.iter().position(|later| later.base > segment.base);
        let later = later.map(|at| self.segments.split_off(at)).unwrap_or_default();
        for later in &later {
            self.truncated_bytes += later.size();
            torn::set_aside(self.disk, self.dir, later)?;
        }
        if !later.is_empty() {
            // Behind a segment that was cut they would look like damage after a crash.
            self.disk.sync_dir(self.dir).map_err(failed("sync", self.dir))?;
        }
        segment.file.set_size(good).map_err(failed("cut", &segment.path))?;
        self.truncated_bytes += size - good;
        tracing::warn!(
            segment = %segment.path.display(), position = good, bytes = size - good, reason,
            kept = ?kept, "a torn tail was cut off: none of it was acknowledged as durable"
        );
        self.torn_tail = kept;
        Ok(())
    }

    fn finish(self, active: ActiveState, damage: Option<ReadError>) -> Recovered {
        Recovered {
            segments: self.segments,
            active,
            truncated_bytes: self.truncated_bytes,
            torn_tail: self.torn_tail,
            whole: self.whole,
            damage,
        }
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
