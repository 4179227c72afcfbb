//! One data directory: its lock, its leader epoch, its durable floor, its commit thread, its partitions.
//!
//! ```text
//! <root>/LOCK FORMAT meta.properties epoch floor journal-0 journal-1 clean-shutdown
//! <root>/topics/<topic id>/topic.properties
//! <root>/topics/<topic id>/<partition>/<base offset>.{log,index,timeindex}  log-start  cleaner-offset-checkpoint
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tidelog_model::{LeaderEpoch, Offset, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::checkpoint::{Checkpoint, SharedJournal};
use super::commit::Committer;
use super::compact_swap::{self, Progress};
use super::epochs::Epochs;
use super::file;
use super::floor::FloorTable;
use super::identity::{self, Identity};
use super::local_log::{Damage, LocalLog, Parts};
use super::queue::CommitQueue;
use super::recover::{self, Known, Recovered};
use super::replay;
use super::retain;
use super::sync_pool::SyncPool;
use super::writer::Writer;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::{CommitListener, OpenedLog, PartitionId, RecoveryReport};
use crate::error::{OpenError, ReadError, StorageError, failed};

/// The directory of all topics.
pub(super) const TOPICS: &str = "topics";

/// Who runs the rounds of group commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// A thread of the data directory.
    Own,
    /// The caller, by [`LogDir::commit_round`].
    None,
}

/// How a data directory is opened.
#[derive(Debug, Clone, Copy)]
pub struct LogDirOptions {
    /// Threads that sync the files of one round side by side; 0 syncs them one by one.
    pub sync_threads: usize,
    /// Who runs the rounds.
    pub threads: Threads,
    /// Bytes of each of the two files of the commit journal, which are made when it is first of use; 0 for no
    /// journal.
    pub journal_bytes: u64,
    /// How many partitions must share a round for the journal to be made.
    pub journal_parts_min: usize,
}

impl Default for LogDirOptions {
    fn default() -> Self {
        Self { sync_threads: 8, threads: Threads::Own, journal_bytes: 64 << 20, journal_parts_min: 4 }
    }
}

/// An open data directory. One process holds it at a time.
pub struct LogDir {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    identity: Identity,
    pub(super) floors: Arc<FloorTable>,
    queue: Arc<CommitQueue>,
    pub(super) committer: Arc<Committer>,
    pub(super) journal: Arc<SharedJournal>,
    /// The commit thread and the checkpoint thread; empty once they have ended, or where there are none.
    threads: Mutex<Vec<JoinHandle<()>>>,
    clean: bool,
    /// Serialises the creation and removal of topics' directories. Partitions that are removed but for the note
    /// in the journal that says so.
    pub(super) names: Mutex<BTreeSet<PartitionId>>,
    _lock: Arc<dyn DiskFile>,
}

/// What the files of a partition say.
struct Found {
    recovered: Recovered,
    log_start: Option<Offset>,
    compacted: Progress,
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDir").field("root", &self.root).finish_non_exhaustive()
    }
}

