//! Dropping old records: retention by age and size, and the start that a user moves forward.
//!
//! **Invariant:** the log's start is durable before a file below it loses its name; a crash in between
//! leaves files that the next start removes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tidelog_model::{Offset, Timestamp};

use super::checkpoint::Checkpoint;
use super::compact;
use super::compact_swap;
use super::file;
use super::local_log::LocalLog;
use super::segment::{Segment, base_of};
use super::writer::WriteError;
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::engine::{Bounds, Maintained, PartitionLog};
use crate::error::{OpenError, StorageError, failed};

const CHECKPOINT: &str = "log-start";
/// The ends of the names of a segment's files.
pub(super) const EXTENSIONS: [&str; 5] = ["log", "index", "timeindex", "txnindex", "snapshot"];

/// A file that is to be removed once nobody can be reading it.
#[derive(Debug)]
pub(super) struct Dropped {
    path: PathBuf,
    since: Option<Timestamp>,
}

/// The start of the log in `dir` as it was last made durable.
pub(super) fn read_log_start(disk: &dyn Disk, dir: &Path) -> Result<Option<Offset>, OpenError> {
    let path = dir.join(CHECKPOINT);
    let Some(content) = file::read_small(disk, &path)? else { return Ok(None) };
    let parsed = std::str::from_utf8(&content).ok().and_then(|text| {
        let (offset, crc) = text.trim_end().split_once(' ')?;
        let expected = format!("{:08x}", crc32c::crc32c(offset.as_bytes()));
        if crc == expected { offset.parse().ok().and_then(Offset::new) } else { None }
    });
    match parsed {
        Some(offset) => Ok(Some(offset)),
        None => Err(OpenError::BrokenFile {
            path,
            reason: "it does not hold an offset and its checksum".to_owned(),
        }),
    }
}

fn write_log_start(disk: &dyn Disk, dir: &Path, start: Offset) -> Result<(), StorageError> {
    let offset = start.to_string();
    let content = format!("{offset} {:08x}\n", crc32c::crc32c(offset.as_bytes()));
    file::replace(disk, dir, CHECKPOINT, content.as_bytes())
}

