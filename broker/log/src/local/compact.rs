//! Compaction: of each key only the last record stays, at the offset it has always had (Kafka's cleaner).
//!
//! ```text
//!  0          first dirty           mapped to      end of the sealed segments below the bound
//!  |─── clean ────|──────── dirty ──────|───────────|
//!                 └─ last offset per key ┘           the map is bounded: what does not fit is the next pass
//!  └── rewritten: a record goes when its key ┘
//!      has a later offset in the map
//! ```
//!
//! A tombstone stays until its batch's delete horizon, which the first pass that has it in the map sets to
//! `delete_retention_ms` from then (KIP-534): a reader that needs less time than that never misses one.
//!
//! Transactions that were aborted go with all their records, and never stand for the last record of a key
//! (`compact_txn`).
//!
//! **Invariants**
//! * Offsets, timestamps, keys, values and headers of what stays do not change; the active segment and what
//!   lies at or above the bound is not touched.
//! * A record goes only when a later one of its key is durable in the log, or it is an expired tombstone
//!   whose older records were removed by a pass that was completed before.

use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};
use tidelog_model::batch::{BatchBuilder, BatchError, BatchHeader, ControlMarker, RecordBatch};
use tidelog_model::record::Record;
use tidelog_model::{Offset, Timestamp};

use super::compact_map::{OffsetMap, SLOT_BYTES};
use super::compact_swap::{self, Progress};
use super::compact_txn::{Fate, Transactions};
use super::file::{self, wide};
use super::index::IndexBytes;
use super::local_log::LocalLog;
use super::read::batch_at;
use super::scan::Scan;
use super::segment::{HeaderWalk, Placed, Segment};
use super::transactions;
use super::txn_index;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::engine::{AbortedTransaction, PartitionLog, ReadWait};
use crate::error::{ReadError, StorageError, failed};

/// The most memory for the last offsets of keys (Kafka's `log.cleaner.dedupe.buffer.size`).
pub(super) const MAP_BYTES_MAX: usize = 128 << 20;
/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of dirty segments for which a slot is kept ready; when records are smaller there are more passes.
const BYTES_PER_SLOT: u64 = 16;

/// Compacts what is due below `up_to`, below which every transaction has ended; returns the bytes saved.
pub(super) fn compact(
    log: &LocalLog,
    now: Timestamp,
    up_to: Offset,
    map_bytes_max: usize,
) -> Result<u64, StorageError> {
    let mut progress = log.compacted.lock().unwrap_or_else(PoisonError::into_inner);
    let config = log.config();
    match run(log, &mut progress, &config, now, up_to, map_bytes_max) {
        Ok(saved) => Ok(saved),
        Err(ReadError::Storage(error)) => Err(error),
        Err(error) => {
            // Readers are told the same when they get there; nothing is removed on account of broken bytes.
            tracing::error!(%error, dir = %log.dir.display(), "the log cannot be compacted");
            Ok(0)
        }
    }
}

fn run(
    log: &LocalLog,
    progress: &mut Progress,
    config: &LogConfig,
    now: Timestamp,
    up_to: Offset,
    map_bytes_max: usize,
) -> Result<u64, ReadError> {
    let segments = log.segments();
    let up_to = up_to.min(transactions::first_open(log)?.unwrap_or(Offset::MAX));
    progress.first_dirty = progress.first_dirty.max(log.log_start());
    let due = Due { first_dirty: progress.first_dirty, now, up_to };
    let Some(end) = due.end(&segments, config)? else { return Ok(0) };
    let ready = log.tail().failed.is_none()
        && !compact_swap::is_pending(log.disk.as_ref(), &log.dir)?
        && compact_swap::settle_floor(log, end)?;
    if !ready {
        return Ok(0);
    }
    let mut saved = 0;
    while progress.first_dirty < end {
        saved += Pass { log, config, now, end }.run(progress, map_bytes_max)?;
    }
    Ok(saved)
}

/// What decides whether compaction is due.
struct Due {
    first_dirty: Offset,
    now: Timestamp,
    up_to: Offset,
}

