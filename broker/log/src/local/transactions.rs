//! Which transactions of a partition have not ended, and the look at the log that tells at a start.
//!
//! A transaction of a producer begins with its first transactional batch and ends with the marker that the broker
//! appends for it. An abort marker leaves an entry in the transaction index of the segment it is in.
//!
//! ```text
//! newest producer snapshot ─► transactions open at its offset ─┐
//! files that agree with txnindex-checkpoint ─► entries below it ┴► batches from there on ─► all entries, open ones
//! ```
//!
//! **Invariants**
//! * What is known follows from the batches in the log alone. Snapshot and index files only say from where on
//!   they need to be read.
//! * A producer snapshot is written only when the index entries of all markers below it are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidelog_model::batch::{AssignedBatch, BatchHeader, ControlKind, ControlMarker, RecordBatch};
use tidelog_model::{Offset, ProducerId};

use super::index::IndexBytes;
use super::local_log::{LocalLog, Tail, segment_of};
use super::producers;
use super::read::batch_at;
use super::segment::{Placed, Segment};
use super::txn_index::{self, Stored, TxnFiles};
use crate::engine::{AbortedTransaction, PartitionLog, ProducerEntry, ProducerFact, ProducerSnapshot};
use crate::error::{ReadError, StorageError, failed};

/// The transactions that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ongoing {
    first_of: BTreeMap<i64, Offset>,
    firsts: BTreeSet<Offset>,
}

impl Ongoing {
    fn begin(&mut self, id: ProducerId, first: Offset) {
        let first = *self.first_of.entry(id.0).or_insert(first);
        self.firsts.insert(first);
    }

    /// The first offset that belongs to one of them.
    pub(super) fn first(&self) -> Option<Offset> {
        self.firsts.first().copied()
    }

    /// Takes in the next batch; the entry for the index when a transaction has been aborted by it.
    fn take(&mut self, header: &BatchHeader, marker: Option<ControlMarker>) -> Option<AbortedTransaction> {
        let id = header.producer_id;
        if id == ProducerId::NONE || !(header.is_transactional() || header.is_control()) {
            return None;
        }
        if !header.is_control() {
            self.begin(id, header.base_offset);
            return None;
        }
        // A marker of a kind that is not known ends nothing, and neither does one that compaction has emptied.
        let marker = marker?;
        let first_offset = self.first_of.remove(&id.0)?;
        self.firsts.remove(&first_offset);
        let last_offset = header.last_offset();
        let last_stable = self.first().unwrap_or(last_offset.next());
        let entry = AbortedTransaction { producer_id: id, first_offset, last_offset, last_stable };
        (marker.kind == ControlKind::Abort).then_some(entry)
    }

    /// The same for a batch that was just written.
    pub(super) fn append(&mut self, batch: &AssignedBatch) -> Option<AbortedTransaction> {
        let header = batch.header();
        let marker = if header.is_control() {
            let batch = RecordBatch::from_log(batch.to_bytes()).ok();
            batch.and_then(|batch| ControlMarker::parse(&batch).ok())
        } else {
            None
        };
        self.take(header, marker)
    }
}

/// What a partition knows of transactions besides what its writer does.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// A look at the log has told.
    found: AtomicBool,
    /// Taken after the tail.
    files: Mutex<TxnFiles>,
}

