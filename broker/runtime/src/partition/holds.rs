//! Who keeps records from retention: each reader that must not lose a record holds the log from an offset on.
//!
//! **Invariants:**
//! * Retention drops nothing at or above the lowest hold. Deleting records by hand does not ask.
//! * A hold that is dropped holds nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidelog_model::Offset;
use tokio::sync::watch;

/// The holds of one partition.
#[derive(Debug)]
pub(crate) struct Holds {
    state: Mutex<State>,
    /// Where retention would have the log start.
    wanted: watch::Sender<Offset>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    from: BTreeMap<u64, Offset>,
}

impl Default for Holds {
    fn default() -> Self {
        Self { state: Mutex::default(), wanted: watch::Sender::new(Offset::ZERO) }
    }
}

impl Holds {
    /// A hold that holds everything, until it is told otherwise.
    pub(crate) fn join(self: &Arc<Self>) -> Hold {
        let mut state = self.state();
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.from.insert(id, Offset::ZERO);
        drop(state);
        Hold { id, holds: Arc::clone(self) }
    }

    /// Where retention must stop.
    pub(crate) fn lowest(&self) -> Offset {
        self.state().from.values().min().copied().unwrap_or(Offset::MAX)
    }

    /// Tells who holds where retention would have the log start.
    pub(crate) fn retention_wants(&self, start: Offset) {
        self.wanted.send_if_modified(|wanted| {
            let moved = start > *wanted;
            *wanted = start.max(*wanted);
            moved
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader's hold.
#[derive(Debug)]
pub struct Hold {
    id: u64,
    holds: Arc<Holds>,
}

impl Hold {
    /// Holds the records from `offset` on and lets those below go.
    pub fn hold_from(&self, offset: Offset) {
        self.holds.state().from.insert(self.id, offset);
    }

    /// Holds the record at `offset` too.
    pub fn hold_too(&self, offset: Offset) {
        let mut state = self.holds.state();
        let from = state.from.entry(self.id).or_insert(offset);
        *from = (*from).min(offset);
    }

    /// Where retention would have the log start, and every later move of that.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Offset> {
        self.holds.wanted.subscribe()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.state().from.remove(&self.id);
    }
}

#[cfg(test)]
#[path = "holds_tests.rs"]
mod tests;
