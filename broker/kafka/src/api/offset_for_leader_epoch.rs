//! OffsetForLeaderEpoch (23): where the records of a leader epoch end, from which a client finds out whether
//! the log was cut behind it (KIP-320).
//!
//! The answer names the largest epoch known up to the one asked for. An epoch that is newer than all is epoch
//! -1 and offset -1, without an error.

use std::sync::Arc;

use kafka_wire::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_wire::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_wire::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use tidelog_model::LeaderEpoch;
use tidelog_runtime::Topic;

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::topic_ref::{TopicRef, check_epoch, find_partition};
use crate::wire::message;

/// "Not known" for an epoch and for its end.
const UNDEFINED: (i32, i64) = (-1, -1);

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let found = TopicRef::Name(topic.topic.clone()).find(context.broker());
        let partitions = topic.partitions.iter().map(|asked| row(asked.partition, find(&found, asked)));
        message!(OffsetForLeaderTopicResult { partitions: partitions.collect(), topic: topic.topic })
    });
    message!(OffsetForLeaderEpochResponse { topics: topics.collect() })
}

fn row(partition: i32, outcome: Result<(i32, i64), Failure>) -> EpochEndOffset {
    let error_code = outcome.as_ref().err().map_or(KafkaError::NONE.code(), Failure::code);
    let (leader_epoch, end_offset) = outcome.unwrap_or(UNDEFINED);
    message!(EpochEndOffset { error_code, partition, leader_epoch, end_offset })
}

fn find(
    topic: &Result<Arc<Topic>, Failure>,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), Failure> {
    let partition = find_partition(topic.as_ref().map_err(Clone::clone)?, asked.partition)?;
    check_epoch(&partition, asked.current_leader_epoch)?;
    let Some(epoch) = LeaderEpoch::new(asked.leader_epoch) else { return Ok(UNDEFINED) };
    let end = partition.epoch_end(epoch)?;
    Ok(end.map_or(UNDEFINED, |(known, end)| (known.get(), end.get())))
}

#[cfg(test)]
#[path = "offset_for_leader_epoch_tests.rs"]
mod tests;
