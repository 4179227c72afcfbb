//! Which handler answers which of the group APIs, and what they share.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_core::group::api::GroupMember;
use tidelog_model::{GroupId, PartitionIndex, TopicId};
use tidelog_runtime::{Broker, TopicRef};

use super::{
    consumer_group_describe, consumer_group_heartbeat, delete_groups, describe_groups, find_coordinator,
    heartbeat, join_group, leave_group, list_groups, offset_commit, offset_delete, offset_fetch, sync_group,
};
use crate::context::{Call, Context};
use crate::dispatch::{Pending, Refused, cold};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names;
use crate::versions::{
    Api, CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT, DELETE_GROUPS, DESCRIBE_GROUPS, FIND_COORDINATOR,
    HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, LIST_GROUPS, OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH, SYNC_GROUP,
};
use crate::wire::{StrBytes, WireUuid, topic_id};

/// Begins a request about groups.
pub(crate) fn route(
    api: &'static Api,
    context: Arc<Context>,
    call: Call,
    body: Bytes,
) -> Result<Pending, Refused> {
    Ok(match api.key {
        FIND_COORDINATOR => cold(api, context, call, body, find_coordinator::handle),
        JOIN_GROUP => cold(api, context, call, body, join_group::handle),
        SYNC_GROUP => cold(api, context, call, body, sync_group::handle),
        HEARTBEAT => cold(api, context, call, body, heartbeat::handle),
        LEAVE_GROUP => cold(api, context, call, body, leave_group::handle),
        OFFSET_COMMIT => cold(api, context, call, body, offset_commit::handle),
        OFFSET_FETCH => cold(api, context, call, body, offset_fetch::handle),
        OFFSET_DELETE => cold(api, context, call, body, offset_delete::handle),
        LIST_GROUPS => cold(api, context, call, body, list_groups::handle),
        DESCRIBE_GROUPS => cold(api, context, call, body, describe_groups::handle),
        DELETE_GROUPS => cold(api, context, call, body, delete_groups::handle),
        CONSUMER_GROUP_HEARTBEAT => cold(api, context, call, body, consumer_group_heartbeat::handle),
        CONSUMER_GROUP_DESCRIBE => cold(api, context, call, body, consumer_group_describe::handle),
        key => return Err(Refused::UnknownApi { key }),
    })
}

/// The bits of what may be done with a group: read, delete, describe, and both of its configs. All of it is
/// allowed.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// The field of allowed operations.
pub(super) const fn operations(asked: bool) -> i32 {
    if asked { GROUP_OPERATIONS } else { i32::MIN }
}

/// The group of this name.
pub(super) fn group_id(name: &str) -> Result<GroupId, Failure> {
    GroupId::new(name)
        .map_err(|error| Failure::new(KafkaError::INVALID_GROUP_ID, format!("group id {name:?}: {error}")))
}

/// Who speaks.
pub(super) fn member(member_id: &StrBytes, instance_id: Option<&StrBytes>, generation: i32) -> GroupMember {
    let instance_id = instance_id.map(ToString::to_string);
    GroupMember { member_id: member_id.to_string(), instance_id, generation }
}

/// A client's address, as Kafka shows it.
pub(super) fn client_host(context: &Context) -> String {
    format!("/{}", context.peer.ip().to_canonical())
}

/// A topic that is named in some versions, and given by its id in others.
pub(super) fn topic_ref(name: &StrBytes, id: WireUuid) -> Result<TopicRef, Failure> {
    match topic_id(id) {
        Some(id) => Ok(TopicRef::Id(id)),
        // A name that no topic can have is one that no topic has.
        None => names::topic_name(name)
            .map(TopicRef::Name)
            .map_err(|error| Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, error.message)),
    }
}

/// A partition, if the number can be one.
pub(super) fn partition_index(index: i32) -> Result<PartitionIndex, Failure> {
    PartitionIndex::new(index).ok_or_else(|| {
        Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no partition {index}"))
    })
}

/// Partitions of one topic as numbers.
pub(super) fn indexes(partitions: &BTreeSet<PartitionIndex>) -> Vec<i32> {
    partitions.iter().map(|partition| partition.get()).collect()
}

/// The name of a topic; empty when it is gone.
pub(super) fn topic_name(broker: &Broker, id: TopicId) -> StrBytes {
    broker.topic_by_id(id).map_or_else(StrBytes::default, |topic| topic.name().as_str().into())
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
