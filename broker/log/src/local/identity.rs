//! What a data directory says of itself: its format, its cluster's id, and the leader epoch of the last run.
//!
//! ```text
//! FORMAT           the number of the format; a directory without it that is not empty is somebody else's
//! meta.properties  cluster.id, crc32c
//! epoch            the leader epoch of the last run: two entries of 8 bytes (epoch, crc32c), written in turn
//! clean-shutdown   there only between a clean end and the next start
//! ```
//!
//! **Invariants**
//! * The leader epoch is raised durably before anything is written under it, so that two runs never share one.
//! * A start needs no room on the device: the epoch is written in place.

use std::io::{self, IoSlice};
use std::path::Path;

use tidelog_model::LeaderEpoch;
use uuid::Uuid;

use super::file;
use crate::disk::{Disk, OpenMode};
use crate::error::{OpenError, StorageError, failed};

/// The format that this version writes.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const META_FILE: &str = "meta.properties";
const EPOCH_FILE: &str = "epoch";
const EPOCH_BYTES: usize = 8;
const CLEAN_FILE: &str = "clean-shutdown";
/// The lock may be there before anything else.
pub(super) const LOCK_FILE: &str = "LOCK";

/// Who a data directory is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) cluster_id: Uuid,
    pub(super) leader_epoch: LeaderEpoch,
}

/// Checks the format of the directory, or makes an empty one ours.
pub(super) fn check_format(disk: &dyn Disk, root: &Path) -> Result<(), OpenError> {
    let path = root.join(FORMAT_FILE);
    let Some(content) = file::read_small(disk, &path)? else {
        return claim(disk, root);
    };
    let found = std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse::<u32>().ok());
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(OpenError::NewerFormat { path, found, known: FORMAT }),
        _ => {
            Err(OpenError::BrokenFile { path, reason: "it does not hold the number of a format".to_owned() })
        }
    }
}

fn claim(disk: &dyn Disk, root: &Path) -> Result<(), OpenError> {
    let entries = disk.list(root).map_err(failed("list", root))?;
    let ours = |name: &str| name == LOCK_FILE || name == "FORMAT.tmp" || name == "lost+found";
    if let Some(foreign) = entries.iter().find(|entry| !ours(&entry.name)) {
        return Err(OpenError::Foreign { path: root.to_owned(), name: foreign.name.clone() });
    }
    file::replace(disk, root, FORMAT_FILE, format!("{FORMAT}\n").as_bytes())?;
    Ok(())
}

/// Reads who the directory is and begins its next leader epoch.
pub(super) fn begin_epoch(disk: &dyn Disk, root: &Path) -> Result<Identity, OpenError> {
    let path = root.join(META_FILE);
    let epoch_path = root.join(EPOCH_FILE);
    let broken = |path: &Path, reason: &str| OpenError::BrokenFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let cluster_id = match file::read_small(disk, &path)? {
        Some(content) => parse(&content).ok_or_else(|| broken(&path, "its checksum or a value is wrong"))?,
        None if has_topics(disk, root)? => {
            return Err(broken(&path, "it is missing, but there are topics: put it back from a backup"));
        }
        None => {
            let cluster_id = Uuid::new_v4();
            file::replace(disk, root, META_FILE, show(cluster_id).as_bytes())?;
            cluster_id
        }
    };
    let (leader_epoch, turn) = match last_epoch(disk, &epoch_path)? {
        Some(last) => last.next(),
        None if has_topics(disk, root)? => {
            return Err(broken(&epoch_path, "it holds no leader epoch, but there are topics"));
        }
        None => (LeaderEpoch::new(0).ok_or_else(|| broken(&epoch_path, "no leader epoch"))?, 0),
    };
    let file = disk.open(&epoch_path, OpenMode::Create).map_err(failed("open", &epoch_path))?;
    let entry = encode_epoch(leader_epoch);
    file::write_all(file.as_ref(), &mut [IoSlice::new(&entry)], turn * file::wide(EPOCH_BYTES))
        .map_err(failed("write", &epoch_path))?;
    file.sync_data().map_err(failed("sync", &epoch_path))?;
    if leader_epoch.get() == 0 {
        disk.sync_dir(root).map_err(failed("sync", root))?;
    }
    Ok(Identity { cluster_id, leader_epoch })
}

