//! Records inside a batch, as slices of it.
//!
//! [`Records`] reads what is there one by one and trusts nothing: a record that does not hold ends the
//! iteration with an error. It does not ask for offsets without gaps, because compaction leaves gaps; what a
//! producer may send is checked by [`crate::batch::RecordBatch::validate`].

use bytes::Bytes;
use thiserror::Error;

use crate::batch::BatchHeader;
use crate::error_code::ErrorCode;
use crate::frame::{Frame, next_frame, next_header};
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

/// Why a record could not be read or was refused; `index` counts the records of the batch from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A field is not what the format asks for at this place.
    #[error("record {index} is broken: its {field} cannot be read")]
    Field {
        /// Its index in the batch.
        index: u32,
        /// Which field.
        field: &'static str,
    },
    /// The record says it is longer than what is left of the batch, or negative.
    #[error("record {index} is broken: it says it has {length} bytes, {available} are left in the batch")]
    Length {
        /// Its index in the batch.
        index: u32,
        /// The length it states.
        length: i32,
        /// The bytes there are.
        available: usize,
    },
    /// The record's fields do not fill the length it states.
    #[error("record {index} is broken: {extra} bytes follow its last field")]
    Slack {
        /// Its index in the batch.
        index: u32,
        /// The bytes too many.
        extra: usize,
    },
    /// The batch ends before its last record.
    #[error("the batch says it has {stated} records and ends after {actual}")]
    Missing {
        /// The count in the batch's header.
        stated: u32,
        /// The records found.
        actual: u32,
    },
    /// Bytes follow the last record.
    #[error("{extra} bytes follow the last record of the batch")]
    Trailing {
        /// The bytes too many.
        extra: usize,
    },
    /// The record's offset delta is not the next one.
    #[error(
        "record {index} has offset delta {actual}, expected {expected}: number records from 0 without gaps"
    )]
    OffsetDelta {
        /// Its index in the batch.
        index: u32,
        /// The delta that should be there.
        expected: i32,
        /// The delta found.
        actual: i32,
    },
    /// The record's offset delta lies outside the batch or is not above the record before it.
    #[error("record {index} has offset delta {actual}, outside the batch or out of order")]
    OffsetOrder {
        /// Its index in the batch.
        index: u32,
        /// The delta found.
        actual: i32,
    },
    /// The record has more headers than allowed.
    #[error("record {index} has {actual} headers, at most {limit} are allowed")]
    HeaderCount {
        /// Its index in the batch.
        index: u32,
        /// The most headers allowed.
        limit: usize,
        /// The headers stated.
        actual: usize,
    },
    /// The topic is compacted and the record has no key.
    #[error("record {index} has no key: the topic is compacted, give every record a key")]
    KeyMissing {
        /// Its index in the batch.
        index: u32,
    },
}

impl RecordError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Field { .. } | Self::Length { .. } | Self::Slack { .. } | Self::Trailing { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::Missing { .. }
            | Self::OffsetDelta { .. }
            | Self::OffsetOrder { .. }
            | Self::HeaderCount { .. }
            | Self::KeyMissing { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The index of the record in its batch, when one record is to blame.
    #[must_use]
    pub const fn index(&self) -> Option<u32> {
        match self {
            Self::Field { index, .. }
            | Self::Length { index, .. }
            | Self::Slack { index, .. }
            | Self::OffsetDelta { index, .. }
            | Self::OffsetOrder { index, .. }
            | Self::HeaderCount { index, .. }
            | Self::KeyMissing { index } => Some(*index),
            Self::Missing { .. } | Self::Trailing { .. } => None,
        }
    }
}

/// The records of one batch, read one by one; keys, values and headers are slices of the unfolded batch.
///
/// After an error there is no further item.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    unfolded: Bytes,
    next_index: u32,
    count: u32,
    last_delta: i32,
    done: bool,
}

impl Records {
    /// The records in `unfolded`, which is what follows `header` after decompression.
    pub(crate) fn new(header: BatchHeader, unfolded: Bytes) -> Self {
        let count = u32::try_from(header.record_count).unwrap_or(0);
        Self { header, unfolded, next_index: 0, count, last_delta: -1, done: false }
    }

    /// How many records are still to come, as the batch's header states it.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        if self.done { 0 } else { self.count.saturating_sub(self.next_index) }
    }

    fn read(&mut self) -> Result<Record, RecordError> {
        let index = self.next_index;
        let mut rest = self.unfolded.as_ref();
        if rest.is_empty() {
            return Err(RecordError::Missing { stated: self.count, actual: index });
        }
        let frame = next_frame(&mut rest, index)?;
        let delta = frame.offset_delta;
        if delta <= self.last_delta || delta > self.header.last_offset_delta {
            return Err(RecordError::OffsetOrder { index, actual: delta });
        }
        let record = Record {
            offset: self.header.base_offset.plus(u64::from(delta.unsigned_abs())),
            timestamp: self.header.record_timestamp(frame.timestamp_delta),
            key: frame.key.map(|key| self.unfolded.slice_ref(key)),
            value: frame.value.map(|value| self.unfolded.slice_ref(value)),
            headers: self.headers(&frame, index)?,
        };
        let rest = self.unfolded.slice_ref(rest);
        self.unfolded = rest;
        self.last_delta = delta;
        self.next_index = index.saturating_add(1);
        Ok(record)
    }

    fn headers(&self, frame: &Frame<'_>, index: u32) -> Result<Vec<(Bytes, Option<Bytes>)>, RecordError> {
        // A header takes two bytes at least: a hostile count reserves no more than the bytes there are.
        let mut headers = Vec::with_capacity(frame.header_count.min(frame.headers.len() / 2));
        let mut rest = frame.headers;
        for _ in 0..frame.header_count {
            let (key, value) = next_header(&mut rest, index)?;
            headers.push((self.unfolded.slice_ref(key), value.map(|value| self.unfolded.slice_ref(value))));
        }
        if !rest.is_empty() {
            return Err(RecordError::Slack { index, extra: rest.len() });
        }
        Ok(headers)
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.next_index == self.count {
            self.done = true;
            let extra = self.unfolded.len();
            return (extra > 0).then_some(Err(RecordError::Trailing { extra }));
        }
        let item = self.read();
        self.done = item.is_err();
        Some(item)
    }
}

impl std::iter::FusedIterator for Records {}
