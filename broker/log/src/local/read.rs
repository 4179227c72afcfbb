//! Reading batches back: from the index entry before an offset, forward, in whole batches.
//!
//! An index is a hint: when its entry does not lead to the batch it names, the read starts again at the front
//! of the segment.

use std::sync::Arc;

use bytes::BytesMut;
use tidelog_model::batch::RecordBatch;
use tidelog_model::{Offset, Timestamp};

use super::file;
use super::index::{self, OffsetEntry};
use super::segment::{HeaderWalk, Placed, Segment};
use crate::engine::{LocateOutcome, ReadWait};
use crate::error::{ReadError, failed};
use crate::extent::Extent;

/// What a reader wants of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) from: Offset,
    pub(super) up_to: Offset,
    pub(super) bytes_max: usize,
    pub(super) wait: ReadWait,
}

/// Where the batches of one segment lie.
pub(super) fn locate(segment: &Segment, want: Want) -> Result<LocateOutcome, ReadError> {
    let (mut walk, first) = first(segment, want)?;
    let Some(first) = first else { return Ok(LocateOutcome::WouldBlock) };
    let Some(first) = first else { return Ok(LocateOutcome::Nothing(want.from.max(segment.next_offset()))) };
    let mut last = first;
    // Broken bytes behind good ones are for the read that starts at them to tell of, and what would have to be
    // waited for is for the next one.
    while let Ok(Some(Some(placed))) = walk.next() {
        if placed.header.next_offset() > want.up_to
            || placed.end().saturating_sub(first.position) > file::wide(want.bytes_max)
        {
            break;
        }
        last = placed;
    }
    let size = usize::try_from(last.end().saturating_sub(first.position)).unwrap_or(usize::MAX);
    Ok(LocateOutcome::Batches(Extent {
        file: Arc::clone(&segment.file),
        path: segment.path.clone(),
        position: first.position,
        size,
        base_offset: first.header.base_offset,
        next_offset: last.header.next_offset(),
    }))
}

/// The batch that contains or follows the offset wanted and ends below the bound, `None` when the device would
/// have to be asked; and the walk that goes on behind it.
fn first(segment: &Segment, want: Want) -> Result<(HeaderWalk<'_>, Option<Option<Placed>>), ReadError> {
    let entry = segment.entry_before(want.from);
    let (walk, placed) = match walk_to(segment, entry, want) {
        Err(ReadError::Corrupt { .. }) if entry.is_some() => walk_to(segment, None, want)?,
        first => first?,
    };
    let below = |placed: &Placed| placed.header.next_offset() <= want.up_to;
    Ok((walk, placed.map(|placed| placed.filter(below))))
}

fn walk_to(
    segment: &Segment,
    entry: Option<OffsetEntry>,
    want: Want,
) -> Result<(HeaderWalk<'_>, Option<Option<Placed>>), ReadError> {
    let mut walk = HeaderWalk::new(segment, entry, want.wait);
    loop {
        match walk.next()? {
            Some(Some(placed)) if placed.header.next_offset() <= want.from => {}
            other => return Ok((walk, other)),
        }
    }
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
