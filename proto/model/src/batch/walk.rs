//! The walk over every record of a batch that a producer sent: framing, deltas, keys, headers, times.
//!
//! [`walk`] goes over records that lie in memory, [`walk_unfolding`] over compressed ones while they unfold,
//! in a buffer of fixed size: a producer chooses how much its bytes unfold to, so a broker that held them
//! whole would spend a quarter of a gigabyte on a batch of a few kilobytes. Both accept the same batches; a
//! property test holds them together.

use std::io::Read;

use super::compression::{Compression, CompressionError};
use super::error::BatchError;
use super::header::BatchHeader;
use super::validate::BatchRules;
use crate::frame::{RECORD_BYTES_MIN, next_frame, next_header};
use crate::ids::Timestamp;
use crate::limits;
use crate::record::RecordError;
use crate::varint::{self, VARLONG_BYTES_MAX, VarintError};

/// How much of the unfolded records is held at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Checks every record in `records` and returns the largest timestamp.
pub(super) fn walk(
    header: &BatchHeader,
    records: &[u8],
    rules: &BatchRules,
) -> Result<Timestamp, RecordError> {
    let stated = header.record_count.unsigned_abs();
    let most = records.len() / RECORD_BYTES_MIN;
    if usize::try_from(stated).map_or(true, |stated| stated > most) {
        // Told before the walk, so that a batch that claims a million records costs nothing.
        return Err(RecordError::Missing { stated, actual: u32::try_from(most).unwrap_or(u32::MAX) });
    }
    let mut rest = records;
    let mut largest = Timestamp::from_millis(i64::MIN);
    for index in 0..stated {
        if rest.is_empty() {
            return Err(RecordError::Missing { stated, actual: index });
        }
        let frame = next_frame(&mut rest, index)?;
        check_delta(index, frame.offset_delta)?;
        check_key(index, header, rules, frame.key.is_some())?;
        check_header_count(index, frame.header_count)?;
        let mut headers = frame.headers;
        for _ in 0..frame.header_count {
            next_header(&mut headers, index)?;
        }
        if !headers.is_empty() {
            return Err(RecordError::Slack { index, extra: headers.len() });
        }
        largest = largest.max(header.record_timestamp(frame.timestamp_delta));
    }
    if rest.is_empty() { Ok(largest) } else { Err(RecordError::Trailing { extra: rest.len() }) }
}

/// Checks every record that `reader` unfolds and returns the largest timestamp.
pub(super) fn walk_unfolding(
    header: &BatchHeader,
    codec: Compression,
    reader: impl Read,
    rules: &BatchRules,
) -> Result<Timestamp, BatchError> {
    let stated = header.record_count.unsigned_abs();
    let mut source = Source::new(codec, reader);
    let mut largest = Timestamp::from_millis(i64::MIN);
    for index in 0..stated {
        if source.at_end()? {
            return Err(RecordError::Missing { stated, actual: index }.into());
        }
        let timestamp_delta = walk_record(&mut source, index, header, rules)?;
        largest = largest.max(header.record_timestamp(timestamp_delta));
    }
    // Reading to the end is also what makes the codec compare its own checksum.
    if source.at_end()? {
        Ok(largest)
    } else {
        Err(RecordError::Trailing { extra: source.held().len() }.into())
    }
}

/// Checks one record and returns its timestamp delta.
fn walk_record<R: Read>(
    source: &mut Source<R>,
    index: u32,
    header: &BatchHeader,
    rules: &BatchRules,
) -> Result<i64, BatchError> {
    // The length field itself is not part of what it counts.
    let mut prefix = Body { source, left: varint::VARINT_BYTES_MAX, index };
    let length = prefix.int("length")?;
    let left = usize::try_from(length).map_err(|_| RecordError::Length {
        index,
        length,
        available: source.held().len(),
    })?;
    let mut body = Body { source, left, index };
    body.skip(1, "attributes")?;
    let timestamp_delta = body.long("timestamp delta")?;
    check_delta(index, body.int("offset delta")?)?;
    check_key(index, header, rules, body.nullable("key")?)?;
    body.nullable("value")?;
    let count = body.int("header count")?;
    let count = usize::try_from(count).map_err(|_| RecordError::Field { index, field: "header count" })?;
    check_header_count(index, count)?;
    for _ in 0..count {
        if !body.nullable("header key")? {
            return Err(RecordError::Field { index, field: "header key" }.into());
        }
        body.nullable("header value")?;
    }
    if body.left == 0 {
        Ok(timestamp_delta)
    } else {
        Err(RecordError::Slack { index, extra: body.left }.into())
    }
}

