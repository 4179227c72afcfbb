//! Groups by topic name, over the machine that knows topics by their ids.
//!
//! What a member does wrong is a [`BrokerError`] with Kafka's code for it. Beside those, every method fails with
//! `COORDINATOR_NOT_AVAILABLE` when what it changes could not be stored, and with `SHUTTING_DOWN`.

use std::collections::BTreeSet;
use std::sync::Arc;

use dashmap::DashMap;
use tidelog_core::group::consumer::{
    ConsumerGroupDescription, Heartbeat, HeartbeatReply, TopicShape, TopicsView,
};
use tidelog_core::group::{GroupReply, GroupRequest, api};
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::Broker;
use crate::error::BrokerError;
use crate::topic::Topic;

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// By its name.
    Name(TopicName),
    /// By its id.
    Id(TopicId),
}

impl From<TopicName> for TopicRef {
    fn from(name: TopicName) -> Self {
        Self::Name(name)
    }
}

impl From<TopicId> for TopicRef {
    fn from(id: TopicId) -> Self {
        Self::Id(id)
    }
}

/// An offset a group wants remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the client knows it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the client.
    pub metadata: String,
}

/// A commit of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group: GroupId,
    /// Who commits.
    pub member: api::GroupMember,
    /// How far it has read.
    pub offsets: Vec<OffsetCommit>,
}

/// A question for committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: GroupId,
    /// The member that asks, if it says.
    pub member_id: Option<String>,
    /// Its epoch; -1 when it says none.
    pub member_epoch: i32,
    /// Of which partitions; all of them when `None`.
    pub partitions: Option<BTreeSet<(TopicRef, PartitionIndex)>>,
}

impl FetchOffsets {
    /// All offsets of a group, for somebody who is no member.
    #[must_use]
    pub const fn all(group: GroupId) -> Self {
        Self { group, member_id: None, member_epoch: -1, partitions: None }
    }
}

/// An offset a group had remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the client knew it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the client.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
}

/// One result for each of several things.
pub type EachResult = Vec<Result<(), BrokerError>>;

impl Broker {
    /// A member joins a classic group, or joins it again. Waits until the group has a generation.
    ///
    /// # Errors
    /// `INVALID_SESSION_TIMEOUT`, `INCONSISTENT_GROUP_PROTOCOL`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`,
    /// `GROUP_MAX_SIZE_REACHED`, `REBALANCE_IN_PROGRESS`, `INVALID_REQUEST`.
    pub async fn join_group(&self, request: api::JoinGroup) -> Result<api::JoinGroupReply, BrokerError> {
        match self.ask_groups(GroupRequest::Join(request)).await? {
            GroupReply::Join(reply) => Ok(reply),
            other => Err(mismatch(&other)),
        }
    }

    /// A member of a classic group asks for its assignment; the leader brings all of them. Waits for the
    /// leader.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`, `FENCED_INSTANCE_ID`,
    /// `INCONSISTENT_GROUP_PROTOCOL`, `GROUP_MAX_SIZE_REACHED`.
    pub async fn sync_group(&self, request: api::SyncGroup) -> Result<api::SyncGroupReply, BrokerError> {
        match self.ask_groups(GroupRequest::Sync(request)).await? {
            GroupReply::Sync(reply) => Ok(reply),
            other => Err(mismatch(&other)),
        }
    }

    /// A member of a classic group is alive.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`, `FENCED_INSTANCE_ID`.
    pub async fn heartbeat_group(&self, request: api::GroupHeartbeat) -> Result<(), BrokerError> {
        self.ask_groups(GroupRequest::Heartbeat(request)).await.map(drop)
    }

    /// Members leave a classic group; each has its own result, in the order of the request.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` when there is no such group.
    pub async fn leave_group(&self, request: api::LeaveGroup) -> Result<EachResult, BrokerError> {
        match self.ask_groups(GroupRequest::Leave(request)).await? {
            GroupReply::Leave(results) => Ok(each(results)),
            other => Err(mismatch(&other)),
        }
    }

    /// Remembers how far a group has read; durable when it returns. Each offset has its own result, in the
    /// order of the request.
    ///
    /// # Errors
    /// When nothing was committed: `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`,
    /// `FENCED_INSTANCE_ID`, `STALE_MEMBER_EPOCH`.
    pub async fn commit_offsets(&self, request: CommitOffsets) -> Result<EachResult, BrokerError> {
        let mut results = Vec::with_capacity(request.offsets.len());
        let mut known = Vec::with_capacity(request.offsets.len());
        for offset in request.offsets {
            let checked = self.commit_of(offset).map(|commit| known.push(commit));
            results.push(checked);
        }
        // Even when no topic is known: the member hears what is wrong with it, and is alive.
        let (group, member) = (request.group, request.member);
        let asked = GroupRequest::Commit(api::CommitOffsets { group, member, offsets: known });
        let decided = match self.ask_groups(asked).await? {
            GroupReply::Commit(results) => results,
            other => return Err(mismatch(&other)),
        };
        let mut decided = decided.into_iter();
        for result in &mut results {
            if result.is_ok() {
                *result = decided.next().unwrap_or(Ok(())).map_err(BrokerError::from);
            }
        }
        Ok(results)
    }

