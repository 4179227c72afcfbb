//! The protocol's error codes, and which of them a broker's error becomes: the only place that decides.

use tidelog_model::ErrorCode;

/// An error code of the Kafka protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KafkaError(pub(crate) i16);

impl KafkaError {
    pub(crate) const UNKNOWN_SERVER_ERROR: Self = Self(-1);
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub(crate) const CORRUPT_MESSAGE: Self = Self(2);
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub(crate) const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    pub(crate) const REQUEST_TIMED_OUT: Self = Self(7);
    pub(crate) const MESSAGE_TOO_LARGE: Self = Self(10);
    pub(crate) const INVALID_TOPIC_EXCEPTION: Self = Self(17);
    pub(crate) const NOT_ENOUGH_REPLICAS: Self = Self(19);
    pub(crate) const INVALID_REQUIRED_ACKS: Self = Self(21);
    pub(crate) const INCONSISTENT_GROUP_PROTOCOL: Self = Self(23);
    pub(crate) const INVALID_GROUP_ID: Self = Self(24);
    pub(crate) const GROUP_ID_NOT_FOUND: Self = Self(69);
    pub(crate) const MEMBER_ID_REQUIRED: Self = Self(79);
    pub(crate) const INVALID_TIMESTAMP: Self = Self(32);
    pub(crate) const UNSUPPORTED_VERSION: Self = Self(35);
    pub(crate) const TOPIC_ALREADY_EXISTS: Self = Self(36);
    pub(crate) const INVALID_PARTITIONS: Self = Self(37);
    pub(crate) const INVALID_REPLICATION_FACTOR: Self = Self(38);
    pub(crate) const INVALID_REPLICA_ASSIGNMENT: Self = Self(39);
    pub(crate) const INVALID_CONFIG: Self = Self(40);
    pub(crate) const INVALID_REQUEST: Self = Self(42);
    pub(crate) const POLICY_VIOLATION: Self = Self(44);
    pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Self = Self(53);
    pub(crate) const SECURITY_DISABLED: Self = Self(54);
    pub(crate) const KAFKA_STORAGE_ERROR: Self = Self(56);
    pub(crate) const FETCH_SESSION_ID_NOT_FOUND: Self = Self(70);
    pub(crate) const FENCED_LEADER_EPOCH: Self = Self(74);
    pub(crate) const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    pub(crate) const UNSUPPORTED_COMPRESSION_TYPE: Self = Self(76);
    pub(crate) const ELECTION_NOT_NEEDED: Self = Self(84);
    pub(crate) const NO_REASSIGNMENT_IN_PROGRESS: Self = Self(85);
    pub(crate) const INVALID_RECORD: Self = Self(87);
    pub(crate) const RESOURCE_NOT_FOUND: Self = Self(91);
    pub(crate) const DUPLICATE_RESOURCE: Self = Self(92);
    pub(crate) const UNKNOWN_TOPIC_ID: Self = Self(100);
    pub(crate) const MISMATCHED_ENDPOINT_TYPE: Self = Self(114);
    pub(crate) const UNSUPPORTED_ENDPOINT_TYPE: Self = Self(115);

    /// The code on the wire.
    pub(crate) const fn code(self) -> i16 {
        self.0
    }
}

impl From<ErrorCode> for KafkaError {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::UnknownTopicOrPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::TopicAlreadyExists => Self::TOPIC_ALREADY_EXISTS,
            ErrorCode::InvalidName | ErrorCode::InternalTopic => Self::INVALID_TOPIC_EXCEPTION,
            ErrorCode::InvalidPartitions => Self::INVALID_PARTITIONS,
            ErrorCode::InvalidConfig => Self::INVALID_CONFIG,
            ErrorCode::InvalidRequest | ErrorCode::OutOfOrder => Self::INVALID_REQUEST,
            ErrorCode::CorruptMessage => Self::CORRUPT_MESSAGE,
            ErrorCode::InvalidRecord => Self::INVALID_RECORD,
            ErrorCode::MessageTooLarge => Self::MESSAGE_TOO_LARGE,
            ErrorCode::UnsupportedCompression => Self::UNSUPPORTED_COMPRESSION_TYPE,
            ErrorCode::InvalidTimestamp => Self::INVALID_TIMESTAMP,
            ErrorCode::OffsetOutOfRange => Self::OFFSET_OUT_OF_RANGE,
            // Both are retriable for clients, and neither says that nothing was written.
            ErrorCode::StorageFailed | ErrorCode::CorruptLog => Self::KAFKA_STORAGE_ERROR,
            // Retriable, and it says that the batch is not in the log, which is so.
            ErrorCode::DiskFull | ErrorCode::Overloaded => Self::NOT_ENOUGH_REPLICAS,
            ErrorCode::ShuttingDown => Self::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::OutOfOrderSequence => Self(45),
            ErrorCode::InvalidProducerEpoch => Self(47),
            ErrorCode::UnknownMemberId => Self(25),
            ErrorCode::FencedGeneration | ErrorCode::IllegalGeneration => Self(22),
            ErrorCode::RebalanceInProgress => Self(27),
            ErrorCode::MemberIdRequired => Self(79),
            ErrorCode::FencedInstanceId => Self(82),
            ErrorCode::UnreleasedInstanceId => Self(111),
            ErrorCode::FencedMemberEpoch => Self(110),
            ErrorCode::StaleMemberEpoch => Self(113),
            ErrorCode::InconsistentGroupProtocol => Self(23),
            ErrorCode::UnsupportedAssignor => Self(112),
            ErrorCode::InvalidRegularExpression => Self(128),
            ErrorCode::InvalidSessionTimeout => Self(26),
            ErrorCode::InvalidGroupId => Self(24),
            ErrorCode::OffsetMetadataTooLarge => Self(12),
            ErrorCode::GroupMaxSizeReached => Self(81),
            ErrorCode::NonEmptyGroup => Self(68),
            ErrorCode::GroupIdNotFound => Self(69),
            // Kafka clients create no groups.
            ErrorCode::GroupAlreadyExists => Self(42),
            ErrorCode::GroupSubscribedToTopic => Self(86),
            ErrorCode::CoordinatorNotAvailable => Self(15),
            ErrorCode::Internal => Self::UNKNOWN_SERVER_ERROR,
        }
    }
}
