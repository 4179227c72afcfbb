//! Why a group refuses a request.

use thiserror::Error;
use tidelog_model::{ErrorCode, GroupId};

use super::consumer::ConsumerGroupError;

/// Why a request was refused. What was refused has changed nothing, save that a member that is heard of is
/// known to be alive.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// The metadata text is too long.
    #[error("offset metadata has {actual} bytes, at most {limit} are allowed")]
    MetadataTooLong {
        /// The limit in bytes.
        limit: usize,
        /// The bytes given.
        actual: usize,
    },
    /// The broker has too many groups.
    #[error("the broker remembers {limit} groups, which is its limit: delete groups that are not used")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// The broker has too many offsets.
    #[error("the broker remembers {limit} offsets, which is its limit: delete groups that are not used")]
    TooManyOffsets {
        /// The limit.
        limit: usize,
    },
    /// A text or list of the request is too long.
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
    /// All members together say too much.
    #[error(
        "the members' metadata and assignments have more than {limit} bytes: let members subscribe to less"
    )]
    TooMuchMetadata {
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no such group.
    #[error("there is no group {group}")]
    UnknownGroup {
        /// The group.
        group: GroupId,
    },
    /// The group is of the other kind.
    #[error("group {group} is not a {wanted} group")]
    OtherType {
        /// The group.
        group: GroupId,
        /// The type asked for.
        wanted: &'static str,
    },
    /// The group has members.
    #[error("group {group} has members: stop them first")]
    NotEmpty {
        /// The group.
        group: GroupId,
    },
    /// There is such a queue group.
    #[error("there is a queue group {group} already")]
    QueueExists {
        /// The group.
        group: GroupId,
    },
    /// The group has members, and the caller does not want to move them.
    #[error("group {group} has members that read: stop them first, or let the seek move them")]
    Active {
        /// The group.
        group: GroupId,
    },
    /// The group's members would not follow a seek.
    #[error(
        "members of group {group} would go on where they are: they keep their partitions in a rebalance, or \
         are no consumers; stop them first"
    )]
    CannotFollow {
        /// The group.
        group: GroupId,
    },
    /// Members subscribe to the topic.
    #[error("members of the group subscribe to the topic: its offsets cannot be deleted while they do")]
    Subscribed,
    /// The group has no such member.
    #[error("member {member_id:?} is not in the group: join again")]
    UnknownMember {
        /// The id given.
        member_id: String,
    },
    /// Another member has taken over the instance id.
    #[error("another member has taken over the instance id {instance_id}: do not use it twice")]
    FencedInstance {
        /// The instance id.
        instance_id: String,
    },
    /// The generation is not the current one.
    #[error("generation {received} is not the group's generation {known}: join again")]
    IllegalGeneration {
        /// The generation given.
        received: i32,
        /// The group's generation.
        known: i32,
    },
    /// The group is rebalancing.
    #[error("the group is rebalancing: join again")]
    Rebalancing,
    /// The member's protocols do not go with the group's.
    #[error("the member's protocol type and protocols have nothing in common with those of the group")]
    InconsistentProtocol,
    /// The session timeout is out of range.
    #[error("a session timeout of {actual} ms is out of range: it must be {min} to {max} ms")]
    SessionTimeout {
        /// The shortest.
        min: i32,
        /// The longest.
        max: i32,
        /// The one given.
        actual: i32,
    },
    /// The rebalance timeout is impossible.
    #[error("a rebalance timeout of {actual} ms is impossible: it must be positive")]
    RebalanceTimeout {
        /// The one given.
        actual: i32,
    },
    /// The group has as many members as it may.
    #[error("the group has its maximum of {limit} members: stop one before another can join")]
    GroupFull {
        /// The most members.
        limit: usize,
    },
    /// The consumer protocol's refusal.
    #[error(transparent)]
    Consumer(#[from] ConsumerGroupError),
}

impl GroupError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::MetadataTooLong { .. } => ErrorCode::OffsetMetadataTooLarge,
            Self::TooManyGroups { .. }
            | Self::TooManyOffsets { .. }
            | Self::TooLong { .. }
            | Self::RebalanceTimeout { .. } => ErrorCode::InvalidRequest,
            Self::TooMuchMetadata { .. } | Self::GroupFull { .. } => ErrorCode::GroupMaxSizeReached,
            Self::UnknownGroup { .. } | Self::OtherType { .. } => ErrorCode::GroupIdNotFound,
            Self::QueueExists { .. } => ErrorCode::GroupAlreadyExists,
            Self::NotEmpty { .. } | Self::Active { .. } | Self::CannotFollow { .. } => {
                ErrorCode::NonEmptyGroup
            }
            Self::Subscribed => ErrorCode::GroupSubscribedToTopic,
            Self::UnknownMember { .. } => ErrorCode::UnknownMemberId,
            Self::FencedInstance { .. } => ErrorCode::FencedInstanceId,
            Self::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
            Self::Rebalancing => ErrorCode::RebalanceInProgress,
            Self::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
            Self::SessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
            Self::Consumer(error) => consumer_code(error),
        }
    }

    /// The limit passed and the value found, when a limit was passed.
    #[must_use]
    pub fn limit_and_actual(&self) -> Option<(i64, i64)> {
        let wide = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Self::MetadataTooLong { limit, actual } | Self::TooLong { limit, actual, .. } => {
                Some((wide(*limit), wide(*actual)))
            }
            Self::TooManyGroups { limit } | Self::TooManyOffsets { limit } | Self::GroupFull { limit } => {
                Some((wide(*limit), wide(*limit).saturating_add(1)))
            }
            Self::SessionTimeout { min, max, actual } => {
                let passed = if actual < min { min } else { max };
                Some((i64::from(*passed), i64::from(*actual)))
            }
            _ => None,
        }
    }

    /// The request field at fault, when one is.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::MetadataTooLong { .. } => Some("metadata"),
            Self::UnknownGroup { .. } | Self::TooManyGroups { .. } => Some("group"),
            Self::TooManyOffsets { .. } => Some("offsets"),
            Self::TooLong { field, .. } => Some(field),
            Self::SessionTimeout { .. } => Some("session_timeout_ms"),
            Self::RebalanceTimeout { .. } => Some("rebalance_timeout_ms"),
            _ => None,
        }
    }
}

const fn consumer_code(error: &ConsumerGroupError) -> ErrorCode {
    match error {
        ConsumerGroupError::InvalidRequest { .. } | ConsumerGroupError::TooLong { .. } => {
            ErrorCode::InvalidRequest
        }
        ConsumerGroupError::UnknownMember { .. } | ConsumerGroupError::UnknownInstance { .. } => {
            ErrorCode::UnknownMemberId
        }
        ConsumerGroupError::FencedMemberEpoch { .. } => ErrorCode::FencedMemberEpoch,
        ConsumerGroupError::FencedInstance { .. } => ErrorCode::FencedInstanceId,
        ConsumerGroupError::UnreleasedInstance { .. } => ErrorCode::UnreleasedInstanceId,
        ConsumerGroupError::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
        ConsumerGroupError::GroupFull { .. } => ErrorCode::GroupMaxSizeReached,
        ConsumerGroupError::InvalidRegex { .. } => ErrorCode::InvalidRegularExpression,
        ConsumerGroupError::StaleMemberEpoch { .. } | ConsumerGroupError::Sought { .. } => {
            ErrorCode::StaleMemberEpoch
        }
    }
}
