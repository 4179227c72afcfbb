//! The commit journal: one sync for the small writes of many partitions.
//!
//! A batch is always written to its segment. What makes it durable is chosen round by round: a sync of each
//! segment, or, when many partitions got few bytes each, a copy of the round's bytes in this journal and one
//! sync of that. Segments are synced later, in the background; only then is the journal's file used again.
//!
//! There are two files of fixed size, written in turn and over and over, so that a sync of one has no new
//! blocks and no new size to commit.
//!
//! ```text
//! file  = frame*, each at a multiple of 4,096 bytes, from the front; what follows is of an older turn
//! frame = magic 8 | first u64 | sequence u64 | payload bytes u64 | zero 24 | payload crc32c u32 | crc32c u32
//!         payload = entry*
//! entry = topic id 16 | partition u32 | segment base i64 | position u64 | length u32 | that many bytes
//! ```
//!
//! `sequence` grows by one from frame to frame across both files, and starts from the run's leader epoch, so
//! that no two frames ever have the same one; `first` is the sequence of the first frame of the file's turn,
//! which tells the frames of one turn from those of the turn before.
//!
//! **Invariants**
//! * Bytes are in the journal only if all bytes of their segment before them are durable or in the journal.
//! * A file is used again only after every segment it has bytes of was synced; where such a sync fails, it
//!   never is. Its front is erased, durably, as soon as that is so: frames of an earlier turn are never seen.
//! * Of two files the older one is erased first: a note that something is void outlives what it is about.
//! * After a failed write or sync of the journal no further round goes there.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::batch::AssignedBatch;
use tidelog_model::{LeaderEpoch, Offset};

use super::checkpoint::Checkpoint;
use super::file::{self, wide};
use super::local_log::LocalLog;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::PartitionId;
use crate::error::{StorageError, failed};

pub(super) const NAMES: [&str; 2] = ["journal-0", "journal-1"];
pub(super) const MAGIC: [u8; 8] = *b"tidelogj";
pub(super) const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 40;
pub(super) const BLOCK_BYTES: u64 = 4096;
const ZEROS: [u8; 4096] = [0; 4096];
/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// The position that says: forget what came before of this partition.
pub(super) const FORGET: u64 = u64::MAX;

/// Larger parts are cheaper to sync where they are than to write twice.
const PART_BYTES_MAX: u64 = 16 << 10;

/// Whether bytes are so few that a sync costs more than a second write.
pub(super) fn is_small(appended: &Appended) -> bool {
    appended.bytes() <= PART_BYTES_MAX
}

/// Bytes that one round has appended to one segment.
#[derive(Debug, Clone)]
pub(super) struct Appended {
    pub(super) id: PartitionId,
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) batches: Vec<AssignedBatch>,
}

impl Appended {
    pub(super) fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| u64::from(batch.header().size_bytes)).sum()
    }

    fn entry(&self) -> io::Result<[u8; ENTRY_BYTES]> {
        let length = u32::try_from(self.bytes()).map_err(io::Error::other)?;
        Ok(encode_entry(self.id, self.segment, self.position, length))
    }
}

/// One of the two files.
#[derive(Debug)]
struct Half {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    used: u64,
    first: u64,
    /// Whose segments must be synced before this file is used again, also when their owner has let go of them.
    partitions: BTreeMap<PartitionId, Arc<LocalLog>>,
    /// All its segments are durable.
    free: bool,
    /// One of its segments could not be made durable.
    stuck: bool,
}

impl Half {
    /// Ascends from the older file to the newer one.
    fn age(&self) -> u64 {
        // One that is about to be used again may still hold its last turn.
        if self.used == 0 { 0 } else { self.first }
    }

    /// Erases it for its next turn, durably.
    fn empty(&mut self) -> Result<(), StorageError> {
        erase(self.file.as_ref()).map_err(failed("write", &self.path))?;
        self.partitions.clear();
        self.used = 0;
        self.free = true;
        self.stuck = false;
        Ok(())
    }
}

/// What one of the files waits for.
#[derive(Debug)]
pub(super) struct Draining {
    /// Which use of the file.
    pub(super) turn: u64,
    /// Whose segments are to be synced.
    pub(super) logs: Vec<Arc<LocalLog>>,
}