impl Knowledge {
    pub(super) fn files(&self) -> MutexGuard<'_, TxnFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a batch begins, continues or ends a transaction.
pub(super) fn is_about_transactions(batch: &AssignedBatch) -> bool {
    batch.header().is_transactional() || batch.header().is_control()
}

/// Finds out which transactions have not ended, if that is not known yet.
pub(super) fn ensure_known(log: &LocalLog, tail: &mut Tail) -> Result<(), ReadError> {
    if tail.writer.ongoing.is_some() {
        return Ok(());
    }
    match replay(log, tail, &mut |_| {}) {
        // All that can be known is.
        Err(_) if log.is_damaged() && tail.writer.ongoing.is_some() => Ok(()),
        replayed => replayed,
    }
}

/// The first offset of the transactions that have not ended.
pub(super) fn first_open(log: &LocalLog) -> Result<Option<Offset>, ReadError> {
    let mut tail = log.tail();
    ensure_known(log, &mut tail)?;
    Ok(tail.writer.ongoing.as_ref().and_then(Ongoing::first))
}

/// Tells everything about producers that a start needs to know, and takes in what it says of transactions.
pub(super) fn replay(
    log: &LocalLog,
    tail: &mut Tail,
    tell: &mut dyn FnMut(ProducerFact<'_>),
) -> Result<(), ReadError> {
    let segments = log.segments();
    let Some(first) = segments.first() else { return Ok(()) };
    let (disk, dir) = (log.disk.as_ref(), log.dir.as_path());
    // Nothing is changed about a partition with broken bytes, and little would be gained.
    let snapshot =
        if log.is_damaged() { None } else { producers::load(disk, dir, log.sound_end(&segments))? };
    let stored = if log.is_damaged() { Stored::unknown() } else { Stored::read(disk, dir, &segments)? };
    let snapshot = snapshot.map(|snapshot| forget_dropped(snapshot, first.base));
    for entry in snapshot.iter().flat_map(|snapshot| &snapshot.entries) {
        tell(ProducerFact::Remembered(entry));
    }
    let log_start = log.log_start();
    let tell_from = snapshot.as_ref().map_or(log_start, |snapshot| snapshot.at.max(log_start));
    let (from, ongoing) = match (&snapshot, stored.indexes) {
        (Some(snapshot), Some(mut indexes)) => {
            for segment in segments.iter() {
                let mut index = indexes.remove(&segment.base).unwrap_or_default();
                index.truncate(txn_index::bytes_below(&index, snapshot.at));
                segment.indexes_mut().aborted = IndexBytes::Growing(index);
            }
            (snapshot.at, open_in(&snapshot.entries))
        }
        _ => {
            for segment in segments.iter() {
                segment.indexes_mut().aborted = IndexBytes::Growing(Vec::new());
            }
            (first.base, Ongoing::default())
        }
    };
    let mut walk = Walk { from, tell_from, ongoing, tell };
    let met = segments.get(segment_of(&segments, from.min(tell_from))..).unwrap_or_default();
    let walked = met.iter().try_for_each(|segment| walk.segment(segment));
    let walked = walked.and_then(|()| log.check_damage());
    if walked.is_ok() || log.is_damaged() {
        tail.writer.ongoing = Some(walk.ongoing);
        log.transactions.found.store(true, Ordering::Release);
    }
    walked?;
    settle_found(log, &segments, stored.files);
    Ok(())
}

/// A snapshot from before the first record tells of open transactions that may have ended in what was dropped.
/// Those that have not are met again.
fn forget_dropped(mut snapshot: ProducerSnapshot, first: Offset) -> ProducerSnapshot {
    if snapshot.at < first {
        snapshot.entries.iter_mut().for_each(|entry| entry.transaction_start = None);
    }
    snapshot
}

/// Brings the files in line with what was found. They are not needed for anything but the next start.
fn settle_found(log: &LocalLog, segments: &[Arc<Segment>], files: TxnFiles) {
    let mut known = log.transactions.files();
    *known = files;
    if let Err(error) = known.settle(log.disk.as_ref(), &log.dir, segments) {
        tracing::warn!(%error, "the next start reads more of the log for transactions");
    }
    let closed = segments.len().saturating_sub(1);
    for segment in segments.iter().take(closed) {
        txn_index::seal(log.disk.as_ref(), segment);
    }
}

fn open_in(entries: &[ProducerEntry]) -> Ongoing {
    let mut ongoing = Ongoing::default();
    for entry in entries {
        // A producer has several entries, and the last one says how it stands.
        if let Some(first) = ongoing.first_of.remove(&entry.id.0) {
            ongoing.firsts.remove(&first);
        }
        if let Some(first) = entry.transaction_start {
            ongoing.begin(entry.id, first);
        }
    }
    ongoing
}

/// A look at the batches of a log.
struct Walk<'a> {
    /// Transactions are known up to here.
    from: Offset,
    /// Batches that end above this offset are told of.
    tell_from: Offset,
    ongoing: Ongoing,
    tell: &'a mut dyn FnMut(ProducerFact<'_>),
}

impl Walk<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), ReadError> {
        let start = segment.sound_entry_before(self.from.min(self.tell_from))?;
        let mut broken = None;
        segment.walk(start, &mut |placed| {
            let header = &placed.header;
            let marker = match marker(segment, placed) {
                Ok(marker) => marker,
                Err(error) => {
                    broken = Some(error);
                    return false;
                }
            };
            if header.next_offset() > self.from
                && let Some(aborted) = self.ongoing.take(header, marker)
            {
                segment.indexes_mut().aborted.push(&txn_index::encode(&aborted));
            }
            if header.next_offset() > self.tell_from {
                (self.tell)(ProducerFact::Batch(header, marker));
            }
            true
        })?;
        broken.map_or(Ok(()), Err)
    }
}

/// The marker in a batch, if there is one that is known.
pub(super) fn marker(segment: &Segment, placed: &Placed) -> Result<Option<ControlMarker>, ReadError> {
    if !placed.header.is_control() {
        return Ok(None);
    }
    Ok(ControlMarker::parse(&batch_at(segment, placed)?).ok())
}

/// The aborted transactions with records in `from..to`, by their first offset.
pub(super) fn aborted(
    log: &LocalLog,
    from: Offset,
    to: Offset,
) -> Result<Vec<AbortedTransaction>, ReadError> {
    if !log.transactions.found.load(Ordering::Acquire) {
        ensure_known(log, &mut log.tail())?;
    }
    let segments = log.segments();
    let mut found = Vec::new();
    for segment in segments.get(segment_of(&segments, from)..).unwrap_or_default() {
        if txn_index::collect(&segment.indexes().aborted, from, to, &mut found) {
            break;
        }
    }
    found.sort_unstable_by_key(|aborted| aborted.first_offset);
    Ok(found)
}

/// Keeps what is remembered of producers below `at`, after the index entries of what lies below it.
pub(super) fn save_producers(
    log: &LocalLog,
    at: Offset,
    entries: &[ProducerEntry],
) -> Result<(), StorageError> {
    {
        let mut tail = log.tail();
        if tail.removed {
            return Ok(());
        }
        ensure_known(log, &mut tail).map_err(|error| unknown(log, error))?;
        // With the tail locked, so that no segment is closed or grows meanwhile.
        log.transactions.files().settle(log.disk.as_ref(), &log.dir, &log.segments())?;
    }
    producers::save(log.disk.as_ref(), &log.dir, at, entries)
}

/// Makes the files agree with what is known, if anything is.
pub(super) fn settle(log: &LocalLog, tail: &Tail) -> Result<(), StorageError> {
    if tail.writer.ongoing.is_none() || tail.removed {
        return Ok(());
    }
    log.transactions.files().settle(log.disk.as_ref(), &log.dir, &log.segments())
}

/// Broken bytes as a reason why something cannot be written.
pub(super) fn unknown(log: &LocalLog, error: ReadError) -> StorageError {
    match error {
        ReadError::Storage(error) => error,
        error => failed("find the open transactions in", &log.dir)(std::io::Error::other(error.to_string())),
    }
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
