//! How requests name topics: by name, and in newer versions by id.

use std::sync::Arc;

use tidelog_model::{ErrorCode, PartitionIndex, TopicId};
use tidelog_runtime::{Broker, BrokerError, Partition, Topic};
use uuid::Uuid;

use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::topic_name;
use crate::reader::{ReadError, Reader};
use crate::wire::StrBytes;
use crate::writer::Writer;

/// A topic as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TopicRef {
    Name(StrBytes),
    Id(u128),
}

/// Whether a version of an API names topics or gives their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicForm {
    Names,
    Ids,
}

impl TopicRef {
    /// The fewest bytes of a topic on the wire: a name's length, an array's length.
    pub(crate) const BYTES_MIN: usize = 2;

    pub(crate) fn read(reader: &mut Reader, form: TopicForm) -> Result<Self, ReadError> {
        match form {
            TopicForm::Names => reader.string().map(Self::Name),
            TopicForm::Ids => reader.id().map(Self::Id),
        }
    }

    /// Writes it as it was read.
    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Name(name) => writer.string(name),
            Self::Id(id) => writer.id(*id),
        }
    }

    /// The topic.
    pub(crate) fn find(&self, broker: &Broker) -> Result<Arc<Topic>, Failure> {
        match self {
            Self::Name(name) => {
                let unknown = |message: String| Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, message);
                let name = topic_name(name).map_err(|error| unknown(error.message))?;
                broker
                    .topic(&name)
                    .ok_or_else(|| unknown(format!("there is no topic {name}: create it first")))
            }
            Self::Id(id) => {
                let id = TopicId::from_uuid(Uuid::from_u128(*id));
                broker.topic_by_id(id).ok_or_else(|| {
                    Failure::new(KafkaError::UNKNOWN_TOPIC_ID, format!("there is no topic with the id {id}"))
                })
            }
        }
    }
}

/// The partition of this index.
pub(crate) fn find_partition(topic: &Topic, index: i32) -> Result<Arc<Partition>, Failure> {
    let found = PartitionIndex::new(index).and_then(|index| topic.partition(index));
    found.cloned().ok_or_else(|| {
        let (name, count) = (topic.name(), topic.partition_count());
        let message = format!("topic {name} has {count} partitions, there is no partition {index}");
        Failure::from(BrokerError::new(ErrorCode::UnknownTopicOrPartition, message))
    })
}

/// Whether the epoch in which a client believes the partition to be led is the one in which it is; -1 is
/// "does not matter" (KIP-320).
pub(crate) fn check_epoch(partition: &Partition, claimed: i32) -> Result<(), Failure> {
    if claimed < 0 {
        return Ok(());
    }
    let current = partition.leader_epoch().get();
    match claimed.cmp(&current) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Failure::new(
            KafkaError::FENCED_LEADER_EPOCH,
            format!("the partition's leader epoch is {current}, not {claimed}: refresh the metadata"),
        )),
        std::cmp::Ordering::Greater => Err(Failure::new(
            KafkaError::UNKNOWN_LEADER_EPOCH,
            format!("the partition's leader epoch is {current}, {claimed} is not known here yet: try again"),
        )),
    }
}
