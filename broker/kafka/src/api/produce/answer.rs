//! The response to a Produce request.

use tidelog_model::{Offset, Timestamp};
use tidelog_runtime::{AckFuture, Appended};

use super::request::FLEXIBLE_FROM;
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::response::Response;
use crate::topic_ref::TopicRef;
use crate::writer::Writer;

/// The first version that tells of single records and has a line for people.
const ERRORS_FROM: i16 = 8;
/// The first version with the log start.
const LOG_START_FROM: i16 = 5;
/// About what a partition takes in the response.
const PARTITION_BYTES: usize = 48;

/// What became of a batch.
pub(super) type Outcome = Result<Placed, Rejected>;

/// An appended batch.
#[derive(Debug)]
pub(super) struct Placed {
    base_offset: Offset,
    log_append_time: Option<Timestamp>,
    log_start: Offset,
    /// Its outcome, until it is known.
    pub(super) ack: Option<AckFuture>,
}

impl From<Appended> for Placed {
    fn from(appended: Appended) -> Self {
        let Appended { base_offset, log_append_time, log_start, ack, .. } = appended;
        Self { base_offset, log_append_time, log_start, ack: Some(ack) }
    }
}

/// Why a batch is not in the log, or not known to be there.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(super) failure: Failure,
    /// The record at fault, by its index in the batch.
    pub(super) record: Option<i32>,
}

impl From<Failure> for Rejected {
    fn from(failure: Failure) -> Self {
        Self { failure, record: None }
    }
}

/// The outcomes of one topic's partitions.
#[derive(Debug)]
pub(super) struct TopicOutcomes {
    pub(super) topic: TopicRef,
    pub(super) partitions: Vec<(i32, Outcome)>,
}

/// Writes the response.
pub(super) fn write(topics: &[TopicOutcomes], version: i16) -> Response {
    let count: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let capacity = 32 + count.saturating_mul(PARTITION_BYTES);
    let mut writer = Writer::new(capacity, version >= FLEXIBLE_FROM);
    writer.array(topics.len());
    for topic in topics {
        topic.topic.write(&mut writer);
        writer.array(topic.partitions.len());
        for (index, outcome) in &topic.partitions {
            writer.i32(*index);
            write_outcome(&mut writer, outcome, version);
        }
        writer.tags();
    }
    // Not throttled.
    writer.i32(0);
    writer.tags();
    writer.into_response()
}

fn write_outcome(writer: &mut Writer, outcome: &Outcome, version: i16) {
    let (code, base_offset, time, log_start) = match outcome {
        Ok(placed) => (
            KafkaError::NONE.code(),
            placed.base_offset.get(),
            placed.log_append_time.map_or(-1, Timestamp::millis),
            placed.log_start.get(),
        ),
        Err(rejected) => (rejected.failure.code(), -1, -1, -1),
    };
    writer.i16(code);
    writer.i64(base_offset);
    writer.i64(time);
    if version >= LOG_START_FROM {
        writer.i64(log_start);
    }
    if version >= ERRORS_FROM {
        let rejected = outcome.as_ref().err();
        match rejected.and_then(|rejected| rejected.record) {
            Some(record) => {
                writer.array(1);
                writer.i32(record);
                writer.nullable_string(rejected.map(|rejected| rejected.failure.text()));
                writer.tags();
            }
            None => writer.array(0),
        }
        writer.nullable_string(rejected.map(|rejected| rejected.failure.text()));
    }
    writer.tags();
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
