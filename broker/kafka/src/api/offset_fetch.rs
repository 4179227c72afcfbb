//! OffsetFetch (9): how far a group has read. A partition without a commit has the offset -1.
//!
//! * v2+: null topics are all of them. v8+: several groups. v9+: members of the consumer protocol give their
//!   epoch. v10: topics by id.
//! * Nothing is ever unstable (`require_stable`), because offsets are not committed in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_wire::{OffsetFetchRequest, OffsetFetchResponse};
use tidelog_model::{LeaderEpoch, PartitionIndex, TopicId};
use tidelog_runtime::{CommittedOffset, FetchOffsets, TopicRef};

use super::groups::{group_id, topic_ref};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::{StrBytes, message, wire_id};

type Found = BTreeMap<(TopicId, PartitionIndex), CommittedOffset>;

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if call.version < 8 {
        return alone(&context, call.version, request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(one(&context, group).await);
    }
    message!(OffsetFetchResponse { groups })
}

/// Up to version 7 there is one group.
async fn alone(context: &Context, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        let topic = |topic: kafka_wire::offset_fetch_request::OffsetFetchRequestTopic| {
            message!(OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes
            })
        };
        topics.into_iter().map(topic).collect()
    });
    let group = message!(OffsetFetchRequestGroup { group_id: request.group_id, topics, member_epoch: -1 });
    let answer = one(context, group).await;
    let topics = answer.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            message!(OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
        });
        message!(OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() })
    });
    let error_code = if version >= 2 { answer.error_code } else { 0 };
    message!(OffsetFetchResponse { topics: topics.collect(), error_code })
}

async fn one(context: &Context, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let wanted = group.topics.clone();
    let (topics, error_code) = match fetch(context, group).await {
        Ok(found) => (wanted.map_or_else(|| all(&found), |topics| named(context, topics, &found)), 0),
        Err(failure) => {
            let topics = wanted.into_iter().flatten().map(|topic| refused(topic, failure.error));
            (topics.collect(), failure.code())
        }
    };
    message!(OffsetFetchResponseGroup { group_id, topics, error_code })
}

async fn fetch(context: &Context, group: OffsetFetchRequestGroup) -> Result<Found, Failure> {
    let partitions = group.topics.map(|topics| {
        let mut partitions = BTreeSet::new();
        for topic in topics {
            // What no topic can be called has no offset.
            let Ok(named) = topic_ref(&topic.name, topic.topic_id) else { continue };
            let indexes = topic.partition_indexes.into_iter().filter_map(PartitionIndex::new);
            partitions.extend(indexes.map(|index| (named.clone(), index)));
        }
        partitions
    });
    let fetch = FetchOffsets {
        group: group_id(&group.group_id)?,
        member_id: group.member_id.map(StrBytes::into_string),
        member_epoch: group.member_epoch,
        partitions,
    };
    let found = context.broker().fetch_offsets(fetch).await?;
    Ok(found.into_iter().map(|found| ((found.topic_id, found.partition), found)).collect())
}

/// Everything the group has.
fn all(found: &Found) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: BTreeMap<TopicId, OffsetFetchResponseTopics> = BTreeMap::new();
    for ((topic_id, partition), offset) in found {
        let topic = topics.entry(*topic_id).or_insert_with(|| {
            let name = offset.topic.as_str().into();
            message!(OffsetFetchResponseTopics { name, topic_id: wire_id(*topic_id) })
        });
        topic.partitions.push(answer(partition.get(), Some(offset), KafkaError::NONE));
    }
    topics.into_values().collect()
}

fn named(
    context: &Context,
    topics: Vec<OffsetFetchRequestTopics>,
    found: &Found,
) -> Vec<OffsetFetchResponseTopics> {
    let one = |topic: OffsetFetchRequestTopics| {
        let known = match topic_ref(&topic.name, topic.topic_id) {
            Ok(TopicRef::Id(id)) => {
                context.broker().topic_by_id(id).ok_or(KafkaError::UNKNOWN_TOPIC_ID).map(Some)
            }
            // A name without a topic has no offset, which is no error.
            Ok(TopicRef::Name(name)) => Ok(context.broker().topic(&name)),
            Err(_) => Ok(None),
        };
        let error = known.as_ref().err().copied().unwrap_or(KafkaError::NONE);
        let id = known.ok().flatten().map(|topic| topic.id());
        let partitions = topic.partition_indexes.into_iter().map(|index| {
            let key = id.zip(PartitionIndex::new(index));
            answer(index, key.and_then(|key| found.get(&key)), error)
        });
        message!(OffsetFetchResponseTopics {
            partitions: partitions.collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        })
    };
    topics.into_iter().map(one).collect()
}

fn refused(topic: OffsetFetchRequestTopics, error: KafkaError) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.into_iter().map(|index| answer(index, None, error)).collect();
    message!(OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions })
}

fn answer(index: i32, found: Option<&CommittedOffset>, error: KafkaError) -> OffsetFetchResponsePartitions {
    let epoch = found.and_then(|found| found.leader_epoch).map_or(-1, LeaderEpoch::get);
    message!(OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: found.map_or(-1, |found| found.offset.get()),
        committed_leader_epoch: epoch,
        metadata: Some(found.map_or_else(StrBytes::default, |found| found.metadata.as_str().into())),
        error_code: error.code(),
    })
}
