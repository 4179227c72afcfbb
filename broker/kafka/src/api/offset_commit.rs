//! OffsetCommit (8): how far a group has read; durable when answered.
//!
//! * v2 to v4 ask for a retention of their own, which is not kept: `offsets.retention.minutes` counts for all.
//! * v7+: static members. v9+: members of the consumer protocol give their epoch. v10: topics by id.

use std::sync::Arc;

use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_wire::{OffsetCommitRequest, OffsetCommitResponse};
use tidelog_model::{LeaderEpoch, Offset};
use tidelog_runtime::{BrokerError, CommitOffsets, OffsetCommit, TopicRef};

use super::groups::{group_id, member, partition_index, topic_ref};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut checked: Vec<Vec<Result<OffsetCommit, Failure>>> = request.topics.iter().map(check).collect();
    let offsets = checked.iter().flatten().filter_map(|commit| commit.as_ref().ok().cloned()).collect();
    let committed = commit(&context, &call, &request, offsets).await;
    let mut results = committed.as_ref().ok().into_iter().flatten();
    let topics = request.topics.into_iter().zip(&mut checked).map(|(topic, checked)| {
        let partitions = topic.partitions.iter().zip(checked).map(|(partition, checked)| {
            let result = match (&committed, checked) {
                // What is wrong with the whole request is told for each of its parts.
                (Err(failure), _) => Err(failure.clone()),
                (Ok(_), Err(failure)) => Err(failure.clone()),
                (Ok(_), Ok(_)) => results.next().cloned().unwrap_or(Ok(())).map_err(Failure::from),
            };
            message!(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: outcome(&result).0,
            })
        });
        message!(OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        })
    });
    message!(OffsetCommitResponse { topics: topics.collect() })
}

async fn commit(
    context: &Context,
    call: &Call,
    request: &OffsetCommitRequest,
    offsets: Vec<OffsetCommit>,
) -> Result<Vec<Result<(), BrokerError>>, Failure> {
    let generation = request.generation_id_or_member_epoch;
    let instance_id = request.group_instance_id.as_ref().filter(|_| call.version >= 7);
    let commit = CommitOffsets {
        group: group_id(&request.group_id)?,
        member: member(&request.member_id, instance_id, generation),
        offsets,
    };
    Ok(context.broker().commit_offsets(commit).await?)
}

fn check(topic: &OffsetCommitRequestTopic) -> Vec<Result<OffsetCommit, Failure>> {
    let named = topic_ref(&topic.name, topic.topic_id);
    topic.partitions.iter().map(|partition| offset(named.clone()?, partition)).collect()
}

fn offset(topic: TopicRef, wanted: &OffsetCommitRequestPartition) -> Result<OffsetCommit, Failure> {
    let offset = Offset::new(wanted.committed_offset).ok_or_else(|| {
        let text = format!("an offset of {} cannot be committed: it is negative", wanted.committed_offset);
        Failure::new(KafkaError::INVALID_REQUEST, text)
    })?;
    Ok(OffsetCommit {
        topic,
        partition: partition_index(wanted.partition_index)?,
        offset,
        leader_epoch: LeaderEpoch::new(wanted.committed_leader_epoch),
        metadata: wanted.committed_metadata.as_ref().map(StrBytes::to_string).unwrap_or_default(),
    })
}
