//! Names that clients send, and the topics and partitions they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::{ErrorCode, PartitionIndex, TopicName};
use tidelog_runtime::{Broker, BrokerError, Partition};

/// The topic name, if it is one.
pub(crate) fn topic_name(name: &str) -> Result<TopicName, BrokerError> {
    TopicName::new(name)
        .map_err(|error| BrokerError::new(ErrorCode::InvalidName, error.to_string()).field("topic"))
}

/// The partition of this name and index.
pub(crate) fn partition(broker: &Broker, name: &str, index: i32) -> Result<Arc<Partition>, BrokerError> {
    let unknown = |message: String| BrokerError::new(ErrorCode::UnknownTopicOrPartition, message);
    let name = topic_name(name).map_err(|error| unknown(error.message))?;
    let index =
        PartitionIndex::new(index).ok_or_else(|| unknown(format!("there is no partition {index}")))?;
    broker.partition(&name, index)
}

/// The things that occur more than once.
pub(crate) fn repeated<T: Ord>(things: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for thing in things {
        if let Some(again) = seen.replace(thing) {
            repeated.insert(again);
        }
    }
    repeated
}
