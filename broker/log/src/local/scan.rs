//! What a batch must look like to follow another, and the scan of bytes that may be torn.
//!
//! The checksum of a batch covers neither its base offset, length, epoch nor magic; what holds these is the
//! chain: each batch starts where the one before it ends, in bytes and (where compaction has not been) in
//! offsets, and epochs never fall.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidelog_model::batch::{BATCH_OVERHEAD, BatchHeader, RecordBatch};
use tidelog_model::{Offset, Timestamp};

use super::file;
use super::index::{self, OffsetEntry, TimeEntry};
use super::read;
use super::segment::{Placed, Segment};
use super::writer::ActiveState;
use crate::engine::VerifyReport;
use crate::error::{ReadError, StorageError, failed};

/// The bytes read at once by a scan.
const SCAN_BYTES: usize = 1 << 20;

/// What the next batch must look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    /// Where it must start; where there are gaps, the least offset it may start at.
    pub(super) expected: Offset,
    /// Below this offset compaction may have left gaps.
    pub(super) cleaned_to: Offset,
    epoch: i32,
    /// No batch can have a larger one.
    epoch_max: i32,
    /// An index has led into the middle: the next batch says where the chain goes on.
    open: bool,
}

impl Chain {
    /// From the first batch of a log on.
    pub(super) const fn new(cleaned_to: Offset, epoch_max: i32) -> Self {
        Self { expected: Offset::ZERO, cleaned_to, epoch: -1, epoch_max, open: false }
    }

    /// Goes on at the first batch of a segment, or somewhere inside it.
    pub(super) fn begin(&mut self, base: Offset, inside: bool) {
        self.expected = base;
        self.open = inside;
    }

    /// Checks what a header says against the one before it, and moves on to the one after it.
    pub(super) fn follow(&mut self, header: &BatchHeader) -> Result<(), String> {
        let (base, expected) = (header.base_offset, self.expected);
        let gaps = self.open || expected < self.cleaned_to;
        if base < expected || (base > expected && !gaps) {
            return Err(format!("the batch starts at offset {base} where {expected} follows"));
        }
        if header.leader_epoch < self.epoch {
            return Err(format!("leader epoch {} follows epoch {}", header.leader_epoch, self.epoch));
        }
        if header.leader_epoch > self.epoch_max {
            let (epoch, current) = (header.leader_epoch, self.epoch_max);
            return Err(format!("leader epoch {epoch} is to come, this is epoch {current}"));
        }
        let counted = header.last_offset_delta.checked_add(1) == Some(header.record_count);
        if !counted && base >= self.cleaned_to {
            let (count, delta) = (header.record_count, header.last_offset_delta);
            return Err(format!("the batch has {count} records and a last offset delta of {delta}"));
        }
        self.open = false;
        self.expected = header.next_offset();
        self.epoch = header.leader_epoch;
        Ok(())
    }

    /// Ends a segment where the next one starts.
    pub(super) fn end_at(&mut self, next: Offset) -> Result<(), String> {
        let gap = self.expected < next && self.expected >= self.cleaned_to;
        if gap || self.expected > next {
            return Err(format!(
                "the segment ends at offset {}, the next one starts at {next}",
                self.expected
            ));
        }
        self.expected = next;
        Ok(())
    }
}

/// How far a segment has been gone over.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) position: u64,
    pub(super) max_timestamp: Timestamp,
    max_timestamp_end: Offset,
    first_timestamp: Timestamp,
    bytes_since_entry: u64,
}

impl Scan {
    /// From the batch that `entry` leads to, or from the first.
    pub(super) fn start(segment: &Segment, entry: Option<OffsetEntry>) -> Self {
        let time = entry.and_then(|_| index::last_time_entry(&segment.indexes().times));
        Self {
            position: entry.map_or(0, OffsetEntry::place),
            max_timestamp: time.map_or(Timestamp::NONE, |entry| entry.timestamp),
            max_timestamp_end: time
                .map_or(segment.base, |entry| segment.base.plus(u64::from(entry.relative.unsigned_abs()))),
            first_timestamp: Timestamp::NONE,
            bytes_since_entry: 0,
        }
    }

    /// Goes past one batch, adding the index entries its writer would have added.
    pub(super) fn take(&mut self, segment: &Segment, placed: &Placed, index_interval_bytes: u32) {
        let header = &placed.header;
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_end = header.last_offset();
        }
        if self.bytes_since_entry > u64::from(index_interval_bytes) {
            self.push_entries(segment, placed);
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(u64::from(header.size_bytes));
        self.position = placed.end();
    }

    fn push_entries(&mut self, segment: &Segment, placed: &Placed) {
        let last = placed.header.last_offset();
        let Some(entry) = OffsetEntry::new(segment.base, last, placed.position) else { return };
        let mut indexes = segment.indexes_mut();
        indexes.offsets.push(&entry.encode());
        if let Some(time) = TimeEntry::new(segment.base, self.max_timestamp, self.max_timestamp_end) {
            indexes.times.push_time(time);
        }
        self.bytes_since_entry = 0;
    }