fn has_topics(disk: &dyn Disk, root: &Path) -> Result<bool, StorageError> {
    let entries = disk.list(root).map_err(failed("list", root))?;
    Ok(entries.iter().any(|entry| entry.name == super::log_dir::TOPICS))
}

/// What the file says of the last run.
struct LastEpoch {
    /// The largest epoch that can be read.
    epoch: LeaderEpoch,
    /// Which entry has it.
    turn: u64,
    /// The other entry cannot be read. It may be torn, and then nobody has used what it was to hold; or it was
    /// the later one.
    alone: bool,
}

impl LastEpoch {
    /// The next epoch, and the entry that it goes to.
    fn next(&self) -> (LeaderEpoch, u64) {
        let next = self.epoch.next();
        (if self.alone { next.next() } else { next }, 1 - self.turn)
    }
}

fn last_epoch(disk: &dyn Disk, path: &Path) -> Result<Option<LastEpoch>, StorageError> {
    let content = file::read_small(disk, path)?.unwrap_or_default();
    let entries: Vec<_> = content.chunks(EPOCH_BYTES).map(decode_epoch).take(2).collect();
    let alone = entries.iter().any(Option::is_none);
    let last = (0..).zip(entries).filter_map(|(turn, epoch)| Some((epoch?, turn))).max();
    Ok(last.map(|(epoch, turn)| LastEpoch { epoch, turn, alone }))
}

fn encode_epoch(epoch: LeaderEpoch) -> [u8; EPOCH_BYTES] {
    let number = epoch.get().to_be_bytes();
    let mut entry = [0; EPOCH_BYTES];
    let (front, back) = entry.split_at_mut(number.len());
    front.copy_from_slice(&number);
    back.copy_from_slice(&crc32c::crc32c(&number).to_be_bytes());
    entry
}

fn decode_epoch(entry: &[u8]) -> Option<LeaderEpoch> {
    let (number, crc) = entry.split_first_chunk::<4>()?;
    let right = crc == crc32c::crc32c(number).to_be_bytes();
    if right { LeaderEpoch::new(i32::from_be_bytes(*number)) } else { None }
}

fn show(cluster_id: Uuid) -> String {
    let text = format!("cluster.id={}\n", cluster_id.as_simple());
    format!("{text}crc32c={:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn parse(content: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(content).ok()?;
    let (body, crc) = text.split_at_checked(text.find("crc32c=")?)?;
    let crc = u32::from_str_radix(crc.trim_end().strip_prefix("crc32c=")?, 16).ok()?;
    let id = body.strip_prefix("cluster.id=").filter(|_| crc32c::crc32c(body.as_bytes()) == crc)?;
    Uuid::try_parse(id.trim_end()).ok()
}

/// Whether the last run ended cleanly. The mark is gone, durably, when this returns.
pub(super) fn take_clean_mark(disk: &dyn Disk, root: &Path) -> Result<bool, StorageError> {
    let path = root.join(CLEAN_FILE);
    match disk.remove_file(&path) {
        Ok(()) => {
            disk.sync_dir(root).map_err(failed("sync", root))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

/// Notes that this run has ended cleanly.
pub(super) fn leave_clean_mark(disk: &dyn Disk, root: &Path) -> Result<(), StorageError> {
    match file::replace(disk, root, CLEAN_FILE, b"all segments are synced\n") {
        // Everything is durable without it, too: the next start looks at the tails.
        Err(error) if error.is_disk_full() => {
            tracing::warn!(%error, "the clean end could not be marked");
            Ok(())
        }
        result => result,
    }
}
