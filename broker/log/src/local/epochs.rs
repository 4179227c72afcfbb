//! Which leader epoch wrote which offsets: what a reader asks to find out whether a log was cut behind it
//! (KIP-101, KIP-320).
//!
//! The log itself says it, batch by batch, and a start finds the few places where the epoch changes without
//! reading what lies between. The file `leader-epoch-checkpoint`, in Kafka's format, keeps what the log can
//! say no more: it is written before the batches that began an epoch are dropped or compacted.
//!
//! ```text
//! 0                      the format's version
//! 2                      how many lines follow
//! 0 0                    epoch, offset of its first record
//! 3 1200
//! ```
//!
//! **Invariant:** within a run nothing changes: all batches of a run have its epoch, which starts at the end
//! that the run has found. So appends do not come here.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tidelog_model::{LeaderEpoch, Offset};

use super::file;
use super::index;
use super::segment::{HeaderWalk, Placed, Segment};
use crate::disk::Disk;
use crate::engine::ReadWait;
use crate::error::{ReadError, StorageError};

const CHECKPOINT: &str = "leader-epoch-checkpoint";
const VERSION: &str = "0";

/// An epoch and the offset of its first record.
type Entry = (LeaderEpoch, Offset);

/// The leader epochs of one partition.
#[derive(Debug)]
pub(super) struct Epochs {
    /// Both columns ascend.
    entries: Vec<Entry>,
    /// How many of them, from the front, the file is known to have.
    saved: Mutex<usize>,
}

impl Epochs {
    /// What the file in `dir` and the log say, and that `current` goes on at `end`.
    pub(super) fn find(
        disk: &dyn Disk,
        dir: &Path,
        segments: &[Arc<Segment>],
        end: Offset,
        current: LeaderEpoch,
    ) -> Result<Self, StorageError> {
        let stored = file::read_small(disk, &dir.join(CHECKPOINT))?;
        let stored = stored.and_then(|content| parse(&content)).unwrap_or_default();
        let found = match in_log(segments) {
            Ok(found) => found,
            Err(ReadError::Storage(error)) => return Err(error),
            // Recovery names broken bytes; what is known of the epochs before them still holds.
            Err(_) => Vec::new(),
        };
        let mut entries = merge(&stored, &found);
        entries.retain(|(epoch, start)| *start < end && *epoch < current);
        let saved = stored.iter().zip(&entries).take_while(|(stored, entry)| stored == entry).count();
        entries.push((current, end));
        Ok(Self { entries, saved: Mutex::new(saved) })
    }

    /// All of them, the current one last.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Makes durable what the log cannot say once batches below `offset` are gone.
    pub(super) fn save_below(&self, disk: &dyn Disk, dir: &Path, offset: Offset) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.entries.partition_point(|(_, start)| *start < offset);
        if count <= *saved {
            return;
        }
        let content = show(self.entries.get(..count).unwrap_or_default());
        match file::replace(disk, dir, CHECKPOINT, content.as_bytes()) {
            Ok(()) => *saved = count,
            // Records must be dropped all the same, not least when the device is full.
            Err(error) => tracing::warn!(%error, "the history of leader epochs gets shorter"),
        }
    }
}

/// Where the records of `epoch` end in a log with these epochs (ascending) and this end: the largest epoch
/// known up to `epoch`, and the offset after its last record. `None` when nothing is known of the epoch,
/// because it is newer than all.
#[must_use]
pub fn epoch_end(
    epochs: &[(LeaderEpoch, Offset)],
    log_end: Offset,
    epoch: LeaderEpoch,
) -> Option<(LeaderEpoch, Offset)> {
    let after = epochs.partition_point(|(known, _)| *known <= epoch);
    let known = after.checked_sub(1).and_then(|at| epochs.get(at)).map(|(known, _)| *known);
    match epochs.get(after) {
        Some((_, start)) => Some((known.unwrap_or(epoch), *start)),
        None if known == Some(epoch) => Some((epoch, log_end)),
        None => None,
    }
}

