//! What groups are asked and what they answer: one struct for each request of Kafka's group APIs, typed, and
//! with topics by id.
//!
//! **Invariant:** what a client chooses freely (ids, texts, lists, metadata) is bounded by
//! [`super::GroupLimits`]; the machine checks it before it keeps anything.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use super::consumer::{ConsumerGroupDescription, Heartbeat, HeartbeatReply, Positions};
use super::error::GroupError;
use super::queue::{QueueDefinition, StoredQueue};

/// A protocol a member can assign by, with what it tells the leader for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProtocol {
    /// The protocol's name: an assignor's, for consumers.
    pub name: String,
    /// Opaque to the broker.
    pub metadata: Bytes,
}

/// `JoinGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group.
    pub group: GroupId,
    /// The member; empty for one that is new.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// Whether a new member is to join again with the id it is given (version 4 and newer).
    pub require_known_member_id: bool,
    /// Whether the leader may be told that the assignment stands (version 9 and newer).
    pub can_skip_assignment: bool,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to join again; `None` in version 0 is its session timeout.
    pub rebalance_timeout_ms: Option<i32>,
    /// What kind of group this is, such as `consumer` or `connect`.
    pub protocol_type: String,
    /// The protocols it knows, the one it prefers first.
    pub protocols: Vec<GroupProtocol>,
    /// The client's id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
}

/// The answer to a [`JoinGroup`] that may join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinGroupReply {
    /// The member is in a generation.
    Joined(Joined),
    /// The member is to join again with this id (`MEMBER_ID_REQUIRED`).
    MemberIdRequired {
        /// The id.
        member_id: String,
    },
}

/// A generation as one member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The kind of the group.
    pub protocol_type: String,
    /// The protocol chosen.
    pub protocol_name: String,
    /// The member that assigns.
    pub leader: String,
    /// Whether the leader need not assign: the assignment stands.
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: String,
    /// All members, for the leader; nobody for the others.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// What it told for the chosen protocol.
    pub metadata: Bytes,
}

/// Which member of which generation speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The member; empty for clients that are in no group.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The generation, or the member's epoch; -1 for clients that are in no group.
    pub generation: i32,
}

impl GroupMember {
    /// A client that is in no group: it may commit while the group is empty.
    #[must_use]
    pub const fn none() -> Self {
        Self { member_id: String::new(), instance_id: None, generation: -1 }
    }
}

/// `SyncGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group: GroupId,
    /// Who asks.
    pub member: GroupMember,
    /// The kind of the group, if the member says (version 5 and newer).
    pub protocol_type: Option<String>,
    /// The protocol chosen, if the member says.
    pub protocol_name: Option<String>,
    /// The leader's work: what each member is to do.
    pub assignments: Vec<MemberAssignment>,
}

/// What a member is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAssignment {
    /// The member.
    pub member_id: String,
    /// Opaque to the broker.
    pub assignment: Bytes,
}

/// The answer to [`SyncGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroupReply {
    /// The kind of the group.
    pub protocol_type: String,
    /// The protocol chosen.
    pub protocol_name: String,
    /// What the member is to do; empty when the leader gave it nothing.
    pub assignment: Bytes,
}

/// `Heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupHeartbeat {
    /// The group.
    pub group: GroupId,
    /// Who is alive.
    pub member: GroupMember,
}

/// `LeaveGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group.
    pub group: GroupId,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// A member that leaves: by its id, or a static one by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id; may be empty for a static member.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
}

/// The answer to [`LeaveGroup`]: one result for each member, in the order of the request.
pub type LeaveGroupReply = Vec<Result<(), GroupError>>;

/// An offset a group wants remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the client knows it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the client.
    pub metadata: String,
}

/// `OffsetCommit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group: GroupId,
    /// Who commits.
    pub member: GroupMember,
    /// How far it has read.
    pub offsets: Vec<OffsetCommit>,
}

/// The answer to [`CommitOffsets`]: one result for each offset, in the order of the request.
pub type CommitOffsetsReply = Vec<Result<(), GroupError>>;

/// An offset a group had remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the client knows it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the client.
    pub metadata: String,
    /// When it was committed.
    pub committed: Timestamp,
}

impl CommittedOffset {
    /// What somebody has set who is no member of the group.
    pub(super) const fn sought(offset: Offset, now: Timestamp) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new(), committed: now }
    }
}

/// What a seek does to a group whose members read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenActive {
    /// Nothing: it is refused.
    Refuse,
    /// It moves them, by a rebalance.
    Move,
}

/// Set where a group goes on, for all partitions or for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekOffsets {
    /// The group.
    pub group: GroupId,
    /// The next offsets it will read.
    pub positions: Positions,
    /// Whether members may be moved.
    pub when_active: WhenActive,
}

/// The answer to [`SeekOffsets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// The group goes on there.
    Done,
    /// It is remembered, and done when the members have given the partitions up.
    Pending,
}

/// `OffsetFetch`: what a group remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: GroupId,
    /// The member that asks, if it says.
    pub member_id: Option<String>,
    /// Its epoch; -1 when it says none.
    pub member_epoch: i32,
    /// Of which partitions; all of them when `None`.
    pub partitions: Option<BTreeSet<(TopicId, PartitionIndex)>>,
}

