//! Putting a compacted segment in the place of those it was made from, so that a crash leaves the old ones or
//! the new one.
//!
//! ```text
//! <base>.<end>.cleaned ──sync──► <base>.<end>.swap ──sync names──► originals aside ──sync names──► <base>.log
//!  a crash drops it               a crash completes it: segments with a base in base..end are removed
//! ```
//!
//! **Invariants**
//! * Before a segment loses its name or gets shorter, the durable floor leads to a later one and is durable.
//! * Before gaps can be seen, the checkpoint says durably below which offset there may be some.
//! * The transaction index is not trusted until its files are those of the new segment.
//! * The first dirty offset moves on only after all that lies below it was compacted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tidelog_model::{Offset, Timestamp};

use super::file;
use super::local_log::LocalLog;
use super::retain;
use super::segment::{Segment, base_of, file_name};
use crate::disk::Disk;
use crate::error::{OpenError, StorageError, failed};

const CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// The end of the name of a compacted segment that is being written.
pub(super) const CLEANED: &str = "cleaned";
const SWAP: &str = "swap";

/// How far compaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Keys are the last ones of their kind below this offset.
    pub(super) first_dirty: Offset,
    /// Offsets may be missing below this offset.
    pub(super) gaps_to: Offset,
}

impl Progress {
    const NONE: Self = Self { first_dirty: Offset::ZERO, gaps_to: Offset::ZERO };

    /// The progress that was last made durable in `dir`.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(CHECKPOINT);
        let Some(content) = file::read_small(disk, &path)? else { return Ok(Self::NONE) };
        Self::parse(&content).ok_or_else(|| OpenError::BrokenFile {
            path,
            reason: "it does not hold two offsets and their checksum".to_owned(),
        })
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let (body, crc) = std::str::from_utf8(content).ok()?.trim_end().rsplit_once(' ')?;
        if crc != checksum(body) {
            return None;
        }
        let (first_dirty, gaps_to) = body.split_once(' ')?;
        let offset = |text: &str| text.parse().ok().and_then(Offset::new);
        Some(Self { first_dirty: offset(first_dirty)?, gaps_to: offset(gaps_to)? })
    }

    /// Makes the progress durable.
    pub(super) fn write(self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let body = format!("{} {}", self.first_dirty, self.gaps_to);
        let content = format!("{body} {}\n", checksum(&body));
        file::replace(disk, dir, CHECKPOINT, content.as_bytes())
    }
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32c::crc32c(body.as_bytes()))
}

/// The path of the segment that is to replace those with a base in `base..end`.
pub(super) fn cleaned_path(dir: &Path, base: Offset, end: Offset) -> PathBuf {
    dir.join(name(base, end, CLEANED))
}

fn name(base: Offset, end: Offset, extension: &str) -> String {
    file_name(base, &format!("{:020}.{extension}", end.get()))
}

/// The range in the name of a swap.
fn swap_range(name: &str) -> Option<(Offset, Offset)> {
    let stem = name.strip_suffix(SWAP)?.strip_suffix('.')?;
    let (base, end) = stem.split_once('.')?;
    let offset = |digits: &str| base_of(&format!("{digits}.log"), "log");
    Some((offset(base)?, offset(end)?)).filter(|(base, end)| base < end)
}

/// Whether a swap waits to be completed at the next start.
pub(super) fn is_pending(disk: &dyn Disk, dir: &Path) -> Result<bool, StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    Ok(entries.iter().any(|entry| swap_range(&entry.name).is_some()))
}

/// Completes the swaps that a crash has interrupted, but for those of records that retention has taken since.
pub(super) fn finish(disk: &dyn Disk, dir: &Path, log_start: Offset) -> Result<(), StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    for entry in &entries {
        let Some((base, end)) = swap_range(&entry.name) else { continue };
        let swap = dir.join(&entry.name);
        if end <= log_start {
            disk.remove_file(&swap).map_err(failed("remove", &swap))?;
            continue;
        }
        // A run that was killed may have left the name like this, and a power cut could undo it.
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
        for original in &entries {
            let found = retain::EXTENSIONS.iter().find_map(|extension| base_of(&original.name, extension));
            if found.is_some_and(|found| base <= found && found < end) {
                let path = dir.join(&original.name);
                disk.remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
        let target = dir.join(file_name(base, "log"));
        disk.rename(&swap, &target).map_err(failed("rename a file to", &target))?;
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    Ok(())
}

/// Makes sure that not even a power cut leads recovery to a segment below `end` for its durable bytes.
/// Answers whether that holds.
pub(super) fn settle_floor(log: &LocalLog, end: Offset) -> Result<bool, StorageError> {
    Ok(log.floors.settle(log.id)?.is_some_and(|floor| floor.segment >= end))
}

/// Puts `fresh`, whose bytes are durable under [`cleaned_path`], in the place of `group`. Answers `false` when
/// segments of the group have gone meanwhile.
///
/// After an error the log goes on with the files of the group, which it holds open.
pub(super) fn swap(
    log: &LocalLog,
    group: &[Arc<Segment>],
    mut fresh: Segment,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let mut dropped = log.dropped.lock().unwrap_or_else(PoisonError::into_inner);
    let (disk, dir) = (log.disk.as_ref(), log.dir.as_path());
    let Some(place) = place_of(&log.segments(), group) else { return Ok(false) };
    let (base, end) = (fresh.base, fresh.next_offset());
    let (swap, target) = (dir.join(name(base, end, SWAP)), dir.join(file_name(base, "log")));
    log.transactions.files().replacing(disk, dir, group)?;
    disk.rename(&fresh.path, &swap).map_err(failed("rename a file to", &swap))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    for segment in group {
        retain::set_aside(log, segment, Some(now), &mut dropped)?;
    }
    // Without this a power cut could show the new segment next to some of the originals.
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    disk.rename(&swap, &target).map_err(failed("rename a file to", &target))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    fresh.path = target;
    super::writer::seal_indexes(disk, &fresh);
    super::txn_index::seal(disk, &fresh);
    log.change_segments(|segments| {
        // Only the end of the list can have changed: the lock on `dropped` is held.
        drop(segments.splice(place..place + group.len(), [Arc::new(fresh)]));
    });
    log.transactions.files().replaced();
    Ok(true)
}

/// Where the segments of `group` stand in a row in `segments`.
fn place_of(segments: &[Arc<Segment>], group: &[Arc<Segment>]) -> Option<usize> {
    let first = group.first()?;
    let place = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
    let there = segments.get(place..place + group.len())?;
    there.iter().zip(group).all(|(there, wanted)| Arc::ptr_eq(there, wanted)).then_some(place)
}