impl Due {
    /// The end of what is to be compacted, if it is due.
    fn end(&self, segments: &[Arc<Segment>], config: &LogConfig) -> Result<Option<Offset>, ReadError> {
        let (mut clean, mut dirty) = (0_u64, 0_u64);
        let mut end = None;
        let mut oldest = None;
        for pair in segments.windows(2) {
            let [segment, next] = pair else { break };
            if next.base > self.up_to {
                break;
            }
            if next.base <= self.first_dirty {
                clean += segment.size();
                continue;
            }
            if config.min_compaction_lag_ms > 0
                && self.age(segment.max_timestamp()) < config.min_compaction_lag_ms
            {
                break;
            }
            dirty += segment.size();
            end = Some(next.base);
            if config.max_compaction_lag_ms < i64::MAX {
                let first = HeaderWalk::new(segment, None, ReadWait::MayBlock).next()?.flatten();
                oldest = oldest.into_iter().chain(first.map(|first| first.header.max_timestamp)).min();
            }
        }
        let overdue = oldest.is_some_and(|oldest| self.age(oldest) > config.max_compaction_lag_ms);
        let enough = dirty > 0 && ratio(dirty, clean + dirty) >= config.min_cleanable_dirty_ratio;
        Ok(end.filter(|_| overdue || enough))
    }

    fn age(&self, timestamp: Timestamp) -> i64 {
        self.now.millis().saturating_sub(timestamp.millis())
    }
}

/// A share of a whole that is not zero.
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// One pass over everything below `end`, which is the base of a segment.
struct Pass<'a> {
    log: &'a LocalLog,
    config: &'a LogConfig,
    now: Timestamp,
    end: Offset,
}

impl Pass<'_> {
    fn run(&self, progress: &mut Progress, map_bytes_max: usize) -> Result<u64, ReadError> {
        let log = self.log;
        let segments: Vec<Arc<Segment>> =
            log.segments().iter().filter(|segment| segment.base < self.end).map(Arc::clone).collect();
        let aborted = transactions::aborted(log, Offset::ZERO, self.end)?;
        let rule = self.map(&segments, progress.first_dirty, map_bytes_max, aborted.clone())?;
        progress.gaps_to = progress.gaps_to.max(rule.mapped_to);
        progress.write(log.disk.as_ref(), &log.dir)?;
        log.epochs.save_below(log.disk.as_ref(), &log.dir, rule.mapped_to);
        let below = segments.partition_point(|segment| segment.base < rule.mapped_to);
        let mut saved = 0;
        let groups = Groups { rest: segments.get(..below).unwrap_or_default(), config: self.config };
        let mut transactions = Transactions::new(aborted);
        for group in groups {
            saved += self.clean(group, &rule, &mut transactions)?;
        }
        transactions::settle(log, &log.tail())?;
        progress.first_dirty = rule.mapped_to;
        progress.write(log.disk.as_ref(), &log.dir)?;
        Ok(saved)
    }

    /// Notes the last offset of each key from `first_dirty` on, as far as there is room.
    fn map(
        &self,
        segments: &[Arc<Segment>],
        first_dirty: Offset,
        map_bytes_max: usize,
        aborted: Vec<AbortedTransaction>,
    ) -> Result<Rule, ReadError> {
        let mut transactions = Transactions::new(aborted);
        let dirty = || segments.iter().filter(|segment| segment.next_offset() > first_dirty);
        let bytes = dirty().map(|segment| segment.size()).sum::<u64>() / BYTES_PER_SLOT * wide(SLOT_BYTES);
        let map = OffsetMap::new(usize::try_from(bytes).unwrap_or(usize::MAX).min(map_bytes_max));
        let delete_horizon = self.now.plus_millis(self.config.delete_retention_ms);
        let mut rule = Rule { map, first_dirty, mapped_to: self.end, now: self.now, delete_horizon };
        for segment in dirty() {
            let mut walk = HeaderWalk::new(segment, None, ReadWait::MayBlock);
            while let Some(placed) = walk.next()?.flatten() {
                let fate = transactions.pass(&placed.header, transactions::marker(segment, &placed)?);
                if placed.header.next_offset() <= first_dirty || fate != Fate::Ordinary {
                    continue;
                }
                let full = rule.note(&batch_at(segment, &placed)?);
                if let Some(offset) = full.map_err(|error| broken(segment, &placed, &error))? {
                    rule.mapped_to = offset;
                    return Ok(rule);
                }
            }
        }
        Ok(rule)
    }

    /// Writes what stays of a group into one segment and puts it in the group's place; returns the bytes saved.
    fn clean(
        &self,
        group: &[Arc<Segment>],
        rule: &Rule,
        transactions: &mut Transactions,
    ) -> Result<u64, ReadError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(0) };
        let path = compact_swap::cleaned_path(&self.log.dir, first.base, last.next_offset());
        let disk = self.log.disk.as_ref();
        let swapped = self.write(group, rule, transactions, &path).and_then(|fresh| {
            let Some(fresh) = fresh else { return Ok(None) };
            let size = fresh.size();
            Ok(compact_swap::swap(self.log, group, fresh, self.now)?.then_some(size))
        });
        if let Ok(Some(size)) = swapped {
            return Ok(group.iter().map(|segment| segment.size()).sum::<u64>().saturating_sub(size));
        }
        // Unless the swap has begun, the file is of no use. A start would remove it too.
        drop(disk.remove_file(&path));
        swapped.map(|_| 0)
    }

    /// The segment that `group` becomes, durable under the name `path`; `None` when it would stay as it is.
    fn write(
        &self,
        group: &[Arc<Segment>],
        rule: &Rule,
        transactions: &mut Transactions,
        path: &Path,
    ) -> Result<Option<Segment>, ReadError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(None) };
        let disk = self.log.disk.as_ref();
        let mut output = Output::create(disk, path)?;
        let mut changed = group.len() > 1;
        let mut index = Vec::new();
        for segment in group {
            let mut walk = HeaderWalk::new(segment, None, ReadWait::MayBlock);
            while let Some(placed) = walk.next()?.flatten() {
                let batch = batch_at(segment, &placed)?;
                let fate = transactions.pass(batch.header(), ControlMarker::parse(&batch).ok());
                if let Fate::Needed(Some(entry)) = fate {
                    index.extend_from_slice(&txn_index::encode(&entry));
                }
                let kept = rule.filter(batch, fate).map_err(|error| broken(segment, &placed, &error))?;
                changed |= !matches!(kept, Kept::All(_));
                if let Kept::All(bytes) | Kept::Some(bytes) = kept {
                    output.put(&bytes).map_err(failed("write", path))?;
                }
            }
        }
        if !changed {
            return Ok(None);
        }
        output.finish().map_err(failed("write", path))?;
        let fresh = Segment::open_as(disk, path.to_owned(), first.base)?;
        fresh.indexes_mut().aborted = IndexBytes::Growing(index);
        fresh.allow_gaps_to(Offset::MAX);
        let mut scan = Scan::start(&fresh, None);
        fresh.walk(None, &mut |placed| {
            scan.take(&fresh, placed, self.config.index_interval_bytes);
            true
        })?;
        fresh.set_end(scan.position, last.next_offset(), scan.max_timestamp);
        Ok(Some(fresh))
    }
}

