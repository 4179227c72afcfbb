//! Building a batch record by record.
//!
//! Records are encoded straight into one growing buffer that starts with room for the header, so closing an
//! uncompressed batch copies nothing.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::compression::{Compression, CompressionError};
use super::header::{BATCH_OVERHEAD, BatchHeader};
use super::validate::{RecordBatch, seal};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits;
use crate::varint;

/// A record's header as its parts.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Appends records into one growing buffer; no allocation per record.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: BytesMut,
    header: BatchHeader,
    compression: Compression,
}

/// Why a batch could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// No record was added.
    #[error("a batch needs at least one record")]
    Empty,
    /// More records than a batch may hold.
    #[error("a batch holds at most {limit} records, {actual} were added")]
    Records {
        /// The most records allowed.
        limit: i32,
        /// The number added.
        actual: i32,
    },
    /// More bytes than a batch's length field can say.
    #[error("a batch of {actual} bytes does not fit its length field")]
    Size {
        /// The bytes of the batch.
        actual: usize,
    },
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl BatchBuilder {
    /// An empty batch whose buffer has room for `capacity` bytes of records.
    #[must_use]
    pub fn new(compression: Compression, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(BATCH_OVERHEAD.saturating_add(capacity));
        buffer.put_bytes(0, BATCH_OVERHEAD);
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
        Self { buffer, header, compression }
    }

    /// An empty batch that takes the place of a batch with this header in a compacted log: it keeps its
    /// offsets, epoch, producer and timestamps' type, whichever of its records are kept. Without any, the
    /// batch may still be built: it then holds the place of its offsets and producer.
    ///
    /// With `delete_horizon`, tombstones and markers in it may be dropped from that time on (KIP-534).
    #[must_use]
    pub fn rewrite(original: &BatchHeader, delete_horizon: Option<Timestamp>, capacity: usize) -> Self {
        let mut builder = Self::new(original.compression().unwrap_or_default(), capacity);
        let horizon =
            delete_horizon.or_else(|| original.has_delete_horizon().then_some(original.base_timestamp));
        builder.header = BatchHeader {
            record_count: 0,
            size_bytes: 0,
            max_timestamp: if original.is_log_append_time() {
                original.max_timestamp
            } else {
                Timestamp::NONE
            },
            base_timestamp: horizon.unwrap_or(original.base_timestamp),
            ..*original
        }
        .with_delete_horizon_bit(horizon.is_some());
        builder
    }

    /// Adds a record whose offset delta is the number of records before it. A batch is closed before it
    /// holds [`limits::RECORDS_PER_BATCH_MAX`] records or 2 GiB; [`Self::build`] refuses a larger one.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let delta = self.header.record_count;
        if delta == 0 {
            self.header.base_timestamp = timestamp;
        }
        self.put_record(delta, timestamp, key, value, headers);
        self.header.last_offset_delta = delta;
    }

    /// Adds a record that keeps its offset delta, to a batch made by [`Self::rewrite`].
    pub fn append_kept(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        self.put_record(offset_delta, timestamp, key, value, headers);
    }

    fn put_record(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let timestamp_delta = timestamp.millis().wrapping_sub(self.header.base_timestamp.millis());
        let body = 1
            + varint::size_i64(timestamp_delta)
            + varint::size_i32(offset_delta)
            + nullable_size(key)
            + nullable_size(value)
            + varint::size_i32(length(headers.len()))
            + headers.iter().map(|(key, value)| bytes_size(key) + nullable_size(*value)).sum::<usize>();
        let out = &mut self.buffer;
        out.reserve(body + 5);
        varint::put_i32(out, length(body));
        out.put_i8(0);
        varint::put_i64(out, timestamp_delta);
        varint::put_i32(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        varint::put_i32(out, length(headers.len()));
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        self.header.record_count = self.header.record_count.saturating_add(1);
        if !self.header.is_log_append_time() {
            self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        }
    }

    /// How many records were added.
    #[must_use]
    pub fn record_count(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or(0)
    }

    /// The size of the batch if it were built now without compression, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The most bytes a record of these parts adds to a batch.
    #[must_use]
    pub fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderRef<'_>]) -> usize {
        // Length 5, attributes 1, timestamp 10, offset 5, header count 5.
        let headers: usize = headers.iter().map(|(key, value)| bytes_size(key) + nullable_size(*value)).sum();
        26 + nullable_size(key) + nullable_size(value) + headers
    }

    /// Marks the batch as part of an idempotent producer's stream.
    #[must_use]
    pub const fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Closes the batch: compresses, fills the header, checksums.
    ///
    /// # Errors
    /// When it has no record (unless it was made by [`Self::rewrite`]) or too many, or the codec fails.
    pub fn build(self) -> Result<RecordBatch, BuildError> {
        if self.header.record_count == 0 {
            return Err(BuildError::Empty);
        }
        self.build_even_empty()
    }

    /// As [`Self::build`], but a batch made by [`Self::rewrite`] may be left without records.
    ///
    /// # Errors
    /// When it has too many records, or the codec fails.
    pub fn build_even_empty(self) -> Result<RecordBatch, BuildError> {
        let (limit, actual) = (limits::RECORDS_PER_BATCH_MAX, self.header.record_count);
        if actual > limit {
            return Err(BuildError::Records { limit, actual });
        }
        let mut buffer = self.buffer;
        if self.compression != Compression::None && actual > 0 {
            let packed = self.compression.compress(buffer.get(BATCH_OVERHEAD..).unwrap_or_default())?;
            buffer.truncate(BATCH_OVERHEAD);
            buffer.extend_from_slice(&packed);
        }
        if i32::try_from(buffer.len()).is_err() {
            return Err(BuildError::Size { actual: buffer.len() });
        }
        let header = seal(&mut buffer, self.header);
        Ok(RecordBatch::from_parts(buffer.freeze(), header))
    }
}

/// A length as the formats store it; the builder's limits keep it in range.
fn length(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn bytes_size(bytes: &[u8]) -> usize {
    varint::size_i32(length(bytes.len())) + bytes.len()
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, bytes_size)
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put_i32(out, -1),
        Some(bytes) => {
            varint::put_i32(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
pub(super) mod tests;
