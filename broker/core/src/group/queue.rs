//! Queue groups as all groups know them: that a group is one, what it reads and its settings.
//!
//! What such a group has delivered lives elsewhere ([`crate::delivery`]); here is the one owner of the fact that
//! the name belongs to a queue group, so that no member of another protocol can join it.
//!
//! **Invariant:** a queue group exists until it is deleted, whether anybody reads or not, and its id is that of no
//! other group of the same name before or after.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tidelog_model::{GroupId, Timestamp, TopicName};
use uuid::Uuid;

use super::api::{FetchOffsetsReply, GroupReply};
use super::error::GroupError;
use super::events::GroupEvent;
use super::groups::{Groups, Kind, Output};
use crate::codec::{CodecError, bad_field};

/// What a queue group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDefinition {
    /// Names the group for ever; one created again under the same name has another.
    pub id: Uuid,
    /// What it reads.
    pub topics: BTreeSet<TopicName>,
    /// The settings that are not at their defaults.
    pub configs: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
}

/// A queue group and what it had committed while it was another kind of group: where its queues begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredQueue {
    /// The group.
    pub group: GroupId,
    /// What it is.
    pub definition: QueueDefinition,
    /// Offsets from before.
    pub offsets: FetchOffsetsReply,
}

impl Groups {
    /// Makes a queue group of a new name, or of a group without members.
    pub(super) fn create_queue(
        &mut self,
        name: GroupId,
        definition: QueueDefinition,
        out: &mut Output,
    ) -> Result<GroupReply, GroupError> {
        self.check_topics(&definition)?;
        match self.groups.get(&name) {
            Some(group) if matches!(group.kind, Kind::Queue(_)) => {
                return Err(GroupError::QueueExists { group: name });
            }
            Some(group) if !group.is_empty() => return Err(GroupError::NotEmpty { group: name }),
            None if self.groups.len() >= self.limits.groups_max => {
                return Err(GroupError::TooManyGroups { limit: self.limits.groups_max });
            }
            Some(_) | None => {}
        }
        self.emit(out, GroupEvent::QueueStored { group: name.clone(), definition });
        self.queue(&name).map(GroupReply::Queue)
    }

    /// Gives a queue group other topics or settings.
    pub(super) fn alter_queue(
        &mut self,
        name: GroupId,
        definition: QueueDefinition,
        out: &mut Output,
    ) -> Result<GroupReply, GroupError> {
        self.check_topics(&definition)?;
        let stored = self.queue(&name)?;
        if stored.definition.id != definition.id {
            // It was deleted and created again in between.
            return Err(GroupError::UnknownGroup { group: name });
        }
        if stored.definition != definition {
            self.emit(out, GroupEvent::QueueStored { group: name.clone(), definition });
        }
        self.queue(&name).map(GroupReply::Queue)
    }

    /// A queue group.
    pub(super) fn queue(&self, name: &GroupId) -> Result<StoredQueue, GroupError> {
        let group = self.groups.get(name).ok_or_else(|| GroupError::UnknownGroup { group: name.clone() })?;
        let Kind::Queue(definition) = &group.kind else {
            return Err(GroupError::OtherType { group: name.clone(), wanted: "queue" });
        };
        let offsets = group.offsets.iter();
        let offsets = offsets.map(|((topic, partition), committed)| (*topic, *partition, committed.clone()));
        let (group, definition) = (name.clone(), (**definition).clone());
        Ok(StoredQueue { group, definition, offsets: offsets.collect() })
    }

    /// All queue groups.
    pub(super) fn queues(&self) -> Vec<StoredQueue> {
        self.groups.keys().filter_map(|name| self.queue(name).ok()).collect()
    }

    /// The ids of all queue groups.
    pub fn queue_ids(&self) -> impl Iterator<Item = Uuid> {
        self.groups.values().filter_map(|group| match &group.kind {
            Kind::Queue(definition) => Some(definition.id),
            _ => None,
        })
    }

    fn check_topics(&self, definition: &QueueDefinition) -> Result<(), GroupError> {
        let (actual, limit) = (definition.topics.len(), self.config.consumer.topic_names_max);
        if actual > limit {
            return Err(GroupError::TooLong { field: "topics", unit: "names", limit, actual });
        }
        Ok(())
    }
}

/// The stored form of a definition.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct QueueRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, repeated, tag = "2")]
    topics: Vec<String>,
    #[prost(btree_map = "string, string", tag = "3")]
    configs: BTreeMap<String, String>,
    #[prost(int64, tag = "4")]
    created_ms: i64,
}

impl From<&QueueDefinition> for QueueRecord {
    fn from(definition: &QueueDefinition) -> Self {
        Self {
            id: definition.id.as_bytes().to_vec(),
            topics: definition.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            configs: definition.configs.clone(),
            created_ms: definition.created.millis(),
        }
    }
}

impl TryFrom<QueueRecord> for QueueDefinition {
    type Error = CodecError;

    fn try_from(record: QueueRecord) -> Result<Self, CodecError> {
        let topic = |name: &String| TopicName::new(name).map_err(|error| bad_field("topics", error));
        Ok(Self {
            id: Uuid::from_slice(&record.id).map_err(|error| bad_field("id", error))?,
            topics: record.topics.iter().map(topic).collect::<Result<_, _>>()?,
            configs: record.configs,
            created: Timestamp::from_millis(record.created_ms),
        })
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
