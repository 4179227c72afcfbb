//! The offset index and the time index of a segment, in Kafka's formats (`txn_index` has the third).
//!
//! ```text
//! .index      8 bytes: last offset of a batch - segment base, i32 | position of that batch, i32
//! .timeindex 12 bytes: largest timestamp so far, i64 | last offset of its batch - segment base, i32
//! ```
//!
//! Entries ascend in both columns. Indexes are hints: recovery rebuilds what does not hold, and readers scan
//! forward from the entry they are given.

use std::ops::Deref;

use tidelog_model::{Offset, Timestamp};

use crate::disk::SealedBytes;

/// The size of an entry of the offset index.
pub(super) const OFFSET_ENTRY: usize = 8;
/// The size of an entry of the time index.
pub(super) const TIME_ENTRY: usize = 12;

/// An index's bytes: growing in memory while the segment is active, mapped once it is sealed.
#[derive(Debug)]
pub(super) enum IndexBytes {
    /// Still growing.
    Growing(Vec<u8>),
    /// Never changes again.
    Sealed(SealedBytes),
}

impl Deref for IndexBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Growing(bytes) => bytes,
            Self::Sealed(bytes) => bytes,
        }
    }
}

impl IndexBytes {
    /// Appends an entry to a growing index.
    pub(super) fn push(&mut self, entry: &[u8]) {
        if let Self::Growing(bytes) = self {
            bytes.extend_from_slice(entry);
        }
    }

    /// Appends an entry to a growing time index if it follows the last one.
    pub(super) fn push_time(&mut self, entry: TimeEntry) {
        let follows = |last: TimeEntry| entry.timestamp > last.timestamp && entry.relative > last.relative;
        if last_time_entry(self).is_none_or(follows) {
            self.push(&entry.encode());
        }
    }

    /// Cuts a growing index to its first `size` bytes.
    pub(super) fn truncate(&mut self, size: usize) {
        if let Self::Growing(bytes) = self {
            bytes.truncate(size);
        }
    }
}

/// One entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// The last offset of the batch, relative to the segment's base.
    pub(super) relative: i32,
    /// Where the batch starts.
    pub(super) position: i32,
}

impl OffsetEntry {
    /// The position of the batch in the segment.
    pub(super) fn place(self) -> u64 {
        u64::from(self.position.unsigned_abs())
    }

    /// The last offset of the batch, in a segment with this base.
    pub(super) fn last_offset(self, base: Offset) -> Offset {
        base.plus(u64::from(self.relative.unsigned_abs()))
    }

    /// The entry of a batch, unless it lies too far from the segment's start to be indexed.
    pub(super) fn new(base: Offset, last: Offset, position: u64) -> Option<Self> {
        let relative = i32::try_from(last.since(base)).ok()?;
        Some(Self { relative, position: i32::try_from(position).ok()? })
    }

    /// The entry's bytes.
    pub(super) fn encode(self) -> [u8; OFFSET_ENTRY] {
        let mut out = [0; OFFSET_ENTRY];
        let (relative, position) = out.split_at_mut(4);
        relative.copy_from_slice(&self.relative.to_be_bytes());
        position.copy_from_slice(&self.position.to_be_bytes());
        out
    }

    fn decode(entry: &[u8; OFFSET_ENTRY]) -> Self {
        let [a, b, c, d, e, f, g, h] = *entry;
        Self { relative: i32::from_be_bytes([a, b, c, d]), position: i32::from_be_bytes([e, f, g, h]) }
    }
}

/// The entry to start from when looking for `target` in a segment with this base: the last one at or before
/// it, or `None` to start at the front.
pub(super) fn entry_before(index: &[u8], base: Offset, target: Offset) -> Option<OffsetEntry> {
    if target < base {
        return None;
    }
    let relative = i32::try_from(target.since(base)).unwrap_or(i32::MAX);
    let (entries, _) = index.as_chunks::<OFFSET_ENTRY>();
    let after = entries.partition_point(|entry| OffsetEntry::decode(entry).relative <= relative);
    entries.get(after.checked_sub(1)?).map(OffsetEntry::decode)
}