fn broken(segment: &Segment, placed: &Placed, error: &BatchError) -> ReadError {
    segment.corrupt(placed.position, placed.header.base_offset, error)
}

/// Neighbours that fit into one segment.
struct Groups<'a> {
    rest: &'a [Arc<Segment>],
    config: &'a LogConfig,
}

impl<'a> Iterator for Groups<'a> {
    type Item = &'a [Arc<Segment>];

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.rest.first()?;
        let (mut bytes, mut index_bytes) = (0_u64, 0_u64);
        let fits = |segment: &&Arc<Segment>| -> bool {
            bytes += segment.size();
            index_bytes += wide(segment.indexes().offsets.len());
            bytes <= u64::from(self.config.segment_bytes)
                && index_bytes <= u64::from(self.config.segment_index_bytes)
                && i32::try_from(segment.next_offset().since(first.base)).is_ok()
        };
        let count = self.rest.iter().take_while(fits).count().max(1);
        let (group, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(group)
    }
}

/// What stays of a batch.
enum Kept {
    /// Every byte.
    All(Bytes),
    /// These bytes instead.
    Some(Bytes),
    None,
}

/// Which records stay.
struct Rule {
    map: OffsetMap,
    /// The map holds the keys from here …
    first_dirty: Offset,
    /// … to here.
    mapped_to: Offset,
    now: Timestamp,
    delete_horizon: Timestamp,
}

