//! The check at the door: what a batch must hold before any other room sees it.
//!
//! Everything about a batch that costs time by the byte happens here, on the connection's task: the CRC, the
//! walk over the records and, for compressed batches, one bounded unfolding. The rules are Kafka's
//! (`LogValidator`, `DefaultRecordBatch`), with bounds on what a client can make the broker allocate.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::compression::{Compression, CompressionError};
use super::header::{BATCH_OVERHEAD, BatchHeader, HeaderError};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits;
use crate::frame::{Frame, next_frame, next_header};
use crate::record::{RecordError, Records};

/// The first byte that the CRC covers.
const CRC_START: usize = 21;

/// What a topic asks of the batches produced to it.
#[derive(Debug, Clone, Copy)]
pub struct BatchRules {
    /// `max.message.bytes`: the largest whole batch, in bytes.
    pub batch_bytes_max: usize,
    /// Compacted topics refuse records without a key.
    pub key_required: bool,
    /// Clients may not write control batches; the broker may.
    pub control_allowed: bool,
}

impl Default for BatchRules {
    fn default() -> Self {
        Self { batch_bytes_max: limits::BATCH_BYTES_MAX_DEFAULT, key_required: false, control_allowed: false }
    }
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The header is broken.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes are not exactly one batch.
    #[error("the batch announces {announced} bytes but {actual} were sent: send exactly one batch")]
    Length {
        /// The size in the header.
        announced: u32,
        /// The bytes there are.
        actual: usize,
    },
    /// The batch is larger than the topic allows.
    #[error(
        "the batch has {actual} bytes, the topic allows {limit}: send smaller batches or raise max.message.bytes"
    )]
    TooLarge {
        /// The topic's `max.message.bytes`.
        limit: usize,
        /// The size of the batch.
        actual: usize,
    },
    /// The checksum does not fit the bytes.
    #[error(
        "the batch's CRC32C is {stored:08x} but its bytes sum to {computed:08x}: it was damaged on the way"
    )]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A client gave the batch an offset of its own.
    #[error("base offset {base_offset} must be 0: the partition assigns offsets")]
    BaseOffset {
        /// The base offset found.
        base_offset: Offset,
    },
    /// The record count is out of range or does not fit the offsets.
    #[error("record count {count} does not fit last offset delta {last_offset_delta} (1 to {limit} records)")]
    Count {
        /// The count in the header.
        count: i32,
        /// The last offset delta in the header.
        last_offset_delta: i32,
        /// The most records allowed.
        limit: i32,
    },
    /// The codec's id is unknown.
    #[error("compression id {id} is unknown: use none, gzip, snappy, lz4 or zstd")]
    Codec {
        /// The id found.
        id: i16,
    },
    /// The records cannot be unfolded.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The header's max timestamp is not that of the records.
    #[error("max timestamp {stored} does not fit the records, whose largest is {actual}")]
    MaxTimestamp {
        /// The header's value.
        stored: Timestamp,
        /// The largest of the records.
        actual: Timestamp,
    },
    /// A client set a bit that is the broker's.
    #[error("a client may not write a batch with the {bit} bit")]
    ReservedBit {
        /// The bit's name.
        bit: &'static str,
    },
    /// Producer id, epoch and sequence do not go together.
    #[error("producer id {id} with epoch {epoch} and sequence {sequence}: all three must be set, or none")]
    Producer {
        /// The producer id.
        id: i64,
        /// The producer epoch.
        epoch: i16,
        /// The base sequence.
        sequence: i32,
    },
}

