//! What a data directory says of itself: its format, its cluster's id, and the leader epoch of the last run.
//!
//! ```text
//! FORMAT           the number of the format; a directory without it that is not empty is somebody else's
//! meta.properties  cluster.id, leader.epoch, crc32c
//! clean-shutdown   there only between a clean end and the next start
//! ```
//!
//! **Invariant:** the leader epoch is raised durably before anything is written under it, so that two runs
//! never share one.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use tidelog_model::LeaderEpoch;
use uuid::Uuid;

use super::file;
use crate::disk::Disk;
use crate::error::{OpenError, StorageError, failed};

/// The format that this version writes.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const META_FILE: &str = "meta.properties";
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
    let broken = |reason: &str| OpenError::BrokenFile { path: path.clone(), reason: reason.to_owned() };
    let identity = match file::read_small(disk, &path)? {
        Some(content) => {
            let last = parse(&content).ok_or_else(|| broken("its checksum or a value is wrong"))?;
            Identity { leader_epoch: last.leader_epoch.next(), ..last }
        }
        None => {
            let entries = disk.list(root).map_err(failed("list", root))?;
            if entries.iter().any(|entry| entry.name == super::log_dir::TOPICS) {
                return Err(broken("it is missing, but there are topics: put it back from a backup"));
            }
            let first = LeaderEpoch::new(0).ok_or_else(|| broken("no leader epoch"))?;
            Identity { cluster_id: Uuid::new_v4(), leader_epoch: first }
        }
    };
    file::replace(disk, root, META_FILE, show(identity).as_bytes())?;
    Ok(identity)
}

fn show(identity: Identity) -> String {
    let mut text = format!(
        "cluster.id={}\nleader.epoch={}\n",
        identity.cluster_id.as_simple(),
        identity.leader_epoch.get()
    );
    let crc = crc32c::crc32c(text.as_bytes());
    // Writing to a string does not fail.
    let _infallible = writeln!(text, "crc32c={crc:08x}");
    text
}

fn parse(content: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(content).ok()?;
    let (body, crc) = text.split_at_checked(text.find("crc32c=")?)?;
    let crc = u32::from_str_radix(crc.trim_end().strip_prefix("crc32c=")?, 16).ok()?;
    if crc32c::crc32c(body.as_bytes()) != crc {
        return None;
    }
    let value = |key: &str| {
        body.lines().find_map(|line| line.split_once('=').filter(|(name, _)| *name == key).map(|(_, v)| v))
    };
    let cluster_id = Uuid::try_parse(value("cluster.id")?).ok()?;
    let leader_epoch = LeaderEpoch::new(value("leader.epoch")?.parse().ok()?)?;
    Some(Identity { cluster_id, leader_epoch })
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
    file::replace(disk, root, CLEAN_FILE, b"all segments are synced\n")
}
