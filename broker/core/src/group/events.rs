//! The events of groups and their stored form.
//!
//! **Invariant:** what older programs stored stays readable; the fields they wrote keep their numbers.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{Message, Oneof};
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use super::api::CommittedOffset;
use super::classic::{ClassicImage, ClassicRecord};
use super::consumer::{ConsumerGroupEvent, ConsumerGroupRecord};
use super::queue::{QueueDefinition, QueueRecord};
use crate::codec::{CodecError, Event, bad_field, open, required, seal, topic_id};

/// The version of the stored form that this program writes.
const VERSION: u32 = 1;

/// A fact about groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// A group has read a partition up to here.
    OffsetCommitted {
        /// The group.
        group: GroupId,
        /// The topic.
        topic_id: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// How far.
        committed: CommittedOffset,
    },
    /// A group and its offsets are forgotten.
    GroupDeleted {
        /// The group.
        group: GroupId,
    },
    /// All groups' offsets of a topic are forgotten.
    TopicForgotten {
        /// The topic.
        topic_id: TopicId,
    },
    /// A group forgets its offset of a partition.
    OffsetForgotten {
        /// The group.
        group: GroupId,
        /// The topic.
        topic_id: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// A classic group has a new generation, or is empty.
    ClassicStored {
        /// The group.
        group: GroupId,
        /// All of it but its offsets.
        image: ClassicImage,
    },
    /// A queue group was made or changed.
    QueueStored {
        /// The group.
        group: GroupId,
        /// What it is.
        definition: QueueDefinition,
    },
    /// Something happened in a group of the consumer protocol.
    Consumer {
        /// The group.
        group: GroupId,
        /// What.
        event: ConsumerGroupEvent,
    },
}

impl Event for GroupEvent {
    fn key(&self) -> Bytes {
        let mut key = BytesMut::new();
        match self {
            Self::OffsetCommitted { group, topic_id, partition, .. }
            | Self::OffsetForgotten { group, topic_id, partition } => {
                key.put_slice(group.as_str().as_bytes());
                key.put_u8(0);
                key.put_slice(topic_id.uuid().as_bytes());
                key.put_i32(partition.get());
            }
            Self::GroupDeleted { group }
            | Self::ClassicStored { group, .. }
            | Self::QueueStored { group, .. } => {
                key.put_slice(group.as_str().as_bytes());
            }
            Self::Consumer { group, event } => {
                key.put_slice(group.as_str().as_bytes());
                key.put_u8(0);
                key.put_slice(&event.key());
            }
            Self::TopicForgotten { topic_id } => {
                key.put_u8(0);
                key.put_slice(topic_id.uuid().as_bytes());
            }
        }
        key.freeze()
    }

    fn encode(&self) -> Bytes {
        let change = match self {
            Self::OffsetCommitted { group, topic_id, partition, committed } => Change::Committed(Committed {
                group: group.as_str().to_owned(),
                topic_id: wire_id(*topic_id),
                partition: partition.get(),
                offset: committed.offset.get(),
                leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
                metadata: committed.metadata.clone(),
                committed_ms: committed.committed.millis(),
            }),
            Self::GroupDeleted { group } => Change::GroupDeleted(group.as_str().to_owned()),
            Self::TopicForgotten { topic_id } => Change::TopicForgotten(wire_id(*topic_id)),
            Self::OffsetForgotten { group, topic_id, partition } => Change::OffsetForgotten(Forgotten {
                group: group.as_str().to_owned(),
                topic_id: wire_id(*topic_id),
                partition: partition.get(),
            }),
            Self::ClassicStored { group, image } => Change::Classic(Classic {
                group: group.as_str().to_owned(),
                image: Some(ClassicRecord::from(image)),
            }),
            Self::QueueStored { group, definition } => Change::Queue(Queue {
                group: group.as_str().to_owned(),
                definition: Some(QueueRecord::from(definition)),
            }),
            Self::Consumer { group, event } => Change::Consumer(Consumer {
                group: group.as_str().to_owned(),
                event: Some(ConsumerGroupRecord::from(event)),
            }),
        };
        seal(VERSION, &GroupRecord { change: Some(change) })
    }

    fn decode(value: &[u8]) -> Result<Self, CodecError> {
        let record: GroupRecord = open(VERSION, value)?;
        Ok(match required("change", record.change)? {
            Change::Committed(wire) => Self::OffsetCommitted {
                group: group(&wire.group)?,
                topic_id: topic_id("topic_id", &wire.topic_id)?,
                partition: partition(wire.partition)?,
                committed: CommittedOffset {
                    offset: Offset::new(wire.offset).ok_or_else(|| bad_field("offset", "it is negative"))?,
                    leader_epoch: LeaderEpoch::new(wire.leader_epoch),
                    metadata: wire.metadata,
                    committed: Timestamp::from_millis(wire.committed_ms),
                },
            },
            Change::GroupDeleted(name) => Self::GroupDeleted { group: group(&name)? },
            Change::TopicForgotten(id) => {
                Self::TopicForgotten { topic_id: topic_id("topic_forgotten", &id)? }
            }
            Change::OffsetForgotten(wire) => Self::OffsetForgotten {
                group: group(&wire.group)?,
                topic_id: topic_id("topic_id", &wire.topic_id)?,
                partition: partition(wire.partition)?,
            },
            Change::Classic(wire) => Self::ClassicStored {
                group: group(&wire.group)?,
                image: required("image", wire.image)?.into(),
            },
            Change::Queue(wire) => Self::QueueStored {
                group: group(&wire.group)?,
                definition: required("definition", wire.definition)?.try_into()?,
            },
            Change::Consumer(wire) => Self::Consumer {
                group: group(&wire.group)?,
                event: required("event", wire.event)?.try_into()?,
            },
        })
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct GroupRecord {
    #[prost(oneof = "Change", tags = "1, 2, 3, 4, 5, 6, 7")]
    change: Option<Change>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Change {
    #[prost(message, tag = "1")]
    Committed(Committed),
    #[prost(string, tag = "2")]
    GroupDeleted(String),
    #[prost(bytes = "bytes", tag = "3")]
    TopicForgotten(Bytes),
    #[prost(message, tag = "4")]
    OffsetForgotten(Forgotten),
    #[prost(message, tag = "5")]
    Classic(Classic),
    #[prost(message, tag = "6")]
    Consumer(Consumer),
    #[prost(message, tag = "7")]
    Queue(Queue),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Forgotten {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(bytes = "bytes", tag = "2")]
    topic_id: Bytes,
    #[prost(int32, tag = "3")]
    partition: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Classic {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, optional, tag = "2")]
    image: Option<ClassicRecord>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Queue {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, optional, tag = "2")]
    definition: Option<QueueRecord>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Consumer {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, optional, tag = "2")]
    event: Option<ConsumerGroupRecord>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Committed {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(bytes = "bytes", tag = "2")]
    topic_id: Bytes,
    #[prost(int32, tag = "3")]
    partition: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(sint32, tag = "5")]
    leader_epoch: i32,
    #[prost(string, tag = "6")]
    metadata: String,
    #[prost(int64, tag = "7")]
    committed_ms: i64,
}

fn wire_id(id: TopicId) -> Bytes {
    Bytes::copy_from_slice(id.uuid().as_bytes())
}

fn group(name: &str) -> Result<GroupId, CodecError> {
    GroupId::new(name).map_err(|error| bad_field("group", error))
}

fn partition(index: i32) -> Result<PartitionIndex, CodecError> {
    PartitionIndex::new(index).ok_or_else(|| bad_field("partition", "it is negative"))
}
