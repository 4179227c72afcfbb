//! The catalog: which topics there are, how many partitions they have, how they are configured.
//!
//! Names are refused when they differ from another topic's only in `.` and `_` (metric names do not tell
//! them apart; Kafka's rule). Ids come with the command: the machine has no randomness.
//!
//! A deleted topic's files and its groups' offsets are removed *after* its record is durable; until that is
//! reported ([`CatalogCommand::FinishRemoval`]) the topic is a pending effect, which a crash cannot lose.
//!
//! **Invariant:** a topic's id is never used for another topic, and its number of partitions only grows.

mod config_kept;
mod config_kind;
mod config_table;
mod configs;
mod error;
mod events;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_model::{Timestamp, TopicId, TopicName, limits};

pub use config_kept::{KEPT_CONFIGS, RETIRED_CONFIGS};
pub use config_kind::ConfigKind;
pub use config_table::TOPIC_CONFIGS;
pub(crate) use configs::nearest_of;
pub use configs::{
    ConfigEntry, ConfigError, ConfigKey, ConfigSource, Flush, TopicConfig, alter, describe, lookup,
};
pub use error::CatalogError;
pub use events::CatalogEvent;

use crate::machine::{Decision, Machine};

/// A topic as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicEntry {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// The configs set on the topic itself.
    pub configs: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
}

/// How much the catalog may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogLimits {
    /// The most topics.
    pub topics_max: usize,
    /// The most partitions of one topic.
    pub partitions_per_topic_max: i32,
    /// The most partitions of all topics.
    pub partitions_max: usize,
}

impl Default for CatalogLimits {
    fn default() -> Self {
        Self {
            topics_max: 100_000,
            partitions_per_topic_max: limits::PARTITIONS_PER_TOPIC_MAX,
            partitions_max: 100_000,
        }
    }
}

/// What the catalog is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogCommand {
    /// Make a topic.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// Its id, never used before.
        id: TopicId,
        /// How many partitions.
        partitions: i32,
        /// Configs set on the topic.
        configs: BTreeMap<String, String>,
    },
    /// Change configs, all or none.
    AlterTopic {
        /// The topic.
        name: TopicName,
        /// Values to set.
        set: BTreeMap<String, String>,
        /// Keys to return to their defaults.
        reset: Vec<String>,
    },
    /// Raise the number of partitions.
    AddPartitions {
        /// The topic.
        name: TopicName,
        /// The number afterwards.
        total: i32,
    },
    /// Delete a topic.
    DeleteTopic {
        /// The topic.
        name: TopicName,
    },
    /// Everything that belonged to a deleted topic is gone.
    FinishRemoval {
        /// The topic.
        id: TopicId,
    },
}

/// What the catalog answers: the topic as it is afterwards (as it was, for a deletion).
pub type CatalogReply = Result<Arc<TopicEntry>, CatalogError>;

/// Work the catalog calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogEffect {
    /// Remove everything that belonged to this deleted topic, then say [`CatalogCommand::FinishRemoval`].
    RemoveTopic(TopicId),
}

/// The machine of topics and their configs.
#[derive(Debug, Clone)]
pub struct Catalog {
    limits: CatalogLimits,
    /// The broker's topic defaults: not state, but what topic configs are checked against.
    defaults: BTreeMap<String, String>,
    topics: BTreeMap<TopicName, Arc<TopicEntry>>,
    names: BTreeMap<TopicId, TopicName>,
    /// Names with `.` read as `_`.
    folded: BTreeMap<String, TopicName>,
    removing: BTreeMap<TopicId, TopicName>,
    partitions: usize,
}

