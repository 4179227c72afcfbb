//! The 61 bytes in front of a batch's records, parsed into fields.

use thiserror::Error;

use super::compression::Compression;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// The size of a batch's header, in bytes.
pub const BATCH_OVERHEAD: usize = 61;
/// The size of the part that `batch_length` does not count: base offset and length, in bytes.
pub const LENGTH_PREFIX: usize = 12;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;
const KNOWN_BITS: i16 =
    COMPRESSION_MASK | TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT | CONTROL_BIT | DELETE_HORIZON_BIT;

/// A batch's header. Reading it checks the layout only; [`super::RecordBatch`] checks the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record; 0 until the partition assigns one.
    pub base_offset: Offset,
    /// The size of the whole batch, header included, in bytes.
    pub size_bytes: u32,
    /// The epoch in which the batch was appended; -1 until it is assigned.
    pub leader_epoch: i32,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// The attribute bits as they stand on the wire.
    pub attributes: i16,
    /// The last record's offset minus the base offset.
    pub last_offset_delta: i32,
    /// The timestamp that the records' deltas count from, or the delete horizon (see `attributes`).
    pub base_timestamp: Timestamp,
    /// The largest timestamp of any record.
    pub max_timestamp: Timestamp,
    /// The idempotent producer that wrote the batch.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: Sequence,
    /// How many records follow.
    pub record_count: i32,
}