impl LogDir {
    /// Opens a data directory, creating an empty one where there is none, and begins its next leader epoch.
    ///
    /// # Errors
    /// [`OpenError`]: in use, of a newer format, not ours, broken, or a failing device.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, options: LogDirOptions) -> Result<Self, OpenError> {
        create_dirs(disk.as_ref(), root)?;
        let lock = take_lock(disk.as_ref(), root)?;
        identity::check_format(disk.as_ref(), root)?;
        let identity = identity::begin_epoch(disk.as_ref(), root)?;
        let clean = identity::take_clean_mark(disk.as_ref(), root)?;
        let floors = Arc::new(FloorTable::open(Arc::clone(&disk), root)?);
        file::ensure_dir(disk.as_ref(), root, TOPICS)?;
        let queue = Arc::new(CommitQueue::default());
        let pool = SyncPool::new(options.sync_threads).map_err(failed("start threads for", root))?;
        replay::replay(disk.as_ref(), root, &floors, &pool)?;
        let threaded = options.threads == Threads::Own;
        let journal = SharedJournal::new(Arc::clone(&disk), root, &options, identity.leader_epoch);
        let journal = Arc::new(journal);
        let committer = Committer::new(Arc::clone(&queue), pool, Arc::clone(&journal));
        let log_dir = Self {
            disk,
            root: root.to_owned(),
            identity,
            floors,
            queue,
            committer: Arc::new(committer),
            journal,
            threads: Mutex::new(Vec::new()),
            clean,
            names: Mutex::default(),
            _lock: lock,
        };
        if threaded {
            let (committer, journal) = (Arc::clone(&log_dir.committer), Arc::clone(&log_dir.journal));
            log_dir.start_thread("log-commit", move || committer.run())?;
            log_dir.start_thread("log-checkpoint", move || journal.run())?;
        }
        log_dir.finish_removals()?;
        Ok(log_dir)
    }

    fn start_thread(&self, name: &str, life: impl FnOnce() + Send + 'static) -> Result<(), StorageError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(life);
        let thread = thread.map_err(failed("start a thread for", &self.root))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Ends the threads; answers whether they ended well.
    fn end_threads(&self) -> bool {
        self.queue.close();
        self.journal.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let ends: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        ends.iter().all(Result::is_ok)
    }

    /// The leader epoch of this run.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.identity.leader_epoch
    }

    /// The id given to the cluster when the directory was created.
    #[must_use]
    pub const fn cluster_id(&self) -> Uuid {
        self.identity.cluster_id
    }

    /// Creates a partition or recovers it. Blocks; partitions can be opened side by side.
    ///
    /// # Errors
    /// [`OpenError`] when the device fails or a file that only recovery reads is broken. Broken records are no
    /// error: see [`RecoveryReport::corrupt`].
    pub fn open_partition(
        &self,
        id: PartitionId,
        topic: &TopicName,
        config: LogConfig,
        now: Timestamp,
        listener: Arc<dyn CommitListener>,
    ) -> Result<OpenedLog, OpenError> {
        let disk = self.disk.as_ref();
        let dir = self.partition_dir(id, topic)?;
        retain::clean_up(disk, &dir)?;
        let log_start = retain::read_log_start(disk, &dir)?;
        compact_swap::finish(disk, &dir, log_start.unwrap_or(Offset::ZERO))?;
        retain::finish_drop(disk, &dir, log_start.unwrap_or(Offset::ZERO))?;
        let compacted = Progress::read(disk, &dir)?;
        let known = Known {
            floor: self.floors.get(id),
            clean: self.clean,
            log_start: log_start.unwrap_or(Offset::ZERO),
            index_interval_bytes: config.index_interval_bytes,
            cleaned_to: compacted.gaps_to,
            epoch: self.identity.leader_epoch,
            now,
        };
        let mut recovered = recover::recover(disk, &dir, known)?;
        if recovered.damage.is_none() && recovered.end() < known.log_start {
            // A relaxed flush policy has lost records that were trimmed before they were durable. Their offsets
            // are not given out again.
            recovered.restart_at(disk, &dir, known)?;
            retain::finish_drop(disk, &dir, known.log_start)?;
        }
        let found = Found { recovered, log_start, compacted };
        let (log, recovery) = self.assemble(id, dir, config, found, listener)?;
        self.committer.register(&log);
        Ok(OpenedLog { log, recovery })
    }

    fn assemble(
        &self,
        id: PartitionId,
        dir: PathBuf,
        config: LogConfig,
        found: Found,
        listener: Arc<dyn CommitListener>,
    ) -> Result<(Arc<LocalLog>, RecoveryReport), OpenError> {
        let Recovered { segments, active, truncated_bytes, torn_tail, whole, damage } = found.recovered;
        let (Some(first), Some(last)) = (segments.first(), segments.last().map(Arc::clone)) else {
            let reason = "it has no segment".to_owned();
            return Err(OpenError::BrokenFile { path: dir, reason });
        };
        let damage = damage.and_then(Damage::of);
        let log_end = damage.as_ref().map_or(last.next_offset(), |damage| damage.offset);
        let log_start = found.log_start.unwrap_or(Offset::ZERO).max(first.base).min(log_end);
        let epochs = Epochs::find(self.disk.as_ref(), &dir, &segments, log_end, self.identity.leader_epoch)?;
        let disk = Arc::clone(&self.disk);
        let writer = if damage.is_some() {
            Writer::fenced(disk, dir.clone(), last)
        } else {
            Writer::resume(disk, dir.clone(), last, active)
        };
        if !self.clean && damage.is_none() {
            writer.settle_indexes()?;
        }
        let recovery = RecoveryReport {
            log_start,
            log_end,
            truncated_bytes,
            torn_tail,
            clean: self.clean && whole,
            corrupt: damage.as_ref().map(|damage| ReadError::from(damage).to_string()),
        };
        let log = LocalLog::new(Parts {
            id,
            disk: Arc::clone(&self.disk),
            dir,
            floors: Arc::clone(&self.floors),
            listener,
            queue: Arc::clone(&self.queue),
            config,
            segments,
            log_start,
            damage,
            compacted: found.compacted,
            epochs,
            writer,
        });
        if recovery.corrupt.is_none() {
            // All that was found has been synced.
            log.note_floor(&log.tail());
        }
        Ok((log, recovery))
    }

    /// The directory of a partition, whose name is durable when this returns.
    fn partition_dir(&self, id: PartitionId, topic: &TopicName) -> Result<PathBuf, StorageError> {
        let disk = self.disk.as_ref();
        let topic_dir = self.topic_dir(id.topic_id);
        let dir = partition_path(&self.root, id);
        if disk.list(&dir).is_ok_and(|entries| !entries.is_empty()) {
            // Segments are made durable after the names that lead to them.
            return Ok(dir);
        }
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        file::ensure_dir(disk, &self.root.join(TOPICS), &dir_name(id.topic_id))?;
        let properties = topic_dir.join("topic.properties");
        if file::read_small(disk, &properties)?.is_none() {
            let text = format!("name={topic}\nid={}\n", id.topic_id);
            file::replace(disk, &topic_dir, "topic.properties", text.as_bytes())?;
        }
        file::ensure_dir(disk, &topic_dir, &id.partition.get().to_string())?;
        Ok(dir)
    }

    pub(super) fn topic_dir(&self, id: TopicId) -> PathBuf {
        self.root.join(TOPICS).join(dir_name(id))
    }

    /// The topics that have a directory, whether or not anybody knows them.
    ///
    /// # Errors
    /// When the device fails.
    pub fn topics_on_disk(&self) -> Result<Vec<TopicId>, StorageError> {
        let topics = self.root.join(TOPICS);
        let entries = self.disk.list(&topics).map_err(failed("list", &topics))?;
        let id = |name: &str| Uuid::try_parse(name).ok().map(TopicId::from_uuid);
        Ok(entries.iter().filter_map(|entry| id(&entry.name)).collect())
    }

    /// The bytes that can still be written.
    ///
    /// # Errors
    /// As the operating system answers.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        self.disk.free_bytes(&self.root)
    }

    /// The open partition itself, for tests of what its trait does not show.
    #[cfg(test)]
    pub(super) fn open_log(&self, id: PartitionId) -> Option<Arc<LocalLog>> {
        self.committer.logs().into_iter().find(|log| log.id == id)
    }

    /// The journal itself, for the same.
    #[cfg(test)]
    pub(super) fn shared_journal(&self) -> &SharedJournal {
        &self.journal
    }

    /// One round of group commit on the caller's thread; answers whether there was anything to do.
    pub fn commit_round(&self) -> bool {
        self.committer.round()
    }

    /// Makes durable, segment by segment, what relaxed flush policies have left to the operating system, so that
    /// the next start need not read it; returns how many segments. Blocks on the device. A partition whose sync
    /// fails takes no more writes, and its owner is told.
    ///
    /// # Errors
    /// When what was made durable could not be noted durably: after a power cut, the next start reads more.
    pub fn sync_loose(&self) -> Result<usize, StorageError> {
        let logs = self.committer.logs();
        let synced = logs.iter().filter(|log| log.sync_loose() == Some(Checkpoint::Durable)).count();
        if synced > 0 {
            self.floors.sync()?;
        }
        Ok(synced)
    }

    /// Makes everything durable and marks the end as clean. What is appended afterwards is rejected.
    ///
    /// # Errors
    /// When a partition could not be made durable; the others are, and the next start recovers.
    pub fn close(&self) -> Result<(), StorageError> {
        if !self.end_threads() {
            self.committer.break_off();
            let source = std::io::Error::other("a thread of the log has panicked");
            return Err(failed("close", &self.root)(source));
        }
        while !self.queue.end() {
            self.committer.round();
        }
        let mut first_error = None;
        for log in self.committer.logs() {
            if let Err(error) = log.finish() {
                first_error.get_or_insert(error);
            }
        }
        self.floors.sync()?;
        match first_error {
            Some(error) => Err(error),
            None => {
                self.journal.clear()?;
                identity::leave_clean_mark(self.disk.as_ref(), &self.root)
            }
        }
    }
}