impl Catalog {
    /// An empty catalog.
    ///
    /// # Errors
    /// When the broker's topic defaults are not valid configs.
    pub fn new(limits: CatalogLimits, defaults: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        TopicConfig::resolve(&defaults, &BTreeMap::new())?;
        Ok(Self {
            limits,
            defaults,
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            folded: BTreeMap::new(),
            removing: BTreeMap::new(),
            partitions: 0,
        })
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<TopicEntry>> {
        self.topics.get(name)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicEntry>> {
        self.topics.values()
    }

    /// The broker's topic defaults.
    #[must_use]
    pub const fn defaults(&self) -> &BTreeMap<String, String> {
        &self.defaults
    }

    /// Whether the topic was deleted and its files are still to be removed.
    #[must_use]
    pub fn is_removing(&self, id: TopicId) -> bool {
        self.removing.contains_key(&id)
    }

    /// What `command` would be answered, without any effect.
    ///
    /// # Errors
    /// As the command itself.
    pub fn check(&self, now: Timestamp, command: CatalogCommand) -> CatalogReply {
        self.decide(now, command).reply
    }

    fn find(&self, name: &TopicName) -> Result<&Arc<TopicEntry>, CatalogError> {
        self.topics.get(name).ok_or_else(|| CatalogError::UnknownTopic { name: name.clone() })
    }

    fn create(&self, now: Timestamp, entry: TopicEntry) -> Result<Vec<CatalogEvent>, CatalogError> {
        if entry.name.is_internal() {
            return Err(CatalogError::Internal { name: entry.name });
        }
        if self.topics.contains_key(&entry.name) {
            return Err(CatalogError::Exists { name: entry.name });
        }
        if let Some(other) = self.folded.get(&fold(&entry.name)) {
            return Err(CatalogError::Collides { name: entry.name, other: other.clone() });
        }
        if self.topics.len() >= self.limits.topics_max {
            return Err(CatalogError::TooManyTopics { limit: self.limits.topics_max });
        }
        if entry.partitions < 1 {
            return Err(CatalogError::NoPartitions { actual: entry.partitions });
        }
        self.check_partitions(0, entry.partitions)?;
        TopicConfig::resolve(&self.defaults, &entry.configs)?;
        Ok(vec![CatalogEvent::TopicCreated(TopicEntry { created: now, ..entry })])
    }

    fn check_partitions(&self, before: i32, after: i32) -> Result<(), CatalogError> {
        let limit = self.limits.partitions_per_topic_max;
        if after > limit {
            return Err(CatalogError::TooManyPartitions { limit, actual: after });
        }
        let total = self.partitions.saturating_add(count(after)).saturating_sub(count(before));
        if total > self.limits.partitions_max {
            return Err(CatalogError::BrokerFull { limit: self.limits.partitions_max, actual: total });
        }
        Ok(())
    }

    fn alter(
        &self,
        name: &TopicName,
        set: &BTreeMap<String, String>,
        reset: &[String],
    ) -> Result<Vec<CatalogEvent>, CatalogError> {
        let topic = self.find(name)?;
        let configs = configs::alter(&topic.configs, set, reset)?;
        TopicConfig::resolve(&self.defaults, &configs)?;
        if configs == topic.configs {
            return Ok(Vec::new());
        }
        Ok(vec![CatalogEvent::ConfigsReplaced { id: topic.id, configs }])
    }

    fn add(&self, name: &TopicName, total: i32) -> Result<Vec<CatalogEvent>, CatalogError> {
        let topic = self.find(name)?;
        if total <= topic.partitions {
            return Err(CatalogError::NotMorePartitions { has: topic.partitions, asked: total });
        }
        self.check_partitions(topic.partitions, total)?;
        Ok(vec![CatalogEvent::PartitionsAdded { id: topic.id, total }])
    }

    /// The topic as it will be after `events`.
    fn preview(&self, name: &TopicName, events: &[CatalogEvent]) -> CatalogReply {
        let mut entry = match events.first() {
            Some(CatalogEvent::TopicCreated(entry)) => entry.clone(),
            _ => TopicEntry::clone(self.find(name)?),
        };
        for event in events {
            match event {
                CatalogEvent::ConfigsReplaced { configs, .. } => entry.configs.clone_from(configs),
                CatalogEvent::PartitionsAdded { total, .. } => entry.partitions = *total,
                CatalogEvent::TopicCreated(_)
                | CatalogEvent::TopicDeleted { .. }
                | CatalogEvent::TopicRemoved { .. } => {}
            }
        }
        Ok(Arc::new(entry))
    }

    fn finish(&self, id: TopicId) -> Decision<CatalogEvent, CatalogReply> {
        let Some(name) = self.removing.get(&id) else {
            return Decision::reply(Err(CatalogError::NotRemoving { id }));
        };
        let configs = BTreeMap::new();
        let gone = TopicEntry { name: name.clone(), id, partitions: 0, configs, created: Timestamp::NONE };
        Decision::with_events(vec![CatalogEvent::TopicRemoved { id }], Ok(Arc::new(gone)))
    }

    fn insert(&mut self, entry: TopicEntry) {
        self.remove(entry.id);
        if let Some(other) = self.topics.get(&entry.name).map(|other| other.id) {
            self.remove(other);
        }
        self.removing.remove(&entry.id);
        self.partitions = self.partitions.saturating_add(count(entry.partitions));
        self.names.insert(entry.id, entry.name.clone());
        self.folded.insert(fold(&entry.name), entry.name.clone());
        self.topics.insert(entry.name.clone(), Arc::new(entry));
    }

    fn remove(&mut self, id: TopicId) -> Option<TopicName> {
        let name = self.names.remove(&id)?;
        self.folded.remove(&fold(&name));
        if let Some(entry) = self.topics.remove(&name) {
            self.partitions = self.partitions.saturating_sub(count(entry.partitions));
        }
        Some(name)
    }

    fn change(&mut self, id: TopicId, change: impl FnOnce(&mut TopicEntry)) {
        let topic = self.names.get(&id).and_then(|name| self.topics.get(name)).cloned();
        if let Some(topic) = topic {
            let mut entry = TopicEntry::clone(&topic);
            change(&mut entry);
            self.insert(entry);
        }
    }
}

impl Machine for Catalog {
    type Command = CatalogCommand;
    type Event = CatalogEvent;
    type Reply = CatalogReply;
    type Effect = CatalogEffect;
    type Lane = ();

    fn lane(&self, _: &CatalogCommand) -> Option<()> {
        // Limits and name collisions look at all topics.
        None
    }

    fn decide(&self, now: Timestamp, command: CatalogCommand) -> Decision<CatalogEvent, CatalogReply> {
        let (name, events) = match command {
            CatalogCommand::CreateTopic { name, id, partitions, configs } => {
                let entry = TopicEntry { name: name.clone(), id, partitions, configs, created: now };
                (name, self.create(now, entry))
            }
            CatalogCommand::AlterTopic { name, set, reset } => {
                let events = self.alter(&name, &set, &reset);
                (name, events)
            }
            CatalogCommand::AddPartitions { name, total } => {
                let events = self.add(&name, total);
                (name, events)
            }
            CatalogCommand::DeleteTopic { name } => {
                let event = |id| vec![CatalogEvent::TopicDeleted { id, name: name.clone() }];
                let events = self.find(&name).map(|topic| event(topic.id));
                (name, events)
            }
            CatalogCommand::FinishRemoval { id } => return self.finish(id),
        };
        match events.and_then(|events| Ok((self.preview(&name, &events)?, events))) {
            Ok((entry, events)) => Decision::with_events(events, Ok(entry)),
            Err(error) => Decision::reply(Err(error)),
        }
    }

    fn apply(&mut self, event: &CatalogEvent) {
        match event {
            CatalogEvent::TopicCreated(entry) => self.insert(entry.clone()),
            CatalogEvent::ConfigsReplaced { id, configs } => {
                self.change(*id, |entry| entry.configs.clone_from(configs));
            }
            CatalogEvent::PartitionsAdded { id, total } => {
                self.change(*id, |entry| entry.partitions = entry.partitions.max(*total));
            }
            CatalogEvent::TopicDeleted { id, name } => {
                self.remove(*id);
                self.removing.insert(*id, name.clone());
            }
            CatalogEvent::TopicRemoved { id } => {
                self.removing.remove(id);
            }
        }
    }

    fn pending_effects(&self) -> impl Iterator<Item = CatalogEffect> + Send {
        self.removing.keys().map(|id| CatalogEffect::RemoveTopic(*id))
    }

    fn snapshot(&self) -> impl Iterator<Item = CatalogEvent> + Send {
        let removing = self.removing.iter();
        let removing = removing.map(|(id, name)| CatalogEvent::TopicDeleted { id: *id, name: name.clone() });
        removing.chain(self.topics.values().map(|entry| CatalogEvent::TopicCreated(TopicEntry::clone(entry))))
    }
}

fn fold(name: &TopicName) -> String {
    name.as_str().replace('.', "_")
}

fn count(partitions: i32) -> usize {
    usize::try_from(partitions).unwrap_or(0)
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