/// The journal of a data directory.
#[derive(Debug)]
pub(super) struct Journal {
    halves: [Half; 2],
    size: u64,
    active: usize,
    sequence: u64,
    broken: bool,
    /// Both files are to be emptied.
    clearing: bool,
}

impl Journal {
    /// Makes both files, written to their full size, durably.
    pub(super) fn create(
        disk: &dyn Disk,
        root: &Path,
        size: u64,
        epoch: LeaderEpoch,
    ) -> Result<Self, StorageError> {
        let half = |name: &str| {
            let path = root.join(name);
            let file = disk.open(&path, OpenMode::Create).map_err(failed("create", &path))?;
            let filled = fill(file.as_ref(), size);
            if let Err(error) = filled {
                // The room is worth more to others.
                drop(file.set_size(0));
                return Err(failed("write", &path)(error));
            }
            Ok(Half { path, file, used: 0, first: 0, partitions: BTreeMap::new(), free: true, stuck: false })
        };
        let [first, second] = NAMES;
        let halves = [half(first)?, half(second)?];
        disk.sync_dir(root).map_err(failed("sync", root))?;
        let sequence = u64::from(epoch.get().unsigned_abs()) << 32;
        Ok(Self { halves, size, active: 0, sequence, broken: false, clearing: false })
    }

    /// Whether a round with these bytes can go here.
    pub(super) fn has_room(&mut self, entries: usize, bytes: u64) -> bool {
        let needed = frame_bytes(entries, bytes);
        if self.broken || self.clearing || needed > self.size {
            return false;
        }
        let Some(active) = self.halves.get(self.active) else { return false };
        if active.used.saturating_add(needed) <= self.size {
            return true;
        }
        let other = 1 - self.active;
        match self.halves.get_mut(other) {
            Some(half) if half.free => {
                half.used = 0;
                half.free = false;
                half.partitions.clear();
                self.active = other;
                true
            }
            _ => false,
        }
    }

    /// Writes a round, durably when it returns. There must be room.
    pub(super) fn write(&mut self, round: &[(Arc<LocalLog>, Appended)]) -> Result<(), StorageError> {
        let entries = round.iter().map(|(_, appended)| appended.entry()).collect::<io::Result<Vec<_>>>();
        let entries = entries.map_err(failed("write", Path::new("journal")))?;
        let mut parts = Vec::with_capacity(round.len() * 3);
        for ((_, appended), entry) in round.iter().zip(&entries) {
            parts.push(entry.as_slice());
            for batch in &appended.batches {
                parts.extend([batch.prefix().as_slice(), batch.rest().as_ref()]);
            }
        }
        self.write_frame(&parts)?;
        let active = self.active;
        if let Some(half) = self.halves.get_mut(active) {
            half.partitions.extend(round.iter().map(|(log, _)| (log.id, Arc::clone(log))));
        }
        Ok(())
    }

    /// Notes that what came before of a partition is void: its name may be used again. Where there is no room for
    /// the note, no further round is taken until [`Self::clear`], before which the partitions returned have to be
    /// made durable in their segments.
    pub(super) fn forget(&mut self, id: PartitionId) -> Result<Option<Vec<Arc<LocalLog>>>, StorageError> {
        for half in &mut self.halves {
            half.partitions.remove(&id);
        }
        if self.has_room(1, 0) {
            self.write_frame(&[&encode_entry(id, Offset::ZERO, FORGET, 0)])?;
            return Ok(None);
        }
        self.clearing = true;
        let logs = self.halves.iter().flat_map(|half| half.partitions.values().map(Arc::clone));
        Ok(Some(logs.collect()))
    }

