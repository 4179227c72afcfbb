//! Topics, offsets and groups: the calls of an operator, a set-up script or the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};
use tidelog_proto::v1;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::position::Position;

mod dead_letters;
mod groups;
mod queues;
mod wire;

pub use dead_letters::{DeadLetter, DeadLetterSelector, Redrive, RedriveProgress};
pub use groups::{GroupDescription, GroupMember, Seek, WhenActive};
pub use queues::{
    NewQueueGroup, Page, QueueGroup, QueueGroupChanges, QueueLane, QueueMember, Retry, RetryScope,
};

/// Administrative calls. Made by [`Client::admin`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

/// A topic to create.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewTopic {
    name: String,
    partitions: i32,
    configs: BTreeMap<String, String>,
    validate_only: bool,
}

impl NewTopic {
    /// A topic with the broker's default number of partitions and default configs.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: 0, configs: BTreeMap::new(), validate_only: false }
    }

    /// How many partitions it gets.
    pub const fn partitions(mut self, count: i32) -> Self {
        self.partitions = count;
        self
    }

    /// Sets one config, for example `retention.ms`.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }

    /// Checks only and creates nothing.
    pub const fn validate_only(mut self) -> Self {
        self.validate_only = true;
        self
    }
}

/// Changes to a topic's configs, applied all or none.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct TopicChanges {
    set: BTreeMap<String, String>,
    reset: Vec<String>,
    validate_only: bool,
}

impl TopicChanges {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a config.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.insert(key.into(), value.into());
        self
    }

    /// Returns a config to its default.
    pub fn reset(mut self, key: impl Into<String>) -> Self {
        self.reset.push(key.into());
        self
    }

    /// Checks only and changes nothing.
    pub const fn validate_only(mut self) -> Self {
        self.validate_only = true;
        self
    }
}

/// A topic in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSummary {
    /// Its name.
    pub name: TopicName,
    /// Its id, which a topic created again under the same name does not share.
    pub id: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether it belongs to the broker.
    pub internal: bool,
}

/// A topic with its partitions and configs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id, which a topic created again under the same name does not share.
    pub id: String,
    /// Whether it belongs to the broker.
    pub internal: bool,
    /// Its partitions in order.
    pub partitions: Vec<PartitionDescription>,
    /// All configs, defaults included.
    pub configs: Vec<ConfigEntry>,
}

impl TopicDescription {
    /// The value of a config, when the topic has it.
    #[must_use]
    pub fn config(&self, key: &str) -> Option<&str> {
        self.configs.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }
}

/// A partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its index in the topic.
    pub partition: PartitionIndex,
    /// The epoch of its present owner.
    pub leader_epoch: i32,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// Where readers stop: the end of what is durable.
    pub high_watermark: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// Its size on disk in bytes.
    pub size_bytes: u64,
    /// How many segments it has.
    pub segments: u32,
    /// Why it is not fully in service, when it is not.
    pub problem: Option<String>,
}

/// A topic config and where its value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The config's name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `default`, `broker` or `topic`.
    pub source: String,
    /// `string`, `int`, `long`, `double`, `boolean` or `list`.
    pub kind: String,
    /// What it does.
    pub documentation: String,
}

/// Where a position lies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetInfo {
    /// The partition.
    pub partition: TopicPartition,
    /// Where a read from the position starts.
    pub offset: Offset,
    /// The timestamp of the record there, when there is a record.
    pub timestamp: Option<Timestamp>,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The end of what readers can see.
    pub high_watermark: Offset,
}

/// A group in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSummary {
    /// Its name.
    pub group: GroupId,
    /// For how many partitions it has committed offsets.
    pub partitions: u32,
    /// `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Assigning` or `Reconciling`.
    pub state: String,
    /// `classic`: members assign among themselves, or nobody is a member; `consumer`: the broker assigns.
    pub protocol: String,
    /// How many members it has.
    pub members: u32,
}

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, when known.
    pub leader_epoch: Option<i32>,
    /// Free text of the client, at most 4,096 bytes.
    pub metadata: String,
    /// When it was committed; set by the broker.
    pub committed_at: Option<Timestamp>,
}