impl Rule {
    /// Notes a batch's keys; returns the offset of the first one for which there is no room.
    fn note(&mut self, batch: &RecordBatch) -> Result<Option<Offset>, BatchError> {
        for record in batch.records()? {
            let record = record?;
            if let Some(key) = record.key.filter(|_| record.offset >= self.first_dirty)
                && !self.map.put(&key, record.offset)
            {
                return Ok(Some(record.offset));
            }
        }
        Ok(None)
    }

    fn filter(&self, batch: RecordBatch, fate: Fate) -> Result<Kept, BatchError> {
        let header = *batch.header();
        match fate {
            Fate::Ordinary if header.base_offset < self.mapped_to => self.filter_records(batch),
            Fate::Aborted if header.next_offset() <= self.mapped_to => Ok(Kept::None),
            Fate::Spent if header.next_offset() <= self.mapped_to => self.filter_spent(batch),
            Fate::Ordinary | Fate::Aborted | Fate::Spent | Fate::Needed(_) => {
                Ok(Kept::All(batch.into_bytes()))
            }
        }
    }

    /// A marker that nothing is left of: it goes at its delete horizon, which it gets now if it has none.
    fn filter_spent(&self, batch: RecordBatch) -> Result<Kept, BatchError> {
        let header = *batch.header();
        match header.delete_horizon() {
            Some(horizon) if horizon <= self.now => return Ok(Kept::None),
            Some(_) => return Ok(Kept::All(batch.into_bytes())),
            None => {}
        }
        let records: Vec<Record> = batch.records()?.collect::<Result<_, _>>()?;
        Ok(match rebuild(&header, Some(self.delete_horizon), &records) {
            Some(bytes) => Kept::Some(bytes),
            None => Kept::All(batch.into_bytes()),
        })
    }

    fn filter_records(&self, batch: RecordBatch) -> Result<Kept, BatchError> {
        let header = *batch.header();
        let expired = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        let mut kept = Vec::new();
        let mut all = true;
        let (mut tombstones, mut new_tombstones) = (false, false);
        for record in batch.records()? {
            let record = record?;
            if !self.keeps(&record, expired) {
                all = false;
                continue;
            }
            if record.value.is_none() && record.key.is_some() && record.offset < self.mapped_to {
                tombstones = true;
                new_tombstones |= record.offset >= self.first_dirty;
            }
            kept.push(record);
        }
        let set_horizon = new_tombstones || (tombstones && !header.has_delete_horizon());
        if kept.is_empty() {
            return Ok(Kept::None);
        }
        if all && !set_horizon {
            return Ok(Kept::All(batch.into_bytes()));
        }
        Ok(match rebuild(&header, set_horizon.then_some(self.delete_horizon), &kept) {
            Some(bytes) => Kept::Some(bytes),
            None => Kept::All(batch.into_bytes()),
        })
    }

    fn keeps(&self, record: &Record, expired: bool) -> bool {
        let Some(key) = &record.key else { return true };
        if record.offset >= self.mapped_to {
            return true;
        }
        let superseded = self.map.get(key).is_some_and(|last| record.offset < last);
        let gone = record.value.is_none() && expired && record.offset < self.first_dirty;
        !superseded && !gone
    }
}

/// The batch with some of its records left out. `None` when it does not fit into a batch any more, which may
/// happen when a delete horizon makes its times longer: then it stays as it is.
fn rebuild(header: &BatchHeader, delete_horizon: Option<Timestamp>, kept: &[Record]) -> Option<Bytes> {
    let mut builder = BatchBuilder::rewrite(header, delete_horizon, header.size());
    for record in kept {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| (key.as_ref(), value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append_at(record.offset, record.timestamp, key, value, &headers);
    }
    match builder.build() {
        Ok(batch) => Some(batch.into_bytes()),
        Err(error) => {
            tracing::warn!(%error, offset = %header.base_offset, "a batch is left as it is by compaction");
            None
        }
    }
}

/// A file that is written from front to end.
struct Output {
    file: Arc<dyn DiskFile>,
    buffer: BytesMut,
    position: u64,
}

impl Output {
    fn create(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let file = disk.open(path, OpenMode::Create).map_err(failed("create", path))?;
        file.set_size(0).map_err(failed("empty", path))?;
        Ok(Self { file, buffer: BytesMut::with_capacity(WRITE_BYTES), position: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        file::write_all(self.file.as_ref(), &mut [IoSlice::new(&self.buffer)], self.position)?;
        self.position += wide(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