/// Removes what never took its final name, and finishes deletions.
pub(super) fn clean_up(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    for entry in disk.list(dir).map_err(failed("list", dir))? {
        let ending = Path::new(&entry.name).extension().and_then(OsStr::to_str);
        if ending.is_some_and(|ending| ["tmp", "deleted", compact_swap::CLEANED].contains(&ending)) {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Finishes what a crash may have left of dropping segments: of those wholly below the start any may be left.
pub(super) fn finish_drop(disk: &dyn Disk, dir: &Path, log_start: Offset) -> Result<(), StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    let bases = entries.iter().filter_map(|entry| base_of(&entry.name, "log"));
    let Some(first) = bases.filter(|base| *base <= log_start).max() else { return Ok(()) };
    let base = |name: &str| EXTENSIONS.iter().find_map(|extension| base_of(name, extension));
    let below = |name: &str| base(name).is_some_and(|base| base < first);
    if !entries.iter().any(|entry| below(&entry.name)) {
        return Ok(());
    }
    // The start was read from a name that may not be durable yet.
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    for entry in entries.iter().filter(|entry| below(&entry.name)) {
        let path = dir.join(&entry.name);
        disk.remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// Makes `new_start` the start of the log.
pub(super) fn trim(log: &LocalLog, new_start: Offset) -> Result<Offset, StorageError> {
    let mut dropped = log.dropped.lock().unwrap_or_else(PoisonError::into_inner);
    if new_start <= log.log_start() {
        return Ok(log.log_start());
    }
    write_log_start(log.disk.as_ref(), &log.dir, new_start)?;
    let start = log.raise_log_start(new_start);
    drop_below(log, start, None, &mut dropped)?;
    Ok(start)
}

/// One pass of retention, and one of compaction behind it.
pub(super) fn maintain(log: &LocalLog, now: Timestamp, up_to: Bounds) -> Result<Maintained, StorageError> {
    let (wanted_start, deleted_bytes) = retain(log, now, up_to)?;
    // What lets a record go, a later one of its key or the marker that aborts it, must outlive the power as well.
    let compact = log.config().cleanup.compact
        && !matches!(log.sync_loose(), Some(Checkpoint::Later | Checkpoint::Never));
    let compacted_bytes =
        if compact { compact::compact(log, now, up_to.last_stable, compact::MAP_BYTES_MAX)? } else { 0 };
    Ok(Maintained { log_start: log.log_start(), wanted_start, deleted_bytes, compacted_bytes })
}

/// Moves the log's start; where it should be, and the bytes that went.
fn retain(log: &LocalLog, now: Timestamp, up_to: Bounds) -> Result<(Offset, u64), StorageError> {
    let mut dropped = log.dropped.lock().unwrap_or_else(PoisonError::into_inner);
    let config = log.config();
    let mut wanted = log.log_start();
    remove_dropped(log, now, config.file_delete_delay_ms, &mut dropped)?;
    if config.cleanup.delete {
        roll_if_expired(log, now, &config)?;
        let segments = log.segments();
        wanted = wanted.max(retained_start(&segments, &config, now, up_to.high_watermark));
        let start = retained_start(&segments, &config, now, up_to.high_watermark.min(up_to.held_from));
        if start > log.log_start() {
            write_log_start(log.disk.as_ref(), &log.dir, start)?;
            log.raise_log_start(start);
        }
    }
    // Also what an earlier pass or a trim could not drop.
    Ok((wanted, drop_below(log, log.log_start(), Some(now), &mut dropped)?))
}

/// The age of a segment counts from its newest record; a record from the future counts as written now, so
/// that one wrong clock cannot keep a segment for ever.
fn is_expired(segment: &Segment, retention_ms: i64, now: Timestamp) -> bool {
    let newest = segment.max_timestamp();
    newest != Timestamp::NONE && now.millis().saturating_sub(newest.millis()) > retention_ms
}

/// The active segment is never dropped, so it is closed when all of it has expired.
fn roll_if_expired(log: &LocalLog, now: Timestamp, config: &LogConfig) -> Result<(), StorageError> {
    let Some(retention_ms) = config.retention_ms else { return Ok(()) };
    let mut tail = log.tail();
    let active = Arc::clone(&tail.writer.segment);
    // While a sync is under way its outcome is not known: a second sync could hide that it failed.
    if tail.failed.is_some() || tail.syncing || active.size() == 0 || !is_expired(&active, retention_ms, now)
    {
        return Ok(());
    }
    match log.roll(&mut tail, now) {
        Ok(()) => Ok(()),
        Err(WriteError::CutBack(error)) => Err(error),
        Err(WriteError::Unknown(error)) => {
            let failure = LocalLog::fence(&mut tail, error.to_string());
            drop(tail);
            log.listener.rejected(failure);
            Err(error)
        }
    }
}

fn retained_start(segments: &[Arc<Segment>], config: &LogConfig, now: Timestamp, up_to: Offset) -> Offset {
    let total: u64 = segments.iter().map(|segment| segment.size()).sum();
    let mut excess = config.retention_bytes.map_or(0, |bound| total.saturating_sub(bound));
    let mut start = segments.first().map_or(Offset::ZERO, |segment| segment.base);
    for pair in segments.windows(2) {
        let [segment, next] = pair else { break };
        let expired = config.retention_ms.is_some_and(|ms| is_expired(segment, ms, now));
        let superfluous = excess > 0 && segment.size() <= excess;
        if next.base > up_to || !(expired || superfluous || segment.size() == 0) {
            break;
        }
        excess = excess.saturating_sub(segment.size());
        start = next.base;
    }
    start
}

/// Takes the segments that lie wholly below `start` out of the log. Their bytes are removed later.
fn drop_below(
    log: &LocalLog,
    start: Offset,
    now: Option<Timestamp>,
    dropped: &mut Vec<Dropped>,
) -> Result<u64, StorageError> {
    let segments = log.segments();
    let gone = segments.windows(2).take_while(|pair| matches!(pair, [_, next] if next.base <= start)).count();
    if gone == 0 {
        return Ok(0);
    }
    // A floor that a power cut takes back must not lead to a segment that is gone.
    log.floors.sync()?;
    log.epochs.save_below(log.disk.as_ref(), &log.dir, start);
    let mut bytes = 0;
    for segment in segments.iter().take(gone) {
        bytes += segment.size();
        // Before it leaves the list: what could not be set aside is tried again by the next pass.
        set_aside(log, segment, now, dropped)?;
        log.change_segments(|segments| segments.retain(|kept| kept.base != segment.base));
    }
    log.disk.sync_dir(&log.dir).map_err(failed("sync", &log.dir))?;
    Ok(bytes)
}

/// Takes a segment's files out of the log's names; they are removed when readers have had time to let go.
pub(super) fn set_aside(
    log: &LocalLog,
    segment: &Segment,
    now: Option<Timestamp>,
    dropped: &mut Vec<Dropped>,
) -> Result<(), StorageError> {
    for extension in EXTENSIONS {
        let path = segment.sibling(extension);
        let aside = segment.sibling(&format!("{extension}.deleted"));
        match log.disk.rename(&path, &aside) {
            Ok(()) => {
                // Compaction can set a segment of the same name aside again, over the first one.
                dropped.retain(|earlier| earlier.path != aside);
                dropped.push(Dropped { path: aside, since: now });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("rename a file to", &aside)(error)),
        }
    }
    Ok(())
}

fn remove_dropped(
    log: &LocalLog,
    now: Timestamp,
    delay_ms: i64,
    dropped: &mut Vec<Dropped>,
) -> Result<(), StorageError> {
    let mut first_error = None;
    dropped.retain_mut(|file| {
        let since = *file.since.get_or_insert(now);
        if now.millis().saturating_sub(since.millis()) < delay_ms {
            return true;
        }
        match log.disk.remove_file(&file.path) {
            Ok(()) => false,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => {
                first_error.get_or_insert_with(|| failed("remove", &file.path)(error));
                true
            }
        }
    });
    first_error.map_or(Ok(()), Err)
}

#[cfg(test)]
#[path = "retain_tests.rs"]
mod tests;
