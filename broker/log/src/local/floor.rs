//! The durable floor: how far each partition was known to be on stable storage.
//!
//! After each sync of a segment the table learns how many of its bytes are durable. At the next start an
//! invalid byte below the floor is known to have been durable once, so it is damage and not a torn write; an
//! invalid byte above it is a torn write, whatever follows it (batches of one unsynced window reach the disk
//! in any order). The table is written after the sync it tells of and is not synced itself each time: it may
//! lag behind, never lead. After a sync of the table that failed, a later one proves nothing about what was
//! written before: the next one writes all of it anew, into another file.
//!
//! ```text
//! slot = two entries of 64 bytes, written in turn; the one with the higher sequence counts
//! entry = topic id 16 | partition u32 | segment base i64 | durable bytes u64 | durable end i64
//!         | sequence u64 | zero 8 | crc32c u32
//! ```

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tidelog_model::{Offset, PartitionIndex, TopicId};
use uuid::Uuid;

use super::file;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::PartitionId;
use crate::error::{StorageError, failed};

const NAME: &str = "floor";
const ENTRY_BYTES: usize = 64;
const SLOT_BYTES: u64 = 128;

/// How far one partition is durable: all of the segments before this one, and this many bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    /// The segment's base offset.
    pub(super) segment: Offset,
    /// Durable bytes of the segment, at a boundary of batches.
    pub(super) bytes: u64,
    /// The offset after the last durable batch.
    pub(super) end: Offset,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u64,
    sequence: u64,
    floor: Floor,
}

#[derive(Debug, Default)]
struct Slots {
    used: BTreeMap<PartitionId, Slot>,
    free: Vec<u64>,
    next: u64,
}

/// The table of all partitions of a data directory.
#[derive(Debug)]
pub(super) struct FloorTable {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Taken after the slots.
    file: RwLock<Arc<dyn DiskFile>>,
    slots: Mutex<Slots>,
    /// A sync has failed, and the file was not replaced since.
    doubtful: AtomicBool,
}

impl FloorTable {
    /// Opens or creates the table below `root`.
    pub(super) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, StorageError> {
        let path = root.join(NAME);
        let file = disk.open(&path, OpenMode::Create).map_err(failed("open", &path))?;
        // What a failed sync has left in the cache may not be on the device.
        file.drop_cache(0).map_err(failed("drop the cache of", &path))?;
        let size = file.size().map_err(failed("read the size of", &path))?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let read = file::read_at(file.as_ref(), &mut bytes, 0).map_err(failed("read", &path))?;
        bytes.truncate(read);
        let mut slots = Slots { next: size.div_ceil(SLOT_BYTES), ..Slots::default() };
        for (number, slot) in (0..).zip(bytes.chunks(2 * ENTRY_BYTES)) {
            let newest = slot.chunks(ENTRY_BYTES).filter_map(decode).max_by_key(|(_, sequence, _)| *sequence);
            match newest {
                Some((id, sequence, floor)) => {
                    slots.used.insert(id, Slot { number, sequence, floor });
                }
                None => slots.free.push(number),
            }
        }
        let (file, slots) = (RwLock::new(file), Mutex::new(slots));
        Ok(Self { disk, path, file, slots, doubtful: AtomicBool::new(false) })
    }

    /// The floor of a partition, if one was ever recorded.
    pub(super) fn get(&self, id: PartitionId) -> Option<Floor> {
        self.lock().used.get(&id).map(|slot| slot.floor)
    }

    /// Remembers what a sync has made durable, unless more is known to be.
    pub(super) fn record(&self, id: PartitionId, floor: Floor) -> Result<(), StorageError> {
        let slot = {
            let mut slots = self.lock();
            let (number, sequence) = match slots.used.get(&id) {
                Some(slot) if (slot.floor.segment, slot.floor.bytes) >= (floor.segment, floor.bytes) => {
                    return Ok(());
                }
                Some(slot) => (slot.number, slot.sequence.saturating_add(1)),
                None => (slots.take_free(), 1),
            };
            let slot = Slot { number, sequence, floor };
            slots.used.insert(id, slot);
            slot
        };
        self.write(id, slot)
    }

    /// Writes what is known of a partition into both entries, durably, so that no torn write and no power cut
    /// leads back to an earlier floor. Returns what cannot be taken back any more.
    pub(super) fn settle(&self, id: PartitionId) -> Result<Option<Floor>, StorageError> {
        let mut settled = None;
        for _ in 0..2 {
            let slot = {
                let mut slots = self.lock();
                let Some(slot) = slots.used.get_mut(&id) else { return Ok(None) };
                slot.sequence = slot.sequence.saturating_add(1);
                *slot
            };
            self.write(id, slot)?;
            self.sync()?;
            settled.get_or_insert(slot.floor);
        }
        Ok(settled)
    }