/// Why bytes are not a batch header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("{actual} bytes are too few for a batch header of {BATCH_OVERHEAD}")]
    Short {
        /// The bytes there were.
        actual: usize,
    },
    /// The length field is smaller than a header or larger than `u32` allows.
    #[error("batch length field {length} is out of range")]
    Length {
        /// The field's value.
        length: i32,
    },
    /// Not magic 2.
    #[error("record batch magic {magic} is not supported, only 2 is: upgrade the client")]
    Magic {
        /// The magic byte found.
        magic: i8,
    },
    /// The base offset is negative.
    #[error("base offset {base_offset} is negative")]
    BaseOffset {
        /// The field's value.
        base_offset: i64,
    },
    /// The base offset plus the last delta does not fit.
    #[error("offsets from {base_offset} with last delta {last_offset_delta} are out of range")]
    OffsetRange {
        /// The base offset.
        base_offset: i64,
        /// The last offset delta.
        last_offset_delta: i32,
    },
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; what follows it need not be there.
    ///
    /// # Errors
    /// [`HeaderError`] when the layout does not hold: fewer than 61 bytes, another magic, or a length or
    /// offset that no batch can have.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { actual: bytes.len() };
        let Some(fixed) = bytes.first_chunk::<BATCH_OVERHEAD>() else { return Err(short) };
        let magic = i8::from_be_bytes([fixed[16]]);
        if magic != 2 {
            return Err(HeaderError::Magic { magic });
        }
        let length = i32::from_be_bytes(field(fixed, 8));
        let overhead = u32::try_from(LENGTH_PREFIX).unwrap_or(u32::MAX);
        let size_bytes = u32::try_from(length).ok().and_then(|length| length.checked_add(overhead));
        let size_bytes = size_bytes
            .filter(|size| usize::try_from(*size).is_ok_and(|size| size >= BATCH_OVERHEAD))
            .ok_or(HeaderError::Length { length })?;
        let base_offset = i64::from_be_bytes(field(fixed, 0));
        let last_offset_delta = i32::from_be_bytes(field(fixed, 23));
        let range = HeaderError::OffsetRange { base_offset, last_offset_delta };
        if last_offset_delta < 0 || base_offset.checked_add(i64::from(last_offset_delta) + 1).is_none() {
            return Err(range);
        }
        Ok(Self {
            base_offset: Offset::new(base_offset).ok_or(HeaderError::BaseOffset { base_offset })?,
            size_bytes,
            leader_epoch: i32::from_be_bytes(field(fixed, 12)),
            crc: u32::from_be_bytes(field(fixed, 17)),
            attributes: i16::from_be_bytes(field(fixed, 21)),
            last_offset_delta,
            base_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(fixed, 27))),
            max_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(fixed, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(fixed, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(fixed, 51))),
            base_sequence: Sequence(i32::from_be_bytes(field(fixed, 53))),
            record_count: i32::from_be_bytes(field(fixed, 57)),
        })
    }

    /// Writes the header's fields in their wire layout.
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_OVERHEAD] {
        let prefix = i32::try_from(LENGTH_PREFIX).unwrap_or(i32::MAX);
        let length = i32::try_from(self.size_bytes).unwrap_or(i32::MAX).saturating_sub(prefix);
        let mut out = [0; BATCH_OVERHEAD];
        put(&mut out, 0, self.base_offset.get().to_be_bytes());
        put(&mut out, 8, length.to_be_bytes());
        put(&mut out, 12, self.leader_epoch.to_be_bytes());
        put(&mut out, 16, [2]);
        put(&mut out, 17, self.crc.to_be_bytes());
        put(&mut out, 21, self.attributes.to_be_bytes());
        put(&mut out, 23, self.last_offset_delta.to_be_bytes());
        put(&mut out, 27, self.base_timestamp.millis().to_be_bytes());
        put(&mut out, 35, self.max_timestamp.millis().to_be_bytes());
        put(&mut out, 43, self.producer_id.0.to_be_bytes());
        put(&mut out, 51, self.producer_epoch.0.to_be_bytes());
        put(&mut out, 53, self.base_sequence.0.to_be_bytes());
        put(&mut out, 57, self.record_count.to_be_bytes());
        out
    }

    /// The size of the whole batch in bytes, as an index type.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size_bytes as usize
    }

    /// The offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta.unsigned_abs()))
    }

    /// The offset after the last record: where the next batch starts in a log without compaction.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// The epoch in which the batch was appended, or `None` before it is assigned.
    #[must_use]
    pub const fn epoch(&self) -> Option<LeaderEpoch> {
        LeaderEpoch::new(self.leader_epoch)
    }

    /// How the records are compressed, or `None` for a codec this version does not know.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_id(self.attributes & COMPRESSION_MASK)
    }

    /// Whether the broker's clock gave every record the batch's max timestamp.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE_BIT != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds a commit or abort marker instead of a client's records.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether the base timestamp holds the time from which tombstones may be dropped (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// The time from which tombstones and markers of the batch may be dropped, once compaction has set it.
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<Timestamp> {
        if self.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// The timestamp of a record whose delta is `delta`.
    ///
    /// Deltas count from the base timestamp, also where that is a delete horizon. The sum wraps as Kafka's
    /// does, so that every pair of timestamps has a delta.
    #[must_use]
    pub const fn record_timestamp(&self, delta: i64) -> Timestamp {
        if self.is_log_append_time() {
            return self.max_timestamp;
        }
        Timestamp::from_millis(self.base_timestamp.millis().wrapping_add(delta))
    }

    /// The attribute bits that no version of the format has given a meaning.
    #[must_use]
    pub const fn unknown_attributes(&self) -> i16 {
        self.attributes & !KNOWN_BITS
    }

    /// Sets or clears the bit that [`Self::is_log_append_time`] reads.
    #[must_use]
    pub const fn with_log_append_time(mut self, on: bool) -> Self {
        self.attributes = set_bit(self.attributes, TIMESTAMP_TYPE_BIT, on);
        self
    }

    /// Sets or clears the bit that [`Self::has_delete_horizon`] reads.
    #[must_use]
    pub const fn with_delete_horizon_bit(mut self, on: bool) -> Self {
        self.attributes = set_bit(self.attributes, DELETE_HORIZON_BIT, on);
        self
    }
}

impl BatchHeader {
    /// Sets or clears the bits that mark a transaction's marker.
    #[must_use]
    pub(crate) const fn with_marker_bits(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT | CONTROL_BIT;
        self
    }

    /// Sets the bit that [`Self::is_transactional`] reads.
    #[must_use]
    pub(crate) const fn with_transactional_bit(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Replaces the codec's id.
    #[must_use]
    pub(crate) const fn with_compression(mut self, compression: Compression) -> Self {
        self.attributes = self.attributes & !COMPRESSION_MASK | compression.id();
        self
    }

    /// The range of a batch that its checksum covers starts here.
    pub(crate) const CRC_START: usize = 21;
}

const fn set_bit(attributes: i16, bit: i16, on: bool) -> i16 {
    if on { attributes | bit } else { attributes & !bit }
}

/// The `N` bytes at `at`, which the caller keeps within the header.
fn field<const N: usize>(header: &[u8; BATCH_OVERHEAD], at: usize) -> [u8; N] {
    header.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

fn put<const N: usize>(header: &mut [u8; BATCH_OVERHEAD], at: usize, value: [u8; N]) {
    if let Some(slot) = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *slot = value;
    }
}
