//! What recovery takes out of a log is kept beside it, for whoever wants to know what was lost.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use tidelog_model::Offset;

use super::file::{self, wide};
use super::segment::{Segment, file_name};
use crate::disk::{Disk, OpenMode};
use crate::error::{StorageError, failed};

/// The most bytes of a torn tail that are kept.
const EVIDENCE_BYTES_MAX: u64 = 64 << 20;
/// The most pieces of evidence of one segment; of a segment torn more often the oldest one is replaced.
const EVIDENCE_MAX: u32 = 16;

/// Copies the bytes from `good` to `size` beside the segment, durably.
pub(super) fn keep(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    good: u64,
    size: u64,
) -> Result<PathBuf, StorageError> {
    let target = free_path(disk, dir, segment.base)?;
    copy(disk, segment, good, size.min(good.saturating_add(EVIDENCE_BYTES_MAX)), &target)?;
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(target)
}

/// Takes a whole segment that follows a torn tail out of the log.
pub(super) fn set_aside(disk: &dyn Disk, dir: &Path, segment: &Segment) -> Result<(), StorageError> {
    let target = free_path(disk, dir, segment.base)?;
    disk.rename(&segment.path, &target).map_err(failed("rename a file to", &target))
}

fn free_path(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<PathBuf, StorageError> {
    let taken = disk.list(dir).map_err(failed("list", dir))?;
    let name = |number: u32| format!("{}.torn-{number}", file_name(base, "log"));
    let free = (1..=EVIDENCE_MAX).map(name).find(|name| !taken.iter().any(|entry| entry.name == *name));
    Ok(dir.join(free.unwrap_or_else(|| name(1))))
}

fn copy(disk: &dyn Disk, segment: &Segment, from: u64, to: u64, target: &Path) -> Result<(), StorageError> {
    let out = disk.open(target, OpenMode::Create).map_err(failed("create", target))?;
    out.set_size(0).map_err(failed("empty", target))?;
    let mut buffer = vec![0; 1 << 20];
    let mut position = from;
    while position < to {
        let length = usize::try_from(to - position).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        let read =
            file::read_at(segment.file.as_ref(), part, position).map_err(failed("read", &segment.path))?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        file::write_all(out.as_ref(), &mut [IoSlice::new(part)], position - from)
            .map_err(failed("write", target))?;
        position += wide(read);
    }
    out.sync_data().map_err(failed("sync", target))
}
