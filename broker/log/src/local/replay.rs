//! At a start: what only the journal holds goes back to its segments, before any of them is opened.
//!
//! **Invariants**
//! * Bytes that are known to be durable in their segment are not written again.
//! * The journal is emptied only after every segment that was written to is synced; a crash in between
//!   leaves it to the next start.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file;
use super::floor::FloorTable;
use super::journal::{self, Held};
use super::log_dir::partition_path;
use super::segment::file_name;
use super::sync_pool::SyncPool;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{StorageError, failed};

/// Writes back what the journal holds, makes it durable and empties the journal.
pub(super) fn replay(
    disk: &dyn Disk,
    root: &Path,
    floors: &FloorTable,
    pool: &SyncPool,
) -> Result<(), StorageError> {
    let held = journal::read_back(disk, root)?;
    let mut files: BTreeMap<PathBuf, Arc<dyn DiskFile>> = BTreeMap::new();
    let mut bytes = 0;
    for held in held.iter().filter(|held| !is_durable(floors, held)) {
        let path = partition_path(root, held.id).join(file_name(held.segment, "log"));
        let file = match files.get(&path) {
            Some(file) => Arc::clone(file),
            None => match disk.open(&path, OpenMode::ReadWrite) {
                Ok(file) => file,
                // Its partition or segment was removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("open", &path)(error)),
            },
        };
        let size = file.size().map_err(failed("read the size of", &path))?;
        if size < held.position {
            tracing::error!(
                segment = %path.display(), size, position = held.position,
                "bytes in front of those in the journal are missing: recovery will say what that means"
            );
            continue;
        }
        file::write_all(file.as_ref(), &mut [IoSlice::new(&held.bytes)], held.position)
            .map_err(failed("write", &path))?;
        bytes += held.bytes.len();
        files.insert(path, file);
    }
    let all: Vec<_> = files.values().map(Arc::clone).collect();
    for (result, path) in pool.sync_all(&all).into_iter().zip(files.keys()) {
        result.map_err(failed("sync", path))?;
    }
    if !held.is_empty() {
        tracing::info!(segments = files.len(), bytes, "brought segments up to the journal");
    }
    // Also what cannot be read: where a killed run has half overwritten it, a power cut could bring it back.
    journal::discard(disk, root)
}

fn is_durable(floors: &FloorTable, held: &Held) -> bool {
    floors.get(held.id).is_some_and(|floor| {
        held.segment < floor.segment
            || (held.segment == floor.segment
                && held.position.saturating_add(file::wide(held.bytes.len())) <= floor.bytes)
    })
}