fn check_delta(index: u32, actual: i32) -> Result<(), RecordError> {
    let expected = index.cast_signed();
    if actual == expected { Ok(()) } else { Err(RecordError::OffsetDelta { index, expected, actual }) }
}

const fn check_key(
    index: u32,
    header: &BatchHeader,
    rules: &BatchRules,
    present: bool,
) -> Result<(), RecordError> {
    if present || !rules.key_required || header.is_control() {
        return Ok(());
    }
    Err(RecordError::KeyMissing { index })
}

const fn check_header_count(index: u32, actual: usize) -> Result<(), RecordError> {
    let limit = limits::HEADERS_PER_RECORD_MAX;
    if actual > limit { Err(RecordError::HeaderCount { index, limit, actual }) } else { Ok(()) }
}

/// One record's fields, read in order from `source`; `left` bytes of the record are not read yet.
struct Body<'a, R> {
    source: &'a mut Source<R>,
    left: usize,
    index: u32,
}

impl<R: Read> Body<'_, R> {
    fn int(&mut self, field: &'static str) -> Result<i32, BatchError> {
        self.integer(field, varint::read_i32)
    }

    fn long(&mut self, field: &'static str) -> Result<i64, BatchError> {
        self.integer(field, varint::read_i64)
    }

    fn integer<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut &[u8]) -> Result<T, VarintError>,
    ) -> Result<T, BatchError> {
        let broken = self.broken(field);
        let held = self.source.fill(VARLONG_BYTES_MAX)?;
        let mut rest = held.get(..self.left).unwrap_or(held);
        let before = rest.len();
        let Ok(value) = read(&mut rest) else { return Err(broken) };
        let taken = before - rest.len();
        self.left -= taken;
        self.source.consume(taken);
        Ok(value)
    }

    /// Skips a field with a length before it; whether it is present.
    fn nullable(&mut self, field: &'static str) -> Result<bool, BatchError> {
        let length = self.int(field)?;
        if length == -1 {
            return Ok(false);
        }
        self.skip(usize::try_from(length).map_err(|_| self.broken(field))?, field)?;
        Ok(true)
    }

    fn skip(&mut self, count: usize, field: &'static str) -> Result<(), BatchError> {
        self.left = self.left.checked_sub(count).ok_or_else(|| self.broken(field))?;
        if self.source.skip(count)? { Ok(()) } else { Err(self.broken(field)) }
    }

    fn broken(&self, field: &'static str) -> BatchError {
        RecordError::Field { index: self.index, field }.into()
    }
}

/// What a codec unfolds, of which at most [`BUFFER_BYTES`] are held.
struct Source<R> {
    codec: Compression,
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What may still be unfolded before the batch counts as too large.
    budget: usize,
}

impl<R: Read> Source<R> {
    fn new(codec: Compression, reader: R) -> Self {
        let budget = limits::UNCOMPRESSED_BATCH_BYTES_MAX;
        Self { codec, reader, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, budget }
    }

    /// What is unfolded and not consumed.
    fn held(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Holds at least `want` bytes, or all there are.
    fn fill(&mut self, want: usize) -> Result<&[u8], CompressionError> {
        while self.end - self.start < want {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.read()? == 0 {
                break;
            }
        }
        Ok(self.held())
    }

    /// Unfolds into the free end of the buffer.
    fn read(&mut self) -> Result<usize, CompressionError> {
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.reader.read(free) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = count.map_err(|error| self.codec.broken(&error))?;
        let too_large = self.codec.too_large(limits::UNCOMPRESSED_BATCH_BYTES_MAX);
        self.budget = self.budget.checked_sub(count).ok_or(too_large)?;
        self.end += count;
        Ok(count)
    }

    fn at_end(&mut self) -> Result<bool, CompressionError> {
        Ok(self.fill(1)?.is_empty())
    }

    /// Whether there were `count` bytes to skip.
    fn skip(&mut self, mut count: usize) -> Result<bool, CompressionError> {
        while count > 0 {
            let held = self.fill(1)?.len();
            if held == 0 {
                return Ok(false);
            }
            let step = held.min(count);
            self.consume(step);
            count -= step;
        }
        Ok(true)
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
