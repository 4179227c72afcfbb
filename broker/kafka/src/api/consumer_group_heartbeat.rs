//! ConsumerGroupHeartbeat (68): a member of a group whose assignments the broker makes (KIP-848) joins, lives,
//! changes its mind, and leaves. v0: the broker may make the member's id; v1: subscriptions by regular
//! expression, and the client makes the id.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::consumer_group_heartbeat_request as request;
use kafka_wire::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use tidelog_core::group::consumer::{Heartbeat, HeartbeatReply, Partitions};
use tidelog_model::{PartitionIndex, TopicName};
use uuid::Uuid;

use super::groups::{client_host, group_id, indexes};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::topic_name;
use crate::wire::{StrBytes, message, topic_id, wire_id};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match beat(&context, call, request).await {
        Ok(reply) => message!(ConsumerGroupHeartbeatResponse {
            member_id: Some(reply.member_id.to_string().into()),
            member_epoch: reply.member_epoch,
            heartbeat_interval_ms: reply.heartbeat_interval_ms,
            assignment: reply.assignment.as_ref().map(assignment),
        }),
        Err(failure) => message!(ConsumerGroupHeartbeatResponse {
            error_code: failure.code(),
            error_message: failure.message(),
        }),
    }
}

async fn beat(
    context: &Context,
    call: Call,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<HeartbeatReply, Failure> {
    let group = group_id(&request.group_id)?;
    // A name that no topic can have is one that no topic has yet: it gets no partitions, and is no error.
    let names = request.subscribed_topic_names.map(|names| -> BTreeSet<TopicName> {
        names.iter().filter_map(|name| topic_name(name).ok()).collect()
    });
    let heartbeat = Heartbeat {
        member_id: request.member_id.into_string(),
        generated_member_id: (call.version == 0).then(Uuid::new_v4),
        member_epoch: request.member_epoch,
        instance_id: request.instance_id.map(StrBytes::into_string),
        rack_id: request.rack_id.map(StrBytes::into_string),
        rebalance_timeout_ms: (request.rebalance_timeout_ms != -1).then_some(request.rebalance_timeout_ms),
        subscribed_topic_names: names,
        subscribed_topic_regex: request.subscribed_topic_regex.map(StrBytes::into_string),
        server_assignor: request.server_assignor.map(StrBytes::into_string),
        owned: request.topic_partitions.map(owned).transpose()?,
        client_id: call.client_id,
        client_host: client_host(context),
    };
    Ok(context.broker().consumer_group_heartbeat(&group, heartbeat).await?)
}

fn owned(topics: Vec<request::TopicPartitions>) -> Result<Partitions, Failure> {
    let mut owned = Partitions::new();
    for topic in topics {
        let invalid = |text: &str| Failure::new(KafkaError::INVALID_REQUEST, text);
        let id = topic_id(topic.topic_id).ok_or_else(|| invalid("a topic id is all zeros"))?;
        let set = owned.entry(id).or_default();
        for index in topic.partitions {
            set.insert(PartitionIndex::new(index).ok_or_else(|| invalid("a partition is negative"))?);
        }
    }
    Ok(owned)
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topics = partitions
        .iter()
        .map(|(id, set)| message!(TopicPartitions { topic_id: wire_id(*id), partitions: indexes(set) }));
    message!(Assignment { topic_partitions: topics.collect() })
}
