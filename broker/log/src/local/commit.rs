//! Group commit: many appends of many partitions, one round of writes and syncs.
//!
//! ```text
//! push … push ──► queue ──take all──► write per partition ──┬► sync dirty files, side by side ─┬► listeners
//!                                                            └► or one sync of the journal ─────┘
//! ```
//!
//! While one round is at the device, the next one gathers in the queue: the slower the device, the larger
//! the rounds. One thread runs the rounds; tests and the simulation run them by hand.
//!
//! **Invariants**
//! * A round reports `committed` for a partition only after its file was synced (policy `Sync`) or written
//!   (the relaxed ones), and reports rejections after the commits of the same round.
//! * After a failed sync the partition's tail is marked failed and its file is never synced again.
//! * No lock is held while a listener is called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tidelog_model::{Offset, TopicId};

use super::checkpoint::SharedJournal;
use super::journal::{self, Appended};
use super::local_log::{LocalLog, Tail};
use super::queue::{CommitQueue, Pending};
use super::sync_pool::SyncPool;
use super::transactions;
use super::writer::WriteError;
use crate::config::{FlushPolicy, LogConfig};
use crate::disk::DiskFile;
use crate::engine::{AppendFailure, AppendFailureKind, PartitionId};
use crate::error::StorageError;

/// Runs the rounds of one data directory.
pub(super) struct Committer {
    queue: Arc<CommitQueue>,
    logs: Mutex<BTreeMap<PartitionId, Weak<LocalLog>>>,
    pool: SyncPool,
    journal: Arc<SharedJournal>,
    /// Written under an interval policy and not synced yet, with when that is due.
    lazy: Mutex<BTreeMap<PartitionId, Instant>>,
}

/// What one round did to one partition, before anybody hears of it.
struct Outcome {
    log: Arc<LocalLog>,
    written: Option<Offset>,
    /// What has to be made durable before it is committed.
    sync: Option<Unsynced>,
    failure: Option<AppendFailure>,
}

/// Bytes that a round has written to one segment.
struct Unsynced {
    file: Arc<dyn DiskFile>,
    /// The bytes, if the journal may hold them instead.
    appended: Option<Appended>,
}

impl Committer {
    pub(super) fn new(queue: Arc<CommitQueue>, pool: SyncPool, journal: Arc<SharedJournal>) -> Self {
        Self { queue, logs: Mutex::default(), pool, journal, lazy: Mutex::default() }
    }

