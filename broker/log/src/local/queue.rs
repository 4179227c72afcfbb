//! Appends that no round of group commit has taken yet.
//!
//! **Invariant:** whatever is pushed is taken by a round, or refused at once: from the moment on in which no
//! further round will come, [`CommitQueue::push`] takes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tidelog_model::Timestamp;
use tidelog_model::batch::AssignedBatch;

use super::local_log::LocalLog;
use crate::engine::PartitionId;

/// A batch on its way to the device.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: AssignedBatch,
    pub(super) incarnation: u64,
    pub(super) now: Timestamp,
}

/// One opened log: a partition that was removed and created again is another one under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) id: PartitionId,
    opened: u64,
}

/// What waits for one log, unless its owner lets go of it.
pub(super) type Waiting = (Weak<LocalLog>, Vec<Pending>);

#[derive(Debug, Default)]
struct State {
    batches: BTreeMap<Line, Waiting>,
    /// The rounds end when nothing waits any more.
    closed: bool,
    /// There will be no further round.
    over: bool,
}

/// The queue of a data directory.
#[derive(Debug, Default)]
pub(super) struct CommitQueue {
    state: Mutex<State>,
    arrived: Condvar,
    opened: AtomicU64,
}

impl CommitQueue {
    /// The line of a log that is being opened.
    pub(super) fn line(&self, id: PartitionId) -> Line {
        Line { id, opened: self.opened.fetch_add(1, Ordering::Relaxed) }
    }

    /// Adds a batch to the next round; answers `false` when there will be none.
    pub(super) fn push(&self, line: Line, log: &Weak<LocalLog>, pending: Pending) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        let first = state.batches.is_empty();
        state.batches.entry(line).or_insert_with(|| (Weak::clone(log), Vec::new())).1.push(pending);
        drop(state);
        if first {
            self.arrived.notify_one();
        }
        true
    }

    /// Ends the commit thread once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes everything for a round.
    pub(super) fn take(&self) -> BTreeMap<Line, Waiting> {
        std::mem::take(&mut self.lock().batches)
    }

    /// Ends the queue if nothing waits; answers whether it has ended.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.over = state.over || state.batches.is_empty();
        state.over
    }

    /// Ends the queue; what still waits.
    pub(super) fn break_off(&self) -> BTreeMap<Line, Waiting> {
        let mut state = self.lock();
        state.over = true;
        std::mem::take(&mut state.batches)
    }

    /// Waits for batches until `due`; answers whether to go on. If not, the queue has ended.
    pub(super) fn wait(&self, due: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.batches.is_empty() && !state.closed {
            state = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return true,
                Some(left) => {
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        // In one step with the look: nothing may be pushed in between.
        state.over = state.closed && state.batches.is_empty();
        !state.over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
