//! Why a group refuses a member.

use thiserror::Error;
use tidelog_model::PartitionIndex;

/// Why a heartbeat or a commit was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsumerGroupError {
    /// A field of the request is missing or impossible (Kafka: `INVALID_REQUEST`).
    #[error("{reason}")]
    InvalidRequest {
        /// Which field, and how it should be.
        reason: &'static str,
    },
    /// A text or list of the request is too long (Kafka: `INVALID_REQUEST`).
    #[error("{field} has {actual} {unit}, at most {limit} are allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// What is counted.
        unit: &'static str,
        /// The most allowed.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// The group has no such member (Kafka: `UNKNOWN_MEMBER_ID`).
    #[error("member {member_id} is not in the group: rejoin with epoch 0")]
    UnknownMember {
        /// The id given.
        member_id: String,
    },
    /// No member has this instance id (Kafka: `UNKNOWN_MEMBER_ID`).
    #[error("instance id {instance_id} is unknown: rejoin with epoch 0")]
    UnknownInstance {
        /// The id given.
        instance_id: String,
    },
    /// The member's epoch is not its current one (Kafka: `FENCED_MEMBER_EPOCH`).
    #[error(
        "member epoch {received} is not the epoch {known} the group knows: \
         give up all partitions and rejoin with epoch 0"
    )]
    FencedMemberEpoch {
        /// The epoch given.
        received: i32,
        /// The member's epoch.
        known: i32,
    },
    /// Another member took the instance id over (Kafka: `FENCED_INSTANCE_ID`).
    #[error("member {member_id} was fenced: member {owner} has taken over the instance id {instance_id}")]
    FencedInstance {
        /// The instance id.
        instance_id: String,
        /// The member that was refused.
        member_id: String,
        /// The member that has it.
        owner: String,
    },
    /// Another member still uses the instance id (Kafka: `UNRELEASED_INSTANCE_ID`).
    #[error("instance id {instance_id} is in use by member {owner}: stop it, or wait until its session ends")]
    UnreleasedInstance {
        /// The instance id.
        instance_id: String,
        /// The member that has it.
        owner: String,
    },
    /// There is no such assignor (Kafka: `UNSUPPORTED_ASSIGNOR`).
    #[error("assignor {name:?} is not supported, use one of: {supported}")]
    UnsupportedAssignor {
        /// The name given.
        name: String,
        /// Those that may be used, with commas.
        supported: String,
    },
    /// The group has as many members as it may (Kafka: `GROUP_MAX_SIZE_REACHED`).
    #[error("the group has its maximum of {limit} members: stop one before another can join")]
    GroupFull {
        /// The most members.
        limit: usize,
    },
    /// The regular expression cannot be read (Kafka: `INVALID_REGULAR_EXPRESSION`).
    #[error("the subscription's regular expression is invalid: {reason}")]
    InvalidRegex {
        /// What is wrong with it.
        reason: String,
    },
    /// A commit or a fetch of offsets has not the member's epoch (Kafka: `STALE_MEMBER_EPOCH`).
    #[error("member epoch {received} is stale, the group knows {known}: send a heartbeat, then try again")]
    StaleMemberEpoch {
        /// The epoch given.
        received: i32,
        /// The member's epoch.
        known: i32,
    },
    /// A commit of a partition that the group was set elsewhere in, by a member that does not have it (any
    /// more; `STALE_MEMBER_EPOCH`).
    #[error(
        "the group was set to another position in partition {partition}, which the member does not have: \
         what it read before does not count"
    )]
    Sought {
        /// The partition.
        partition: PartitionIndex,
    },
}
