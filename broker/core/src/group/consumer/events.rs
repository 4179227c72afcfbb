//! The events of a consumer group and their stored form.
//!
//! They do not name their group, and they are not sealed: the group coordinator's own event does both.
//! [`ConsumerGroupRecord`] is the message it carries.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{Message, Oneof};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::member::{CurrentAssignment, MemberState, MemberSubscription};
use super::seek::Positions;
use crate::codec::{CodecError, bad_field, required, topic_id};
use crate::group::assignor::{MemberId, Partitions};

/// A fact about a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerGroupEvent {
    /// A member joined, or told something new about itself.
    MemberSubscribed {
        /// The member.
        member_id: MemberId,
        /// All that it told.
        subscription: MemberSubscription,
    },
    /// A member is gone, with all it had.
    MemberRemoved {
        /// The member.
        member_id: MemberId,
    },
    /// Members, subscriptions or topics changed.
    GroupEpochRaised {
        /// The new epoch.
        group_epoch: i32,
        /// The fingerprint of the subscriptions and their topics.
        fingerprint: u64,
    },
    /// A member should have other partitions.
    TargetAssigned {
        /// The member.
        member_id: MemberId,
        /// All that it should have.
        target: Partitions,
    },
    /// All members' targets are those of this group epoch.
    TargetCompleted {
        /// The group epoch.
        assignment_epoch: i32,
    },
    /// A member is a step nearer to its target, or left for a while.
    MemberReconciled {
        /// The member.
        member_id: MemberId,
        /// What it has.
        current: CurrentAssignment,
    },
    /// From now on only who has one of these partitions may commit its offset.
    CommitsFenced {
        /// The partitions.
        partitions: Partitions,
    },
    /// Nobody is to read these partitions until the group's positions are set.
    SeekBegun {
        /// Where the group is to go on.
        positions: Positions,
    },
    /// The group's positions are set: these are its committed offsets.
    SeekDone {
        /// Where the group goes on.
        positions: Positions,
        /// When it was done.
        at: Timestamp,
    },
}

impl ConsumerGroupEvent {
    /// What the event is about, within its group.
    #[must_use]
    pub fn key(&self) -> Bytes {
        let (kind, member) = match self {
            Self::MemberSubscribed { member_id, .. } => (b's', member_id.as_str()),
            Self::MemberRemoved { member_id } => (b'r', member_id.as_str()),
            Self::GroupEpochRaised { .. } => (b'e', ""),
            Self::TargetAssigned { member_id, .. } => (b't', member_id.as_str()),
            Self::TargetCompleted { .. } => (b'a', ""),
            Self::MemberReconciled { member_id, .. } => (b'c', member_id.as_str()),
            Self::CommitsFenced { .. } => (b'f', ""),
            Self::SeekBegun { .. } => (b'b', ""),
            Self::SeekDone { .. } => (b'd', ""),
        };
        let mut key = BytesMut::with_capacity(member.len().saturating_add(1));
        key.put_u8(kind);
        key.put_slice(member.as_bytes());
        key.freeze()
    }

    /// The bytes of its message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        ConsumerGroupRecord::from(self).encode_to_vec().into()
    }

    /// Reads the bytes of its message.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not an event.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        ConsumerGroupRecord::decode(bytes)
            .map_err(|error| CodecError::Broken { reason: error.to_string() })?
            .try_into()
    }
}

impl From<&ConsumerGroupEvent> for ConsumerGroupRecord {
    fn from(event: &ConsumerGroupEvent) -> Self {
        let change = match event.clone() {
            ConsumerGroupEvent::MemberSubscribed { member_id, subscription } => {
                Change::Subscribed(subscribed(&member_id, subscription))
            }
            ConsumerGroupEvent::MemberRemoved { member_id } => Change::Removed(member_id.to_string()),
            ConsumerGroupEvent::GroupEpochRaised { group_epoch, fingerprint } => {
                Change::EpochRaised(EpochRaised { group_epoch, fingerprint })
            }
            ConsumerGroupEvent::TargetAssigned { member_id, target } => {
                Change::Target(Target { member_id: member_id.to_string(), partitions: wire(&target) })
            }
            ConsumerGroupEvent::TargetCompleted { assignment_epoch } => {
                Change::TargetCompleted(assignment_epoch)
            }
            ConsumerGroupEvent::MemberReconciled { member_id, current } => Change::Reconciled(Reconciled {
                member_id: member_id.to_string(),
                state: wire_state(current.state),
                member_epoch: current.member_epoch,
                previous_member_epoch: current.previous_member_epoch,
                assigned: wire(&current.assigned),
                pending_revocation: wire(&current.pending_revocation),
            }),
            ConsumerGroupEvent::CommitsFenced { partitions } => {
                Change::Fenced(Fenced { partitions: wire(&partitions) })
            }
            ConsumerGroupEvent::SeekBegun { positions } => {
                Change::SeekBegun(Seek { positions: wire_positions(&positions), at_ms: 0 })
            }
            ConsumerGroupEvent::SeekDone { positions, at } => {
                Change::SeekDone(Seek { positions: wire_positions(&positions), at_ms: at.millis() })
            }
        };
        Self { change: Some(change) }
    }
}

