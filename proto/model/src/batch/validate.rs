//! The check at the door: bytes become a [`RecordBatch`] here or are refused.
//!
//! Who produces a batch may send anything; after [`RecordBatch::validate`] the layout, the checksum, every
//! count and every record's framing hold, so nothing behind the door looks at them again. The walk over the
//! records keeps nothing of them and, for an uncompressed batch, allocates nothing.
//!
//! Source of the rules: Kafka's `ProduceRequest.validateRecords`, `LogValidator` and `UnifiedLog`.

use bytes::Bytes;

use super::control::ControlMarker;
use super::error::BatchError;
use super::header::{BATCH_OVERHEAD, BatchHeader};
use super::walk::{walk, walk_unfolding};
use super::{Compression, LENGTH_PREFIX};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits;
use crate::record::Records;

/// What a topic asks of the batches produced to it.
#[derive(Debug, Clone, Copy)]
pub struct BatchRules {
    /// `max.message.bytes`: the largest whole batch, in bytes.
    pub batch_bytes_max: usize,
    /// Compacted topics refuse records without a key.
    pub key_required: bool,
    /// Producers may not write control batches; the broker may.
    pub control_allowed: bool,
}

impl Default for BatchRules {
    /// The rules of a topic with default configs.
    fn default() -> Self {
        Self { batch_bytes_max: limits::BATCH_BYTES_MAX_DEFAULT, key_required: false, control_allowed: false }
    }
}

/// One whole batch whose layout, checksum, counts and records were found to hold.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    bytes: Bytes,
    header: BatchHeader,
}

impl RecordBatch {
    /// Checks everything: header, length (exactly one batch in `bytes`), CRC32C, counts, codec, and every
    /// record's framing, deltas, and keys (unfolding a compressed batch within bounds).
    ///
    /// A max timestamp that is not the records' largest is put right, as Kafka does: indexes by time are
    /// built from it. That costs a copy, and only for such a batch.
    ///
    /// # Errors
    /// [`BatchError`] names the rule.
    pub fn validate(bytes: Bytes, rules: &BatchRules) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let limit = rules.batch_bytes_max;
        if header.size() > limit {
            return Err(BatchError::TooLarge { limit, actual: header.size() });
        }
        let batch = Self::checked(bytes, header)?;
        let compression = check_header(&header, rules)?;
        let largest = batch.walk(compression, rules)?;
        if header.is_control() {
            ControlMarker::parse(&batch)?;
        }
        if largest == header.max_timestamp {
            return Ok(batch);
        }
        Ok(batch.with_header(BatchHeader { max_timestamp: largest, ..header }))
    }

    /// Checks header, length and CRC32C only: for bytes read back from a log that validated them before.
    ///
    /// # Errors
    /// [`BatchError`] names the rule.
    pub fn from_log(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        Self::checked(bytes, header)
    }

    /// Splits the concatenated batches of a fetch response; each is checked as [`Self::from_log`] does.
    ///
    /// After an error there is no further item.
    pub fn split(mut bytes: Bytes) -> impl Iterator<Item = Result<Self, BatchError>> {
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let item = Self::split_first(&mut bytes);
            if item.is_err() {
                bytes.clear();
            }
            Some(item)
        })
    }

    fn split_first(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let (stated, actual) = (header.size(), bytes.len());
        if stated > actual {
            return Err(BatchError::Length { stated, actual });
        }
        Self::checked(bytes.split_to(stated), header)
    }

    /// Checks what every batch must hold: `bytes` are as long as the header says, and their checksum.
    fn checked(bytes: Bytes, header: BatchHeader) -> Result<Self, BatchError> {
        let (stated, actual) = (header.size(), bytes.len());
        if stated != actual {
            return Err(BatchError::Length { stated, actual });
        }
        let computed = checksum(&bytes);
        if computed != header.crc {
            return Err(BatchError::Checksum { stated: header.crc, computed });
        }
        Ok(Self { bytes, header })
    }

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

    /// Its records, keys and values as slices of the batch (or of the unfolded batch when it is compressed).
    ///
    /// # Errors
    /// When a compressed batch cannot be unfolded.
    pub fn records(&self) -> Result<Records, BatchError> {
        let codec = self.header.compression().ok_or_else(|| unknown_codec(&self.header))?;
        let unfolded = codec.decompress(&self.payload(), limits::UNCOMPRESSED_BATCH_BYTES_MAX)?;
        Ok(Records::new(self.header, unfolded))
    }

    /// The batch with the broker's clock as the timestamp of all records (`LogAppendTime`); re-checksums it,
    /// in a copy where the bytes are shared.
    #[must_use]
    pub fn with_log_append_time(self, now: Timestamp) -> Self {
        let header = BatchHeader { max_timestamp: now, ..self.header.with_log_append_time(true) };
        self.with_header(header)
    }

    /// The batch as one of this producer, under this number; re-checksums it, in a copy where the bytes are
    /// shared.
    #[must_use]
    pub fn with_producer(self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        let header = BatchHeader { producer_id: id, producer_epoch: epoch, base_sequence, ..self.header };
        self.with_header(header)
    }

    fn with_header(self, header: BatchHeader) -> Self {
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
        let header = seal(&mut bytes, header);
        Self { bytes: bytes.freeze(), header }
    }

    /// Checks every record and returns the largest timestamp.
    fn walk(&self, codec: Compression, rules: &BatchRules) -> Result<Timestamp, BatchError> {
        let payload = self.payload();
        if let Some(reader) = codec.reader(&payload)? {
            return walk_unfolding(&self.header, codec, reader, rules);
        }
        // Snappy unfolds to a small multiple of its input, so it is held whole as plain records are.
        let unfolded = codec.decompress(&payload, limits::UNCOMPRESSED_BATCH_BYTES_MAX)?;
        Ok(walk(&self.header, &unfolded, rules)?)
    }

    /// What follows the header.
    fn payload(&self) -> Bytes {
        self.bytes.slice(BATCH_OVERHEAD.min(self.bytes.len())..)
    }
}