    fn write_frame(&mut self, parts: &[&[u8]]) -> Result<(), StorageError> {
        let active = self.active;
        let Some(half) = self.halves.get_mut(active) else { return Ok(()) };
        half.free = false;
        if half.used == 0 {
            half.first = self.sequence;
        }
        let length: u64 = parts.iter().map(|part| wide(part.len())).sum();
        let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let header = encode_header(half.first, self.sequence, length, crc);
        let padding = frame_bytes(0, length).saturating_sub(length + wide(HEADER_BYTES));
        let padding = ZEROS.get(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default();
        let mut slices = Vec::with_capacity(parts.len() + 2);
        slices.push(IoSlice::new(&header));
        slices.extend(parts.iter().map(|part| IoSlice::new(part)));
        slices.push(IoSlice::new(padding));
        let written = file::write_all(half.file.as_ref(), &mut slices, half.used)
            .map_err(failed("write", &half.path))
            .and_then(|()| half.file.sync_data().map_err(failed("sync", &half.path)));
        if written.is_err() {
            self.broken = true;
        }
        written?;
        half.used += frame_bytes(0, length);
        self.sequence += 1;
        Ok(())
    }

    /// What has to be synced before the file that is not written now can be used again; `None` when there is
    /// nothing to do.
    pub(super) fn draining(&self) -> Option<Draining> {
        let half = self.halves.get(1 - self.active).filter(|half| !half.free && !half.stuck)?;
        let logs = half.partitions.values().map(Arc::clone).collect();
        Some(Draining { turn: half.first, logs })
    }

    /// What became of the segments that [`Self::draining`] has named, at worst. The file may have been emptied
    /// since, and be in another turn.
    pub(super) fn drained(&mut self, turn: u64, worst: Checkpoint) {
        let same_turn = |half: &&mut Half| !half.free && half.used > 0 && half.first == turn;
        let Some(half) = self.halves.iter_mut().find(same_turn) else { return };
        match worst {
            Checkpoint::Durable => {
                if let Err(error) = half.empty() {
                    tracing::error!(%error, "the journal is given up: segments are synced one by one");
                    self.broken = true;
                }
            }
            Checkpoint::Later => {}
            // The partitions stay: what the file holds of them is nowhere else, so it must not be emptied.
            Checkpoint::Never => half.stuck = true,
        }
    }

    /// Empties both files; every segment must be durable.
    pub(super) fn clear(&mut self) -> Result<(), StorageError> {
        let mut halves: Vec<&mut Half> = self.halves.iter_mut().collect();
        halves.sort_by_key(|half| half.age());
        let emptied = halves.into_iter().try_for_each(Half::empty);
        // What could not be erased is in no known state: nothing may come behind it.
        self.broken |= emptied.is_err();
        self.clearing = emptied.is_err();
        emptied
    }

    /// Goes on with what it holds after [`Self::forget`], because that could not be made durable elsewhere.
    pub(super) fn keep(&mut self) {
        self.clearing = false;
    }
}

/// The bytes a frame takes in the file.
pub(super) fn frame_bytes(entries: usize, bytes: u64) -> u64 {
    let all = wide(HEADER_BYTES) + wide(entries) * wide(ENTRY_BYTES) + bytes;
    all.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Writes zeros, a piece at a time, each with its own sync: rounds go on meanwhile and wait for the same device.
fn fill(file: &dyn DiskFile, size: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut position = 0;
    while position < size {
        let length = usize::try_from(size - position).unwrap_or(usize::MAX).min(zeros.len());
        let part = zeros.get(..length).unwrap_or_default();
        file::write_all(file, &mut [IoSlice::new(part)], position)?;
        file.sync_data()?;
        position += wide(length);
    }
    Ok(())
}

/// Erases the first header. One sector and no more, so that a power cut leaves the whole turn or nothing of it.
pub(super) fn erase(file: &dyn DiskFile) -> io::Result<()> {
    let sector = ZEROS.get(..SECTOR_BYTES).unwrap_or_default();
    file::write_all(file, &mut [IoSlice::new(sector)], 0)?;
    file.sync_data()
}

fn encode_header(first: u64, sequence: u64, length: u64, payload_crc: u32) -> [u8; HEADER_BYTES] {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    for number in [first, sequence, length] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&[0; 24]);
    out.extend_from_slice(&payload_crc.to_be_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out.first_chunk().copied().unwrap_or([0; HEADER_BYTES])
}

fn encode_entry(id: PartitionId, segment: Offset, position: u64, length: u32) -> [u8; ENTRY_BYTES] {
    let mut out = Vec::with_capacity(ENTRY_BYTES);
    out.extend_from_slice(id.topic_id.uuid().as_bytes());
    out.extend_from_slice(&id.partition.unsigned().to_be_bytes());
    out.extend_from_slice(&segment.get().to_be_bytes());
    out.extend_from_slice(&position.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.first_chunk().copied().unwrap_or([0; ENTRY_BYTES])
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
