//! The events of committed offsets and their stored form.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{Message, Oneof};
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use super::api::CommittedOffset;
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
}

impl Event for GroupEvent {
    fn key(&self) -> Bytes {
        let mut key = BytesMut::new();
        match self {
            Self::OffsetCommitted { group, topic_id, partition, .. } => {
                key.put_slice(group.as_str().as_bytes());
                key.put_u8(0);
                key.put_slice(topic_id.uuid().as_bytes());
                key.put_i32(partition.get());
            }
            Self::GroupDeleted { group } => key.put_slice(group.as_str().as_bytes()),
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
        };
        seal(VERSION, &GroupRecord { change: Some(change) })
    }

    fn decode(value: &[u8]) -> Result<Self, CodecError> {
        let record: GroupRecord = open(VERSION, value)?;
        Ok(match required("change", record.change)? {
            Change::Committed(wire) => Self::OffsetCommitted {
                group: group(&wire.group)?,
                topic_id: topic_id("topic_id", &wire.topic_id)?,
                partition: PartitionIndex::new(wire.partition)
                    .ok_or_else(|| bad_field("partition", "it is negative"))?,
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
        })
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct GroupRecord {
    #[prost(oneof = "Change", tags = "1, 2, 3")]
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
