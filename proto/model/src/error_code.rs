//! The error codes of Tidelog's protocols: one name per failure, the same in every front end.

use std::fmt;

/// What went wrong, in Kafka's words where Kafka has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The topic or partition does not exist.
    UnknownTopicOrPartition,
    /// A topic of this name exists already.
    TopicAlreadyExists,
    /// The name breaks the rules for names.
    InvalidName,
    /// The number of partitions is out of range, or smaller than before.
    InvalidPartitions,
    /// A config key is unknown, or its value is out of range.
    InvalidConfig,
    /// A field of the request is missing or out of range.
    InvalidRequest,
    /// The topic belongs to the broker.
    InternalTopic,
    /// The batch's bytes are broken: length, checksum or framing.
    CorruptMessage,
    /// The batch breaks a rule for records: counts, deltas, keys, timestamps.
    InvalidRecord,
    /// The batch is larger than the topic allows.
    MessageTooLarge,
    /// The compression codec is unknown.
    UnsupportedCompression,
    /// The timestamp is further from now than the topic allows.
    InvalidTimestamp,
    /// The offset lies outside the partition's log.
    OffsetOutOfRange,
    /// An earlier batch of this stream to the same partition failed; later ones are refused to keep order.
    OutOfOrder,
    /// A batch of an idempotent producer does not follow on the one before it: that one was not stored.
    OutOfOrderSequence,
    /// The producer has begun a newer epoch.
    InvalidProducerEpoch,
    /// The partition's storage failed; its writes are off until an operator acts.
    StorageFailed,
    /// The disk is full; writes resume by themselves when there is room.
    DiskFull,
    /// Bytes that were known to be durable are broken.
    CorruptLog,
    /// The broker has no memory left for this request now.
    Overloaded,
    /// The broker is shutting down.
    ShuttingDown,
    /// The group or its member's generation is not the current one.
    FencedGeneration,
    /// The group has no such member: join again.
    UnknownMemberId,
    /// The member's generation is not the group's current one.
    IllegalGeneration,
    /// The group is rebalancing: join again.
    RebalanceInProgress,
    /// The member has to join again with the id it is given.
    MemberIdRequired,
    /// Another member has taken over the instance id.
    FencedInstanceId,
    /// Another member still uses the instance id.
    UnreleasedInstanceId,
    /// The member's epoch is not the one the group knows: join again.
    FencedMemberEpoch,
    /// The member's epoch is not its current one: send a heartbeat first.
    StaleMemberEpoch,
    /// The member's protocols do not go with those of the group.
    InconsistentGroupProtocol,
    /// The broker does not know the assignor.
    UnsupportedAssignor,
    /// The regular expression cannot be read.
    InvalidRegularExpression,
    /// The session timeout is out of range.
    InvalidSessionTimeout,
    /// The group's name breaks the rules for names.
    InvalidGroupId,
    /// The text that comes with a committed offset is too long.
    OffsetMetadataTooLarge,
    /// The group has as many members as it may.
    GroupMaxSizeReached,
    /// The group has members.
    NonEmptyGroup,
    /// There is no such group.
    GroupIdNotFound,
    /// There is a group of this name already.
    GroupAlreadyExists,
    /// Members of the group subscribe to the topic.
    GroupSubscribedToTopic,
    /// The group's state could not be stored or is being read: try again.
    CoordinatorNotAvailable,
    /// The broker broke one of its own rules; the message says which.
    Internal,
}

impl ErrorCode {
    /// Every code there is.
    pub const ALL: [Self; 43] = [
        Self::UnknownTopicOrPartition,
        Self::TopicAlreadyExists,
        Self::InvalidName,
        Self::InvalidPartitions,
        Self::InvalidConfig,
        Self::InvalidRequest,
        Self::InternalTopic,
        Self::CorruptMessage,
        Self::InvalidRecord,
        Self::MessageTooLarge,
        Self::UnsupportedCompression,
        Self::InvalidTimestamp,
        Self::OffsetOutOfRange,
        Self::OutOfOrder,
        Self::OutOfOrderSequence,
        Self::InvalidProducerEpoch,
        Self::StorageFailed,
        Self::DiskFull,
        Self::CorruptLog,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::FencedGeneration,
        Self::UnknownMemberId,
        Self::IllegalGeneration,
        Self::RebalanceInProgress,
        Self::MemberIdRequired,
        Self::FencedInstanceId,
        Self::UnreleasedInstanceId,
        Self::FencedMemberEpoch,
        Self::StaleMemberEpoch,
        Self::InconsistentGroupProtocol,
        Self::UnsupportedAssignor,
        Self::InvalidRegularExpression,
        Self::InvalidSessionTimeout,
        Self::InvalidGroupId,
        Self::OffsetMetadataTooLarge,
        Self::GroupMaxSizeReached,
        Self::NonEmptyGroup,
        Self::GroupIdNotFound,
        Self::GroupAlreadyExists,
        Self::GroupSubscribedToTopic,
        Self::CoordinatorNotAvailable,
        Self::Internal,
    ];