    /// Makes a partition known, so that its batches find their file.
    pub(super) fn register(&self, log: &Arc<LocalLog>) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, log| log.strong_count() > 0);
        logs.insert(log.id, Arc::downgrade(log));
    }

    /// Forgets a partition that is gone; batches still queued for it are rejected by the next round.
    pub(super) fn forget(&self, id: PartitionId) {
        let log = self.log(id);
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // A round or a checkpoint may be under way with it.
        if let Some(log) = log {
            log.tail().removed = true;
        }
    }

    /// The open partitions of a topic.
    pub(super) fn partitions_of(&self, topic: TopicId) -> Vec<PartitionId> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.keys().filter(|id| id.topic_id == topic).copied().collect()
    }

    /// All partitions that are open.
    pub(super) fn logs(&self) -> Vec<Arc<LocalLog>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.values().filter_map(Weak::upgrade).collect()
    }

    fn log(&self, id: PartitionId) -> Option<Arc<LocalLog>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).and_then(Weak::upgrade)
    }

    /// The life of the commit thread: rounds until the queue is closed and empty.
    pub(super) fn run(&self) {
        while self.queue.wait(self.next_lazy_sync()) {
            self.round();
        }
    }

    /// Ends the queue without another round; what waits is rejected.
    pub(super) fn break_off(&self) {
        for (log, _) in self.queue.break_off().into_values() {
            if let Some(log) = log.upgrade() {
                log.reject_gone();
            }
        }
    }

    /// One round on the caller's thread; answers whether there was anything to do.
    pub(super) fn round(&self) -> bool {
        let taken = self.queue.take();
        let mut outcomes = Vec::with_capacity(taken.len());
        for (log, pending) in taken.into_values() {
            if let Some(log) = log.upgrade() {
                outcomes.push(write(&log, pending));
            }
        }
        for outcome in &outcomes {
            if let Some(end) = outcome.written {
                outcome.log.listener.written(end);
            }
        }
        self.note_lazy(&outcomes);
        let busy = !outcomes.is_empty();
        self.sync(&mut outcomes);
        for outcome in outcomes {
            report(outcome);
        }
        let lazy = self.sync_lazy();
        self.journal.after_round();
        lazy || busy
    }

    /// Makes durable what the round has written: the small parts of many partitions by the journal, the rest
    /// by a sync of each segment.
    fn sync(&self, outcomes: &mut [Outcome]) {
        let small: Vec<(Arc<LocalLog>, Appended)> = outcomes
            .iter_mut()
            .filter_map(|outcome| {
                let appended =
                    outcome.sync.as_mut()?.appended.take_if(|appended| journal::is_small(appended))?;
                // Before it is there, so that whoever empties the journal makes these bytes durable first.
                outcome.log.tail().journaled = true;
                Some((Arc::clone(&outcome.log), appended))
            })
            .collect();
        if self.journal.commit(&small) {
            let held: BTreeSet<PartitionId> = small.iter().map(|(log, _)| log.id).collect();
            for outcome in outcomes.iter_mut().filter(|outcome| held.contains(&outcome.log.id)) {
                outcome.sync = None;
                outcome.log.tail().syncing = false;
            }
        }
        let files: Vec<Arc<dyn DiskFile>> =
            outcomes.iter().filter_map(|outcome| Some(Arc::clone(&outcome.sync.as_ref()?.file))).collect();
        let mut results = self.pool.sync_all(&files).into_iter();
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.sync.is_some()) {
            let result = results.next().unwrap_or_else(|| Err(std::io::Error::other("the sync got lost")));
            let failure = settle_sync(&outcome.log, result);
            if failure.is_some() {
                outcome.written = None;
                outcome.failure = failure;
            }
        }
    }

    fn note_lazy(&self, outcomes: &[Outcome]) {
        let mut lazy = self.lazy.lock().unwrap_or_else(PoisonError::into_inner);
        for outcome in outcomes {
            if let FlushPolicy::Interval { ms } = outcome.log.config().flush
                && outcome.written.is_some()
            {
                lazy.entry(outcome.log.id).or_insert_with(|| Instant::now() + Duration::from_millis(ms));
            }
        }
    }

    fn next_lazy_sync(&self) -> Option<Instant> {
        self.lazy.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied()
    }

    /// Syncs what an interval policy has made due.
    fn sync_lazy(&self) -> bool {
        let now = Instant::now();
        let due: BTreeSet<PartitionId> = {
            let mut lazy = self.lazy.lock().unwrap_or_else(PoisonError::into_inner);
            let due = lazy.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
            lazy.retain(|_, at| *at > now);
            due
        };
        for log in due.iter().filter_map(|id| self.log(*id)) {
            let file = {
                let mut tail = log.tail();
                let due = tail.failed.is_none() && tail.writer.dirty;
                due.then(|| {
                    tail.begin_sync();
                    Arc::clone(&tail.writer.segment.file)
                })
            };
            if let Some(file) = file
                && let Some(failure) = settle_sync(&log, file.sync_data())
            {
                log.listener.rejected(failure);
            }
        }
        !due.is_empty()
    }
}

