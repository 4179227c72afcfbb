//! Records inside a batch, as slices of it.
use bytes::Bytes;
use thiserror::Error;
use crate::ids::{Offset, Timestamp};

/// One record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset: the batch's base offset plus its delta.
    pub offset: Offset,
    /// Its timestamp (the batch's max timestamp on `LogAppendTime` topics).
    pub timestamp: Timestamp,
    /// The key; absent is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; keys may repeat and need not be UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Placeholder; the implementer adds variants naming record index and rule.
    #[error("record {index} is broken: {reason}")]
    Broken {
        /// Its index in the batch.
        index: u32,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

/// The records of one batch, read one by one.
#[derive(Debug)]
pub struct Records {}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;
    fn next(&mut self) -> Option<Self::Item> { todo!() }
}