    /// The offsets a group has committed, by topic and partition. Partitions without one are left out.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub async fn fetch_offsets(&self, request: FetchOffsets) -> Result<Vec<CommittedOffset>, BrokerError> {
        let wanted = |(topic, partition): (TopicRef, PartitionIndex)| Some((self.id_of(&topic)?, partition));
        let partitions = request.partitions.map(|places| places.into_iter().filter_map(wanted).collect());
        let FetchOffsets { group, member_id, member_epoch, .. } = request;
        let asked = GroupRequest::Fetch(api::FetchOffsets { group, member_id, member_epoch, partitions });
        let found = match self.ask_groups(asked).await? {
            GroupReply::Fetch(found) => found,
            other => return Err(mismatch(&other)),
        };
        let named = found.into_iter().filter_map(|(topic_id, partition, held)| {
            // A topic that is being deleted has no name any more.
            let topic = self.inner.names.get(&topic_id).map(|name| name.value().clone())?;
            Some(CommittedOffset {
                topic,
                topic_id,
                partition,
                offset: held.offset,
                leader_epoch: held.leader_epoch,
                metadata: held.metadata,
                commit_timestamp: held.committed,
            })
        });
        let mut offsets: Vec<CommittedOffset> = named.collect();
        offsets.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
        Ok(offsets)
    }

    /// Forgets offsets of topics that nobody in the group subscribes to; each partition has its own result, in
    /// the order of the request.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`; `NON_EMPTY_GROUP` when the broker cannot know what the members subscribe to.
    pub async fn delete_offsets(
        &self,
        group: &GroupId,
        partitions: Vec<(TopicRef, PartitionIndex)>,
    ) -> Result<EachResult, BrokerError> {
        let mut results = Vec::with_capacity(partitions.len());
        let mut known = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let found = self.topic_of(&topic).and_then(|topic| has_partition(&topic, partition));
            results.push(found.map(|topic_id| known.push((topic_id, partition))));
        }
        let asked = api::DeleteOffsets { group: group.clone(), partitions: known };
        let decided = match self.ask_groups(GroupRequest::DeleteOffsets(asked)).await? {
            GroupReply::DeleteOffsets(results) => results,
            other => return Err(mismatch(&other)),
        };
        let mut decided = decided.into_iter();
        for result in &mut results {
            if result.is_ok() {
                *result = decided.next().unwrap_or(Ok(())).map_err(BrokerError::from);
            }
        }
        Ok(results)
    }

    /// Sets where a group goes on, for all partitions or for none; durable when it returns. A group with members
    /// is refused, or its members are moved by a rebalance: then this waits for them to join again (classic
    /// groups), or returns while they still have to give the partitions up ([`api::Sought::Pending`]).
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` when members may or can not be moved, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub async fn seek_group(
        &self,
        group: &GroupId,
        positions: Vec<(TopicRef, PartitionIndex, Offset)>,
        when_active: api::WhenActive,
    ) -> Result<api::Sought, BrokerError> {
        let place = |(topic, partition, offset): (TopicRef, PartitionIndex, Offset)| {
            let topic = self.topic_of(&topic)?;
            Ok(((has_partition(&topic, partition)?, partition), offset))
        };
        let positions = positions.into_iter().map(place).collect::<Result<_, BrokerError>>()?;
        let asked = api::SeekOffsets { group: group.clone(), positions, when_active };
        match self.ask_groups(GroupRequest::Seek(asked)).await? {
            GroupReply::Seek(sought) => Ok(sought),
            other => Err(mismatch(&other)),
        }
    }

    /// The groups there are, by name.
    ///
    /// # Errors
    /// Only those that all methods have.
    pub async fn list_groups(&self, request: api::ListGroups) -> Result<Vec<api::ListedGroup>, BrokerError> {
        match self.ask_groups(GroupRequest::List(request)).await? {
            GroupReply::List(groups) => Ok(groups),
            other => Err(mismatch(&other)),
        }
    }

    /// What a classic group is at.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, also for groups of the consumer protocol.
    pub async fn describe_group(&self, group: &GroupId) -> Result<api::DescribedGroup, BrokerError> {
        match self.ask_groups(GroupRequest::Describe(group.clone())).await? {
            GroupReply::Describe(described) => Ok(described),
            other => Err(mismatch(&other)),
        }
    }

    /// Forgets a group and its offsets; durable when it returns.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`.
    pub async fn delete_group(&self, group: &GroupId) -> Result<(), BrokerError> {
        self.queue_is_empty(group).await?;
        self.ask_groups(GroupRequest::Delete(group.clone())).await?;
        self.remove_queue(group).await;
        Ok(())
    }

    /// A member of a group of the consumer protocol (KIP-848) joins, leaves or is alive.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `FENCED_INSTANCE_ID`, `UNRELEASED_INSTANCE_ID`,
    /// `UNSUPPORTED_ASSIGNOR`, `INVALID_REGULAR_EXPRESSION`, `GROUP_MAX_SIZE_REACHED`, `INVALID_REQUEST`;
    /// `GROUP_ID_NOT_FOUND` when it is a classic group.
    pub async fn consumer_group_heartbeat(
        &self,
        group: &GroupId,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatReply, BrokerError> {
        match self.ask_groups(GroupRequest::ConsumerHeartbeat(group.clone(), heartbeat)).await? {
            GroupReply::ConsumerHeartbeat(reply) => Ok(reply),
            other => Err(mismatch(&other)),
        }
    }

    /// What a group of the consumer protocol is at.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, also for classic groups.
    pub async fn describe_consumer_group(
        &self,
        group: &GroupId,
    ) -> Result<ConsumerGroupDescription, BrokerError> {
        match self.ask_groups(GroupRequest::ConsumerDescribe(group.clone())).await? {
            GroupReply::ConsumerDescribe(described) => Ok(described),
            other => Err(mismatch(&other)),
        }
    }

    pub(super) async fn ask_groups(&self, request: GroupRequest) -> Result<GroupReply, BrokerError> {
        self.inner.groups.ask(request).await
    }

    /// Lets groups know that topics came, went or grew.
    pub(super) async fn tell_groups_of_topics(&self) {
        if let Err(error) = self.ask_groups(GroupRequest::TopicsChanged).await {
            tracing::warn!(%error, "groups learn of changed topics with their members' next change");
        }
        self.tell_queues_of_topics().await;
    }

    fn id_of(&self, topic: &TopicRef) -> Option<TopicId> {
        match topic {
            TopicRef::Name(name) => self.topic(name).map(|topic| topic.id()),
            TopicRef::Id(id) => Some(*id),
        }
    }

    fn topic_of(&self, topic: &TopicRef) -> Result<Arc<Topic>, BrokerError> {
        match topic {
            TopicRef::Name(name) => self.topic(name).ok_or_else(|| BrokerError::unknown_topic(name)),
            TopicRef::Id(id) => self.topic_by_id(*id).ok_or_else(|| BrokerError::unknown_topic_id(*id)),
        }
    }

    fn commit_of(&self, offset: OffsetCommit) -> Result<api::OffsetCommit, BrokerError> {
        let topic = self.topic_of(&offset.topic)?;
        Ok(api::OffsetCommit {
            topic_id: has_partition(&topic, offset.partition)?,
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata,
        })
    }
}

