//! Committed offsets by topic name, over the machine that keeps them by topic id.

use tidelog_core::group::{self, GroupCommand};
use tidelog_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::Broker;
use crate::error::BrokerError;

/// An offset a group wants remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, if the client knows it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the client.
    pub metadata: String,
}

/// An offset a group had remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: TopicName,
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

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub group: GroupId,
    /// Of how many partitions it has an offset.
    pub partitions: usize,
}

impl Broker {
    /// Remembers how far a group has read; durable when it returns. Each offset has its own result, in the
    /// order of `offsets`.
    ///
    /// # Errors
    /// When nothing could be stored: `DISK_FULL`, `STORAGE_FAILED`, `SHUTTING_DOWN`.
    pub async fn commit_offsets(
        &self,
        group: &GroupId,
        offsets: Vec<OffsetCommit>,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let mut results = Vec::with_capacity(offsets.len());
        let mut known = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let checked = self.commit_of(offset).map(|commit| known.push(commit));
            results.push(checked);
        }
        if known.is_empty() {
            return Ok(results);
        }
        let command = GroupCommand::Commit { group: group.clone(), offsets: known };
        let mut decided = self.inner.groups.ask(command).await?.into_iter();
        for result in &mut results {
            if result.is_ok() {
                *result = decided.next().unwrap_or(Ok(())).map_err(BrokerError::from);
            }
        }
        Ok(results)
    }

    /// The offsets a group has committed, by topic and partition.
    #[must_use]
    pub fn committed_offsets(&self, group: &GroupId) -> Vec<CommittedOffset> {
        let held: Vec<(TopicId, PartitionIndex, group::CommittedOffset)> = self.inner.groups.look(|groups| {
            groups.offsets(group).map(|(topic, partition, held)| (topic, partition, held.clone())).collect()
        });
        let named = held.into_iter().filter_map(|(topic_id, partition, held)| {
            // A topic that is being deleted has no name any more.
            let topic = self.inner.names.get(&topic_id).map(|name| name.value().clone())?;
            Some(CommittedOffset {
                topic,
                partition,
                offset: held.offset,
                leader_epoch: held.leader_epoch,
                metadata: held.metadata,
                commit_timestamp: held.committed,
            })
        });
        let mut offsets: Vec<CommittedOffset> = named.collect();
        offsets.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
        offsets
    }

    /// All groups that have committed an offset, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupSummary> {
        self.inner.groups.look(|groups| {
            let summary =
                |(group, partitions): (&GroupId, usize)| GroupSummary { group: group.clone(), partitions };
            groups.groups().map(summary).collect()
        })
    }

    /// Forgets a group and its offsets; durable when it returns.
    ///
    /// # Errors
    /// `INVALID_REQUEST` when there is no such group; or as [`Broker::commit_offsets`].
    pub async fn delete_group(&self, group: &GroupId) -> Result<(), BrokerError> {
        let command = GroupCommand::DeleteGroup { group: group.clone() };
        let results = self.inner.groups.ask(command).await?;
        results.into_iter().next().unwrap_or(Ok(())).map_err(BrokerError::from)
    }

    fn commit_of(&self, offset: OffsetCommit) -> Result<group::OffsetCommit, BrokerError> {
        let topic = self.topic(&offset.topic).ok_or_else(|| BrokerError::unknown_topic(&offset.topic))?;
        if topic.partition(offset.partition).is_none() {
            let count = topic.partition_count();
            return Err(BrokerError::unknown_partition(&offset.topic, offset.partition, count));
        }
        Ok(group::OffsetCommit {
            topic_id: topic.id(),
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata,
        })
    }
}
