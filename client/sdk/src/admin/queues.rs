//! Queue groups: making them, changing what they read and how they retry, and where they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};
use tidelog_proto::v1;

use super::{Admin, ConfigEntry, wire};
use crate::error::Result;

/// A queue group to create.
#[derive(Debug, Clone)]
#[must_use]
pub struct NewQueueGroup {
    group: String,
    topics: Vec<String>,
    configs: BTreeMap<String, String>,
    validate_only: bool,
}

impl NewQueueGroup {
    /// A group that reads these topics, which need not exist yet, with all settings at their defaults.
    pub fn new(group: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        Self { group: group.into(), topics, configs: BTreeMap::new(), validate_only: false }
    }

    /// Sets one setting.
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

/// Changes to a queue group, made all or none.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct QueueGroupChanges {
    add_topics: Vec<String>,
    remove_topics: Vec<String>,
    set: BTreeMap<String, String>,
    reset: Vec<String>,
    validate_only: bool,
}

impl QueueGroupChanges {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this topic too.
    pub fn add_topic(mut self, topic: impl Into<String>) -> Self {
        self.add_topics.push(topic.into());
        self
    }

    /// Does not read this topic any more.
    pub fn remove_topic(mut self, topic: impl Into<String>) -> Self {
        self.remove_topics.push(topic.into());
        self
    }

    /// Sets a setting.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.insert(key.into(), value.into());
        self
    }

    /// Returns a setting to its default.
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

/// A queue group: what it reads, how it retries, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueGroup {
    /// Its name.
    pub group: GroupId,
    /// The topics it reads.
    pub topics: Vec<TopicName>,
    /// Its settings, defaults included.
    pub configs: Vec<ConfigEntry>,
    /// Where its dead letters go; the topic may not exist before there is one.
    pub dead_letter_topic: String,
    /// `closed`: all is well; `open`: nearly everything failed, so nothing is delivered for a while; `probing`:
    /// some records are delivered to see whether they succeed now. Empty when the group was only checked.
    pub breaker: String,
    /// When an open breaker lets some records through.
    pub breaker_opens_in: Option<Duration>,
    /// Where it stands in each partition; empty when the group was only checked.
    pub lanes: Vec<QueueLane>,
    /// Who takes its records now.
    pub members: Vec<QueueMember>,
}

/// Where a queue group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLane {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that is not settled.
    pub start: Offset,
    /// The first offset that nobody had yet.
    pub end: Offset,
    /// Up to here there are records.
    pub high_watermark: Offset,
    /// Records that may be delivered again.
    pub available: u64,
    /// Records that members have.
    pub leased: u64,
    /// Records that wait for their next attempt.
    pub delayed: u64,
    /// Records on their way to the dead letters.
    pub dying: u64,
    /// Dead letters that are not resolved.
    pub dead: u64,
    /// Records that retention deleted before anybody had them.
    pub skipped: u64,
    /// When the next delayed record is due; zero when it is already.
    pub next_due_in: Option<Duration>,
    /// Why records are not delivered although there are some.
    pub blocked: Option<String>,
    /// Why the partition is not served.
    pub problem: Option<String>,
}

impl QueueLane {
    /// Offsets that nobody had yet.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.high_watermark.since(self.end)
    }
}

/// A member of a queue group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueMember {
    /// Its id.
    pub member_id: String,
    /// What the client calls itself.
    pub client_id: String,
    /// The client's address.
    pub host: String,
    /// Records it has.
    pub leased: u64,
}

/// A record that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The record's partition.
    pub partition: TopicPartition,
    /// The record's offset.
    pub offset: Offset,
    /// How often it was delivered.
    pub attempts: u32,
    /// When it is due; zero when it is already.
    pub due_in: Duration,
    /// When it failed first.
    pub first_failure: Timestamp,
    /// When it failed last.
    pub last_failure: Timestamp,
    /// The consumer's word for programs; empty when it gave none.
    pub reason_code: String,
    /// The consumer's line for people; empty when it gave none.
    pub reason_text: String,
}