    /// When the segment was begun: the time of its first batch, by which it is closed.
    pub(super) fn find_opened_at(&mut self, segment: &Segment) -> Result<(), ReadError> {
        segment.walk(None, &mut |placed| {
            self.first_timestamp = placed.header.max_timestamp;
            false
        })
    }

    /// What the writer has to know to go on.
    pub(super) fn active(&self, now: Timestamp) -> ActiveState {
        ActiveState {
            created: now,
            first_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            max_timestamp_end: self.max_timestamp_end,
            bytes_since_entry: self.bytes_since_entry,
        }
    }
}

/// How a scan ended.
#[derive(Debug)]
pub(super) enum TailEnd {
    /// All bytes are whole batches.
    Whole,
    /// What follows is no batch, for this reason.
    Torn(String),
}

/// Checks every byte from the scan's position to the end of the file, as the device holds it.
pub(super) fn scan_tail(
    segment: &Segment,
    scan: &mut Scan,
    chain: &mut Chain,
    index_interval_bytes: u32,
) -> Result<TailEnd, StorageError> {
    // From the front: only whole pages are dropped, and a page can be large.
    let dropped = segment.file.drop_cache(0);
    dropped.map_err(failed("drop the cache of", &segment.path))?;
    let size = segment.size();
    let mut window = Window { bytes: Bytes::new(), at: scan.position };
    while scan.position < size {
        match check(segment, scan.position, size, chain, &mut window)? {
            Ok(placed) => scan.take(segment, &placed, index_interval_bytes),
            Err(reason) => return Ok(TailEnd::Torn(reason)),
        }
    }
    Ok(TailEnd::Whole)
}

/// Bytes of a file that are in memory.
struct Window {
    bytes: Bytes,
    at: u64,
}

impl Window {
    /// Bytes from `position` on, at least `least` of them unless the file ends.
    fn at(&mut self, segment: &Segment, position: u64, least: usize) -> Result<Bytes, StorageError> {
        let held = position.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = held.filter(|skip| skip.saturating_add(least) <= self.bytes.len()) {
            return Ok(self.bytes.slice(skip..));
        }
        let left = usize::try_from(segment.size().saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(least.max(SCAN_BYTES).min(left));
        let read = file::read_at(segment.file.as_ref(), &mut buffer, position)
            .map_err(failed("read", &segment.path))?;
        buffer.truncate(read);
        self.bytes = buffer.freeze();
        self.at = position;
        Ok(self.bytes.clone())
    }
}

/// The batch at `position`, or why there is none.
fn check(
    segment: &Segment,
    position: u64,
    size: u64,
    chain: &mut Chain,
    window: &mut Window,
) -> Result<Result<Placed, String>, StorageError> {
    let bytes = window.at(segment, position, BATCH_OVERHEAD)?;
    let header = match BatchHeader::parse(&bytes) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let placed = Placed { header, position };
    if placed.end() > size {
        return Ok(Err("the batch passes the end of the file".to_owned()));
    }
    let mut next = *chain;
    if let Err(reason) = next.follow(&header) {
        return Ok(Err(reason));
    }
    let bytes = window.at(segment, position, header.size())?;
    if bytes.len() < header.size() {
        return Ok(Err("the file ends inside the batch".to_owned()));
    }
    if let Err(error) = RecordBatch::from_log(bytes.slice(..header.size())) {
        return Ok(Err(error.to_string()));
    }
    *chain = next;
    Ok(Ok(placed))
}

/// Reads all batches and checks their checksums and the chain of offsets and epochs.
pub(super) fn verify(segments: &[Arc<Segment>], epoch_max: i32) -> Result<VerifyReport, ReadError> {
    let mut report = VerifyReport::default();
    let mut chain = Chain::new(Offset::ZERO, epoch_max);
    for (at, segment) in segments.iter().enumerate() {
        chain.cleaned_to = segment.gaps_to();
        chain.begin(segment.base, false);
        let (mut broken, mut end) = (None, 0);
        segment.walk(None, &mut |placed| {
            report.batches += 1;
            report.records += u64::from(placed.header.record_count.max(0).unsigned_abs());
            report.bytes += u64::from(placed.header.size_bytes);
            end = placed.end();
            let follows = chain.follow(&placed.header);
            let follows =
                follows.map_err(|reason| segment.corrupt(placed.position, placed.header.base_offset, reason));
            broken = follows.and_then(|()| read::batch_at(segment, placed).map(drop)).err();
            broken.is_none()
        })?;
        if let Some(next) = segments.get(at + 1).filter(|_| broken.is_none()) {
            let ends = chain.end_at(next.base);
            broken = ends.map_err(|reason| segment.corrupt(end, chain.expected, reason)).err();
        }
        if let Some(error) = broken {
            return Err(error);
        }
    }
    Ok(report)
}
