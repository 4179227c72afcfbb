//! Metadata (3): the brokers and the topics with their leaders. One broker leads everything.
//!
//! * v0: an empty list of topics means all of them; from v1 that is null, and an empty list is none.
//! * v4+: the client says whether a topic it names may be created; before, it may.
//! * v10+ has topic ids, v12+ can ask by id; v13 has a top-level error code.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{MetadataRequest, MetadataResponse};
use tidelog_model::ErrorCode;
use tidelog_runtime::{BrokerError, Partition, Topic};

use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::names::topic_name;
use crate::wire::{StrBytes, WireUuid, message, topic_id, wire_id};

/// "Not asked for" in a field of allowed operations.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// Bits of the operations there are on a topic: read, write, create, delete, alter, describe and both of its
/// configs. All are allowed.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Bits of the operations there are on the cluster: create, alter, describe, cluster action, both of configs,
/// idempotent write. All are allowed.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(crate) async fn handle(context: Arc<Context>, call: Call, request: MetadataRequest) -> MetadataResponse {
    let may_create = call.version < 4 || request.allow_auto_topic_creation;
    let operations = if call.version >= 8 && request.include_topic_authorized_operations {
        TOPIC_OPERATIONS
    } else {
        OPERATIONS_UNKNOWN
    };
    let named = request.topics.filter(|topics| call.version > 0 || !topics.is_empty());
    let topics = match named {
        None => context.broker().topics().iter().map(|topic| describe(topic, operations)).collect(),
        Some(named) => {
            // A topic that is named again and again must not be described as often.
            let mut seen = BTreeSet::new();
            let mut topics = Vec::new();
            for wanted in named {
                let id = if wanted.name.is_some() { WireUuid::ZERO } else { wanted.topic_id };
                if !seen.insert((wanted.name.clone(), id.to_bytes())) {
                    continue;
                }
                topics.push(one(&context, wanted, may_create, operations).await);
            }
            topics
        }
    };
    let (host, port) = context.advertised();
    let broker = message!(MetadataResponseBroker { node_id: NODE_ID, host: host.into(), port });
    let cluster_asked = (8..=10).contains(&call.version) && request.include_cluster_authorized_operations;
    message!(MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some(context.broker().cluster_id().into()),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations: if cluster_asked { CLUSTER_OPERATIONS } else { OPERATIONS_UNKNOWN },
    })
}

async fn one(
    context: &Context,
    wanted: MetadataRequestTopic,
    may_create: bool,
    operations: i32,
) -> MetadataResponseTopic {
    let broker = context.broker();
    let Some(name) = wanted.name else {
        let found = topic_id(wanted.topic_id).and_then(|id| broker.topic_by_id(id));
        return match found {
            Some(topic) => describe(&topic, operations),
            None => unknown(None, wanted.topic_id, KafkaError::UNKNOWN_TOPIC_ID),
        };
    };
    let found = match topic_name(&name) {
        Ok(checked) if may_create && !checked.is_internal() => broker.topic_or_create(&checked).await,
        Ok(checked) => broker.topic(&checked).ok_or_else(|| {
            BrokerError::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {checked}"))
        }),
        Err(error) => Err(error),
    };
    match found {
        Ok(topic) => describe(&topic, operations),
        Err(error) => unknown(Some(name), WireUuid::ZERO, error.code.into()),
    }
}

fn unknown(name: Option<StrBytes>, topic_id: WireUuid, error: KafkaError) -> MetadataResponseTopic {
    // Before v12 the name may not be null.
    let topic_authorized_operations = OPERATIONS_UNKNOWN;
    message!(MetadataResponseTopic { error_code: error.code(), name, topic_id, topic_authorized_operations })
}

fn describe(topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partition = |partition: &Arc<Partition>| {
        message!(MetadataResponsePartition {
            partition_index: partition.index().get(),
            leader_id: NODE_ID,
            leader_epoch: partition.leader_epoch().get(),
            replica_nodes: vec![NODE_ID],
            isr_nodes: vec![NODE_ID],
        })
    };
    message!(MetadataResponseTopic {
        name: Some(topic.name().as_str().into()),
        topic_id: wire_id(topic.id()),
        is_internal: topic.is_internal(),
        partitions: topic.partitions().iter().map(partition).collect(),
        topic_authorized_operations: operations,
    })
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
