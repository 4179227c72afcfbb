//! How far a replay has come, in a file: what `--resume` goes on from, and what `file:PATH` names as a position.
//!
//! **Invariants:** the file is replaced as a whole and is durable when [`Checkpoint::save`] returns: a crash
//! leaves the old one or the new one. While a run goes on with it, no other can. It covers only what the sink has confirmed. It is used only for the
//! replay that wrote it: same arguments, same topics (by id, so not ones created again under the same name).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidelog_client::{Offset, PartitionIndex, TopicName, TopicPartition};

use super::ledger::Share;

/// The format of the file; files of other versions are refused.
pub(crate) const VERSION: u32 = 1;

/// Flags and what was given for them.
pub(crate) type Arguments = BTreeMap<String, Vec<String>>;

/// How far a replay has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The replay's id.
    pub(crate) replay_id: String,
    /// When this was written, for people.
    pub(crate) saved_at: String,
    /// Whether everything was done.
    pub(crate) complete: bool,
    /// What decides which records are written where.
    pub(crate) arguments: Arguments,
    /// The ids of the topics that are read and written, by name.
    pub(crate) topics: BTreeMap<String, String>,
    /// How far the sink has come.
    pub(crate) sink: SinkMark,
    /// How far the reading has come.
    pub(crate) partitions: Vec<PartitionMark>,
}

/// How far a sink has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SinkMark {
    /// Standard output cannot be looked at again.
    Stdout,
    /// A file.
    File {
        /// Its size with what is covered; longer on disk means that a run was cut off after the checkpoint.
        bytes: u64,
    },
    /// A topic.
    Topic {
        /// Behind the last record that is covered, in each partition of the target.
        next: BTreeMap<i32, i64>,
    },
}

/// How far the reading of a partition has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionMark {
    topic: String,
    partition: i32,
    start: i64,
    /// Where to go on.
    next: i64,
    end: i64,
    written: u64,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CheckpointError {
    /// There is none.
    #[error("there is no checkpoint at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("checkpoint {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its content is not that of a checkpoint.
    #[error("{path} is not a checkpoint: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another version wrote it.
    #[error("checkpoint {path} has format {version}, this version reads {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u64,
    },
    /// Another run goes on with it.
    #[error("another run of the replay is using {path}")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another replay.
    #[error("the checkpoint belongs to another replay: {}", differences.join("; "))]
    Other {
        /// What differs.
        differences: Vec<String>,
    },
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub(crate) fn load(path: &Path) -> Result<Self, CheckpointError> {
        let owned = || path.to_owned();
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CheckpointError::Missing { path: owned() },
            _ => CheckpointError::Io { path: owned(), error },
        })?;
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        let broken = |reason: String| CheckpointError::Broken { path: owned(), reason };
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if head.version != u64::from(VERSION) {
            return Err(CheckpointError::Version { path: owned(), version: head.version });
        }
        let checkpoint: Self = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        checkpoint.shares().map_err(broken)?;
        Ok(checkpoint)
    }

    /// Replaces the file; durable when it returns. The file that comes back is locked as long as it is open.
    ///
    /// # Errors
    /// When the file or its directory cannot be written. The old checkpoint is still there then.
    pub(crate) fn save(&self, path: &Path) -> Result<File, CheckpointError> {
        let failed = |error| CheckpointError::Io { path: path.to_owned(), error };
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        replace(path, &bytes).map_err(failed)
    }

    /// Keeps other runs from going on with the same checkpoint, as long as the file is open.
    ///
    /// # Errors
    /// `Busy` when another run does.
    pub(crate) fn lock(path: &Path) -> Result<File, CheckpointError> {
        let failed = |error| CheckpointError::Io { path: path.to_owned(), error };
        let busy = || CheckpointError::Busy { path: path.to_owned() };
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CheckpointError::Missing { path: path.to_owned() },
            _ => failed(error),
        })?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => busy(),
            TryLockError::Error(error) => failed(error),
        })?;
        // Whoever held it has put a new file in its place meanwhile, or taken it away.
        let (here, there) = (file.metadata().map_err(failed)?, fs::metadata(path).map_err(|_| busy())?);
        if (here.dev(), here.ino()) == (there.dev(), there.ino()) { Ok(file) } else { Err(busy()) }
    }

    /// Whether it is of a replay with these arguments and topics.
    ///
    /// # Errors
    /// `Other`, naming everything that differs.
    pub(crate) fn check(
        &self,
        arguments: &Arguments,
        topics: &BTreeMap<String, String>,
    ) -> Result<(), CheckpointError> {
        let mut differences = Vec::new();
        let flags: BTreeSet<&String> = self.arguments.keys().chain(arguments.keys()).collect();
        for flag in flags {
            let (was, is) = (self.arguments.get(flag), arguments.get(flag));
            if was != is {
                differences.push(format!("{flag} was {}, is {}", shown(was), shown(is)));
            }
        }
        for (topic, id) in topics {
            if self.topics.get(topic).is_some_and(|was| was != id) {
                differences.push(format!("topic {topic} was created again since, or is another broker's"));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(CheckpointError::Other { differences }) }
    }

    /// The ranges and how much of them is done.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn shares(&self) -> Result<Vec<Share>, String> {
        self.partitions.iter().map(PartitionMark::share).collect()
    }
}

impl PartitionMark {
    /// How far a partition has come.
    pub(crate) fn new(share: &Share) -> Self {
        Self {
            topic: share.id.topic.as_str().to_owned(),
            partition: share.id.partition.get(),
            start: share.start.get(),
            next: share.next.get(),
            end: share.end.get(),
            written: share.written,
        }
    }

    fn share(&self) -> Result<Share, String> {
        let topic = TopicName::new(&self.topic).map_err(|error| error.to_string())?;
        let partition = PartitionIndex::new(self.partition);
        let partition = partition.ok_or_else(|| format!("{topic} has no partition {}", self.partition))?;
        let id = TopicPartition { topic, partition };
        let offsets = Offset::new(self.start).zip(Offset::new(self.next)).zip(Offset::new(self.end));
        let ((start, next), end) = offsets.ok_or_else(|| format!("{id} has an offset below zero"))?;
        if !(start <= next && next <= end && self.written <= next.since(start)) {
            return Err(format!("{id}: {start}, {next}, {end} with {} written cannot be", self.written));
        }
        Ok(Share { id, start, next, end, written: self.written })
    }
}

fn shown(values: Option<&Vec<String>>) -> String {
    values.map_or_else(|| "not given".to_owned(), |values| values.join(","))
}

/// Writes beside the file, makes that durable, and puts it in the file's place.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = File::create(&beside)?;
    file.try_lock()?;
    file.write_all(bytes)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_directory_of(path)?;
    Ok(file)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
