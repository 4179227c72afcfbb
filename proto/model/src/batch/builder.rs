//! Building a batch record by record.
use bytes::Bytes;
use thiserror::Error;
use super::{Compression, RecordBatch, CompressionError};
use crate::ids::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Appends records into one growing buffer; no allocation per record.
#[derive(Debug)]
pub struct BatchBuilder {}

/// Why a batch could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// No record was added.
    #[error("a batch needs at least one record")]
    Empty,
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl BatchBuilder {
    /// An empty batch whose buffer has room for `capacity` bytes of records.
    #[must_use]
    pub fn new(compression: Compression, capacity: usize) -> Self { let _ = (compression, capacity); todo!() }
    /// Adds a record; its offset delta is the number of records before it.
    pub fn append(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) { let _ = (timestamp, key, value, headers); todo!() }
    /// How many records were added.
    #[must_use]
    pub fn record_count(&self) -> usize { todo!() }
    /// The size of the batch if it were built now without compression, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize { todo!() }
    /// The most bytes a record of these parts adds to a batch (an upper bound).
    #[must_use]
    pub fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> usize { let _ = (key, value, headers); todo!() }
    /// Marks the batch as part of an idempotent producer's stream.
    #[must_use]
    pub fn producer(self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self { let _ = (id, epoch, base_sequence); todo!() }
    /// Closes the batch: compresses, fills the header, checksums.
    /// # Errors
    /// When it is empty or the codec fails.
    pub fn build(self) -> Result<RecordBatch, BuildError> { let _: Option<Bytes> = None; todo!() }
}
