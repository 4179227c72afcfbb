//! What is stored of a classic group: all of it as one message, written when a generation is complete.

use bytes::Bytes;
use prost::Message;
use tidelog_model::Timestamp;

use crate::group::api::GroupProtocol;

/// A classic group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicImage {
    /// The generation.
    pub generation: i32,
    /// The kind of the group; empty when it never had one.
    pub protocol_type: String,
    /// The protocol chosen; empty when there are no members.
    pub protocol_name: String,
    /// The member that assigns; empty when there are no members.
    pub leader: String,
    /// Since when the group is as it is.
    pub since: Timestamp,
    /// The members.
    pub members: Vec<MemberImage>,
}

/// A member as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberImage {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// The protocols it knows.
    pub protocols: Vec<GroupProtocol>,
    /// What it is to do.
    pub assignment: Bytes,
}

/// The message of a [`ClassicImage`].
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::group) struct ClassicRecord {
    #[prost(int32, tag = "1")]
    generation: i32,
    #[prost(string, tag = "2")]
    protocol_type: String,
    #[prost(string, tag = "3")]
    protocol_name: String,
    #[prost(string, tag = "4")]
    leader: String,
    #[prost(int64, tag = "5")]
    since_ms: i64,
    #[prost(message, repeated, tag = "6")]
    members: Vec<MemberRecord>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct MemberRecord {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(string, optional, tag = "2")]
    instance_id: Option<String>,
    #[prost(string, tag = "3")]
    client_id: String,
    #[prost(string, tag = "4")]
    client_host: String,
    #[prost(int32, tag = "5")]
    session_timeout_ms: i32,
    #[prost(int32, tag = "6")]
    rebalance_timeout_ms: i32,
    #[prost(message, repeated, tag = "7")]
    protocols: Vec<ProtocolRecord>,
    #[prost(bytes = "bytes", tag = "8")]
    assignment: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ProtocolRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    metadata: Bytes,
}

impl From<&ClassicImage> for ClassicRecord {
    fn from(image: &ClassicImage) -> Self {
        let member = |member: &MemberImage| MemberRecord {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: member.protocols.iter().map(ProtocolRecord::from).collect(),
            assignment: member.assignment.clone(),
        };
        Self {
            generation: image.generation,
            protocol_type: image.protocol_type.clone(),
            protocol_name: image.protocol_name.clone(),
            leader: image.leader.clone(),
            since_ms: image.since.millis(),
            members: image.members.iter().map(member).collect(),
        }
    }
}

impl From<&GroupProtocol> for ProtocolRecord {
    fn from(protocol: &GroupProtocol) -> Self {
        Self { name: protocol.name.clone(), metadata: protocol.metadata.clone() }
    }
}

impl From<ClassicRecord> for ClassicImage {
    fn from(record: ClassicRecord) -> Self {
        let protocol =
            |protocol: ProtocolRecord| GroupProtocol { name: protocol.name, metadata: protocol.metadata };
        let member = |member: MemberRecord| MemberImage {
            member_id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: member.protocols.into_iter().map(protocol).collect(),
            assignment: member.assignment,
        };
        Self {
            generation: record.generation,
            protocol_type: record.protocol_type,
            protocol_name: record.protocol_name,
            leader: record.leader,
            since: Timestamp::from_millis(record.since_ms),
            members: record.members.into_iter().map(member).collect(),
        }
    }
}
