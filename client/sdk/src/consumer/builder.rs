//! The settings of a consumer, checked and looked up when it is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::{GroupId, Offset, PartitionIndex, TopicName, TopicPartition};

use super::Consumer;
use super::commit::Committer;
use super::fetch::{Fetcher, Settings};
use super::member::MemberSettings;
use super::membership::join;
use super::partition::Partition;
use super::rebalance::{Listener, Rebalance, RebalanceSettings, Rebalancer};
use crate::admin::{Admin, OffsetInfo};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::position::{Position, ReadFilter};

/// What to do when the place to read from is no longer (or not yet) in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOutOfRange {
    /// Yield an error and stop reading that partition until [`Consumer::seek`].
    #[default]
    Fail,
    /// Go on at the oldest record kept.
    Earliest,
    /// Go on at the end.
    Latest,
}

/// Settings of a [`Consumer`]. Made by [`Client::consumer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConsumerBuilder {
    client: Client,
    topics: Vec<String>,
    partitions: Vec<(String, i32, Position)>,
    start: Option<Position>,
    fallback: Position,
    until: BTreeMap<TopicPartition, Offset>,
    until_end: bool,
    filter: ReadFilter,
    group: Option<String>,
    joins: bool,
    instance_id: Option<String>,
    assignor: Option<String>,
    rebalance_timeout: Duration,
    poll_max: Duration,
    listener: Option<Listener>,
    auto_commit: Option<Duration>,
    out_of_range: OnOutOfRange,
    credit_bytes: usize,
    response_bytes_max: usize,
    backoff: (Duration, Duration),
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            topics: Vec::new(),
            partitions: Vec::new(),
            start: None,
            fallback: Position::Earliest,
            until: BTreeMap::new(),
            until_end: false,
            filter: ReadFilter::new(),
            group: None,
            joins: false,
            instance_id: None,
            assignor: None,
            rebalance_timeout: Duration::from_secs(60),
            poll_max: Duration::from_secs(300),
            listener: None,
            auto_commit: None,
            out_of_range: OnOutOfRange::Fail,
            credit_bytes: 8 * 1024 * 1024,
            response_bytes_max: 1024 * 1024,
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
        }
    }

    /// Reads all partitions the topic has when the consumer is built.
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.topics.push(name.into());
        self
    }

    /// Reads one partition, from a place of its own.
    pub fn partition(mut self, topic: impl Into<String>, partition: i32, position: Position) -> Self {
        self.partitions.push((topic.into(), partition, position));
        self
    }

    /// Where to start in the partitions that have no place of their own. Default [`Position::Committed`]
    /// with a group, else [`Position::Earliest`].
    pub const fn start(mut self, position: Position) -> Self {
        self.start = Some(position);
        self
    }

    /// Where to start in partitions for which the group has committed nothing. Default
    /// [`Position::Earliest`].
    pub const fn fallback(mut self, position: Position) -> Self {
        self.fallback = position;
        self
    }

    /// Stops each of these partitions before the offset given. The stream ends when all partitions it reads
    /// are stopped; partitions without a bound go on for ever.
    pub fn until(mut self, offsets: impl IntoIterator<Item = (TopicPartition, Offset)>) -> Self {
        self.until.extend(offsets);
        self
    }

    /// Ends when everything was read that is readable when the consumer is built.
    pub const fn until_end(mut self) -> Self {
        self.until_end = true;
        self
    }

    /// Yields only the records that pass.
    pub fn filter(mut self, filter: ReadFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Joins the group: its members share the partitions of their topics, each partition is read by one of them,
    /// and goes to another when its member leaves, dies or is not polled. Kafka clients may be members of the
    /// same group (KIP-848). Reading begins where the group has committed.
    pub fn join_group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self.joins = true;
        self
    }

    /// Makes a [member](Self::join_group) static: when it comes back under this name within the session time,
    /// it gets its partitions back, and nobody else had them in between.
    pub fn instance_id(mut self, name: impl Into<String>) -> Self {
        self.instance_id = Some(name.into());
        self
    }

    /// How the broker should share partitions out: `uniform` (its default) or `range`.
    pub fn assignor(mut self, name: impl Into<String>) -> Self {
        self.assignor = Some(name.into());
        self
    }

    /// How long a [member](Self::join_group) may take to give partitions up before it is thrown out. Default a
    /// minute.
    pub const fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.rebalance_timeout = timeout;
        self
    }

    /// A [member](Self::join_group) that is not polled for this long leaves the group until it is polled again.
    /// Default five minutes.
    pub const fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_max = interval;
        self
    }

    /// Called while the consumer is polled, whenever partitions of a [member](Self::join_group) come or go.
    pub fn on_rebalance(mut self, listener: impl Fn(&Rebalance) + Send + Sync + 'static) -> Self {
        self.listener = Some(Listener(Arc::new(listener)));
        self
    }

    /// The group whose committed offsets are read and written; the consumer reads all partitions all the same.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Commits the positions of what was handed out this often, and on [`Consumer::close`]. Default never.
    pub const fn auto_commit(mut self, interval: Duration) -> Self {
        self.auto_commit = Some(interval);
        self
    }

    /// What to do when the place to read from is not in the log. Default [`OnOutOfRange::Fail`].
    pub const fn on_out_of_range(mut self, policy: OnOutOfRange) -> Self {
        self.out_of_range = policy;
        self
    }

    /// How many bytes the broker may send ahead of what was handed out. Default 8 MiB.
    pub const fn credit_bytes(mut self, bytes: usize) -> Self {
        self.credit_bytes = bytes;
        self
    }

    /// The most bytes of record batches in one response (one batch may be larger). Default 1 MiB.
    pub const fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.response_bytes_max = bytes;
        self
    }

    /// The pauses between tries to reconnect: drawn evenly between zero and a ceiling that doubles from
    /// `initial` to `max`. Default 50 ms to 2 s.
    pub const fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.backoff = (initial, max);
        self
    }

    /// The consumer: finds the partitions and where to start in each.
    ///
    /// # Errors
    /// `InvalidRequest` when a setting is out of range, `NotFound` when a topic or partition does not exist,
    /// `Unreachable` when the broker does not answer.
    pub async fn build(self) -> Result<Consumer> {
        self.check()?;
        let admin = self.client.admin();
        let group = self.group.as_deref().map(GroupId::new).transpose()?;
        if let (true, Some(group)) = (self.joins, &group) {
            let group = group.clone();
            return self.build_member(&group);
        }
        let committed = match &group {
            Some(group) => admin.group_offsets(group.as_str()).await?,
            None => Vec::new(),
        };
        let committed: BTreeMap<_, _> =
            committed.into_iter().map(|commit| (commit.partition, commit.offset)).collect();
        let starts = self.starts(&admin).await?;
        let ends = self.ends(&admin, &starts).await?;
        let mut partitions = look_up(&admin, starts, &committed, self.fallback).await?;
        for partition in &mut partitions {
            let until = self.until.get(&partition.id).copied();
            let end = ends.get(&partition.id).copied();
            partition.until = until.into_iter().chain(end).min();
        }
        let committer = group.map(|group| Committer::new(admin, group, None, committed));
        let settings = self.settings();
        Ok(Consumer::new(Fetcher::new(self.client, settings, partitions, committer)))
    }

    fn settings(&self) -> Settings {
        let (initial, max) = self.backoff;
        Settings {
            filter: self.filter.clone(),
            out_of_range: self.out_of_range,
            credit_bytes: self.credit_bytes,
            response_bytes_max: self.response_bytes_max,
            auto_commit: self.auto_commit,
            backoff: Backoff::new(initial, max),
        }
    }

    /// A consumer that has nothing to read until the group gives it something.
    fn build_member(self, group: &GroupId) -> Result<Consumer> {
        let timeout = self.rebalance_timeout.as_millis();
        let rebalance_timeout_ms =
            i32::try_from(timeout).map_err(|_| Error::invalid("rebalance_timeout must be below 24 days"))?;
        let settings = self.settings();
        let member = MemberSettings {
            group: group.as_str().to_owned(),
            topics: self.topics,
            instance_id: self.instance_id,
            assignor: self.assignor,
            rebalance_timeout_ms,
            client_id: "tidelog-client".to_owned(),
        };
        let membership = join(self.client.clone(), member, self.poll_max, settings.backoff.clone());
        let identity = Some(Arc::clone(&membership.identity));
        let committer = Committer::new(self.client.admin(), group.clone(), identity, BTreeMap::new());
        let rebalance = RebalanceSettings {
            fallback: self.fallback,
            commits: self.auto_commit.is_some(),
            listener: self.listener,
        };
        let client = self.client.clone();
        let rebalancer = Rebalancer::new(membership, rebalance, client, Arc::clone(&committer));
        let mut fetcher = Fetcher::new(self.client, settings, Vec::new(), Some(committer));
        fetcher.rebalancer = Some(Box::new(rebalancer));
        Ok(Consumer::new(fetcher))
    }

    fn check(&self) -> Result<()> {
        let positions = self.partitions.iter().map(|(_, _, position)| *position);
        let committed = positions.chain(self.start).any(|position| position == Position::Committed);
        let response_range = 1..=usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        let rules = [
            (
                !(self.topics.is_empty() && self.partitions.is_empty()),
                "a consumer needs a topic or a partition",
            ),
            (!committed || self.group.is_some(), "Position::Committed needs a group"),
            (self.fallback != Position::Committed, "the fallback cannot be Position::Committed"),
            (self.auto_commit.is_none() || self.group.is_some(), "auto_commit needs a group"),
            (
                !self.joins || self.partitions.is_empty(),
                "a member reads what the group gives it: name topics, not partitions",
            ),
            (
                !self.joins || (!self.until_end && self.until.is_empty()),
                "a member has no end: leave out until and until_end",
            ),
            (
                !self.joins || self.start.is_none(),
                "a member starts where the group has committed: use fallback for the first time",
            ),
            (
                self.joins
                    || (self.instance_id.is_none() && self.assignor.is_none() && self.listener.is_none()),
                "instance_id, assignor and on_rebalance are for members: use join_group",
            ),
            (!self.rebalance_timeout.is_zero(), "rebalance_timeout must be longer than zero"),
            (!self.poll_max.is_zero(), "max_poll_interval must be longer than zero"),
            (
                self.auto_commit.is_none_or(|interval| !interval.is_zero()),
                "auto_commit must be longer than zero",
            ),
            (self.credit_bytes > 0, "credit_bytes must be at least 1"),
            (response_range.contains(&self.response_bytes_max), "response_bytes_max must be 1 byte to 2 GiB"),
            (
                !self.backoff.0.is_zero() && self.backoff.0 <= self.backoff.1,
                "backoff must grow from above zero",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::invalid(rule)),
            None => Ok(()),
        }
    }

    /// The partitions to read and where to start in each.
    async fn starts(&self, admin: &Admin) -> Result<BTreeMap<TopicPartition, Position>> {
        let default = if self.group.is_some() { Position::Committed } else { Position::Earliest };
        let start = self.start.unwrap_or(default);
        let mut starts = BTreeMap::new();
        for topic in &self.topics {
            let described = admin.describe_topic(topic).await?;
            let ids = described.partitions.iter().map(|partition| partition.partition);
            let id = |partition| TopicPartition { topic: described.name.clone(), partition };
            starts.extend(ids.map(|partition| (id(partition), start)));
        }
        for (topic, partition, position) in &self.partitions {
            let index = PartitionIndex::new(*partition);
            let partition = index.ok_or_else(|| Error::invalid("a partition cannot be negative"))?;
            starts.insert(TopicPartition { topic: TopicName::new(topic)?, partition }, *position);
        }
        match self.until.keys().find(|id| !starts.contains_key(*id)) {
            Some(id) => Err(Error::invalid(format!("until names {id}, which this consumer does not read"))),
            None => Ok(starts),
        }
    }

    /// The ends of the partitions, if this consumer ends there. A partition with broken bytes has none, which
    /// is an error here: taken for one, records would be missed without a word.
    async fn ends(
        &self,
        admin: &Admin,
        starts: &BTreeMap<TopicPartition, Position>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        if !self.until_end {
            return Ok(BTreeMap::new());
        }
        let ends: Vec<_> = starts.keys().map(|id| (id.clone(), Position::Latest)).collect();
        let found = admin.list_offsets(&ends).await?;
        Ok(found.into_iter().map(|info| (info.partition, info.offset)).collect())
    }
}