impl Drop for LogDir {
    /// Ends the threads; what they have not written was not acknowledged, and is rejected.
    fn drop(&mut self) {
        // A panic there has been reported by the thread itself.
        let _ended_well = self.end_threads();
        self.committer.break_off();
    }
}

/// The directory of a partition.
pub(super) fn partition_path(root: &Path, id: PartitionId) -> PathBuf {
    root.join(TOPICS).join(dir_name(id.topic_id)).join(id.partition.get().to_string())
}

pub(super) fn dir_name(id: TopicId) -> String {
    id.uuid().as_simple().to_string()
}

fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Arc<dyn DiskFile>, OpenError> {
    let path = root.join(identity::LOCK_FILE);
    let lock = disk.open(&path, OpenMode::Create).map_err(failed("open", &path))?;
    if lock.try_lock().map_err(failed("lock", &path))? { Ok(lock) } else { Err(OpenError::Locked { path }) }
}

/// Creates a directory and those above it that are missing, durably.
fn create_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    // An empty one may be there because its name could not be made durable.
    if disk.list(dir).is_ok_and(|entries| !entries.is_empty()) {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return disk.list(dir).map(drop).map_err(failed("list", dir));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    create_dirs(disk, parent)?;
    file::ensure_dir(disk, parent, &name.to_string_lossy())
}
