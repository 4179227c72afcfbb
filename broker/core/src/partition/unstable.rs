//! Below which offset every transaction of a partition has ended, for readers of committed records only
//! (Kafka's first unstable offset; KIP-98).
//!
//! ```text
//! begun ── open ──marker──► ended ──marker committed──► stable
//! ```
//!
//! **Invariant:** a transaction whose marker the log may still lose counts as open, because its outcome may.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::Offset;

/// The transactions that keep readers of committed records back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Unstable {
    /// The first offsets of the open ones.
    open: BTreeSet<Offset>,
    /// The first offsets of those that have ended, with the offset after the marker.
    ended: BTreeMap<Offset, Offset>,
}

impl Unstable {
    pub(super) const fn new() -> Self {
        Self { open: BTreeSet::new(), ended: BTreeMap::new() }
    }

    /// The first offset of any of them.
    pub(super) fn first(&self) -> Option<Offset> {
        let ended = self.ended.first_key_value().map(|(first, _)| first);
        self.open.first().into_iter().chain(ended).min().copied()
    }

    /// A producer's open transaction was another one before a batch that ends at `end`.
    pub(super) fn moved(&mut self, before: Option<Offset>, now: Option<Offset>, end: Offset) {
        if before == now {
            return;
        }
        if let Some(first) = before {
            self.open.remove(&first);
            self.ended.insert(first, end);
        }
        self.open.extend(now);
    }

    /// The same, for a batch that the log will not lose.
    pub(super) fn restored(&mut self, before: Option<Offset>, now: Option<Offset>) {
        if before != now {
            if let Some(first) = before {
                self.open.remove(&first);
            }
            self.open.extend(now);
        }
    }

    /// The same, for a batch that is taken back.
    pub(super) fn taken_back(&mut self, before: Option<Offset>, now: Option<Offset>) {
        self.restored(before, now);
        if let Some(first) = now {
            self.ended.remove(&first);
        }
    }

    /// The log will not lose what lies below `end`.
    pub(super) fn committed(&mut self, end: Offset) {
        self.ended.retain(|_, marker_end| *marker_end > end);
    }
}
