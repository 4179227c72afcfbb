//! The settings of a consumer, checked and looked up when it is built.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_model::{Offset, TopicPartition};

use super::Consumer;
use crate::client::Client;
use crate::error::Result;
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
    partitions: Vec<(String, i32, Option<Position>)>,
    start: Option<Position>,
    fallback: Position,
    until: BTreeMap<TopicPartition, Offset>,
    until_end: bool,
    filter: ReadFilter,
    group: Option<String>,
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
        self.partitions.push((topic.into(), partition, Some(position)));
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

    /// The group whose committed offsets are read and written.
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
    #[expect(clippy::todo, clippy::unused_async, reason = "signature first")]
    pub async fn build(self) -> Result<Consumer> {
        todo!()
    }
}
