//! Stamping a batch with its place in a partition: base offset and leader epoch, both outside the CRC.

use bytes::{Bytes, BytesMut};

use super::header::BatchHeader;
use super::validate::RecordBatch;
use crate::ids::{LeaderEpoch, Offset};

/// The bytes that stamping replaces: base offset, length and leader epoch.
const STAMPED: usize = 16;

/// A batch with its base offset and leader epoch.
///
/// Its bytes are [`Self::prefix`] followed by [`Self::rest`]; the rest is a slice of what the client sent.
#[derive(Debug, Clone)]
pub struct AssignedBatch {
    prefix: [u8; STAMPED],
    rest: Bytes,
    header: BatchHeader,
}

impl RecordBatch {
    /// Gives the batch its place in a partition.
    #[must_use]
    pub fn assign(self, base_offset: Offset, epoch: LeaderEpoch) -> AssignedBatch {
        let header = BatchHeader { base_offset, leader_epoch: epoch.get(), ..*self.header() };
        let encoded = header.encode();
        let prefix = encoded.first_chunk::<STAMPED>().copied().unwrap_or([0; STAMPED]);
        AssignedBatch { prefix, rest: self.into_bytes().slice(STAMPED..), header }
    }
}

impl AssignedBatch {
    /// The header, with the assigned offset and epoch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The first bytes of the batch: base offset, length, leader epoch.
    #[must_use]
    pub const fn prefix(&self) -> &[u8; STAMPED] {
        &self.prefix
    }

    /// Everything after [`Self::prefix`].
    #[must_use]
    pub const fn rest(&self) -> &Bytes {
        &self.rest
    }

    /// The whole batch in one piece; copies it.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(STAMPED + self.rest.len());
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&self.rest);
        out.freeze()
    }
}
