//! A topic as the runtime serves it: a snapshot of the catalog's entry with its partitions.

use std::sync::Arc;

use tidelog_core::catalog::{ConfigEntry, TopicConfig, TopicEntry};
use tidelog_model::{PartitionIndex, TopicId, TopicName};

use crate::partition::{Partition, PartitionStatus};

/// A topic. A snapshot: a topic that is altered or gets more partitions is another `Topic`.
#[derive(Debug)]
pub struct Topic {
    pub(crate) entry: Arc<TopicEntry>,
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.entry.name
    }

    /// Its id, which no other topic ever had.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.entry.id
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// Its partitions, by index.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    /// The partition of this index.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        usize::try_from(index.get()).ok().and_then(|index| self.partitions.get(index))
    }

    /// Whether it belongs to the broker.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.entry.name.is_internal()
    }

    /// Its configs.
    #[must_use]
    pub fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }
}

/// A topic, described.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Its id; all zeros when a creation was only checked.
    pub id: TopicId,
    /// Whether it belongs to the broker.
    pub internal: bool,
    /// Its partitions; none when a creation was only checked.
    pub partitions: Vec<PartitionStatus>,
    /// All its configs.
    pub configs: Vec<ConfigEntry>,
}