/// Turns positions into offsets once, so that a broken stream can be picked up exactly where it was.
pub(super) async fn look_up(
    admin: &Admin,
    starts: BTreeMap<TopicPartition, Position>,
    committed: &BTreeMap<TopicPartition, Offset>,
    fallback: Position,
) -> Result<Vec<Partition>> {
    let mut fixed = Vec::with_capacity(starts.len());
    let mut asked = Vec::with_capacity(starts.len());
    for (id, position) in starts {
        let position = match (position, committed.get(&id)) {
            (Position::Committed, Some(offset)) => Position::Offset(*offset),
            (Position::Committed, None) => fallback,
            (position, _) => position,
        };
        // For the high watermark the broker is asked in any case. Not for the end: where durable bytes are
        // broken there is none, and what lies before them can be read all the same.
        let (offset, ask) = match position {
            Position::Offset(offset) => (Some(offset), Position::Earliest),
            position => (None, position),
        };
        fixed.push(offset);
        asked.push((id, ask));
    }
    let found = admin.list_offsets(&asked).await?;
    let partition = |(info, fixed): (OffsetInfo, Option<Offset>)| {
        let start = fixed.unwrap_or(info.offset);
        Partition::new(info.partition, start, info.high_watermark)
    };
    Ok(found.into_iter().zip(fixed).map(partition).collect())
}