fn parse(content: &[u8]) -> Option<Vec<Entry>> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    let version = lines.next()?;
    let count: usize = lines.next()?.parse().ok()?;
    let entry = |line: &str| {
        let (epoch, start) = line.split_once(' ')?;
        Some((LeaderEpoch::new(epoch.parse().ok()?)?, Offset::new(start.parse().ok()?)?))
    };
    let entries: Vec<Entry> = lines.map(entry).collect::<Option<_>>()?;
    (version == VERSION && count == entries.len() && ascends(&entries)).then_some(entries)
}

fn show(entries: &[Entry]) -> String {
    let lines = entries.iter().map(|(epoch, start)| format!("{epoch} {start}\n"));
    format!("{VERSION}\n{}\n{}", entries.len(), lines.collect::<String>())
}

fn ascends(entries: &[Entry]) -> bool {
    entries.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 < b.1))
}

/// The history that both agree on. Where they do not, the log is right.
fn merge(stored: &[Entry], found: &[Entry]) -> Vec<Entry> {
    let contradicted = |(epoch, start): &Entry| {
        let before = found.partition_point(|(_, found)| found <= start);
        let there = before.checked_sub(1).and_then(|at| found.get(at));
        there.is_some_and(|(there, _)| there > epoch)
    };
    let mut merged: Vec<Entry> =
        stored.iter().filter(|entry| !contradicted(entry)).chain(found).copied().collect();
    // Compaction may have removed the first batches of an epoch: the earlier start is the true one.
    merged.sort_unstable();
    merged.dedup_by_key(|(epoch, _)| *epoch);
    if ascends(&merged) { merged } else { found.to_vec() }
}

/// The first batch of each epoch in the log.
fn in_log(segments: &[Arc<Segment>]) -> Result<Vec<Entry>, ReadError> {
    let mut firsts = Vec::new();
    for segment in segments {
        let first = HeaderWalk::new(segment, None, ReadWait::MayBlock).next()?.flatten();
        firsts.extend(first.map(|first| (segment, first)));
    }
    let mut found: Vec<Entry> = Vec::new();
    for (at, (segment, first)) in firsts.iter().enumerate() {
        note(&mut found, first);
        let next = firsts.get(at + 1).map(|(_, next)| next.header.leader_epoch);
        if next != Some(first.header.leader_epoch) {
            let mut epoch = first.header.leader_epoch;
            while let Some(placed) = next_change(segment, epoch)? {
                epoch = placed.header.leader_epoch;
                note(&mut found, &placed);
            }
        }
    }
    Ok(found)
}

fn note(found: &mut Vec<Entry>, placed: &Placed) {
    let Some(epoch) = placed.header.epoch() else { return };
    if found.last().is_none_or(|(last, _)| *last < epoch) {
        found.push((epoch, placed.header.base_offset));
    }
}

/// The first batch of the segment whose epoch is larger. Epochs ascend, so the index is searched by halves.
fn next_change(segment: &Segment, epoch: i32) -> Result<Option<Placed>, ReadError> {
    match next_change_by_index(segment, epoch, index::offset_entry_count(&segment.indexes().offsets)) {
        // An entry may lead astray.
        Err(ReadError::Corrupt { .. }) => next_change_by_index(segment, epoch, 0),
        found => found,
    }
}

fn next_change_by_index(segment: &Segment, epoch: i32, entries: usize) -> Result<Option<Placed>, ReadError> {
    let (mut low, mut high) = (0, entries);
    let entry = |at: usize| index::offset_entry(&segment.indexes().offsets, at);
    while low < high {
        let middle = low + (high - low) / 2;
        let placed = HeaderWalk::new(segment, entry(middle), ReadWait::MayBlock).next()?.flatten();
        if placed.is_some_and(|placed| placed.header.leader_epoch <= epoch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let start = low.checked_sub(1).and_then(entry);
    let mut walk = HeaderWalk::new(segment, start, ReadWait::MayBlock);
    while let Some(placed) = walk.next()?.flatten() {
        if placed.header.leader_epoch > epoch {
            return Ok(Some(placed));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "epochs_tests.rs"]
mod tests;
