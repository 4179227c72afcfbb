//! Which dead letters an operator means.

use tidelog_model::record::Record;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName};

use super::dead_letter::DeadLetterFacts;
use super::policy::Cause;

/// Dead letters for which every condition holds that is given; all of them when none is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Of records of this topic.
    pub topic: Option<TopicName>,
    /// Of this partition.
    pub partition: Option<PartitionIndex>,
    /// Between two of these offsets, both included; any when there are none.
    pub offsets: Vec<(Offset, Offset)>,
    /// That failed last at this time or later.
    pub failed_from: Option<Timestamp>,
    /// That failed last before this time.
    pub failed_to: Option<Timestamp>,
    /// That died for this.
    pub cause: Option<Cause>,
    /// Whose consumer gave this code.
    pub reason_code: Option<String>,
    /// That have this key.
    pub key: Option<Vec<u8>>,
    /// That have this header.
    pub header: Option<(Vec<u8>, Vec<u8>)>,
}

impl Selector {
    /// Whether a record at this place may be meant, before anything else is known of it.
    #[must_use]
    pub fn has_place(&self, topic: &TopicName, partition: PartitionIndex, offset: Offset) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted == topic)
            && self.partition.is_none_or(|wanted| wanted == partition)
            && (self.offsets.is_empty()
                || self.offsets.iter().any(|(first, last)| *first <= offset && offset <= *last))
    }

    /// Whether the place decides.
    #[must_use]
    pub const fn is_place_only(&self) -> bool {
        self.failed_from.is_none()
            && self.failed_to.is_none()
            && self.cause.is_none()
            && self.reason_code.is_none()
            && self.key.is_none()
            && self.header.is_none()
    }

    /// Whether a dead letter is meant, given how it died and its copy.
    #[must_use]
    pub fn has(&self, facts: &DeadLetterFacts, copy: &Record) -> bool {
        self.has_place(&facts.topic, facts.partition, facts.offset)
            && self.failed_from.is_none_or(|from| facts.last_failure >= from)
            && self.failed_to.is_none_or(|to| facts.last_failure < to)
            && self.cause.is_none_or(|cause| facts.cause == cause)
            && self.reason_code.as_ref().is_none_or(|code| facts.reason.0 == *code)
            && self.key.as_ref().is_none_or(|key| copy.key.as_deref() == Some(key))
            && self.header.as_ref().is_none_or(|(name, value)| {
                let is_it = |(found, other): &(bytes::Bytes, Option<bytes::Bytes>)| {
                    found == name && other.as_deref() == Some(value)
                };
                copy.headers.iter().any(is_it)
            })
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