impl BatchError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::Compression(CompressionError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            Self::Record(error) => error.code(),
            Self::Header(_)
            | Self::Length { .. }
            | Self::Checksum { .. }
            | Self::Compression(CompressionError::Broken { .. }) => ErrorCode::CorruptMessage,
            Self::Codec { .. } => ErrorCode::UnsupportedCompression,
            Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::MaxTimestamp { .. }
            | Self::ReservedBit { .. }
            | Self::Producer { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The limit that was passed and the value found, when a limit was passed.
    #[must_use]
    pub fn limit(&self) -> Option<(i64, i64)> {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Self::TooLarge { limit, actual } => Some((number(*limit), number(*actual))),
            Self::Count { count, limit, .. } => Some((i64::from(*limit), i64::from(*count))),
            Self::Record(RecordError::HeaderCount { limit, actual, .. }) => {
                Some((number(*limit), number(*actual)))
            }
            _ => None,
        }
    }
}

/// One whole batch whose layout, checksum, counts and records were found to hold.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    bytes: Bytes,
    header: BatchHeader,
}

impl RecordBatch {
    /// Checks everything: header, length, size, CRC32C, counts, codec, and each record's framing, offset, key
    /// and (for uncompressed batches) timestamp; a compressed batch is unfolded within bounds for it.
    ///
    /// # Errors
    /// [`BatchError`] names the rule that is broken.
    pub fn validate(bytes: Bytes, rules: &BatchRules) -> Result<Self, BatchError> {
        if bytes.len() > rules.batch_bytes_max {
            return Err(BatchError::TooLarge { limit: rules.batch_bytes_max, actual: bytes.len() });
        }
        let batch = Self::from_log(bytes)?;
        batch.check_header(rules)?;
        batch.check_records(rules)?;
        Ok(batch)
    }

    /// Checks header, length and CRC32C only: for bytes read back from a log that validated them before.
    ///
    /// # Errors
    /// [`BatchError`] names the rule that is broken.
    pub fn from_log(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if header.size() != bytes.len() {
            return Err(BatchError::Length { announced: header.size_bytes, actual: bytes.len() });
        }
        let computed = checksum(&bytes);
        if computed != header.crc {
            return Err(BatchError::Checksum { stored: header.crc, computed });
        }
        Ok(Self { bytes, header })
    }

