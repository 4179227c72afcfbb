//! What a dead letter says about itself: headers beside those of the record, with Kafka's names (KIP-1191) where
//! Kafka has one, all of them text.
//!
//! **Invariant:** the facts are read back as they were written, whatever headers the record had itself. Those of an
//! earlier death are replaced and not stacked.

use std::str::FromStr;

use thiserror::Error;
use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName};

use super::policy::Cause;

/// What all of these headers begin with.
const PREFIX: &str = "__dlq.errors.";
/// What the name of a group's dead letters begins with, unless it is set.
pub const TOPIC_PREFIX: &str = "dlq.";

/// The names behind the prefix.
mod name {
    pub(super) const TOPIC: &str = "topic";
    pub(super) const PARTITION: &str = "partition";
    pub(super) const OFFSET: &str = "offset";
    pub(super) const GROUP: &str = "group";
    pub(super) const DELIVERY_COUNT: &str = "delivery.count";
    pub(super) const MESSAGE: &str = "message";
    pub(super) const DISPOSITION: &str = "disposition";
    pub(super) const REASON_CODE: &str = "reason.code";
    pub(super) const FIRST_FAILURE: &str = "first.failure.ts";
    pub(super) const LAST_FAILURE: &str = "last.failure.ts";
    pub(super) const ORIGINAL_TIMESTAMP: &str = "original.ts";
    pub(super) const REDRIVES: &str = "redrive.count";
    pub(super) const ID: &str = "id";
    pub(super) const TRUNCATED: &str = "truncated";
}

/// What is known of a dead letter beside the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterFacts {
    /// Where the record is from.
    pub topic: TopicName,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset there.
    pub offset: Offset,
    /// The queue group that failed.
    pub group: GroupId,
    /// How many attempts there were since the last redrive.
    pub attempts: u16,
    /// Why it died.
    pub cause: Cause,
    /// The consumer's word for programs, and its line for people; empty when it gave none.
    pub reason: (String, String),
    /// When it failed first.
    pub first_failure: Timestamp,
    /// When it failed last.
    pub last_failure: Timestamp,
    /// The record's own timestamp.
    pub original_timestamp: Timestamp,
    /// How often it was redriven.
    pub redrives: u8,
    /// Its number among the dead letters of the group's lane of the partition.
    pub sequence: u64,
    /// The value is not here, because the topic of the dead letters takes nothing so large.
    pub truncated: bool,
}

/// Why headers are not those of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FactsError {
    /// One is missing.
    #[error("the record is no dead letter: it has no header {PREFIX}{name}")]
    Missing {
        /// Its name behind the prefix.
        name: &'static str,
    },
    /// One cannot be read.
    #[error("the dead letter's header {PREFIX}{name} cannot be read")]
    Broken {
        /// Its name behind the prefix.
        name: &'static str,
    },
}

/// A group whose name cannot be that of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{topic:?} cannot be the topic of the group's dead letters: {reason}; name another one")]
pub struct TopicNameError {
    topic: String,
    reason: String,
}

/// The topic of a group's dead letters, where the group names none.
///
/// # Errors
/// When the group's name has letters that names of topics may not have, or is too long.
pub fn dead_letter_topic(group: &GroupId) -> Result<TopicName, TopicNameError> {
    let topic = format!("{TOPIC_PREFIX}{}", group.as_str());
    TopicName::new(&topic).map_err(|error| TopicNameError { reason: error.to_string(), topic })
}

/// Whether a header is one of those that say how a record died.
#[must_use]
pub fn is_fact(header: &[u8]) -> bool {
    header.starts_with(PREFIX.as_bytes())
}

impl DeadLetterFacts {
    /// The headers that say it.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let (code, text) = &self.reason;
        let millis = |time: Timestamp| time.millis().to_string();
        let id = format!("{}/{}/{}/{}", self.group.as_str(), self.topic, self.partition, self.sequence);
        let mut headers = vec![
            (name::TOPIC, self.topic.to_string()),
            (name::PARTITION, self.partition.to_string()),
            (name::OFFSET, self.offset.to_string()),
            (name::GROUP, self.group.as_str().to_owned()),
            (name::DELIVERY_COUNT, self.attempts.to_string()),
            (name::MESSAGE, text.clone()),
            (name::DISPOSITION, self.cause.name().to_owned()),
            (name::REASON_CODE, code.clone()),
            (name::FIRST_FAILURE, millis(self.first_failure)),
            (name::LAST_FAILURE, millis(self.last_failure)),
            (name::ORIGINAL_TIMESTAMP, millis(self.original_timestamp)),
            (name::REDRIVES, self.redrives.to_string()),
            (name::ID, id),
        ];
        if self.truncated {
            headers.push((name::TRUNCATED, "true".to_owned()));
        }
        headers.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect()
    }

    /// Reads the facts of a dead letter from its headers.
    ///
    /// # Errors
    /// [`FactsError`] names the header that is missing or broken.
    pub fn read<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, FactsError> {
        let known = headers.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX.as_bytes())?, value)));
        let headers = Headers(known.collect());
        let sequence = |id: &str| id.rsplit_once('/').and_then(|(_, sequence)| sequence.parse().ok());
        Ok(Self {
            topic: headers.read(name::TOPIC, |text| TopicName::new(text).ok())?,
            partition: headers.read(name::PARTITION, |text| PartitionIndex::new(text.parse().ok()?))?,
            offset: headers.read(name::OFFSET, |text| Offset::new(text.parse().ok()?))?,
            group: headers.read(name::GROUP, |text| GroupId::new(text).ok())?,
            attempts: headers.number(name::DELIVERY_COUNT)?,
            cause: headers.read(name::DISPOSITION, Cause::from_name)?,
            reason: (
                headers.read(name::REASON_CODE, |text| Some(text.to_owned()))?,
                headers.read(name::MESSAGE, |text| Some(text.to_owned()))?,
            ),
            first_failure: headers.time(name::FIRST_FAILURE)?,
            last_failure: headers.time(name::LAST_FAILURE)?,
            original_timestamp: headers.time(name::ORIGINAL_TIMESTAMP)?,
            redrives: headers.number(name::REDRIVES)?,
            sequence: headers.read(name::ID, sequence)?,
            truncated: headers.find(name::TRUNCATED).is_some(),
        })
    }
}

/// The headers of a dead letter, without the prefix.
struct Headers<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Headers<'a> {
    fn find(&self, name: &str) -> Option<&'a [u8]> {
        // The last one counts, as it does for Kafka's clients.
        self.0.iter().rev().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| *value)
    }

    fn read<T>(&self, name: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, FactsError> {
        let value = self.find(name).ok_or(FactsError::Missing { name })?;
        std::str::from_utf8(value).ok().and_then(read).ok_or(FactsError::Broken { name })
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, FactsError> {
        self.read(name, |text| text.parse().ok())
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, FactsError> {
        self.number(name).map(Timestamp::from_millis)
    }
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
