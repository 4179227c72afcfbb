//! Reading batches back: from the index entry before an offset, forward, in whole batches.
//!
//! An index is a hint: when its entry does not lead to the batch it names, the read starts again at the front
//! of the segment.

use bytes::{Bytes, BytesMut};
use tidelog_model::batch::{BATCH_OVERHEAD, RecordBatch};
use tidelog_model::{Offset, Timestamp};

use super::file;
use super::index::{self, OffsetEntry};
use super::segment::{HeaderWalk, Placed, Segment};
use crate::engine::{ReadOutcome, ReadSlice, ReadWait};
use crate::error::{ReadError, failed};

/// What a reader wants of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) from: Offset,
    pub(super) up_to: Offset,
    pub(super) bytes_max: usize,
    pub(super) wait: ReadWait,
}

/// Reads from one segment; empty when nothing of it lies in `from..up_to`.
pub(super) fn read(segment: &Segment, want: Want) -> Result<ReadOutcome, ReadError> {
    let entry = segment.entry_before(want.from);
    let first = match locate(segment, entry, want) {
        Err(ReadError::Corrupt { .. }) if entry.is_some() => locate(segment, None, want)?,
        first => first?,
    };
    let placed = match first {
        None => return Ok(ReadOutcome::WouldBlock),
        Some(Some(placed)) if placed.header.next_offset() <= want.up_to => placed,
        Some(_) => {
            return Ok(ReadOutcome::Batches(ReadSlice { bytes: Bytes::new(), next_offset: want.from }));
        }
    };
    let length = want.bytes_max.max(placed.header.size());
    let Some(chunk) = chunk(segment, placed.position, length, want.wait)? else {
        return Ok(ReadOutcome::WouldBlock);
    };
    if chunk.len() < placed.header.size() {
        return match want.wait {
            ReadWait::CachedOnly => Ok(ReadOutcome::WouldBlock),
            ReadWait::MayBlock => {
                Err(segment.corrupt(placed.position, want.from, "the file ends inside a batch"))
            }
        };
    }
    cut(segment, &chunk, &placed, want.up_to).map(ReadOutcome::Batches)
}

/// The batch that contains or follows the offset wanted; `None` when the device would have to be asked.
fn locate(
    segment: &Segment,
    entry: Option<OffsetEntry>,
    want: Want,
) -> Result<Option<Option<Placed>>, ReadError> {
    let mut walk = HeaderWalk::new(segment, entry, want.wait);
    loop {
        match walk.next()? {
            Some(Some(placed)) if placed.header.next_offset() <= want.from => {}
            other => return Ok(other),
        }
    }
}

/// Bytes from `position` on, as many as there are; `None` when none of them is in memory and waiting is
/// not allowed.
fn chunk(
    segment: &Segment,
    position: u64,
    length: usize,
    wait: ReadWait,
) -> Result<Option<Bytes>, ReadError> {
    let left = segment.size().saturating_sub(position);
    let length = usize::try_from(left).map_or(length, |left| left.min(length));
    let mut buffer = BytesMut::zeroed(length);
    let read = match wait {
        ReadWait::MayBlock => file::read_at(segment.file.as_ref(), &mut buffer, position).map(Some),
        ReadWait::CachedOnly => segment.file.read_cached_at(&mut buffer, position),
    };
    let Some(read) = read.map_err(failed("read", &segment.path))? else { return Ok(None) };
    buffer.truncate(read);
    Ok(Some(buffer.freeze()))
}

/// The whole batches at the front of `chunk` that end at or before `up_to`; the first one is known to.
fn cut(segment: &Segment, chunk: &Bytes, first: &Placed, up_to: Offset) -> Result<ReadSlice, ReadError> {
    let mut end = first.header.size();
    let mut next_offset = first.header.next_offset();
    while let Some(rest) = chunk.get(end..).filter(|rest| rest.len() >= BATCH_OVERHEAD) {
        let here = first.position.saturating_add(file::wide(end));
        // Broken bytes behind good ones are for the read that starts at them to tell of.
        let Ok(placed) = segment.placed(rest, here, next_offset, segment.gaps_to()) else { break };
        if placed.header.next_offset() > up_to || rest.len() < placed.header.size() {
            break;
        }
        end = end.saturating_add(placed.header.size());
        next_offset = placed.header.next_offset();
    }
    Ok(ReadSlice { bytes: chunk.slice(..end), next_offset })
}

/// One whole batch.
pub(super) fn batch_at(segment: &Segment, placed: &Placed) -> Result<RecordBatch, ReadError> {
    let mut buffer = BytesMut::zeroed(placed.header.size());
    let read = file::read_at(segment.file.as_ref(), &mut buffer, placed.position)
        .map_err(failed("read", &segment.path))?;
    buffer.truncate(read);
    RecordBatch::from_log(buffer.freeze())
        .map_err(|error| segment.corrupt(placed.position, placed.header.base_offset, error))
}

/// The first record of the segment in `from..up_to` whose timestamp is at or after `target`.
pub(super) fn offset_for_timestamp(
    segment: &Segment,
    target: Timestamp,
    from: Offset,
    up_to: Offset,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let before = index::time_entry_before(&segment.indexes().times, target);
    let start = match before {
        Some(entry) if segment.has_time(entry)? => {
            segment.base.plus(u64::from(entry.relative.unsigned_abs())).max(from)
        }
        _ => from,
    };
    let wanted = Wanted { target, from, up_to };
    let entry = segment.entry_before(start);
    match first_at_or_after(segment, entry, wanted) {
        Err(ReadError::Corrupt { .. }) if entry.is_some() => first_at_or_after(segment, None, wanted),
        found => found,
    }
}

/// The largest timestamp of the segment's batches that hold something of `from..up_to` and end before it does.
pub(super) fn max_timestamp(segment: &Segment, from: Offset, up_to: Offset) -> Result<Timestamp, ReadError> {
    let mut largest = Timestamp::NONE;
    segment.walk(None, &mut |placed| {
        let header = &placed.header;
        if header.next_offset() > from && header.next_offset() <= up_to {
            largest = largest.max(header.max_timestamp);
        }
        header.next_offset() < up_to
    })?;
    Ok(largest)
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    target: Timestamp,
    from: Offset,
    up_to: Offset,
}

fn first_at_or_after(
    segment: &Segment,
    entry: Option<OffsetEntry>,
    wanted: Wanted,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let mut walk = HeaderWalk::new(segment, entry, ReadWait::MayBlock);
    while let Some(placed) = walk.next()?.flatten() {
        if placed.header.next_offset() > wanted.up_to {
            return Ok(None);
        }
        if placed.header.next_offset() <= wanted.from || placed.header.max_timestamp < wanted.target {
            continue;
        }
        let found = first_record(segment, &placed, wanted)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn first_record(
    segment: &Segment,
    placed: &Placed,
    wanted: Wanted,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let broken =
        |error: &dyn ToString| segment.corrupt(placed.position, placed.header.base_offset, error.to_string());
    let batch = batch_at(segment, placed)?;
    for record in batch.records().map_err(|error| broken(&error))? {
        let record = record.map_err(|error| broken(&error))?;
        if record.timestamp >= wanted.target && record.offset >= wanted.from {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}
