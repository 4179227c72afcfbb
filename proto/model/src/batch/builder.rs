//! Building a batch record by record, from new records or from those compaction keeps.
//!
//! One growing buffer with room for the header in front: an uncompressed batch is never copied, a compressed
//! one is read once by the codec.
//!
//! **Invariant:** what [`BatchBuilder::build`] returns passes [`RecordBatch::validate`] when it was begun
//! with [`BatchBuilder::new`] and given producer fields that belong together.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::header::{BATCH_OVERHEAD, BatchHeader};
use super::validate::{RecordBatch, seal};
use super::{Compression, CompressionError};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits;
use crate::varint;

/// A record's attributes byte; no bit of it has a meaning.
const RECORD_ATTRIBUTES: u8 = 0;
/// The most bytes of a record's own fields: length, attributes, two deltas, and three lengths or counts.
const RECORD_OVERHEAD_MAX: usize = 6 * varint::VARINT_BYTES_MAX + varint::VARLONG_BYTES_MAX;

/// One header of a record as it is appended: key and value.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Appends records into one growing buffer; no allocation per record.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: BytesMut,
    header: BatchHeader,
    compression: Compression,
    /// Set when the batch takes the place of one in the log: offsets, empty batches and times follow that.
    rewritten: Option<Rewritten>,
    base_timestamp: Option<Timestamp>,
    max_timestamp: Option<Timestamp>,
    count: u32,
    next_delta: i32,
    misplaced: Option<i32>,
    oversized: bool,
}

/// What a rewritten batch keeps of the old one besides its header's fields.
#[derive(Debug, Clone, Copy)]
struct Rewritten {
    old_max_timestamp: Timestamp,
}