impl GroupOffset {
    /// A commit of `offset` (the next one to read) without metadata.
    #[must_use]
    pub const fn new(partition: TopicPartition, offset: Offset) -> Self {
        Self { partition, offset, leader_epoch: None, metadata: String::new(), committed_at: None }
    }
}

impl Admin {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `InvalidRequest` when the name, the partition count or a config
    /// is not allowed. After `Unreachable` or `Timeout` it may exist.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription> {
        let request = v1::CreateTopicRequest {
            name: topic.name,
            partitions: topic.partitions,
            configs: topic.configs.into_iter().collect(),
            validate_only: topic.validate_only,
        };
        let mut api = self.client.topics_api();
        wire::description(self.client.call_once(api.create_topic(request)).await?.topic)
    }

    /// The topics of users, by name.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>> {
        self.list_topics(false).await
    }

    /// All topics, those of the broker included, by name.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn all_topics(&self) -> Result<Vec<TopicSummary>> {
        self.list_topics(true).await
    }

    async fn list_topics(&self, include_internal: bool) -> Result<Vec<TopicSummary>> {
        let call = || {
            let mut api = self.client.topics_api();
            async move { api.list_topics(v1::ListTopicsRequest { include_internal }).await }
        };
        self.client.call(call).await?.topics.into_iter().map(wire::summary).collect()
    }

    /// A topic with its partitions and configs.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        let call = || {
            let mut api = self.client.topics_api();
            let request = v1::DescribeTopicRequest { name: name.to_owned() };
            async move { api.describe_topic(request).await }
        };
        wire::description(self.client.call(call).await?.topic)
    }

    /// Sets and resets configs of a topic, all or none.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic, `InvalidRequest` when a config is not allowed.
    pub async fn alter_topic(&self, name: &str, changes: TopicChanges) -> Result<TopicDescription> {
        let request = v1::AlterTopicRequest {
            name: name.to_owned(),
            set: changes.set.into_iter().collect(),
            reset: changes.reset,
            validate_only: changes.validate_only,
        };
        let mut api = self.client.topics_api();
        wire::description(self.client.call_once(api.alter_topic(request)).await?.topic)
    }

    /// Raises the number of partitions to `total`. Keys may go to other partitions from then on.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic, `InvalidRequest` when it has that many already.
    pub async fn add_partitions(&self, name: &str, total: i32) -> Result<TopicDescription> {
        let request = v1::AddPartitionsRequest { name: name.to_owned(), total, validate_only: false };
        let mut api = self.client.topics_api();
        wire::description(self.client.call_once(api.add_partitions(request)).await?.topic)
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic. After `Unreachable` or `Timeout` it may be gone.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let mut api = self.client.topics_api();
        let request = v1::DeleteTopicRequest { name: name.to_owned() };
        self.client.call_once(api.delete_topic(request)).await.map(drop)
    }

    /// Deletes the records below an offset in each of the partitions (`None`: all that readers can see), and
    /// returns the new starts in the same order.
    ///
    /// # Errors
    /// The first failure of any partition; the others may have been done. `OutOfRange` when an offset is
    /// beyond the end.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &[(PartitionIndex, Option<Offset>)],
    ) -> Result<Vec<(PartitionIndex, Offset)>> {
        let partition = |(partition, before): &(PartitionIndex, Option<Offset>)| {
            let before_offset = before.map_or(-1, Offset::get);
            v1::delete_records_request::Partition { partition: partition.get(), before_offset }
        };
        let partitions = before.iter().map(partition).collect();
        let call = || {
            let mut api = self.client.topics_api();
            let request =
                v1::DeleteRecordsRequest { topic: topic.to_owned(), partitions: Clone::clone(&partitions) };
            async move { api.delete_records(request).await }
        };
        let name = TopicName::new(topic)?;
        let response = self.client.call(call).await?;
        response.partitions.into_iter().map(|result| wire::deleted(&name, result)).collect()
    }

    /// Where positions lie, in the order asked. [`Position::Committed`] is not allowed here.
    ///
    /// # Errors
    /// The first failure of any partition, which [`Error::partition`] names.
    pub async fn list_offsets(&self, positions: &[(TopicPartition, Position)]) -> Result<Vec<OffsetInfo>> {
        let mut partitions = Vec::with_capacity(positions.len());
        for (partition, position) in positions {
            let wire = position.to_wire();
            let position = wire.ok_or_else(|| {
                Error::invalid("a committed position needs a group: use group_offsets")
                    .with_partition(partition.clone())
            })?;
            partitions.push(v1::ListOffsetsPartition {
                topic: partition.topic.as_str().to_owned(),
                partition: partition.partition.get(),
                position: Some(position),
            });
        }
        let request = v1::ListOffsetsRequest { partitions };
        let call = || {
            let (mut api, request) = (self.client.log_api(), request.clone());
            async move { api.list_offsets(request).await }
        };
        let results = self.client.call(call).await?.results;
        if results.len() != positions.len() {
            let counts = format!("{} results for {} partitions", results.len(), positions.len());
            return Err(Error::protocol(counts));
        }
        let pairs = positions.iter().zip(results);
        pairs.map(|((partition, _), result)| wire::offset_info(partition, result)).collect()
    }

    /// The groups with members or committed offsets, by name.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>> {
        let call = || {
            let mut api = self.client.groups_api();
            async move { api.list_groups(v1::ListGroupsRequest {}).await }
        };
        self.client.call(call).await?.groups.into_iter().map(wire::group).collect()
    }

    /// How far a group has read; empty when it has committed nothing.
    ///
    /// # Errors
    /// When the broker cannot be reached or the name is not allowed.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<GroupOffset>> {
        let call = || {
            let mut api = self.client.groups_api();
            let request = v1::FetchOffsetsRequest { group: group.to_owned(), partitions: Vec::new() };
            async move { api.fetch_offsets(request).await }
        };
        self.client.call(call).await?.offsets.into_iter().map(wire::group_offset).collect()
    }

    /// Sets how far a group has read; durable when it returns. Only members may do so while there are some:
    /// [`Self::seek_group`] moves them.
    ///
    /// # Errors
    /// The first failure of any partition, which [`Error::partition`] names; the others may be committed.
    pub async fn commit_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<()> {
        self.commit_as(group, ("", 0), offsets).await
    }

    /// As [`Self::commit_offsets`], for the member of this id and epoch.
    pub(crate) async fn commit_as(
        &self,
        group: &str,
        (member_id, member_epoch): (&str, i32),
        offsets: &[GroupOffset],
    ) -> Result<()> {
        let request = v1::CommitOffsetsRequest {
            group: group.to_owned(),
            offsets: offsets.iter().map(wire::commit).collect(),
            member_id: member_id.to_owned(),
            member_epoch,
        };
        let call = || {
            let (mut api, request) = (self.client.groups_api(), request.clone());
            async move { api.commit_offsets(request).await }
        };
        let results = self.client.call(call).await?.results;
        if results.len() != offsets.len() {
            let counts = format!("{} results for {} offsets", results.len(), offsets.len());
            return Err(Error::protocol(counts));
        }
        for (offset, result) in offsets.iter().zip(results) {
            if let Some(detail) = result.error {
                return Err(Error::from_detail(detail).with_partition(offset.partition.clone()));
            }
        }
        Ok(())
    }

    /// Forgets a group and its offsets.
    ///
    /// # Errors
    /// `NotFound` when there is no such group, `Conflict` while it has members.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let mut api = self.client.groups_api();
        let request = v1::DeleteGroupRequest { group: group.to_owned() };
        self.client.call_once(api.delete_group(request)).await.map(drop)
    }

    /// Waits until the broker answers, at most `timeout`.
    ///
    /// # Errors
    /// The last failure when it does not answer in time.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut backoff = crate::backoff::Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        loop {
            let error = match self.topics().await {
                Ok(_) => return Ok(()),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }
}
