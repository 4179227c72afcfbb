//! The check at the door.
use bytes::Bytes;
use thiserror::Error;
use super::{BatchHeader, HeaderError, CompressionError};
use crate::ids::Timestamp;
use crate::record::{RecordError, Records};
use crate::error_code::ErrorCode;

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

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The header is broken.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Placeholder: the implementer adds the rest (Length mismatch, Checksum, TooLarge{limit,actual}, Count, Codec, Compression(..), Record(..), KeyMissing{index}, Control, ...).
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl BatchError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode { todo!() }
}

/// One whole batch whose layout, checksum, counts and records were found to hold.
#[derive(Debug, Clone)]
pub struct RecordBatch { bytes: Bytes, header: BatchHeader }

impl RecordBatch {
    /// Checks everything: header, length (exactly one batch in `bytes`), CRC32C, counts, codec, and every record's framing, deltas, and keys (unfolding a compressed batch within bounds).
    /// # Errors
    /// [`BatchError`] names the rule.
    pub fn validate(bytes: Bytes, rules: &BatchRules) -> Result<Self, BatchError> { let _ = (bytes, rules); todo!() }
    /// Checks header, length and CRC32C only: for bytes read back from a log that validated them before.
    /// # Errors
    /// [`BatchError`] names the rule.
    pub fn from_log(bytes: Bytes) -> Result<Self, BatchError> { let _ = bytes; todo!() }
    /// Splits the concatenated batches of a fetch response; each is checked as [`Self::from_log`] does.
    pub fn split(bytes: Bytes) -> impl Iterator<Item = Result<Self, BatchError>> { let _ = bytes; std::iter::empty() }
    pub(crate) fn from_parts(bytes: Bytes, header: BatchHeader) -> Self { Self { bytes, header } }
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader { &self.header }
    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes { &self.bytes }
    /// The whole batch, owned.
    #[must_use]
    pub fn into_bytes(self) -> Bytes { self.bytes }
    /// Its records, keys and values as slices of the batch (or of the unfolded batch when it is compressed).
    /// # Errors
    /// When a compressed batch cannot be unfolded.
    pub fn records(&self) -> Result<Records, BatchError> { todo!() }
    /// The batch with the broker's clock as the timestamp of all records (`LogAppendTime`); re-checksums a copy.
    #[must_use]
    pub fn with_log_append_time(self, now: Timestamp) -> Self { let _ = now; todo!() }
}
