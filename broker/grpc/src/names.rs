//! Names and numbers as clients send them, checked.

use std::sync::Arc;

use tidelog_model::{ErrorCode, GroupId, PartitionIndex, TopicName};
use tidelog_runtime::{Broker, BrokerError, Partition};

use crate::error::{bad_name, failure, invalid, too_many};
use crate::limits::Limits;

/// Checks a topic's name.
pub(crate) fn topic_name(field: &'static str, name: &str) -> Result<TopicName, BrokerError> {
    TopicName::new(name).map_err(|error| bad_name(field, name, &error))
}

/// Checks a group's name.
pub(crate) fn group_id(name: &str) -> Result<GroupId, BrokerError> {
    GroupId::new(name).map_err(|error| bad_name("group", name, &error))
}

/// Checks a partition's number.
pub(crate) fn partition_index(value: i32) -> Result<PartitionIndex, BrokerError> {
    PartitionIndex::new(value)
        .ok_or_else(|| invalid("partition", format!("partition {value} is negative: count from 0")))
}

/// The partition a client wants to read.
pub(crate) fn partition(broker: &Broker, topic: &str, index: i32) -> Result<Arc<Partition>, BrokerError> {
    broker.partition(&topic_name("topic", topic)?, partition_index(index)?)
}

/// The name of a topic that a client wants to change: not one of the broker's own.
pub(crate) fn writable_topic(field: &'static str, name: &str) -> Result<TopicName, BrokerError> {
    let name = topic_name(field, name)?;
    if name.is_internal() {
        let message = format!("topic {name} belongs to the broker: it may be read, not changed");
        return Err(failure(ErrorCode::InternalTopic, message).field(field));
    }
    Ok(name)
}

/// Checks that a request names some partitions and not too many.
pub(crate) fn partition_count(field: &'static str, count: usize, limits: &Limits) -> Result<(), BrokerError> {
    if count == 0 {
        return Err(invalid(field, format!("{field}: name at least one partition")));
    }
    if count > limits.partitions_per_request_max {
        return Err(too_many(field, "partitions", limits.partitions_per_request_max, count));
    }
    Ok(())
}