/// Some of a list, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// To go on; `None` after the last page. A page may be empty and yet not be the last.
    pub next: Option<String>,
}

/// Which records that wait are meant. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryScope {
    /// Of this topic only.
    pub topic: Option<String>,
    /// Of this partition of the topic only.
    pub partition: Option<PartitionIndex>,
    /// These offsets of the partition only, both included.
    pub offsets: Option<(Offset, Offset)>,
}

impl Admin {
    /// Creates a queue group.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `InvalidRequest` when a name or a setting is not allowed. After
    /// `Unreachable` or `Timeout` it may exist.
    pub async fn create_queue_group(&self, group: NewQueueGroup) -> Result<QueueGroup> {
        let request = v1::CreateQueueGroupRequest {
            group: group.group,
            topics: group.topics,
            configs: group.configs.into_iter().collect(),
            validate_only: group.validate_only,
        };
        let mut api = self.client.group_admin_api();
        wire::queue_group(self.client.call_once(api.create_queue_group(request)).await?)
    }

    /// Changes a queue group, all or nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group, `InvalidRequest` when a change is not allowed. After
    /// `Unreachable` or `Timeout` it may be done.
    pub async fn alter_queue_group(&self, group: &str, changes: QueueGroupChanges) -> Result<QueueGroup> {
        let request = v1::AlterQueueGroupRequest {
            group: group.to_owned(),
            add_topics: changes.add_topics,
            remove_topics: changes.remove_topics,
            set_configs: changes.set.into_iter().collect(),
            reset_configs: changes.reset,
            validate_only: changes.validate_only,
        };
        let mut api = self.client.group_admin_api();
        wire::queue_group(self.client.call_once(api.alter_queue_group(request)).await?)
    }

    /// What a queue group is, and where it stands.
    ///
    /// # Errors
    /// `NotFound` when there is no such group; `Conflict` when it is of another type.
    pub async fn describe_queue_group(&self, group: &str) -> Result<QueueGroup> {
        let call = || {
            let mut api = self.client.group_admin_api();
            let request = v1::DescribeQueueGroupRequest { group: group.to_owned() };
            async move { api.describe_queue_group(request).await }
        };
        wire::queue_group(self.client.call(call).await?)
    }

    /// Records that wait for their next attempt, by topic, partition and offset; at most 1,000, from where an
    /// earlier page ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group.
    pub async fn retries(
        &self,
        group: &str,
        topic: Option<&str>,
        limit: usize,
        page: Option<&str>,
    ) -> Result<Page<Retry>> {
        let call = || {
            let mut api = self.client.group_admin_api();
            let request = v1::ListRetriesRequest {
                group: group.to_owned(),
                topic: topic.unwrap_or_default().to_owned(),
                limit: i32::try_from(limit).unwrap_or(i32::MAX),
                page: page.unwrap_or_default().to_owned(),
            };
            async move { api.list_retries(request).await }
        };
        let answer = self.client.call(call).await?;
        let items = answer.retries.into_iter().map(wire::retry).collect::<Result<_>>()?;
        Ok(Page { items, next: Some(answer.next_page).filter(|next| !next.is_empty()) })
    }

    /// Lets records that wait for their next attempt be delivered at once; how many they are.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue group. After `Unreachable` or `Timeout` it may be done; doing it
    /// again does no harm.
    pub async fn run_retries_now(&self, group: &str, scope: &RetryScope) -> Result<u64> {
        let request = v1::RunRetriesNowRequest {
            group: group.to_owned(),
            topic: scope.topic.clone().unwrap_or_default(),
            partition: scope.partition.map(PartitionIndex::get),
            first_offset: scope.offsets.map(|(first, _)| first.get()),
            last_offset: scope.offsets.map(|(_, last)| last.get()),
        };
        let mut api = self.client.group_admin_api();
        Ok(wire::count(self.client.call_once(api.run_retries_now(request)).await?.records))
    }
}
