//! Removing topics and partitions, so that a crash leaves all of one or nothing.
//!
//! ```text
//! floor erased, durably ► directory renamed to <name>.gone, durably ► note in the journal ► files removed
//! ```
//!
//! **Invariants**
//! * A floor never outlives its segments, and nothing the journal holds of a partition outlives its removal.
//! * A removal that failed can be tried again, and says it is done only when all of it is.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use tidelog_model::TopicId;

use super::log_dir::{LogDir, TOPICS, dir_name};
use crate::disk::Disk;
use crate::engine::PartitionId;
use crate::error::{StorageError, failed};

/// The end of the name of a directory that is being removed.
const GONE: &str = ".gone";

impl LogDir {
    /// Removes a partition and its records. Its log, if it is open, must not be used any more.
    ///
    /// # Errors
    /// When the device fails; the removal is finished at the next start then, or when it is asked for again.
    pub fn remove_partition(&self, id: PartitionId) -> Result<(), StorageError> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        self.committer.forget(id);
        self.forget_floor(id)?;
        let topic_dir = self.topic_dir(id.topic_id);
        let gone = set_aside(self.disk.as_ref(), &topic_dir, &id.partition.get().to_string())?;
        // Only now, so that a crash leaves all of it or nothing.
        self.journal.forget(id)?;
        remove_tree(self.disk.as_ref(), &gone)
    }

    /// Removes a topic with all its partitions.
    ///
    /// # Errors
    /// As [`Self::remove_partition`].
    pub fn remove_topic(&self, id: TopicId) -> Result<(), StorageError> {
        let mut unnoted = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.floors.partitions_of(id).into_iter().chain(self.committer.partitions_of(id));
        // Before anything is forgotten, so that another try knows them, too.
        unnoted.extend(known);
        let of_topic = |partition: &&PartitionId| partition.topic_id == id;
        let partitions: Vec<PartitionId> = unnoted.iter().filter(of_topic).copied().collect();
        for partition in &partitions {
            self.committer.forget(*partition);
            self.floors.remove(*partition)?;
        }
        self.floors.sync()?;
        let gone = set_aside(self.disk.as_ref(), &self.root.join(TOPICS), &dir_name(id))?;
        for partition in partitions {
            self.journal.forget(partition)?;
            unnoted.remove(&partition);
        }
        remove_tree(self.disk.as_ref(), &gone)
    }

    /// A floor must not outlive its segments: it would make their absence look like damage.
    fn forget_floor(&self, id: PartitionId) -> Result<(), StorageError> {
        self.floors.remove(id)?;
        self.floors.sync()
    }

    /// Removes what a crash has left of removals.
    pub(super) fn finish_removals(&self) -> Result<(), StorageError> {
        let disk = self.disk.as_ref();
        let topics = self.root.join(TOPICS);
        finish_removals_in(disk, &topics)?;
        for entry in disk.list(&topics).map_err(failed("list", &topics))? {
            if entry.is_dir {
                finish_removals_in(disk, &topics.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

fn finish_removals_in(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    let gone: Vec<_> = entries.iter().filter(|entry| entry.name.ends_with(GONE)).collect();
    if !gone.is_empty() {
        // A run that was killed may have left the names like this, and a power cut could undo them.
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    gone.iter().try_for_each(|entry| remove_tree(disk, &dir.join(&entry.name)))
}

/// Gives the directory `name`, if it is there, another name, so that a crash while it is removed leaves all or
/// nothing. Returns the new path.
fn set_aside(disk: &dyn Disk, parent: &Path, name: &str) -> Result<PathBuf, StorageError> {
    let (dir, gone) = (parent.join(name), parent.join(format!("{name}{GONE}")));
    match disk.rename(&dir, &gone) {
        Ok(()) => disk.sync_dir(parent).map_err(failed("sync", parent))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("rename", &dir)(error)),
    }
    Ok(gone)
}

fn remove_tree(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("list", dir)(error)),
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(disk, &path)?;
        } else {
            disk.remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    disk.remove_dir(dir).map_err(failed("remove", dir))
}
