//! Snapshots of what a partition remembers of its idempotent producers, so that a start need not read the
//! headers of the whole log. `<next offset>.snapshot`, in Kafka's own form:
//!
//! ```text
//! i16 version = 1 | u32 CRC-32C of what follows | i32 count | count x 46 bytes:
//! i64 producer id, i16 epoch, i32 last sequence, i64 last offset, i32 offset delta, i64 timestamp,
//! i32 coordinator epoch or -1, i64 first offset of the open transaction or -1
//! ```
//!
//! A producer whose epoch has begun with a marker has an entry without a batch: last sequence and offset are -1.
//! Kafka keeps one entry of a producer. Here each remembered batch has one, oldest first: Kafka would take the
//! last of them, and a start here knows all of them again.
//!
//! **Invariants**
//! * A snapshot is whole or not used: it is replaced as one, and its checksum covers everything.
//! * One that lies past the log's end tells of batches that were lost: it is removed before the log is served.
//! * It is only a shortcut. Without it the same is found in the headers of the log.

use std::path::Path;

use tidelog_model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::file;
use super::segment::{base_of, file_name};
use crate::disk::Disk;
use crate::engine::{ProducerEntry, ProducerSnapshot};
use crate::error::{StorageError, failed};

const EXTENSION: &str = "snapshot";
const VERSION: i16 = 1;
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
/// Where the bytes begin that the checksum covers.
const COVERED_FROM: usize = 6;
/// The newest may be torn by a failing device; then the one before it serves.
const KEPT: usize = 2;

/// Writes a snapshot, durably, and removes old ones.
pub(super) fn save(
    disk: &dyn Disk,
    dir: &Path,
    at: Offset,
    entries: &[ProducerEntry],
) -> Result<(), StorageError> {
    file::replace(disk, dir, &file_name(at, EXTENSION), &encode(entries))?;
    let mut all = offsets(disk, dir)?;
    all.truncate(all.len().saturating_sub(KEPT));
    for old in all {
        let path = dir.join(file_name(old, EXTENSION));
        disk.remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// The newest snapshot that holds, at or below `end`; those past it are removed.
pub(super) fn load(
    disk: &dyn Disk,
    dir: &Path,
    end: Offset,
) -> Result<Option<ProducerSnapshot>, StorageError> {
    for at in remove_past(disk, dir, end)?.into_iter().rev() {
        let path = dir.join(file_name(at, EXTENSION));
        match file::read_small(disk, &path)?.map(|content| decode(&content)) {
            Some(Some(entries)) => return Ok(Some(ProducerSnapshot { at, entries })),
            Some(None) => {
                tracing::warn!(snapshot = %path.display(), "a producer snapshot is broken: the log is read instead");
            }
            None => {}
        }
    }
    Ok(None)
}

/// Removes the snapshots past `end`, durably; the offsets of the others, ascending. A start does this before the log
/// takes records, because others would get the offsets that such a snapshot tells of.
pub(super) fn remove_past(disk: &dyn Disk, dir: &Path, end: Offset) -> Result<Vec<Offset>, StorageError> {
    let mut all = offsets(disk, dir)?;
    let lost = all.split_off(all.partition_point(|at| *at <= end));
    for at in &lost {
        let path = dir.join(file_name(*at, EXTENSION));
        disk.remove_file(&path).map_err(failed("remove", &path))?;
    }
    if !lost.is_empty() {
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    Ok(all)
}

/// The offsets of the snapshots there are, ascending.
fn offsets(disk: &dyn Disk, dir: &Path) -> Result<Vec<Offset>, StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    let mut all: Vec<Offset> = entries.iter().filter_map(|entry| base_of(&entry.name, EXTENSION)).collect();
    all.sort_unstable();
    Ok(all)
}

fn encode(entries: &[ProducerEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&i32::try_from(entries.len()).unwrap_or(i32::MAX).to_be_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.id.0.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence.0.to_be_bytes());
        bytes.extend_from_slice(&or_none(entry.last_offset));
        bytes.extend_from_slice(&entry.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.timestamp.millis().to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&or_none(entry.transaction_start));
    }
    let crc = crc32c::crc32c(bytes.get(COVERED_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(2..COVERED_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

fn or_none(offset: Option<Offset>) -> [u8; 8] {
    offset.map_or(-1, Offset::get).to_be_bytes()
}

/// `None` when the bytes are no snapshot of this version, or not whole.
fn decode(bytes: &[u8]) -> Option<Vec<ProducerEntry>> {
    let mut rest = bytes;
    let version = i16::from_be_bytes(take(&mut rest)?);
    let crc = u32::from_be_bytes(take(&mut rest)?);
    if version != VERSION || crc32c::crc32c(rest) != crc {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
    if rest.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    rest.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

fn entry(mut bytes: &[u8]) -> Option<ProducerEntry> {
    let rest = &mut bytes;
    let entry = ProducerEntry {
        id: ProducerId(i64::from_be_bytes(take(rest)?)),
        epoch: ProducerEpoch(i16::from_be_bytes(take(rest)?)),
        last_sequence: Sequence(i32::from_be_bytes(take(rest)?)),
        last_offset: Offset::new(i64::from_be_bytes(take(rest)?)),
        offset_delta: i32::from_be_bytes(take(rest)?),
        timestamp: Timestamp::from_millis(i64::from_be_bytes(take(rest)?)),
        coordinator_epoch: i32::from_be_bytes(take(rest)?),
        transaction_start: Offset::new(i64::from_be_bytes(take(rest)?)),
    };
    let batch = entry.last_offset.is_none() || entry.last_sequence.0 >= 0;
    let sound = entry.id.0 >= 0 && batch && entry.offset_delta >= 0;
    sound.then_some(entry)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