    fn write(&self, id: PartitionId, slot: Slot) -> Result<(), StorageError> {
        let place = slot.number * SLOT_BYTES + (slot.sequence % 2) * file::wide(ENTRY_BYTES);
        let entry = encode(id, slot.sequence, slot.floor);
        file::write_all(self.file().as_ref(), &mut [IoSlice::new(&entry)], place)
            .map_err(failed("write", &self.path))
    }

    fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets a partition that is gone.
    pub(super) fn remove(&self, id: PartitionId) -> Result<(), StorageError> {
        // Locked, so that it is not written anew meanwhile.
        let mut slots = self.lock();
        let Some(slot) = slots.used.get(&id).copied() else { return Ok(()) };
        let empty = [0; 2 * ENTRY_BYTES];
        file::write_all(self.file().as_ref(), &mut [IoSlice::new(&empty)], slot.number * SLOT_BYTES)
            .map_err(failed("write", &self.path))?;
        // Only now, so that a removal that is tried again does not pass over it.
        slots.used.remove(&id);
        slots.free.push(slot.number);
        Ok(())
    }

    /// The partitions of a topic that have a floor.
    pub(super) fn partitions_of(&self, topic: TopicId) -> Vec<PartitionId> {
        self.lock().used.keys().filter(|id| id.topic_id == topic).copied().collect()
    }

    /// Makes the table itself durable.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        if self.doubtful.load(Ordering::Acquire) {
            return self.write_anew();
        }
        let file = self.file();
        let synced = file.sync_data().map_err(failed("sync", &self.path));
        if synced.is_err() {
            self.doubtful.store(true, Ordering::Release);
        }
        // Another one may have failed before this one, and in front of it.
        if synced.is_ok() && self.doubtful.load(Ordering::Acquire) { self.write_anew() } else { synced }
    }

    /// Puts a file with all that is known in the place of one of which nothing is known any more.
    fn write_anew(&self) -> Result<(), StorageError> {
        let slots = self.lock();
        if !self.doubtful.load(Ordering::Acquire) {
            drop(slots);
            return self.sync();
        }
        let mut content = vec![0; usize::try_from(slots.next * SLOT_BYTES).unwrap_or(0)];
        for (id, slot) in &slots.used {
            let place = slot.number * SLOT_BYTES + (slot.sequence % 2) * file::wide(ENTRY_BYTES);
            let entry = encode(*id, slot.sequence, slot.floor);
            let place = usize::try_from(place).ok().and_then(|place| content.get_mut(place..));
            if let Some(place) = place.and_then(|place| place.first_chunk_mut::<ENTRY_BYTES>()) {
                place.copy_from_slice(&entry);
            }
        }
        let root = self.path.parent().unwrap_or(Path::new("."));
        file::replace(self.disk.as_ref(), root, NAME, &content)?;
        let file = self.disk.open(&self.path, OpenMode::ReadWrite).map_err(failed("open", &self.path))?;
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        self.doubtful.store(false, Ordering::Release);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take_free(&mut self) -> u64 {
        self.free.pop().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            number
        })
    }
}

fn encode(id: PartitionId, sequence: u64, floor: Floor) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ENTRY_BYTES);
    entry.extend_from_slice(id.topic_id.uuid().as_bytes());
    entry.extend_from_slice(&id.partition.unsigned().to_be_bytes());
    entry.extend_from_slice(&floor.segment.get().to_be_bytes());
    entry.extend_from_slice(&floor.bytes.to_be_bytes());
    entry.extend_from_slice(&floor.end.get().to_be_bytes());
    entry.extend_from_slice(&sequence.to_be_bytes());
    entry.extend_from_slice(&[0; 8]);
    let crc = crc32c::crc32c(&entry);
    entry.extend_from_slice(&crc.to_be_bytes());
    entry
}

/// An entry, or `None` when it was never written or is torn.
fn decode(entry: &[u8]) -> Option<(PartitionId, u64, Floor)> {
    let (body, crc) = entry.split_last_chunk::<4>()?;
    if body.len() != ENTRY_BYTES - 4 || crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let mut rest = body;
    let topic_id = TopicId::from_uuid(Uuid::from_bytes(take(&mut rest)?));
    let partition = PartitionIndex::new(i32::from_be_bytes(take(&mut rest)?))?;
    let segment = Offset::new(i64::from_be_bytes(take(&mut rest)?))?;
    let bytes = u64::from_be_bytes(take(&mut rest)?);
    let end = Offset::new(i64::from_be_bytes(take(&mut rest)?))?;
    let sequence = u64::from_be_bytes(take(&mut rest)?);
    Some((PartitionId { topic_id, partition }, sequence, Floor { segment, bytes, end }))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
#[path = "floor_tests.rs"]
mod tests;