    /// Splits the concatenated batches of a fetch; each is checked as [`Self::from_log`] does. Ends after
    /// the first error.
    pub fn split(bytes: Bytes) -> impl Iterator<Item = Result<Self, BatchError>> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let batch = Self::take_from(&mut rest);
            if batch.is_err() {
                rest = Bytes::new();
            }
            Some(batch)
        })
    }

    fn take_from(rest: &mut Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(rest)?;
        if header.size() > rest.len() {
            return Err(BatchError::Length { announced: header.size_bytes, actual: rest.len() });
        }
        Self::from_log(rest.split_to(header.size()))
    }

    /// A batch that this crate has just built.
    pub(crate) const fn from_parts(bytes: Bytes, header: BatchHeader) -> Self {
        Self { bytes, header }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, owned.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Its records, keys and values as slices of the batch (of the unfolded bytes when it is compressed).
    ///
    /// # Errors
    /// When the records cannot be unfolded.
    pub fn records(&self) -> Result<Records, BatchError> {
        Ok(Records::new(self.header, self.plain_records()?))
    }

    /// The batch with the broker's clock as the timestamp of all its records (`LogAppendTime`). Copies and
    /// checksums it again, because that field lies under the CRC.
    #[must_use]
    pub fn with_log_append_time(self, now: Timestamp) -> Self {
        let header = BatchHeader { max_timestamp: now, ..self.header }.with_log_append_time(true);
        let mut bytes = BytesMut::from(self.bytes.as_ref());
        let header = seal(&mut bytes, header);
        Self { bytes: bytes.freeze(), header }
    }

    fn codec(&self) -> Result<Compression, BatchError> {
        self.header.compression().ok_or(BatchError::Codec { id: self.header.attributes & 0x07 })
    }

    fn plain_records(&self) -> Result<Bytes, BatchError> {
        let packed = self.bytes.slice(BATCH_OVERHEAD..);
        Ok(self.codec()?.decompress(&packed, limits::UNCOMPRESSED_BATCH_BYTES_MAX)?)
    }

    fn check_header(&self, rules: &BatchRules) -> Result<(), BatchError> {
        let header = &self.header;
        if header.base_offset != Offset::ZERO {
            return Err(BatchError::BaseOffset { base_offset: header.base_offset });
        }
        let (count, limit) = (header.record_count, limits::RECORDS_PER_BATCH_MAX);
        let last_offset_delta = header.last_offset_delta;
        if count < 1 || count > limit || last_offset_delta != count - 1 {
            return Err(BatchError::Count { count, last_offset_delta, limit });
        }
        if header.is_control() && !rules.control_allowed {
            return Err(BatchError::ReservedBit { bit: "control" });
        }
        if header.has_delete_horizon() {
            return Err(BatchError::ReservedBit { bit: "delete horizon" });
        }
        if header.is_log_append_time() {
            return Err(BatchError::ReservedBit { bit: "timestamp type" });
        }
        self.check_producer()
    }

    fn check_producer(&self) -> Result<(), BatchError> {
        let header = &self.header;
        let set = header.producer_id.0 >= 0 && header.producer_epoch.0 >= 0 && header.base_sequence.0 >= 0;
        let control = header.is_control() && header.producer_id.0 >= 0 && header.producer_epoch.0 >= 0;
        let unset = header.producer_id == ProducerId::NONE
            && header.producer_epoch == ProducerEpoch::NONE
            && header.base_sequence == Sequence::NONE
            && !header.is_transactional();
        if set || control || unset {
            return Ok(());
        }
        Err(BatchError::Producer {
            id: header.producer_id.0,
            epoch: header.producer_epoch.0,
            sequence: header.base_sequence.0,
        })
    }

    fn check_records(&self, rules: &BatchRules) -> Result<(), BatchError> {
        let plain = self.plain_records()?;
        let mut input = plain.as_ref();
        let mut largest = Timestamp::NONE;
        for index in 0..self.header.record_count.unsigned_abs() {
            let record = next_frame(&mut input, index)?;
            check_record(&record, index, rules)?;
            largest = largest.max(self.header.record_timestamp(record.timestamp_delta));
        }
        if !input.is_empty() {
            return Err(RecordError::Trailing { extra: input.len() }.into());
        }
        // The time index repeats the header's value, so it has to be true.
        if largest != self.header.max_timestamp {
            return Err(BatchError::MaxTimestamp { stored: self.header.max_timestamp, actual: largest });
        }
        Ok(())
    }
}

fn check_record(record: &Frame<'_>, index: u32, rules: &BatchRules) -> Result<(), RecordError> {
    let actual = record.offset_delta;
    if u32::try_from(actual) != Ok(index) {
        let expected = i32::try_from(index).unwrap_or(i32::MAX);
        return Err(RecordError::OffsetDelta { index, expected, actual });
    }
    if rules.key_required && record.key.is_none() {
        return Err(RecordError::KeyMissing { index });
    }
    let (limit, actual) = (limits::HEADERS_PER_RECORD_MAX, record.header_count);
    if actual > limit {
        return Err(RecordError::HeaderCount { index, limit, actual });
    }
    let mut headers = record.headers;
    for _ in 0..actual {
        next_header(&mut headers, index)?;
    }
    if headers.is_empty() { Ok(()) } else { Err(RecordError::Slack { index, extra: headers.len() }) }
}

fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default())
}

/// Writes `header` over the first bytes of a whole batch, with the size and checksum the bytes have.
pub(super) fn seal(bytes: &mut BytesMut, header: BatchHeader) -> BatchHeader {
    let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let unsealed = BatchHeader { size_bytes, crc: 0, ..header };
    write_header(bytes, &unsealed);
    let sealed = BatchHeader { crc: checksum(bytes), ..unsealed };
    write_header(bytes, &sealed);
    sealed
}

fn write_header(bytes: &mut BytesMut, header: &BatchHeader) {
    if let Some(place) = bytes.first_chunk_mut::<BATCH_OVERHEAD>() {
        *place = header.encode();
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
