//! What a lane may hand out of its partition: records that were read ahead, and those that wait for others.
//!
//! **Invariant:** what is kept here is bounded, and all of it can be read again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidelog_core::delivery::{RecordKind, RecordSource, SourceRecord};
use tidelog_model::Offset;
use tidelog_model::record::Record;

use super::read::{key_of, size_of};

/// How many bytes of records are kept that wait for others of their key.
const PARKED_BYTES: usize = 1024 * 1024;

/// The records of one lane.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Read ahead, in order.
    ahead: VecDeque<Record>,
    /// Up to where was read; nothing was when it is before the lane's end.
    read_to: Offset,
    /// Handed to the lane, and neither handed out nor forgotten.
    parked: BTreeMap<Offset, Record>,
    parked_bytes: usize,
    /// What is parked below has memory of its own.
    own_to: Offset,
}

impl Feed {
    /// Takes in what was read: all records up to `next`.
    pub(super) fn fill(&mut self, records: Vec<Record>, next: Offset) {
        self.ahead.extend(records);
        self.read_to = next;
    }

    /// Where to read on, if nothing is left that is ahead of the lane's end.
    pub(super) fn wants(&self, end: Offset) -> Option<Offset> {
        self.ahead.is_empty().then_some(self.read_to.max(end))
    }

    /// Whether there is something ahead.
    pub(super) fn has_more(&self, end: Offset) -> bool {
        !self.ahead.is_empty() || self.read_to > end
    }

    /// Takes the record at an offset out, if it is here.
    pub(super) fn take(&mut self, offset: Offset) -> Option<Record> {
        let record = self.parked.remove(&offset)?;
        self.parked_bytes = self.parked_bytes.saturating_sub(size_of(&record));
        Some(record)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves what lies before `end`, which the lane knows now, out of the way.
    pub(super) fn park(&mut self, end: Offset) {
        while self.ahead.front().is_some_and(|record| record.offset < end) {
            let Some(record) = self.ahead.pop_front() else { return };
            self.parked_bytes = self.parked_bytes.saturating_add(size_of(&record));
            self.parked.insert(record.offset, record);
        }
    }

    /// Keeps what was parked, and not taken since, in memory of its own, as far as there is room; what is before
    /// `start` nobody asks for any more.
    pub(super) fn settle_down(&mut self, start: Offset) {
        while let Some(entry) = self.parked.first_entry().filter(|entry| *entry.key() < start) {
            self.parked_bytes = self.parked_bytes.saturating_sub(size_of(&entry.remove()));
        }
        while self.parked_bytes > PARKED_BYTES {
            let Some((_, record)) = self.parked.pop_last() else { break };
            self.parked_bytes = self.parked_bytes.saturating_sub(size_of(&record));
        }
        for record in self.parked.range_mut(self.own_to..).map(|(_, record)| record) {
            let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
            record.key = record.key.as_ref().map(own);
            record.value = record.value.as_ref().map(own);
            for (name, value) in &mut record.headers {
                *name = own(name);
                *value = value.as_ref().map(own);
            }
        }
        self.own_to =
            self.parked.last_key_value().map_or(self.own_to, |(last, _)| last.next().max(self.own_to));
    }
}

impl RecordSource for Feed {
    fn next(&mut self, from: Offset) -> Option<SourceRecord> {
        self.park(from);
        match self.ahead.front() {
            Some(record) => Some(SourceRecord {
                offset: record.offset,
                key: key_of(record),
                bytes: size_of(record),
                kind: RecordKind::Data,
            }),
            // There is no record between here and where was read to.
            None if self.read_to > from => {
                Some(SourceRecord { offset: self.read_to.before(), key: 0, bytes: 0, kind: RecordKind::Gone })
            }
            None => None,
        }
    }

    fn bytes_of(&self, offset: Offset) -> Option<usize> {
        self.parked.get(&offset).map(size_of)
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