impl TryFrom<ConsumerGroupRecord> for ConsumerGroupEvent {
    type Error = CodecError;

    fn try_from(record: ConsumerGroupRecord) -> Result<Self, CodecError> {
        Ok(match required("change", record.change)? {
            Change::Subscribed(wire) => Self::MemberSubscribed {
                member_id: MemberId::new(&wire.member_id),
                subscription: subscription(wire)?,
            },
            Change::Removed(member_id) => Self::MemberRemoved { member_id: MemberId::new(&member_id) },
            Change::EpochRaised(EpochRaised { group_epoch, fingerprint }) => {
                Self::GroupEpochRaised { group_epoch, fingerprint }
            }
            Change::Target(Target { member_id, partitions }) => Self::TargetAssigned {
                member_id: MemberId::new(&member_id),
                target: unwire("target", partitions)?,
            },
            Change::TargetCompleted(assignment_epoch) => Self::TargetCompleted { assignment_epoch },
            Change::Reconciled(wire) => Self::MemberReconciled {
                member_id: MemberId::new(&wire.member_id),
                current: CurrentAssignment {
                    state: state(wire.state)?,
                    member_epoch: wire.member_epoch,
                    previous_member_epoch: wire.previous_member_epoch,
                    assigned: unwire("assigned", wire.assigned)?,
                    pending_revocation: unwire("pending_revocation", wire.pending_revocation)?,
                },
            },
            Change::Fenced(wire) => Self::CommitsFenced { partitions: unwire("fenced", wire.partitions)? },
            Change::SeekBegun(wire) => Self::SeekBegun { positions: unwire_positions(wire.positions)? },
            Change::SeekDone(wire) => Self::SeekDone {
                positions: unwire_positions(wire.positions)?,
                at: Timestamp::from_millis(wire.at_ms),
            },
        })
    }
}