/// The answer to [`FetchOffsets`]; partitions without an offset are left out.
pub type FetchOffsetsReply = Vec<(TopicId, PartitionIndex, CommittedOffset)>;

/// `OffsetDelete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: GroupId,
    /// Of which partitions.
    pub partitions: Vec<(TopicId, PartitionIndex)>,
}

/// The answer to [`DeleteOffsets`]: one result for each partition, in the order of the request.
pub type DeleteOffsetsReply = Vec<Result<(), GroupError>>;

/// What kind of group it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupType {
    /// Members assign among themselves, or nobody is a member.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
    /// The broker hands out records one by one and takes each back settled.
    Queue,
}

impl GroupType {
    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Queue => "queue",
        }
    }
}

/// What a group is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// The leader is to assign.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// The broker is to make a new target.
    Assigning,
    /// Members go from one assignment to the next.
    Reconciling,
}

impl GroupState {
    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `ListGroups`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListGroups {
    /// Names of states, in any case; all when empty. A name that no state has matches nothing.
    pub states: Vec<String>,
    /// Names of types, in any case; all when empty.
    pub types: Vec<String>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub group: GroupId,
    /// Its kind, such as `consumer`; empty when only offsets were committed.
    pub protocol_type: String,
    /// What it is at.
    pub state: GroupState,
    /// Who assigns.
    pub group_type: GroupType,
    /// Of how many partitions it has an offset.
    pub partitions: usize,
    /// How many members it has.
    pub members: usize,
}

/// What an operator sees of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// What it is at.
    pub state: GroupState,
    /// Its kind, such as `consumer`.
    pub protocol_type: String,
    /// The protocol chosen; empty unless the group is stable.
    pub protocol_name: String,
    /// Counts its assignments.
    pub generation: i32,
    /// Where the group will go on once its members have joined again.
    pub pending_seek: Positions,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// What an operator sees of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// What it told for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it is to do.
    pub assignment: Bytes,
}

/// What groups are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRequest {
    /// A member joins, or joins again.
    Join(JoinGroup),
    /// A member asks what it is to do; the leader says what all are to do.
    Sync(SyncGroup),
    /// A member is alive.
    Heartbeat(GroupHeartbeat),
    /// Members leave.
    Leave(LeaveGroup),
    /// Remember offsets.
    Commit(CommitOffsets),
    /// What is remembered.
    Fetch(FetchOffsets),
    /// Forget offsets.
    DeleteOffsets(DeleteOffsets),
    /// Set where the group goes on.
    Seek(SeekOffsets),
    /// Which groups there are.
    List(ListGroups),
    /// What a classic group is at.
    Describe(GroupId),
    /// Forget a group and its offsets.
    Delete(GroupId),
    /// A member of the consumer protocol (KIP-848) is alive, joins or leaves.
    ConsumerHeartbeat(GroupId, Heartbeat),
    /// What a group of the consumer protocol is at.
    ConsumerDescribe(GroupId),
    /// Forget all groups' offsets of a topic.
    ForgetTopic(TopicId),
    /// Topics came, went or grew.
    TopicsChanged,
    /// The topics of which some group has an offset.
    Topics,
    /// Make a queue group.
    CreateQueue(GroupId, QueueDefinition),
    /// Give a queue group, which keeps its id, other topics or settings.
    AlterQueue(GroupId, QueueDefinition),
    /// What a queue group is.
    Queue(GroupId),
    /// All queue groups.
    Queues,
}

/// What groups answer, in the shape that goes with the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupReply {
    /// To [`GroupRequest::Join`].
    Join(JoinGroupReply),
    /// To [`GroupRequest::Sync`].
    Sync(SyncGroupReply),
    /// To [`GroupRequest::Leave`].
    Leave(LeaveGroupReply),
    /// To [`GroupRequest::Commit`].
    Commit(CommitOffsetsReply),
    /// To [`GroupRequest::Fetch`].
    Fetch(FetchOffsetsReply),
    /// To [`GroupRequest::DeleteOffsets`].
    DeleteOffsets(DeleteOffsetsReply),
    /// To [`GroupRequest::Seek`].
    Seek(Sought),
    /// To [`GroupRequest::List`].
    List(Vec<ListedGroup>),
    /// To [`GroupRequest::Describe`].
    Describe(DescribedGroup),
    /// To [`GroupRequest::ConsumerHeartbeat`].
    ConsumerHeartbeat(HeartbeatReply),
    /// To [`GroupRequest::ConsumerDescribe`].
    ConsumerDescribe(ConsumerGroupDescription),
    /// To [`GroupRequest::Topics`].
    Topics(BTreeSet<TopicId>),
    /// To [`GroupRequest::CreateQueue`], [`GroupRequest::AlterQueue`] and [`GroupRequest::Queue`].
    Queue(StoredQueue),
    /// To [`GroupRequest::Queues`].
    Queues(Vec<StoredQueue>),
    /// To all others: it is done.
    Done,
}
