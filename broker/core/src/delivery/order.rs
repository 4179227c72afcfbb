//! Which records of a key are not settled: the first of them may be handed out, the others wait for it.

use std::collections::BTreeSet;

use tidelog_model::Offset;

/// The unsettled records by the hash of their key. Two keys of one hash wait for each other, which costs time and
/// never order.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates {
    records: BTreeSet<(u32, Offset)>,
}

impl Gates {
    /// A record joins the others of its key; 0 is no key.
    pub(super) fn join(&mut self, key: u32, offset: Offset) {
        if key != 0 {
            self.records.insert((key, offset));
        }
    }

    /// A record is settled; the one that may go next, if that one waited for it.
    pub(super) fn leave(&mut self, key: u32, offset: Offset) -> Option<Offset> {
        let was_first = self.first(key) == Some(offset);
        if !self.records.remove(&(key, offset)) {
            return None;
        }
        self.first(key).filter(|_| was_first)
    }

    /// The first unsettled record of a key.
    pub(super) fn first(&self, key: u32) -> Option<Offset> {
        let from = (key, Offset::ZERO);
        let found = self.records.range(from..).next().filter(|(found, _)| *found == key);
        found.map(|(_, offset)| *offset)
    }

    /// Whether no earlier record of the key is unsettled.
    pub(super) fn is_first(&self, key: u32, offset: Offset) -> bool {
        key == 0 || self.first(key).is_none_or(|first| first >= offset)
    }

    /// The keys for which most records wait, with their first record and how many wait for it.
    pub(super) fn longest(&self, count: usize) -> Vec<(u32, Offset, usize)> {
        let mut all: Vec<(u32, Offset, usize)> = Vec::new();
        for (key, offset) in &self.records {
            match all.last_mut() {
                Some((last, _, waiting)) if last == key => *waiting += 1,
                _ => all.push((*key, *offset, 0)),
            }
        }
        all.retain(|(_, _, waiting)| *waiting > 0);
        all.sort_unstable_by_key(|(key, first, waiting)| (std::cmp::Reverse(*waiting), *first, *key));
        all.truncate(count);
        all
    }
}