/// CRC32C of what a batch's checksum covers.
pub(super) fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(BatchHeader::CRC_START..).unwrap_or_default())
}

/// Writes `header` over the front of `batch` with the right size and checksum, and returns it.
pub(super) fn seal(batch: &mut [u8], header: BatchHeader) -> BatchHeader {
    let size_bytes = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut sealed = BatchHeader { size_bytes, ..header };
    put_header(batch, &sealed);
    sealed.crc = checksum(batch);
    put_header(batch, &sealed);
    sealed
}

fn put_header(batch: &mut [u8], header: &BatchHeader) {
    if let Some(front) = batch.first_chunk_mut::<BATCH_OVERHEAD>() {
        *front = header.encode();
    }
}

const fn unknown_codec(header: &BatchHeader) -> BatchError {
    BatchError::Codec { id: header.attributes & 0x07 }
}

/// Checks what the header says about the batch, before any record is looked at.
fn check_header(header: &BatchHeader, rules: &BatchRules) -> Result<Compression, BatchError> {
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffset { actual: header.base_offset });
    }
    let count = header.record_count;
    if count <= 0 || i64::from(count) != i64::from(header.last_offset_delta) + 1 {
        return Err(BatchError::Count { count, last_offset_delta: header.last_offset_delta });
    }
    if count > limits::RECORDS_PER_BATCH_MAX {
        return Err(BatchError::TooManyRecords { limit: limits::RECORDS_PER_BATCH_MAX, actual: count });
    }
    check_attributes(header, rules)?;
    check_producer(header)?;
    header.compression().ok_or_else(|| unknown_codec(header))
}

fn check_attributes(header: &BatchHeader, rules: &BatchRules) -> Result<(), BatchError> {
    if header.unknown_attributes() != 0 {
        return Err(BatchError::Attributes { bits: header.unknown_attributes() });
    }
    if header.is_log_append_time() {
        return Err(BatchError::TimestampType);
    }
    if header.has_delete_horizon() {
        return Err(BatchError::DeleteHorizon);
    }
    if header.is_control() && !rules.control_allowed {
        return Err(BatchError::Control);
    }
    Ok(())
}

fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
    let fault = BatchError::Producer { id, epoch, sequence };
    // Some clients leave other values than -1 in epoch and sequence when they are not idempotent.
    if id == ProducerId::NONE {
        return if header.is_transactional() { Err(fault) } else { Ok(()) };
    }
    // Markers carry the producer they end but take no sequence.
    let numbered = header.is_control() || sequence.0 >= 0;
    if id.0 < 0 || epoch.0 < 0 || !numbered { Err(fault) } else { Ok(()) }
}

const _: () = assert!(LENGTH_PREFIX < BatchHeader::CRC_START && BatchHeader::CRC_START < BATCH_OVERHEAD);

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
