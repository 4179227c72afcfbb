//! ListOffsets (2): where a partition begins and ends, and which record was the first at a point in time.
//!
//! * Negative timestamps have meanings: -1 the end (the high watermark), -2 the start, -3 the record with the
//!   largest timestamp (v7+), -4 the start of what is on the broker's own disk (v8+), which is all of it, -5 and
//!   -6 ends of what lies in tiers (v9+, v11+), of which there are none. Others are UNSUPPORTED_VERSION.
//! * No record at or after the time asked for is offset -1, without an error.
//! * v2+ has the isolation level, which changes nothing without transactions; v4+ has leader epochs.

use std::sync::Arc;

use kafka_wire::list_offsets_request::ListOffsetsPartition;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::{ListOffsetsRequest, ListOffsetsResponse};
use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use tidelog_runtime::{Partition, Topic};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::repeated;
use crate::topic_ref::{TopicRef, check_epoch, find_partition};
use crate::wire::message;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version with leader epochs.
const EPOCHS_FROM: i16 = 4;

/// An offset with what is known of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, epoch: -1 };

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = TopicRef::Name(topic.name.clone()).find(context.broker());
        let twice = repeated(topic.partitions.iter().map(|asked| asked.partition_index));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let outcome = if twice.contains(&asked.partition_index) {
                Err(Failure::new(KafkaError::INVALID_REQUEST, "the partition is asked for twice"))
            } else {
                find(&found, asked, call.version).await
            };
            partitions.push(row(asked.partition_index, outcome, call.version));
        }
        topics.push(message!(ListOffsetsTopicResponse { name: topic.name, partitions }));
    }
    message!(ListOffsetsResponse { topics })
}

fn row(partition_index: i32, outcome: Result<Found, Failure>, version: i16) -> ListOffsetsPartitionResponse {
    let error_code = outcome.as_ref().err().map_or(KafkaError::NONE.code(), Failure::code);
    let Found { offset, timestamp, epoch } = outcome.unwrap_or(NOTHING);
    message!(ListOffsetsPartitionResponse {
        partition_index,
        error_code,
        timestamp,
        offset,
        // What older versions have no field for may not be set.
        leader_epoch: if version >= EPOCHS_FROM { epoch } else { NOTHING.epoch },
    })
}

async fn find(
    topic: &Result<Arc<Topic>, Failure>,
    asked: &ListOffsetsPartition,
    version: i16,
) -> Result<Found, Failure> {
    let topic = topic.as_ref().map_err(Clone::clone)?;
    let partition = find_partition(topic, asked.partition_index)?;
    if version >= EPOCHS_FROM {
        check_epoch(&partition, asked.current_leader_epoch)?;
    }
    match asked.timestamp {
        LATEST => at(&partition, partition.end()?, None),
        EARLIEST => at(&partition, start(&partition)?, None),
        MAX_TIMESTAMP if version >= 7 => of_record(&partition, partition.offset_of_max_timestamp().await?),
        EARLIEST_LOCAL if version >= 8 => at(&partition, start(&partition)?, None),
        LATEST_TIERED if version >= 9 => Ok(NOTHING),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(NOTHING),
        time @ 0.. => {
            let target = Timestamp::from_millis(time);
            of_record(&partition, partition.offset_for_timestamp(target).await?)
        }
        meaning => {
            let message = format!("timestamp {meaning} has no meaning in version {version} of ListOffsets");
            Err(Failure::new(KafkaError::UNSUPPORTED_VERSION, message))
        }
    }
}

fn start(partition: &Partition) -> Result<Offset, Failure> {
    partition.check_readable()?;
    Ok(partition.readable().log_start)
}

fn of_record(partition: &Partition, record: Option<(Offset, Timestamp)>) -> Result<Found, Failure> {
    record.map_or(Ok(NOTHING), |(offset, timestamp)| at(partition, offset, Some(timestamp)))
}

fn at(partition: &Partition, offset: Offset, timestamp: Option<Timestamp>) -> Result<Found, Failure> {
    let epoch = partition.epoch_at(offset)?;
    Ok(Found {
        offset: offset.get(),
        timestamp: timestamp.map_or(-1, Timestamp::millis),
        epoch: epoch.map_or(-1, LeaderEpoch::get),
    })
}

#[cfg(test)]
#[path = "list_offsets_tests.rs"]
mod tests;
