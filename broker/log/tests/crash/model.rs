//! What a partition's owner knows, and what it may therefore expect to find after a crash.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tidelog_log::{
    AppendFailure, AppendFailureKind, CommitListener, FlushPolicy, PartitionLog, ReadOutcome, ReadWait,
    RecoveryReport,
};
use tidelog_model::batch::RecordBatch;
use tidelog_model::{Offset, Timestamp};

use super::transactions::Txn;

/// A broken promise, in words.
pub(crate) type Broken = String;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*).into());
        }
    };
}
pub(crate) use ensure;

/// What the log told the owner.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Written(i64),
    Committed(i64),
    Rejected(AppendFailure),
}

/// The owner's ear.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Mutex<Vec<Heard>>,
}

impl Ear {
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear(&self, heard: Heard) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    }
}

impl CommitListener for Ear {
    fn written(&self, end: Offset) {
        self.hear(Heard::Written(end.get()));
    }

    fn committed(&self, end: Offset) {
        self.hear(Heard::Committed(end.get()));
    }

    fn rejected(&self, failure: AppendFailure) {
        self.hear(Heard::Rejected(failure));
    }
}

/// A batch that was given to the log.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) base: i64,
    pub(crate) next: i64,
    pub(crate) bytes: Bytes,
    pub(crate) records: Vec<SentRecord>,
    pub(crate) txn: Option<Txn>,
}

/// A record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentRecord {
    pub(crate) time: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Power,
    Process,
    Clean,
}

/// What a recovery found, and promises from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// One partition as its owner sees it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// All that may be in the log, in order.
    pub(crate) batches: Vec<Sent>,
    /// Survives a power cut.
    durable: i64,
    /// Survives the end of the process.
    written: i64,
    pub(crate) committed: i64,
    /// The log's start lies in this range.
    pub(crate) start_min: i64,
    pub(crate) start_max: i64,
    pub(crate) incarnation: u64,
    /// Below this offset records may have been compacted away.
    pub(crate) compacted_to: i64,
    /// The log takes nothing more.
    pub(crate) failed: bool,
    /// A removal was begun, and it is not known how far it got.
    pub(crate) removing: bool,
    /// What readers may have seen of a partition that syncs: its high watermark, where it was highest.
    seen: i64,
    pub(crate) owner: Owner,
}

/// What the owner makes of the end that is only written: nothing, unless a bug is planted in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owner {
    /// It acknowledges up to there.
    pub(crate) acks_written: bool,
    /// It shows readers what lies below.
    pub(crate) shows_written: bool,
}

