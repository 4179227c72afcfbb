//! Control batches: the markers that end a transaction in a partition, written by the broker only.
//!
//! One record whose key is `i16 version 0 | i16 type` and whose value is `i16 version 0 | i32 epoch of the
//! coordinator`. Source: KIP-98, Kafka's `EndTransactionMarker` and `ControlRecordType`.

use bytes::Buf;
use thiserror::Error;

use super::Compression;
use super::builder::{BatchBuilder, BuildError};
use super::validate::RecordBatch;
use crate::ids::{ProducerEpoch, ProducerId, Sequence, Timestamp};

const VERSION: i16 = 0;
const TYPE_ABORT: i16 = 0;
const TYPE_COMMIT: i16 = 1;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// Its records are not to be read.
    Abort,
    /// Its records are to be read.
    Commit,
}

/// The end of one producer's transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlMarker {
    /// How the transaction ended.
    pub kind: ControlKind,
    /// The epoch of the coordinator that decided it.
    pub coordinator_epoch: i32,
}

/// Why a control batch holds no marker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The batch holds a client's records.
    #[error("the batch is not a control batch")]
    NotControl,
    /// Its one record cannot be read.
    #[error("the control batch is broken: {reason}")]
    Broken {
        /// What is wrong.
        reason: &'static str,
    },
    /// A marker of a kind that is not known.
    #[error("control record type {kind} is not known")]
    Kind {
        /// The type found.
        kind: i16,
    },
}

impl ControlMarker {
    /// The batch that carries the marker for the producer `id` with `epoch`.
    ///
    /// # Errors
    /// Only what [`BatchBuilder::build`] may return.
    pub fn batch(
        self,
        id: ProducerId,
        epoch: ProducerEpoch,
        now: Timestamp,
    ) -> Result<RecordBatch, BuildError> {
        let kind = match self.kind {
            ControlKind::Abort => TYPE_ABORT,
            ControlKind::Commit => TYPE_COMMIT,
        };
        let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [VERSION.to_be_bytes().as_slice(), &self.coordinator_epoch.to_be_bytes()].concat();
        let mut builder = BatchBuilder::new(Compression::None, key.len() + value.len() + 16)
            .producer(id, epoch, Sequence::NONE)
            .marker();
        builder.append(now, Some(&key), Some(&value), &[]);
        builder.build()
    }

    /// Reads the marker of a control batch.
    ///
    /// # Errors
    /// [`ControlError`] when the batch is not a control batch or its record is not a known marker.
    pub fn parse(batch: &RecordBatch) -> Result<Self, ControlError> {
        if !batch.header().is_control() {
            return Err(ControlError::NotControl);
        }
        let broken = |reason| ControlError::Broken { reason };
        let mut records = batch.records().map_err(|_| broken("its records cannot be unfolded"))?;
        let (Some(Ok(record)), None) = (records.next(), records.next()) else {
            return Err(broken("it must hold exactly one record"));
        };
        let mut key = record.key.ok_or_else(|| broken("its record has no key"))?;
        let mut value = record.value.ok_or_else(|| broken("its record has no value"))?;
        let version = key.try_get_i16().map_err(|_| broken("its key is too short"))?;
        let kind = key.try_get_i16().map_err(|_| broken("its key is too short"))?;
        if version < 0 || value.try_get_i16().map_err(|_| broken("its value is too short"))? < 0 {
            return Err(broken("its version is negative"));
        }
        let kind = match kind {
            TYPE_ABORT => ControlKind::Abort,
            TYPE_COMMIT => ControlKind::Commit,
            kind => return Err(ControlError::Kind { kind }),
        };
        let coordinator_epoch = value.try_get_i32().map_err(|_| broken("its value is too short"))?;
        Ok(Self { kind, coordinator_epoch })
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
