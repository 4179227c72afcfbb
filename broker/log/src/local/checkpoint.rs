//! Who makes the journal, and who frees its files: a thread of its own, so that no round waits for it.
//!
//! ```text
//! many partitions              ► make the files
//! a file is full                ► sync the segments it has bytes of, one after the other ► free
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tidelog_model::LeaderEpoch;

use super::floor::Floor;
use super::journal::{Appended, Journal};
use super::local_log::{LocalLog, Tail};
use super::log_dir::{LogDirOptions, Threads};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::PartitionId;
use crate::error::{StorageError, failed};

/// The journal is made for one round with so many parts, or this many times as many partitions in all.
const SEEN_FACTOR: usize = 8;

/// What became of bytes that only the journal held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Checkpoint {
    /// They are durable in their segment.
    Durable,
    /// They could not be made durable now, and can be tried again.
    Later,
    /// They cannot be made durable there.
    Never,
}

/// What a sync through a handle of its own may tell.
struct Attempt {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// What the segment holds now, before the sync begins.
    floor: Floor,
    /// The commit thread's sync that was under way: if that fails, this one may succeed and prove nothing.
    beside: Option<u64>,
}

impl LocalLog {
    /// Makes what only the journal holds durable in the segment.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.make_durable(|tail| tail.journaled)
    }

    /// Makes durable what a relaxed flush policy has left to the operating system, and notes it; answers nothing
    /// when there was nothing.
    pub(super) fn sync_loose(&self) -> Option<Checkpoint> {
        let wanted = |tail: &Tail| tail.loose && !tail.removed && tail.failed.is_none();
        let due = wanted(&self.tail());
        due.then(|| self.make_durable(wanted))
    }

    fn make_durable(&self, wanted: impl Fn(&Tail) -> bool) -> Checkpoint {
        match self.attempt(wanted) {
            Ok(attempt) => self.settle(&attempt, attempt.file.sync_data()),
            Err(known) => known,
        }
    }

    fn attempt(&self, wanted: impl Fn(&Tail) -> bool) -> Result<Attempt, Checkpoint> {
        let tail = self.tail();
        if !wanted(&tail) || tail.removed {
            return Err(Checkpoint::Durable);
        }
        if tail.failed.is_some() {
            return Err(Checkpoint::Never);
        }
        let path = tail.writer.segment.path.clone();
        // A handle of its own: an error of the device is told once to each, and the commit thread must not miss
        // one that was told here. Opened while nothing can be written, so that what fails later is told here, too.
        match self.disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => {
                let beside = tail.syncing.then_some(tail.syncs);
                Ok(Attempt { path, file, floor: tail.writer.floor(), beside })
            }
            // The partition was removed meanwhile: nothing of it is to be kept.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Checkpoint::Durable),
            Err(error) => {
                // It says nothing of the bytes.
                tracing::warn!(segment = %path.display(), %error, "the segment is synced later");
                Err(Checkpoint::Later)
            }
        }
    }

    fn settle(&self, attempt: &Attempt, synced: std::io::Result<()>) -> Checkpoint {
        let Attempt { path, floor, beside, .. } = attempt;
        let mut tail = self.tail();
        match synced {
            Ok(()) if tail.failed.is_some() => Checkpoint::Never,
            Ok(()) if tail.syncing && *beside == Some(tail.syncs) => Checkpoint::Later,
            Ok(()) => {
                let more = tail.writer.floor() != *floor;
                tail.journaled = tail.journaled && more;
                tail.loose = tail.loose && more;
                self.record_floor(&tail, *floor);
                Checkpoint::Durable
            }
            Err(source) => {
                let failure = Self::fence(&mut tail, failed("sync", path)(source).to_string());
                drop(tail);
                self.listener.rejected(failure);
                Checkpoint::Never
            }
        }
    }
}

/// Whether there is a journal.
#[derive(Debug)]
enum State {
    /// Nobody has asked for it yet.
    Unused,
    /// It is to be made.
    Wanted,
    /// It is there.
    Ready(Box<Journal>),
    /// It could not be made, or is not to be used.
    Off,
}

#[derive(Debug)]
struct Work {
    state: State,
    /// Partitions that got small writes while there was no journal.
    seen: BTreeSet<PartitionId>,
    /// A file waits for its segments to be synced.
    draining: bool,
    closed: bool,
}

/// The journal of a data directory, shared by the commit thread and the checkpoint thread.
#[derive(Debug)]
pub(super) struct SharedJournal {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Bytes of each of its files.
    size: u64,
    /// How many parts a round must have for the files to be made. Once they are there, every small part is
    /// cheaper to sync in them: nothing but data changes.
    parts_min: usize,
    epoch: LeaderEpoch,
    /// Somebody runs [`Self::run`]; without, the work is done after each round.
    threaded: bool,
    work: Mutex<Work>,
    changed: Condvar,
}

