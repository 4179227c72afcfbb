//! Reading partitions: the credit-based stream over many of them, and single reads in plain fields.

mod filter;
mod records;
mod session;
mod slots;
mod trim;
mod work;

pub(crate) use records::{broken, fetch_records, records_from};
pub(crate) use session::fetch_stream;

use tidelog_core::Watermarks;
use tidelog_model::{Offset, Timestamp};
use tidelog_proto::v1::{Position, position};
use tidelog_runtime::{BrokerError, Partition};

use crate::error::invalid;

/// A position that a client may ask for, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    At(Offset),
    Since(Timestamp),
    Earliest,
    Latest,
}

impl Place {
    pub(crate) fn parse(position: Option<Position>) -> Result<Self, BrokerError> {
        let at = position.and_then(|position| position.at).ok_or_else(|| {
            invalid("position", "position: say where to start: offset, timestamp_ms, earliest or latest")
        })?;
        match at {
            position::At::Offset(offset) => match Offset::new(offset) {
                Some(offset) => Ok(Self::At(offset)),
                None => {
                    Err(invalid("position", format!("offset {offset} is negative: offsets count from 0")))
                }
            },
            position::At::TimestampMs(millis) => Ok(Self::Since(Timestamp::from_millis(millis))),
            // The choice is the field; its value says nothing more.
            position::At::Earliest(_) => Ok(Self::Earliest),
            position::At::Latest(_) => Ok(Self::Latest),
        }
    }

    /// The offset where a read from here starts, looked up where that needs no reading.
    pub(crate) const fn known(self, marks: Watermarks) -> Option<Offset> {
        match self {
            Self::At(offset) => Some(offset),
            Self::Since(_) => None,
            Self::Earliest => Some(marks.log_start),
            Self::Latest => Some(marks.high_watermark),
        }
    }

    /// The offset where a read from here starts.
    pub(crate) async fn resolve(self, partition: &Partition) -> Result<Offset, BrokerError> {
        let marks = partition.watermarks();
        if let Some(offset) = self.known(marks) {
            return Ok(offset);
        }
        let Self::Since(timestamp) = self else { return Ok(marks.high_watermark) };
        let found = partition.offset_for_timestamp(timestamp).await?;
        // The end of what was searched: records that came since may be older, and must not be skipped.
        Ok(found.map_or(marks.high_watermark, |(offset, _)| offset))
    }
}
