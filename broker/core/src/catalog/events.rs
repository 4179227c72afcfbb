//! The catalog's events and their stored form.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Message, Oneof};
use tidelog_model::{Timestamp, TopicId, TopicName};

use super::TopicEntry;
use crate::codec::{CodecError, Event, bad_field, open, required, seal, topic_id};

/// The version of the stored form that this program writes.
const VERSION: u32 = 1;

/// A fact about topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogEvent {
    /// A topic exists, with all that is known of it.
    TopicCreated(TopicEntry),
    /// These are the configs set on a topic now.
    ConfigsReplaced {
        /// The topic.
        id: TopicId,
        /// All configs set on it.
        configs: BTreeMap<String, String>,
    },
    /// A topic has this many partitions now.
    PartitionsAdded {
        /// The topic.
        id: TopicId,
        /// Its number of partitions.
        total: i32,
    },
    /// A topic is gone for clients; what belonged to it is to be removed.
    TopicDeleted {
        /// The topic.
        id: TopicId,
        /// The name it had.
        name: TopicName,
    },
    /// Everything that belonged to a deleted topic is gone.
    TopicRemoved {
        /// The topic.
        id: TopicId,
    },
}

impl CatalogEvent {
    fn id(&self) -> TopicId {
        match self {
            Self::TopicCreated(entry) => entry.id,
            Self::ConfigsReplaced { id, .. }
            | Self::PartitionsAdded { id, .. }
            | Self::TopicDeleted { id, .. }
            | Self::TopicRemoved { id } => *id,
        }
    }
}

impl Event for CatalogEvent {
    fn key(&self) -> Bytes {
        wire_id(self.id())
    }

    fn encode(&self) -> Bytes {
        let change = match self {
            Self::TopicCreated(entry) => Change::Created(Created {
                name: entry.name.as_str().to_owned(),
                partitions: entry.partitions,
                configs: entry.configs.clone(),
                created_ms: entry.created.millis(),
            }),
            Self::ConfigsReplaced { configs, .. } => {
                Change::ConfigsReplaced(ConfigsReplaced { configs: configs.clone() })
            }
            Self::PartitionsAdded { total, .. } => Change::PartitionsAdded(*total),
            Self::TopicDeleted { name, .. } => Change::Deleted(name.as_str().to_owned()),
            Self::TopicRemoved { .. } => Change::Removed(true),
        };
        seal(VERSION, &CatalogRecord { topic_id: wire_id(self.id()), change: Some(change) })
    }

    fn decode(value: &[u8]) -> Result<Self, CodecError> {
        let record: CatalogRecord = open(VERSION, value)?;
        let id = topic_id("topic_id", &record.topic_id)?;
        Ok(match required("change", record.change)? {
            Change::Created(created) => Self::TopicCreated(TopicEntry {
                name: name(&created.name)?,
                id,
                partitions: partitions(created.partitions)?,
                configs: created.configs,
                created: Timestamp::from_millis(created.created_ms),
            }),
            Change::ConfigsReplaced(replaced) => Self::ConfigsReplaced { id, configs: replaced.configs },
            Change::PartitionsAdded(total) => Self::PartitionsAdded { id, total: partitions(total)? },
            Change::Deleted(was) => Self::TopicDeleted { id, name: name(&was)? },
            Change::Removed(_) => Self::TopicRemoved { id },
        })
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct CatalogRecord {
    #[prost(bytes = "bytes", tag = "1")]
    topic_id: Bytes,
    #[prost(oneof = "Change", tags = "2, 3, 4, 5, 6")]
    change: Option<Change>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Change {
    #[prost(message, tag = "2")]
    Created(Created),
    #[prost(message, tag = "3")]
    ConfigsReplaced(ConfigsReplaced),
    #[prost(int32, tag = "4")]
    PartitionsAdded(i32),
    #[prost(string, tag = "5")]
    Deleted(String),
    #[prost(bool, tag = "6")]
    Removed(bool),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Created {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    partitions: i32,
    #[prost(btree_map = "string, string", tag = "3")]
    configs: BTreeMap<String, String>,
    #[prost(int64, tag = "4")]
    created_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ConfigsReplaced {
    #[prost(btree_map = "string, string", tag = "1")]
    configs: BTreeMap<String, String>,
}

fn wire_id(id: TopicId) -> Bytes {
    Bytes::copy_from_slice(id.uuid().as_bytes())
}

fn name(text: &str) -> Result<TopicName, CodecError> {
    TopicName::new(text).map_err(|error| bad_field("name", error))
}

fn partitions(count: i32) -> Result<i32, CodecError> {
    if count < 1 {
        return Err(bad_field("partitions", format!("{count} is not a number of partitions")));
    }
    Ok(count)
}
