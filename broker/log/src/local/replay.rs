//! At a start: what only the journal holds goes back to its segments, before any of them is opened.
//!
//! **Invariants**
//! * Bytes that are known to be durable in their segment are not written again.
//! * The journal is emptied only after every segment that was written to is synced and the floors that say so
//!   are durable; a crash in between leaves it to the next start.
//! * What was acknowledged is never taken for a torn tail: the floor of a segment is raised to the end of what
//!   the journal holds of it, so whatever does not hold below that is named as damage.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::batch::BatchHeader;

use super::file;
use super::floor::{Floor, FloorTable};
use super::journal_read::{self, Held};
use super::log_dir::partition_path;
use super::segment::file_name;
use super::sync_pool::SyncPool;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{OpenError, failed};

/// Writes back what the journal holds, makes it durable, raises the floors to it and empties the journal.
pub(super) fn replay(
    disk: &dyn Disk,
    root: &Path,
    floors: &FloorTable,
    pool: &SyncPool,
) -> Result<(), OpenError> {
    let held = journal_read::read_back(disk, root)?;
    let mut files: BTreeMap<PathBuf, Arc<dyn DiskFile>> = BTreeMap::new();
    let mut bytes = 0;
    let mut written = Vec::new();
    for held in held.iter().filter(|held| !is_durable(floors, held)) {
        let path = partition_path(root, held.id).join(file_name(held.segment, "log"));
        let file = match files.get(&path) {
            Some(file) => Arc::clone(file),
            None => match disk.open(&path, OpenMode::ReadWrite) {
                Ok(file) => file,
                // Its partition or segment was removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("open", &path)(error).into()),
            },
        };
        let size = file.size().map_err(failed("read the size of", &path))?;
        if size < held.position {
            // Bytes that were durable are gone: the raised floor lets recovery name the place. What follows it is
            // kept in its own place, for whoever repairs the segment.
            tracing::error!(
                segment = %path.display(), size, position = held.position,
                "bytes in front of those in the journal are missing, and were durable"
            );
        }
        file::write_all(file.as_ref(), &mut [IoSlice::new(&held.bytes)], held.position)
            .map_err(failed("write", &path))?;
        bytes += held.bytes.len();
        files.insert(path, file);
        written.push(held);
    }
    let all: Vec<_> = files.values().map(Arc::clone).collect();
    for (result, path) in pool.sync_all(&all).into_iter().zip(files.keys()) {
        result.map_err(failed("sync", path))?;
    }
    if !written.is_empty() {
        tracing::info!(segments = files.len(), bytes, "brought segments up to the journal");
        for (id, floor) in written.into_iter().filter_map(|held| Some((held.id, floor_of(held)?))) {
            match floors.record(id, floor) {
                // Known all the same until the next start, and a start must not need room.
                Err(error) if error.is_disk_full() => tracing::warn!(%error, "the durable floor lags behind"),
                recorded => recorded?,
            }
        }
        // Without the journal nothing else says that these bytes, and those before them, were durable.
        floors.sync()?;
    }
    // Also what cannot be read: where a killed run has half overwritten it, a power cut could bring it back.
    Ok(journal_read::discard(disk, root)?)
}

/// Bytes are in the journal only if all bytes before them were durable, or in the journal as well.
fn floor_of(held: &Held) -> Option<Floor> {
    let mut end = None;
    let mut rest = held.bytes.as_slice();
    while let Ok(header) = BatchHeader::parse(rest) {
        end = Some(header.next_offset());
        rest = rest.get(header.size()..).unwrap_or_default();
    }
    let bytes = held.position.saturating_add(file::wide(held.bytes.len()));
    Some(Floor { segment: held.segment, bytes, end: end? })
}

fn is_durable(floors: &FloorTable, held: &Held) -> bool {
    floors.get(held.id).is_some_and(|floor| {
        held.segment < floor.segment
            || (held.segment == floor.segment
                && held.position.saturating_add(file::wide(held.bytes.len())) <= floor.bytes)
    })
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