fn has_partition(topic: &Topic, partition: PartitionIndex) -> Result<TopicId, BrokerError> {
    match topic.partition(partition) {
        Some(_) => Ok(topic.id()),
        None => Err(BrokerError::unknown_partition(topic.name(), partition, topic.partition_count())),
    }
}

fn each(results: Vec<Result<(), tidelog_core::group::GroupError>>) -> EachResult {
    results.into_iter().map(|result| result.map_err(BrokerError::from)).collect()
}

pub(super) fn mismatch(reply: &GroupReply) -> BrokerError {
    BrokerError::internal(format!("the groups gave another answer than was asked for: {reply:?}"))
}

/// The topics in service, as groups see them.
pub(super) struct ServedTopics(pub(super) Arc<DashMap<TopicName, Arc<Topic>>>);

/// How much memory a subscription's regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

impl TopicsView for ServedTopics {
    fn topic(&self, name: &TopicName) -> Option<TopicShape> {
        let topic = self.0.get(name)?;
        let partition_count = u32::try_from(topic.partition_count()).unwrap_or(u32::MAX);
        Some(TopicShape { topic_id: topic.id(), partition_count })
    }

    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, String> {
        let whole = regex::RegexBuilder::new(&format!("^(?:{regex})$"));
        let whole = { whole }.size_limit(REGEX_BYTES_MAX).build().map_err(|error| error.to_string())?;
        let names = self.0.iter().map(|topic| topic.key().clone());
        Ok(names.filter(|name| !name.is_internal() && whole.is_match(name.as_str())).collect())
    }
}