/// Writes what a round brought for one partition.
fn write(log: &Arc<LocalLog>, pending: Vec<Pending>) -> Outcome {
    let config = log.config();
    let mut tail = log.tail();
    let mut outcome = Outcome { log: Arc::clone(log), written: None, sync: None, failure: None };
    if tail.removed {
        outcome.failure = Some(LocalLog::end_numbering(&mut tail, AppendFailureKind::Gone));
        return outcome;
    }
    if let Some(reason) = tail.failed.clone() {
        let end = tail.writer.end();
        outcome.failure = Some(AppendFailure {
            kind: AppendFailureKind::Failed { reason },
            end,
            incarnation: tail.incarnation,
        });
        return outcome;
    }
    let incarnation = tail.incarnation;
    let pending: Vec<Pending> = pending.into_iter().filter(|p| p.incarnation == incarnation).collect();
    let before = tail.writer.end();
    let ready = know_transactions(log, &mut tail, &pending);
    let appended = match ready.and_then(|()| write_runs(log, &mut tail, pending, &config)) {
        Ok(appended) => Some(appended),
        Err(error) => {
            outcome.failure = Some(refuse(&mut tail, error));
            None
        }
    };
    if tail.failed.is_none() && tail.writer.end() > before {
        outcome.written = Some(tail.writer.end());
        if config.flush == FlushPolicy::Sync {
            let file = Arc::clone(&tail.writer.segment.file);
            // What lies before it must be durable, or in the journal as well.
            let appended = appended.filter(|_| !tail.loose);
            outcome.sync = Some(Unsynced { file, appended });
            tail.begin_sync();
        } else {
            tail.loose = true;
        }
    }
    outcome
}

/// What a batch does to transactions can be told only when it is known which of them are open.
fn know_transactions(log: &LocalLog, tail: &mut Tail, pending: &[Pending]) -> Result<(), WriteError> {
    if !pending.iter().any(|pending| transactions::is_about_transactions(&pending.batch)) {
        return Ok(());
    }
    let known = transactions::ensure_known(log, tail);
    known.map_err(|error| WriteError::CutBack(transactions::unknown(log, error)))
}

/// Writes batches in runs that end where a segment ends, all but the last of them durably. Returns the last.
fn write_runs(
    log: &LocalLog,
    tail: &mut Tail,
    pending: Vec<Pending>,
    config: &LogConfig,
) -> Result<Appended, WriteError> {
    let mut run = Vec::with_capacity(pending.len());
    let mut ahead = 0_u64;
    for Pending { batch, now, .. } in pending {
        if tail.writer.must_roll(&run, ahead, &batch, config, now) {
            tail.writer.write(&run, config)?;
            run.clear();
            ahead = 0;
            log.roll(tail, now)?;
        }
        ahead += u64::from(batch.header().size_bytes);
        run.push(batch);
    }
    let (segment, position) = (tail.writer.segment.base, tail.writer.segment.size());
    tail.writer.write(&run, config)?;
    tail.writer.write_indexes().unwrap_or_else(|error| tracing::warn!(%error, "an index lags behind"));
    Ok(Appended { id: log.id, segment, position, batches: run })
}

fn refuse(tail: &mut Tail, error: WriteError) -> AppendFailure {
    let kind = match error {
        WriteError::CutBack(error) if error.is_disk_full() => AppendFailureKind::DiskFull,
        WriteError::CutBack(error) if error.is_out_of_files() => {
            AppendFailureKind::OutOfFiles { reason: error.to_string() }
        }
        WriteError::CutBack(error) | WriteError::Unknown(error) => {
            return LocalLog::fence(tail, error.to_string());
        }
    };
    LocalLog::end_numbering(tail, kind)
}

/// Takes the result of a sync into the partition's tail and the floor.
fn settle_sync(log: &LocalLog, result: std::io::Result<()>) -> Option<AppendFailure> {
    let mut tail = log.tail();
    tail.syncing = false;
    match result {
        Ok(()) => {
            log.note_synced(&mut tail);
            None
        }
        Err(source) => {
            let path = tail.writer.segment.path.clone();
            let reason = StorageError { action: "sync", path, source }.to_string();
            Some(LocalLog::fence(&mut tail, reason))
        }
    }
}

fn report(outcome: Outcome) {
    if let Some(end) = outcome.written {
        outcome.log.listener.committed(end);
    }
    if let Some(failure) = outcome.failure {
        outcome.log.listener.rejected(failure);
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