/// The stored form of a [`ConsumerGroupEvent`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ConsumerGroupRecord {
    #[prost(oneof = "Change", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    change: Option<Change>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Change {
    #[prost(message, tag = "1")]
    Subscribed(Subscribed),
    #[prost(string, tag = "2")]
    Removed(String),
    #[prost(message, tag = "3")]
    EpochRaised(EpochRaised),
    #[prost(message, tag = "4")]
    Target(Target),
    #[prost(int32, tag = "5")]
    TargetCompleted(i32),
    #[prost(message, tag = "6")]
    Reconciled(Reconciled),
    #[prost(message, tag = "7")]
    Fenced(Fenced),
    #[prost(message, tag = "8")]
    SeekBegun(Seek),
    #[prost(message, tag = "9")]
    SeekDone(Seek),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Fenced {
    #[prost(message, repeated, tag = "1")]
    partitions: Vec<TopicPartitions>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Seek {
    #[prost(message, repeated, tag = "1")]
    positions: Vec<Position>,
    #[prost(int64, tag = "2")]
    at_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Position {
    #[prost(bytes = "bytes", tag = "1")]
    topic_id: Bytes,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(int64, tag = "3")]
    offset: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Subscribed {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(string, optional, tag = "2")]
    instance_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    rack_id: Option<String>,
    #[prost(string, tag = "4")]
    client_id: String,
    #[prost(string, tag = "5")]
    client_host: String,
    #[prost(int32, tag = "6")]
    rebalance_timeout_ms: i32,
    #[prost(string, repeated, tag = "7")]
    topic_names: Vec<String>,
    #[prost(string, optional, tag = "8")]
    topic_regex: Option<String>,
    #[prost(string, optional, tag = "9")]
    server_assignor: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct EpochRaised {
    #[prost(int32, tag = "1")]
    group_epoch: i32,
    #[prost(fixed64, tag = "2")]
    fingerprint: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Target {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(message, repeated, tag = "2")]
    partitions: Vec<TopicPartitions>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Reconciled {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(sint32, tag = "3")]
    member_epoch: i32,
    #[prost(sint32, tag = "4")]
    previous_member_epoch: i32,
    #[prost(message, repeated, tag = "5")]
    assigned: Vec<TopicPartitions>,
    #[prost(message, repeated, tag = "6")]
    pending_revocation: Vec<TopicPartitions>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct TopicPartitions {
    #[prost(bytes = "bytes", tag = "1")]
    topic_id: Bytes,
    #[prost(int32, repeated, tag = "2")]
    partitions: Vec<i32>,
}

fn subscribed(member_id: &MemberId, subscription: MemberSubscription) -> Subscribed {
    Subscribed {
        member_id: member_id.to_string(),
        instance_id: subscription.instance_id,
        rack_id: subscription.rack_id,
        client_id: subscription.client_id,
        client_host: subscription.client_host,
        rebalance_timeout_ms: subscription.rebalance_timeout_ms,
        topic_names: subscription.topic_names.iter().map(TopicName::to_string).collect(),
        topic_regex: subscription.topic_regex,
        server_assignor: subscription.server_assignor,
    }
}

fn subscription(wire: Subscribed) -> Result<MemberSubscription, CodecError> {
    let names: Result<BTreeSet<_>, _> = wire.topic_names.iter().map(|name| TopicName::new(name)).collect();
    Ok(MemberSubscription {
        instance_id: wire.instance_id,
        rack_id: wire.rack_id,
        client_id: wire.client_id,
        client_host: wire.client_host,
        rebalance_timeout_ms: wire.rebalance_timeout_ms,
        topic_names: names.map_err(|error| bad_field("topic_names", error))?.into(),
        topic_regex: wire.topic_regex,
        server_assignor: wire.server_assignor,
    })
}

fn wire(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topics = partitions.iter().map(|(topic, set)| TopicPartitions {
        topic_id: Bytes::copy_from_slice(topic.uuid().as_bytes()),
        partitions: set.iter().map(|partition| partition.get()).collect(),
    });
    topics.collect()
}

fn unwire(field: &'static str, topics: Vec<TopicPartitions>) -> Result<Partitions, CodecError> {
    let mut partitions = Partitions::new();
    for topic in topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        let set = partitions.entry(topic_id(field, &topic.topic_id)?).or_default();
        for partition in topic.partitions {
            let negative = || bad_field(field, "a partition is negative");
            set.insert(PartitionIndex::new(partition).ok_or_else(negative)?);
        }
    }
    Ok(partitions)
}

fn wire_positions(positions: &Positions) -> Vec<Position> {
    let position = |((topic, partition), offset): (&(TopicId, PartitionIndex), &Offset)| Position {
        topic_id: Bytes::copy_from_slice(topic.uuid().as_bytes()),
        partition: partition.get(),
        offset: offset.get(),
    };
    positions.iter().map(position).collect()
}

fn unwire_positions(positions: Vec<Position>) -> Result<Positions, CodecError> {
    let negative = |what: &str| bad_field("positions", format!("{what} is negative"));
    let position = |wire: Position| {
        let partition = PartitionIndex::new(wire.partition).ok_or_else(|| negative("a partition"))?;
        let offset = Offset::new(wire.offset).ok_or_else(|| negative("an offset"))?;
        Ok(((topic_id("positions", &wire.topic_id)?, partition), offset))
    };
    positions.into_iter().map(position).collect()
}

const fn wire_state(state: MemberState) -> i32 {
    match state {
        MemberState::Stable => 1,
        MemberState::UnrevokedPartitions => 2,
        MemberState::UnreleasedPartitions => 3,
    }
}

fn state(wire: i32) -> Result<MemberState, CodecError> {
    [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions]
        .into_iter()
        .find(|state| wire_state(*state) == wire)
        .ok_or_else(|| bad_field("state", format!("{wire} is unknown")))
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
