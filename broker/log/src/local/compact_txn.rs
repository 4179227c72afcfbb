//! Transactions as compaction meets them, in the order of the log (Kafka's `CleanedTransactionMetadata`).
//!
//! What belongs to an aborted transaction goes. A marker stays as long as the pass has met a batch of its
//! transaction in front of it. The first pass that meets none gives it a delete horizon, as tombstones have, and a
//! pass after that time removes it: a reader that is in the middle of the transaction still finds its end.
//!
//! **Invariant:** only what has ended below the last stable offset is compacted, so the index has every aborted
//! transaction that a pass can meet.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::vec::IntoIter;

use tidelog_model::batch::{BatchHeader, ControlKind, ControlMarker};

use crate::engine::AbortedTransaction;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its records are judged by their keys.
    Ordinary,
    /// It belongs to an aborted transaction.
    Aborted,
    /// A marker that is still needed; the entry of the index that goes with it.
    Needed(Option<AbortedTransaction>),
    /// A marker of a transaction of which no batch is left in front of it.
    Spent,
}

#[derive(Debug)]
struct Aborting {
    entry: AbortedTransaction,
    /// A batch of it was met.
    met: bool,
}

/// The transactions around the place that a pass has come to.
#[derive(Debug)]
pub(super) struct Transactions {
    /// Aborted ones that begin later, by their first offset.
    coming: Peekable<IntoIter<AbortedTransaction>>,
    aborting: BTreeMap<i64, Aborting>,
    /// Producers of batches of transactions that are not aborted.
    committing: BTreeSet<i64>,
}

impl Transactions {
    /// At the front of a log with these aborted transactions, by their first offset.
    pub(super) fn new(aborted: Vec<AbortedTransaction>) -> Self {
        let coming = aborted.into_iter().peekable();
        Self { coming, aborting: BTreeMap::new(), committing: BTreeSet::new() }
    }

    /// Goes past a batch; `marker` is what it says if it is a control batch.
    pub(super) fn pass(&mut self, header: &BatchHeader, marker: Option<ControlMarker>) -> Fate {
        while let Some(entry) = self.coming.next_if(|entry| entry.first_offset <= header.last_offset()) {
            // Unless the pass began behind it.
            if entry.last_offset >= header.base_offset {
                self.aborting.insert(entry.producer_id.0, Aborting { entry, met: false });
            }
        }
        let id = header.producer_id.0;
        if header.is_control() {
            return match marker.map(|marker| marker.kind) {
                Some(ControlKind::Abort) => match self.aborting.remove(&id) {
                    Some(Aborting { entry, met: true }) => Fate::Needed(Some(entry)),
                    Some(Aborting { met: false, .. }) | None => Fate::Spent,
                },
                Some(ControlKind::Commit) if self.committing.remove(&id) => Fate::Needed(None),
                Some(ControlKind::Commit) => Fate::Spent,
                // Whatever it is, it is not understood.
                None => Fate::Needed(None),
            };
        }
        if !header.is_transactional() {
            return Fate::Ordinary;
        }
        match self.aborting.get_mut(&id) {
            Some(aborting) => {
                aborting.met = true;
                Fate::Aborted
            }
            None => {
                self.committing.insert(id);
                Fate::Ordinary
            }
        }
    }
}