impl SharedJournal {
    /// A journal that is made when it is first of use.
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path, options: &LogDirOptions, epoch: LeaderEpoch) -> Self {
        let state = if options.journal_bytes == 0 { State::Off } else { State::Unused };
        Self {
            disk,
            root: root.to_owned(),
            size: options.journal_bytes,
            parts_min: options.journal_parts_min,
            epoch,
            threaded: options.threads == Threads::Own,
            work: Mutex::new(Work { state, seen: BTreeSet::new(), draining: false, closed: false }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a round durable; answers whether it did. If not, the segments have to be synced.
    pub(super) fn commit(&self, round: &[(Arc<LocalLog>, Appended)]) -> bool {
        if round.is_empty() {
            return false;
        }
        let mut work = self.lock();
        let work = &mut *work;
        let journal = match &mut work.state {
            State::Ready(journal) => journal,
            State::Unused => {
                work.seen.extend(round.iter().map(|(log, _)| log.id));
                if round.len() >= self.parts_min || work.seen.len() >= self.parts_min * SEEN_FACTOR {
                    work.seen.clear();
                    work.state = State::Wanted;
                    self.changed.notify_all();
                }
                return false;
            }
            State::Wanted | State::Off => return false,
        };
        let bytes = round.iter().map(|(_, appended)| appended.bytes()).sum();
        let room = journal.has_room(round.len(), bytes);
        if !work.draining && journal.draining().is_some() {
            work.draining = true;
            self.changed.notify_all();
        }
        // Looked at with the journal locked: bytes of a partition must not come behind the note that it is gone.
        if !room || round.iter().any(|(log, _)| log.tail().removed) {
            return false;
        }
        match journal.write(round) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the journal is given up: segments are synced one by one");
                false
            }
        }
    }

    /// Notes that a partition is gone and its id may be used again.
    pub(super) fn forget(&self, id: PartitionId) -> Result<(), StorageError> {
        let logs = match &mut self.lock().state {
            State::Ready(journal) => journal.forget(id)?,
            State::Unused | State::Wanted | State::Off => None,
        };
        // What the journal holds of others must be somewhere else before it is emptied.
        let Some(logs) = logs else { return Ok(()) };
        if !logs.iter().all(|log| log.checkpoint() == Checkpoint::Durable) {
            if let State::Ready(journal) = &mut self.lock().state {
                journal.keep();
            }
            let error = std::io::Error::other("the journal holds what could not be made durable elsewhere");
            return Err(failed("empty the journal in", &self.root)(error));
        }
        self.clear()
    }

    /// The life of the checkpoint thread.
    pub(super) fn run(&self) {
        loop {
            let mut work = self.lock();
            while !(work.closed || work.draining || matches!(work.state, State::Wanted)) {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            if work.closed {
                return;
            }
            drop(work);
            self.step();
        }
    }

    /// What the checkpoint thread would do, where there is none.
    pub(super) fn after_round(&self) {
        if !self.threaded {
            self.step();
        }
    }

    fn step(&self) {
        let work = self.lock();
        if matches!(work.state, State::Wanted) {
            drop(work);
            self.create();
        } else if work.draining {
            drop(work);
            self.drain();
        }
    }

    fn create(&self) {
        let made = Journal::create(self.disk.as_ref(), &self.root, self.size, self.epoch);
        self.lock().state = match made {
            Ok(journal) => State::Ready(Box::new(journal)),
            Err(error) => {
                tracing::warn!(%error, "there is no journal: segments are synced one by one");
                State::Off
            }
        };
    }

    fn drain(&self) {
        let draining = match &self.lock().state {
            State::Ready(journal) => journal.draining(),
            State::Unused | State::Wanted | State::Off => None,
        };
        let mut worst = Checkpoint::Durable;
        for log in draining.iter().flat_map(|draining| &draining.logs) {
            worst = worst.max(log.checkpoint());
            if self.lock().closed {
                return;
            }
        }
        let mut work = self.lock();
        work.draining = false;
        if let (State::Ready(journal), Some(draining)) = (&mut work.state, draining) {
            journal.drained(draining.turn, worst);
        }
    }

    /// Ends the checkpoint thread.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Empties the journal after a clean end: every segment is durable.
    pub(super) fn clear(&self) -> Result<(), StorageError> {
        match &mut self.lock().state {
            State::Ready(journal) => journal.clear(),
            State::Unused | State::Wanted | State::Off => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