    /// The code with this [`Self::name`], if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The code's stable name on the wire and in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownTopicOrPartition => "UNKNOWN_TOPIC_OR_PARTITION",
            Self::TopicAlreadyExists => "TOPIC_ALREADY_EXISTS",
            Self::InvalidName => "INVALID_NAME",
            Self::InvalidPartitions => "INVALID_PARTITIONS",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InternalTopic => "INTERNAL_TOPIC",
            Self::CorruptMessage => "CORRUPT_MESSAGE",
            Self::InvalidRecord => "INVALID_RECORD",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::UnsupportedCompression => "UNSUPPORTED_COMPRESSION",
            Self::InvalidTimestamp => "INVALID_TIMESTAMP",
            Self::OffsetOutOfRange => "OFFSET_OUT_OF_RANGE",
            Self::OutOfOrder => "OUT_OF_ORDER",
            Self::OutOfOrderSequence => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            Self::InvalidProducerEpoch => "INVALID_PRODUCER_EPOCH",
            Self::StorageFailed => "STORAGE_FAILED",
            Self::DiskFull => "DISK_FULL",
            Self::CorruptLog => "CORRUPT_LOG",
            Self::Overloaded => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::FencedGeneration => "FENCED_GENERATION",
            Self::UnknownMemberId => "UNKNOWN_MEMBER_ID",
            Self::IllegalGeneration => "ILLEGAL_GENERATION",
            Self::RebalanceInProgress => "REBALANCE_IN_PROGRESS",
            Self::MemberIdRequired => "MEMBER_ID_REQUIRED",
            Self::FencedInstanceId => "FENCED_INSTANCE_ID",
            Self::UnreleasedInstanceId => "UNRELEASED_INSTANCE_ID",
            Self::FencedMemberEpoch => "FENCED_MEMBER_EPOCH",
            Self::StaleMemberEpoch => "STALE_MEMBER_EPOCH",
            Self::InconsistentGroupProtocol => "INCONSISTENT_GROUP_PROTOCOL",
            Self::UnsupportedAssignor => "UNSUPPORTED_ASSIGNOR",
            Self::InvalidRegularExpression => "INVALID_REGULAR_EXPRESSION",
            Self::InvalidSessionTimeout => "INVALID_SESSION_TIMEOUT",
            Self::InvalidGroupId => "INVALID_GROUP_ID",
            Self::OffsetMetadataTooLarge => "OFFSET_METADATA_TOO_LARGE",
            Self::GroupMaxSizeReached => "GROUP_MAX_SIZE_REACHED",
            Self::NonEmptyGroup => "NON_EMPTY_GROUP",
            Self::GroupIdNotFound => "GROUP_ID_NOT_FOUND",
            Self::GroupAlreadyExists => "GROUP_ALREADY_EXISTS",
            Self::GroupSubscribedToTopic => "GROUP_SUBSCRIBED_TO_TOPIC",
            Self::CoordinatorNotAvailable => "COORDINATOR_NOT_AVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::OutOfOrder
                | Self::StorageFailed
                | Self::DiskFull
                | Self::Overloaded
                | Self::ShuttingDown
                | Self::CoordinatorNotAvailable
        )
    }

    /// Whether a write answered with this code may be in the log all the same.
    #[must_use]
    pub const fn may_have_been_written(self) -> bool {
        matches!(
            self,
            Self::StorageFailed | Self::ShuttingDown | Self::CoordinatorNotAvailable | Self::Internal
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
