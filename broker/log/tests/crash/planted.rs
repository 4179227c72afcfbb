//! Bugs planted on purpose: a test that cannot see them proves nothing.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelog_log::disk::{DirEntry, Disk, DiskFile, OpenMode, SealedBytes};
use tidelog_log::sim_disk::SimDisk;

use super::life::{Life, live};
use super::model::{Broken, Owner};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// Files are never synced.
    NoSync,
    /// Directories are never synced.
    NoDirSync,
    /// What recovery finds is served without being synced.
    NoSyncInRecovery,
    /// Recovery trusts the cache.
    NoCacheDrop,
    /// A failed sync is taken for a good one.
    SyncErrorIgnored,
    /// A failed sync is tried again.
    SyncRetried,
    /// The owner acknowledges what is written and not flushed.
    AcksWritten,
    /// The owner shows to readers what is written and not flushed; acks wait for the flush.
    ShowsWritten,
    /// A file is renamed before its bytes are durable.
    SyncOfNewFilesSkipped,
}

impl Plant {
    pub(crate) fn owner(self) -> Owner {
        Owner { acks_written: self == Self::AcksWritten, shows_written: self == Self::ShowsWritten }
    }
}

/// A simulated disk behind which a bug sits.
#[derive(Debug)]
pub(crate) struct PlantedDisk {
    sim: SimDisk,
    plant: Plant,
    recovering: Arc<AtomicBool>,
}

impl PlantedDisk {
    pub(crate) fn new(sim: SimDisk, plant: Plant) -> Self {
        Self { sim, plant, recovering: Arc::default() }
    }

    pub(crate) fn set_recovering(&self, recovering: bool) {
        self.recovering.store(recovering, Ordering::Relaxed);
    }
}

impl Disk for PlantedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.sim.open(path, mode)?;
        if self.plant == Plant::Nothing {
            return Ok(file);
        }
        let temporary = path.extension().is_some_and(|extension| extension == "tmp");
        Ok(Arc::new(PlantedFile {
            file,
            plant: self.plant,
            recovering: Arc::clone(&self.recovering),
            temporary,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.sim.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.sim.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.plant == Plant::NoDirSync { Ok(()) } else { self.sim.sync_dir(dir) }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.sim.free_bytes(dir)
    }
}

#[derive(Debug)]
struct PlantedFile {
    file: Arc<dyn DiskFile>,
    plant: Plant,
    recovering: Arc<AtomicBool>,
    temporary: bool,
}

impl DiskFile for PlantedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.file.read_cached_at(buf, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(parts, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.plant {
            Plant::NoSync => Ok(()),
            Plant::NoSyncInRecovery if self.recovering.load(Ordering::Relaxed) => Ok(()),
            Plant::SyncOfNewFilesSkipped if self.temporary => Ok(()),
            Plant::SyncErrorIgnored => self.file.sync_data().or(Ok(())),
            Plant::SyncRetried => self.file.sync_data().or_else(|_| self.file.sync_data()),
            _ => self.file.sync_data(),
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_size(size)
    }

    fn drop_cache(&self, from: u64) -> io::Result<()> {
        if self.plant == Plant::NoCacheDrop { Ok(()) } else { self.file.drop_cache(from) }
    }

    fn map_sealed(&self) -> io::Result<SealedBytes> {
        self.file.map_sealed()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

/// Which promise a bug breaks, within a number of lives.
fn broken_by(plant: Plant) -> Option<Broken> {
    (0..400).find_map(|seed| {
        let mut life = Life { seed, plant, ..Life::default() };
        life.faulty = matches!(plant, Plant::NoCacheDrop | Plant::SyncErrorIgnored | Plant::SyncRetried);
        live(life).err()
    })
}

fn assert_seen(plant: Plant) {
    assert!(broken_by(plant).is_some(), "{plant:?} was not seen");
}

#[test]
fn no_sync_at_all_is_seen() {
    assert_seen(Plant::NoSync);
}

#[test]
fn no_sync_of_directories_is_seen() {
    assert_seen(Plant::NoDirSync);
}

#[test]
fn a_recovered_tail_that_is_served_before_it_is_synced_is_seen() {
    assert_seen(Plant::NoSyncInRecovery);
}

#[test]
fn a_recovery_that_trusts_the_cache_after_a_failed_sync_is_seen() {
    assert_seen(Plant::NoCacheDrop);
}

#[test]
fn a_failed_sync_taken_for_a_good_one_is_seen() {
    assert_seen(Plant::SyncErrorIgnored);
}

#[test]
fn a_failed_sync_that_is_tried_again_is_seen() {
    assert_seen(Plant::SyncRetried);
}

#[test]
fn an_owner_that_acknowledges_what_is_only_written_is_seen() {
    let broken = broken_by(Plant::AcksWritten).unwrap();
    assert!(broken.contains("was promised"), "{broken}");
}

#[test]
fn a_high_watermark_that_follows_the_written_end_while_acks_wait_is_seen() {
    let broken = broken_by(Plant::ShowsWritten).unwrap();
    assert!(broken.contains("a reader saw"), "{broken}");
}

#[test]
fn a_file_that_takes_its_name_before_its_bytes_are_durable_is_seen() {
    assert_seen(Plant::SyncOfNewFilesSkipped);
}