/// The last entry of an offset index.
pub(super) fn last_offset_entry(index: &[u8]) -> Option<OffsetEntry> {
    index.last_chunk().map(OffsetEntry::decode)
}

/// How many entries an offset index has.
pub(super) fn offset_entry_count(index: &[u8]) -> usize {
    index.len() / OFFSET_ENTRY
}

/// The entry with this number, from 0.
pub(super) fn offset_entry(index: &[u8], number: usize) -> Option<OffsetEntry> {
    let (entries, _) = index.as_chunks::<OFFSET_ENTRY>();
    entries.get(number).map(OffsetEntry::decode)
}

/// How many bytes from the front of an offset index hold entries that ascend and lie below `size` bytes of
/// the segment.
pub(super) fn sound_offset_bytes(index: &[u8], size: u64) -> usize {
    let mut last = OffsetEntry { relative: -1, position: -1 };
    let (entries, _) = index.as_chunks::<OFFSET_ENTRY>();
    let sound = entries.iter().take_while(|entry| {
        let entry = OffsetEntry::decode(entry);
        let ascends = entry.relative > last.relative && entry.position > last.position;
        last = entry;
        ascends && u64::try_from(entry.position).is_ok_and(|position| position < size)
    });
    sound.count() * OFFSET_ENTRY
}

/// How many bytes from the front of an offset index hold entries of batches up to the one of `last`.
pub(super) fn bytes_up_to(index: &[u8], last: TimeEntry) -> usize {
    let (entries, _) = index.as_chunks::<OFFSET_ENTRY>();
    entries.partition_point(|entry| OffsetEntry::decode(entry).relative <= last.relative) * OFFSET_ENTRY
}

/// One entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// The largest timestamp up to and with the batch.
    pub(super) timestamp: Timestamp,
    /// The last offset of the batch, relative to the segment's base.
    pub(super) relative: i32,
}

impl TimeEntry {
    /// The entry that says: up to the offset `end` no timestamp is larger. `None` without timestamps.
    pub(super) fn new(base: Offset, timestamp: Timestamp, end: Offset) -> Option<Self> {
        let relative = i32::try_from(end.since(base)).ok()?;
        if timestamp == Timestamp::NONE { None } else { Some(Self { timestamp, relative }) }
    }

    /// The entry's bytes.
    pub(super) fn encode(self) -> [u8; TIME_ENTRY] {
        let mut out = [0; TIME_ENTRY];
        let (timestamp, relative) = out.split_at_mut(8);
        timestamp.copy_from_slice(&self.timestamp.millis().to_be_bytes());
        relative.copy_from_slice(&self.relative.to_be_bytes());
        out
    }

    fn decode(entry: &[u8; TIME_ENTRY]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
        Self {
            timestamp: Timestamp::from_millis(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            relative: i32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// The last entry that says of some records that all of them are before `target`.
pub(super) fn time_entry_before(index: &[u8], target: Timestamp) -> Option<TimeEntry> {
    let (entries, _) = index.as_chunks::<TIME_ENTRY>();
    let at = entries.partition_point(|entry| TimeEntry::decode(entry).timestamp < target);
    entries.get(at.checked_sub(1)?).map(TimeEntry::decode)
}

/// The last entry of a time index.
pub(super) fn last_time_entry(index: &[u8]) -> Option<TimeEntry> {
    index.last_chunk().map(TimeEntry::decode)
}

/// How many bytes from the front of a time index hold entries that ascend and lie below `end`.
pub(super) fn sound_time_bytes(index: &[u8], base: Offset, end: Offset) -> usize {
    let bound = end.since(base);
    let mut last = TimeEntry { timestamp: Timestamp::from_millis(i64::MIN), relative: -1 };
    let (entries, _) = index.as_chunks::<TIME_ENTRY>();
    let sound = entries.iter().take_while(|entry| {
        let entry = TimeEntry::decode(entry);
        let ascends = entry.timestamp > last.timestamp && entry.relative > last.relative;
        last = entry;
        ascends && u64::try_from(entry.relative).is_ok_and(|relative| relative < bound)
    });
    sound.count() * TIME_ENTRY
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