/// Why a batch could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// No record was added.
    #[error("a batch needs at least one record")]
    Empty,
    /// More bytes or records than a batch can hold.
    #[error("the batch has {bytes} bytes and {records} records, more than a batch can hold")]
    TooLarge {
        /// The bytes so far.
        bytes: usize,
        /// The records so far.
        records: u32,
    },
    /// A record was put at an offset that the rewritten batch does not span, or before an earlier one.
    #[error("offset delta {delta} is out of order or outside the batch that is rewritten")]
    Misplaced {
        /// The record's offset delta.
        delta: i32,
    },
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl BatchBuilder {
    /// An empty batch whose buffer has room for `capacity` bytes of records.
    #[must_use]
    pub fn new(compression: Compression, capacity: usize) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            size_bytes: 0,
            leader_epoch: -1,
            crc: 0,
            attributes: compression.id(),
            last_offset_delta: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            record_count: 0,
        };
        Self::with_header(header, compression, capacity)
    }

    /// A batch that takes the place of the one with `header` in a log with some of its records left out.
    ///
    /// Base offset, last offset delta, leader epoch, producer fields and attributes stay, so that offsets and
    /// sequences go on as if nothing were missing (Kafka's cleaner does the same). Records are put at their
    /// old offsets with [`Self::append_at`]; a batch without records may be built. With `delete_horizon`
    /// the tombstones of the batch get a time from which they may go (KIP-534); a horizon that the old batch
    /// has stays when `None` is given.
    #[must_use]
    pub fn rewrite(header: &BatchHeader, delete_horizon: Option<Timestamp>, capacity: usize) -> Self {
        let horizon = delete_horizon.or_else(|| header.delete_horizon());
        let compression = header.compression().unwrap_or_default();
        let kept = header.with_compression(compression).with_delete_horizon_bit(horizon.is_some());
        let mut builder = Self::with_header(kept, compression, capacity);
        builder.rewritten = Some(Rewritten { old_max_timestamp: header.max_timestamp });
        builder.base_timestamp = horizon;
        builder
    }

    fn with_header(header: BatchHeader, compression: Compression, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(BATCH_OVERHEAD.saturating_add(capacity));
        buffer.put_bytes(0, BATCH_OVERHEAD);
        Self {
            buffer,
            header,
            compression,
            rewritten: None,
            base_timestamp: None,
            max_timestamp: None,
            count: 0,
            next_delta: 0,
            misplaced: None,
            oversized: false,
        }
    }

    /// Adds a record; its offset delta is the number of records before it.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        self.push(self.next_delta, timestamp, key, value, headers);
    }

    /// Adds a record of a rewritten batch at the offset it had.
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let delta = offset.get().saturating_sub(self.header.base_offset.get());
        let delta = i32::try_from(delta).unwrap_or(i32::MAX);
        if delta < self.next_delta || delta > self.header.last_offset_delta {
            self.misplaced.get_or_insert(delta);
        }
        self.push(delta, timestamp, key, value, headers);
    }

    fn push(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.millis().wrapping_sub(base.millis());
        let mut size = size_of::<u8>() + varint::size_i64(timestamp_delta) + varint::size_i32(offset_delta);
        size += bytes_size(key) + bytes_size(value) + varint::size_i32(length(headers.len()));
        size += headers.iter().map(|(key, value)| bytes_size(Some(key)) + bytes_size(*value)).sum::<usize>();
        if self.buffer.len().saturating_add(size) > MAX_SIZE || self.count >= COUNT_MAX {
            // Reported by `build`: nobody can make use of the batch any more.
            self.oversized = true;
            return;
        }
        self.buffer.reserve(size + varint::VARINT_BYTES_MAX);
        varint::put_i32(&mut self.buffer, length(size));
        self.buffer.put_u8(RECORD_ATTRIBUTES);
        varint::put_i64(&mut self.buffer, timestamp_delta);
        varint::put_i32(&mut self.buffer, offset_delta);
        put_bytes(&mut self.buffer, key);
        put_bytes(&mut self.buffer, value);
        varint::put_i32(&mut self.buffer, length(headers.len()));
        for (key, value) in headers {
            put_bytes(&mut self.buffer, Some(key));
            put_bytes(&mut self.buffer, *value);
        }
        self.max_timestamp = self.max_timestamp.max(Some(timestamp));
        self.count += 1;
        self.next_delta = offset_delta.saturating_add(1);
    }

    /// How many records were added.
    #[must_use]
    pub fn record_count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// The size of the batch if it were built now without compression, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The most bytes a record of these parts adds to a batch (an upper bound).
    #[must_use]
    pub fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) -> usize {
        let parts = key.map_or(0, <[u8]>::len).saturating_add(value.map_or(0, <[u8]>::len));
        headers.iter().fold(parts.saturating_add(RECORD_OVERHEAD_MAX), |sum, (key, value)| {
            let header = key.len().saturating_add(value.map_or(0, <[u8]>::len));
            sum.saturating_add(header).saturating_add(2 * varint::VARINT_BYTES_MAX)
        })
    }

    /// Marks the batch as part of an idempotent producer's stream.
    #[must_use]
    pub const fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of its producer's transaction.
    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.header = self.header.with_transactional_bit();
        self
    }

    /// Marks the batch as the marker that ends a transaction.
    pub(super) const fn marker(mut self) -> Self {
        self.header = self.header.with_marker_bits();
        self
    }

    /// Closes the batch: compresses, fills the header, checksums.
    ///
    /// # Errors
    /// When it is empty or too large, a record was misplaced, or the codec fails.
    pub fn build(self) -> Result<RecordBatch, BuildError> {
        if let Some(delta) = self.misplaced {
            return Err(BuildError::Misplaced { delta });
        }
        if self.oversized {
            return Err(BuildError::TooLarge { bytes: self.buffer.len(), records: self.count });
        }
        let header = match self.rewritten {
            Some(rewritten) => self.rewritten_header(rewritten),
            None if self.count == 0 => return Err(BuildError::Empty),
            None => self.new_header(),
        };
        let mut batch = self.packed()?;
        let header = seal(&mut batch, header);
        Ok(RecordBatch::from_parts(batch.freeze(), header))
    }

    fn new_header(&self) -> BatchHeader {
        BatchHeader {
            last_offset_delta: self.next_delta.saturating_sub(1),
            base_timestamp: self.base_timestamp.unwrap_or(Timestamp::NONE),
            max_timestamp: self.max_timestamp.unwrap_or(Timestamp::NONE),
            record_count: self.count.cast_signed(),
            ..self.header
        }
    }

    fn rewritten_header(&self, rewritten: Rewritten) -> BatchHeader {
        let old = rewritten.old_max_timestamp;
        // The broker's time stays the time of the records that are left; an empty batch keeps the old time
        // so that retention by time still sees when it was written.
        let kept = self.max_timestamp.filter(|_| !self.header.is_log_append_time());
        let header = BatchHeader {
            base_timestamp: self.base_timestamp.unwrap_or(old),
            max_timestamp: kept.unwrap_or(old),
            record_count: self.count.cast_signed(),
            ..self.header
        };
        if self.count == 0 { header.with_compression(Compression::None) } else { header }
    }

    /// The header's room followed by the records as they go into the batch.
    fn packed(self) -> Result<BytesMut, BuildError> {
        if self.compression == Compression::None || self.count == 0 {
            return Ok(self.buffer);
        }
        let (bytes, records) = (self.buffer.len(), self.count);
        let mut packed = BytesMut::with_capacity(BATCH_OVERHEAD + bytes / 2);
        packed.put_bytes(0, BATCH_OVERHEAD);
        let plain = self.buffer.get(BATCH_OVERHEAD..).unwrap_or_default();
        self.compression.compress_into(plain, &mut packed)?;
        if packed.len() > MAX_SIZE {
            return Err(BuildError::TooLarge { bytes: packed.len(), records });
        }
        Ok(packed)
    }
}

/// No batch built here is larger than one that may be unfolded again.
const MAX_SIZE: usize = limits::UNCOMPRESSED_BATCH_BYTES_MAX;
const COUNT_MAX: u32 = limits::RECORDS_PER_BATCH_MAX.unsigned_abs();

/// A length as the format writes it. What does not fit is refused by its size before it is written.
fn length(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size_i32(length(bytes.len())) + bytes.len())
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return varint::put_i32(out, -1) };
    varint::put_i32(out, length(bytes.len()));
    out.put_slice(bytes);
}

#[cfg(test)]
#[path = "builder_tests.rs"]
pub(super) mod tests;
