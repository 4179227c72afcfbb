//! DescribeTopicPartitions (75): topics by name, page by page. No topics asked for are all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use tidelog_runtime::{Partition, Topic};

use super::metadata::{OPERATIONS_UNKNOWN, TOPIC_OPERATIONS};
use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::names::topic_name;
use crate::wire::{StrBytes, message, wire_id};

/// The most partitions of one page (Kafka's `max.request.partition.size.limit`).
const PAGE_MAX: usize = 2_000;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(1).clamp(1, PAGE_MAX);
    let (from, skipped) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => ("", 0),
    };
    let mut topics = Vec::new();
    for name in names(&context, &request).iter().filter(|name| &***name >= from) {
        let known = topic_name(name).ok().and_then(|name| context.broker().topic(&name));
        let Some(topic) = known else {
            topics.push(unknown(name));
            continue;
        };
        let first = if &**name == from { skipped } else { 0 };
        if room == 0 && first < topic.partition_count() {
            return page(topics, Some((name.clone(), first)));
        }
        let (described, next) = describe(&topic, first, room);
        room = room.saturating_sub(described.partitions.len());
        topics.push(described);
        if let Some(next) = next {
            return page(topics, Some((name.clone(), next)));
        }
    }
    page(topics, None)
}

/// The names of the topics that are wanted, sorted.
fn names(context: &Context, request: &DescribeTopicPartitionsRequest) -> BTreeSet<StrBytes> {
    if request.topics.is_empty() {
        return context.broker().topics().iter().map(|topic| topic.name().as_str().into()).collect();
    }
    request.topics.iter().map(|topic| topic.name.clone()).collect()
}

fn page(
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(StrBytes, usize)>,
) -> DescribeTopicPartitionsResponse {
    let next_cursor = next.map(|(topic_name, index)| {
        message!(Cursor { topic_name, partition_index: i32::try_from(index).unwrap_or(i32::MAX) })
    });
    message!(DescribeTopicPartitionsResponse { topics, next_cursor })
}

fn unknown(name: &StrBytes) -> DescribeTopicPartitionsResponseTopic {
    message!(DescribeTopicPartitionsResponseTopic {
        error_code: KafkaError::UNKNOWN_TOPIC_OR_PARTITION.code(),
        name: Some(name.clone()),
        topic_authorized_operations: OPERATIONS_UNKNOWN,
    })
}

/// Up to `room` partitions of the topic beginning with `first`, and the one after them if there is one.
fn describe(
    topic: &Topic,
    first: usize,
    room: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<usize>) {
    let partition = |partition: &Arc<Partition>| {
        message!(DescribeTopicPartitionsResponsePartition {
            partition_index: partition.index().get(),
            leader_id: NODE_ID,
            leader_epoch: partition.leader_epoch().get(),
            replica_nodes: vec![NODE_ID],
            isr_nodes: vec![NODE_ID],
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
        })
    };
    let partitions: Vec<_> = topic.partitions().iter().skip(first).take(room).map(partition).collect();
    let next = first.saturating_add(partitions.len());
    let described = message!(DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name().as_str().into()),
        topic_id: wire_id(topic.id()),
        is_internal: topic.is_internal(),
        partitions,
        topic_authorized_operations: TOPIC_OPERATIONS,
    });
    (described, (next < topic.partition_count()).then_some(next))
}

#[cfg(test)]
#[path = "describe_topic_partitions_tests.rs"]
mod tests;
