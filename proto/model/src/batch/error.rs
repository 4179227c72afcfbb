//! Why a batch is refused, one variant per rule, and the protocol's code for each.

use thiserror::Error;

use super::compression::CompressionError;
use super::control::ControlError;
use super::header::HeaderError;
use crate::error_code::ErrorCode;
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use crate::record::RecordError;

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The header is broken.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes are not exactly one batch.
    #[error("the batch says it has {stated} bytes, there are {actual}: send one whole batch")]
    Length {
        /// The size in the header.
        stated: usize,
        /// The bytes there are.
        actual: usize,
    },
    /// The batch is larger than the topic allows.
    #[error(
        "the batch has {actual} bytes, the topic's max.message.bytes is {limit}: send smaller batches, or raise it"
    )]
    TooLarge {
        /// The topic's limit in bytes.
        limit: usize,
        /// The batch's size in bytes.
        actual: usize,
    },
    /// The bytes changed on their way.
    #[error("the batch's checksum is {stated:#010x}, its bytes have {computed:#010x}: send it again")]
    Checksum {
        /// The checksum in the header.
        stated: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A producer's batch starts at offset 0; the partition gives it its place.
    #[error("the batch's base offset is {actual}, producers send 0")]
    BaseOffset {
        /// The base offset found.
        actual: Offset,
    },
    /// The count of records and the last offset delta do not belong together.
    #[error(
        "the batch has record count {count} and last offset delta {last_offset_delta}: the count must be one more, and at least 1"
    )]
    Count {
        /// The record count found.
        count: i32,
        /// The last offset delta found.
        last_offset_delta: i32,
    },
    /// More records than a batch may hold.
    #[error("the batch has {actual} records, at most {limit} are allowed")]
    TooManyRecords {
        /// The most records allowed.
        limit: i32,
        /// The record count found.
        actual: i32,
    },
    /// The codec's id is none of the known ones.
    #[error("compression codec {id} is not known: use none, gzip, snappy, lz4 or zstd")]
    Codec {
        /// The id found.
        id: i16,
    },
    /// The compressed records cannot be unfolded.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is broken or refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Attribute bits are set that have no meaning.
    #[error("the batch's attributes have unknown bits {bits:#06x}")]
    Attributes {
        /// The bits without a meaning.
        bits: i16,
    },
    /// Only the broker marks a batch as having its clock's time.
    #[error("the batch is marked LogAppendTime, which only the broker may do")]
    TimestampType,
    /// Only compaction sets a delete horizon.
    #[error("the batch has a delete horizon, which only the broker may set")]
    DeleteHorizon,
    /// Only the broker writes control batches.
    #[error("control batches are written by the broker only")]
    Control,
    /// A control batch does not hold a marker.
    #[error(transparent)]
    Marker(#[from] ControlError),
    /// The producer's fields contradict each other.
    #[error(
        "producer id {}, epoch {} and base sequence {} do not belong together",
        id.0, epoch.0, sequence.0
    )]
    Producer {
        /// The producer id found.
        id: ProducerId,
        /// The producer epoch found.
        epoch: ProducerEpoch,
        /// The base sequence found.
        sequence: Sequence,
    },
}

impl BatchError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Header(HeaderError::Short { .. } | HeaderError::Length { .. })
            | Self::Length { .. }
            | Self::Checksum { .. }
            | Self::Compression(CompressionError::Broken { .. }) => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } | Self::Compression(CompressionError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            Self::Codec { .. } => ErrorCode::UnsupportedCompression,
            Self::TimestampType => ErrorCode::InvalidTimestamp,
            Self::Record(error) => error.code(),
            Self::Header(
                HeaderError::Magic { .. } | HeaderError::BaseOffset { .. } | HeaderError::OffsetRange { .. },
            )
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::TooManyRecords { .. }
            | Self::Attributes { .. }
            | Self::DeleteHorizon
            | Self::Control
            | Self::Marker(_)
            | Self::Producer { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The limit that was broken and the value that broke it, where the rule is a limit and both are known.
    #[must_use]
    pub fn limit(&self) -> Option<(i64, i64)> {
        let wide = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Self::TooLarge { limit, actual }
            | Self::Record(RecordError::HeaderCount { limit, actual, .. }) => {
                Some((wide(*limit), wide(*actual)))
            }
            Self::TooManyRecords { limit, actual } => Some((i64::from(*limit), i64::from(*actual))),
            _ => None,
        }
    }
}