impl Model {
    /// An empty partition, whose owner may keep its promises or not.
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, ..Self::default() }
    }

    pub(crate) fn next(&self) -> i64 {
        self.batches.last().map_or(0, |sent| sent.next).max(self.written)
    }

    /// Takes in what one round told.
    pub(crate) fn hear(&mut self, heard: Vec<Heard>, flush: FlushPolicy) -> Result<(), Broken> {
        for heard in heard {
            match heard {
                Heard::Written(end) => {
                    self.written = self.written.max(end);
                    if self.owner.acks_written && flush == FlushPolicy::Sync {
                        self.durable = self.durable.max(end);
                    }
                    if self.owner.shows_written && flush == FlushPolicy::Sync {
                        self.seen = self.seen.max(end);
                    }
                }
                Heard::Committed(end) => {
                    ensure!(end >= self.committed, "committed went back to {end}: {self:?}");
                    ensure!(end <= self.next(), "{end} is committed and was never sent");
                    self.committed = end;
                    self.written = self.written.max(end);
                    if flush == FlushPolicy::Sync {
                        self.durable = end;
                        self.seen = self.seen.max(end);
                    }
                }
                Heard::Rejected(failure) => self.reject(&failure)?,
            }
        }
        Ok(())
    }

    fn reject(&mut self, failure: &AppendFailure) -> Result<(), Broken> {
        let end = failure.end.get();
        ensure!(end >= self.committed, "{} is committed and rejected from {end}", self.committed);
        ensure!(failure.incarnation > self.incarnation || self.failed, "the incarnation stays: {failure:?}");
        self.incarnation = failure.incarnation;
        match failure.kind {
            AppendFailureKind::DiskFull | AppendFailureKind::OutOfFiles { .. } | AppendFailureKind::Gone => {
                self.batches.retain(|sent| sent.next <= end);
                ensure!(self.next() == end, "rejected inside a batch, at {end}");
            }
            AppendFailureKind::Failed { .. } => {
                self.failed = true;
                // What the cache holds above the last good sync may never reach the device.
                self.written = self.durable;
            }
        }
        Ok(())
    }

    /// The device has failed: what was not durable may be lost.
    pub(crate) fn device_failed(&mut self) {
        self.written = self.durable;
    }

    /// All that is written is durable.
    pub(crate) fn synced(&mut self) {
        self.durable = self.durable.max(self.written);
    }

    /// What is certain once a run has ended cleanly.
    pub(crate) fn closed(&mut self) {
        self.durable = self.durable.max(self.committed);
    }

    /// Whether what a recovery found is what it may find; what it promises from then on.
    pub(crate) fn check(
        &self,
        log: &dyn PartitionLog,
        report: &RecoveryReport,
        cut: Cut,
    ) -> Result<Found, Broken> {
        ensure!(report.corrupt.is_none(), "called broken: {:?}", report.corrupt);
        let found = Found { start: report.log_start.get(), end: report.log_end.get() };
        if self.removing && found == (Found { start: 0, end: 0 }) {
            return Ok(found);
        }
        let promised = match cut {
            Cut::Power => self.durable,
            Cut::Process => self.written.max(self.durable),
            Cut::Clean if self.failed => self.durable,
            Cut::Clean => self.next(),
        };
        ensure!(found.end >= promised, "{found:?}, but {promised} was promised");
        ensure!(found.end >= self.seen, "{found:?}, but a reader saw up to {}", self.seen);
        // Where a lax policy lost all that a moved start had spared, the log goes on empty at that start.
        let known = found.end == 0
            || found.end == found.start
            || self.batches.iter().any(|sent| sent.next == found.end);
        ensure!(known, "{found:?} ends where no batch does, up to {}", self.next());
        let least = self.start_min.min(found.end.max(self.durable));
        ensure!(found.start >= least, "{found:?}: the start moved back from {least}");
        ensure!(found.start <= self.start_max, "{found:?}: the start was at most {}", self.start_max);
        self.check_content(log, found)?;
        self.check_committed(log, found)?;
        Ok(found)
    }

    /// Whether the log between these offsets is what was sent, byte for byte.
    pub(crate) fn check_content(&self, log: &dyn PartitionLog, found: Found) -> Result<(), Broken> {
        let read = read_all(log, found)?;
        if self.compacted_to > 0 {
            return self.check_compacted(read, found);
        }
        let sent: Vec<&Sent> =
            self.batches.iter().filter(|sent| sent.next > found.start && sent.next <= found.end).collect();
        let expected: usize = sent.iter().map(|sent| sent.bytes.len()).sum();
        ensure!(read.len() == expected, "{found:?} holds {} bytes, not {expected}", read.len());
        let mut rest = read.as_slice();
        for sent in sent {
            let (here, after) = rest.split_at(sent.bytes.len());
            ensure!(here == sent.bytes, "{found:?}: the batch at {} is another one", sent.base);
            rest = after;
        }
        Ok(())
    }

    /// Whether what is left of the records is right: the last one of each key is there, and what is there is
    /// what was sent.
    fn check_compacted(&self, read: Vec<u8>, found: Found) -> Result<(), Broken> {
        let mut there = BTreeMap::new();
        for batch in RecordBatch::split(Bytes::from(read)) {
            let batch = batch.map_err(|error| error.to_string())?;
            if batch.header().is_control() {
                continue;
            }
            for record in batch.records().map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                let key = record.key.as_deref().unwrap_or_default().to_vec();
                let value = record.value.as_deref().map(<[u8]>::to_vec);
                let read = SentRecord { time: record.timestamp.millis(), key, value };
                ensure!(there.insert(record.offset.get(), read).is_none(), "an offset is there twice");
            }
        }
        let aborted = self.aborted(found.end);
        let sent = self.batches.iter().filter(|sent| sent.next <= found.end);
        let sent = sent.filter(|sent| !matches!(sent.txn, Some(Txn::End(..)))).flat_map(|sent| {
            let aborted = aborted.contains(&sent.base);
            (sent.base..).zip(sent.records.iter().map(move |record| (record, aborted)))
        });
        let bound = self.compacted_to.min(found.end);
        let mut newest: BTreeMap<&[u8], i64> = BTreeMap::new();
        let mut cleared: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (offset, (record, aborted)) in
            sent.collect::<Vec<_>>().into_iter().rev().take_while(|(at, _)| *at >= found.start)
        {
            let key = record.key.as_slice();
            match there.remove(&offset) {
                Some(read) => {
                    ensure!(read == *record, "{found:?}: the record at {offset} is another one");
                    let by = cleared.get(key).filter(|_| !aborted);
                    ensure!(by.is_none(), "{offset} is there again without the tombstone at {by:?}");
                }
                None => {
                    ensure!(offset < bound, "{found:?}: the record at {offset} is gone, past {bound}");
                    let later = aborted || newest.contains_key(key);
                    ensure!(
                        later || record.value.is_none(),
                        "{found:?}: the last record of its key at {offset} is gone"
                    );
                    if !later {
                        cleared.insert(key, offset);
                    }
                }
            }
            if offset < bound && !aborted {
                newest.insert(key, offset);
            }
        }
        there.retain(|offset, _| *offset >= found.start);
        ensure!(there.is_empty(), "{found:?}: records that were never sent: {:?}", there.keys());
        Ok(())
    }

    /// Goes on from what a recovery found.
    pub(crate) fn adopt(&mut self, found: Found) {
        if self.removing && found.end == 0 {
            *self = Self::new(self.owner);
            return;
        }
        self.batches.retain(|sent| sent.next <= found.end);
        (self.durable, self.written, self.committed) = (found.end, found.end, found.end);
        self.seen = found.end;
        (self.start_min, self.start_max) = (found.start, found.start);
        self.incarnation = 0;
        self.failed = false;
        self.removing = false;
    }

    /// The first record in `start..up_to` at or after `target`.
    pub(crate) fn first_at(&self, target: i64, start: i64, up_to: i64) -> Option<(i64, i64)> {
        let batches = self.batches.iter().filter(|sent| sent.next <= up_to);
        let mut records = batches
            .flat_map(|sent| (sent.base..).zip(&sent.records))
            .map(|(offset, record)| (offset, record.time));
        records.find(|(offset, time)| *offset >= start && *time >= target)
    }
}

/// All bytes of the batches between two offsets.
pub(crate) fn read_all(log: &dyn PartitionLog, found: Found) -> Result<Vec<u8>, Broken> {
    let (mut from, end) = (offset(found.start), offset(found.end));
    let mut all = Vec::new();
    while from < end {
        let outcome = log.read(from, end, 2000, ReadWait::MayBlock).map_err(|error| error.to_string())?;
        let ReadOutcome::Batches(slice) = outcome else {
            return Err("a read that may block would block".to_owned());
        };
        ensure!(slice.next_offset > from, "a read at {from} of {found:?} leads nowhere");
        all.extend_from_slice(&slice.bytes);
        from = slice.next_offset;
    }
    Ok(all)
}

pub(crate) fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap_or(Offset::MAX)
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
