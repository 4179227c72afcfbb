//! Creating, altering, growing, deleting and describing topics.
//!
//! **Order, so that a crash anywhere is safe:** a new partition's directory is durable before the catalog says
//! that it exists (a crash in between leaves an orphan, which is kept and reported); a deleted topic leaves
//! the catalog before its files go (a crash in between is finished at the next start).

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_core::catalog::{CatalogCommand, CatalogEffect, TopicConfig, TopicEntry, describe};
use tidelog_core::group::GroupRequest;
use tidelog_core::machine::Machine;
use tidelog_model::{ErrorCode, TopicId, TopicName};
use uuid::Uuid;

use super::files::{open_partitions, wanted};
use super::tasks::left_nothing;
use super::{Broker, Inner};
use crate::error::BrokerError;
use crate::partition::Partition;
use crate::topic::{Topic, TopicInfo};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; the broker's default when there is none given.
    pub partitions: Option<i32>,
    /// Configs to set.
    pub configs: BTreeMap<String, String>,
    /// Check only.
    pub validate_only: bool,
}

impl Broker {
    /// Creates a topic; durable when it returns.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `INVALID_NAME`, `INVALID_PARTITIONS`, `INVALID_CONFIG`, `INTERNAL_TOPIC`; or as
    /// appending to the catalog and creating files fail.
    pub async fn create_topic(&self, spec: CreateTopic) -> Result<TopicInfo, BrokerError> {
        let broker = self.clone();
        self.run(async move { broker.create(spec).await }).await
    }

    /// Sets configs and returns others to their defaults, all or none; durable when it returns.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_CONFIG`, `INTERNAL_TOPIC`; or as appending to the catalog fails.
    pub async fn alter_topic(
        &self,
        name: &TopicName,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
        validate_only: bool,
    ) -> Result<TopicInfo, BrokerError> {
        let (broker, name) = (self.clone(), name.clone());
        self.run(async move {
            let command = CatalogCommand::AlterTopic { name: name.clone(), set, reset };
            let entry = broker.change(&name, command, validate_only).await?;
            if !validate_only {
                broker.reconfigure(&entry)?;
            }
            broker.info_of(&entry)
        })
        .await
    }

    /// Raises the number of partitions to `total`; durable when it returns.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`, `INTERNAL_TOPIC`; or as appending to the catalog and
    /// creating files fail.
    pub async fn add_partitions(
        &self,
        name: &TopicName,
        total: i32,
        validate_only: bool,
    ) -> Result<TopicInfo, BrokerError> {
        let (broker, name) = (self.clone(), name.clone());
        self.run(async move { broker.grow(&name, total, validate_only).await }).await
    }

    /// Deletes a topic, its records and its committed offsets. When it returns the topic is gone for good; its
    /// files are too, or go as soon as they can.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INTERNAL_TOPIC`; or as appending to the catalog fails.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), BrokerError> {
        let (broker, name) = (self.clone(), name.clone());
        self.run(async move { broker.delete(&name).await }).await
    }

    /// A topic with its partitions and configs.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn describe_topic(&self, name: &TopicName) -> Result<TopicInfo, BrokerError> {
        let topic = self.topic(name).ok_or_else(|| BrokerError::unknown_topic(name))?;
        self.info_of(&topic.entry)
    }

    /// The topic of this name; where the broker is set to, it is created with the defaults when it does not
    /// exist.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` when it does not exist and is not to be created; or as
    /// [`Broker::create_topic`].
    pub async fn topic_or_create(&self, name: &TopicName) -> Result<Arc<Topic>, BrokerError> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        if !self.inner.options.auto_create_topics {
            return Err(BrokerError::unknown_topic(name));
        }
        let configs = BTreeMap::new();
        let spec = CreateTopic { name: name.clone(), partitions: None, configs, validate_only: false };
        match self.create_topic(spec).await {
            Ok(info) => {
                tracing::info!(topic = %name, partitions = info.partitions.len(), "created on first use")
            }
            Err(error) if error.code == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.topic(name).ok_or_else(|| BrokerError::unknown_topic(name))
    }

    /// Runs a change to its end even when the caller goes away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        if self.inner.shared.is_closing() {
            return Err(BrokerError::shutting_down());
        }
        let done = tokio::spawn(change).await;
        done.map_err(|error| BrokerError::internal(format!("a change of topics ended early: {error}")))?
    }

    async fn create(&self, spec: CreateTopic) -> Result<TopicInfo, BrokerError> {
        let inner = &self.inner;
        let changes = inner.changes.lock().await;
        let partitions = spec.partitions.unwrap_or(inner.options.default_partitions);
        let id = if spec.validate_only { Uuid::nil() } else { Uuid::new_v4() };
        let id = TopicId::from_uuid(id);
        let command =
            CatalogCommand::CreateTopic { name: spec.name.clone(), id, partitions, configs: spec.configs };
        let entry = self.check(command.clone())?;
        if spec.validate_only {
            return Ok(self.describe_entry(&entry, Vec::new()));
        }
        let config = self.resolve(&entry)?;
        let partitions = match self.open_new(&entry, &config, 0, entry.partitions).await {
            Ok(partitions) => partitions,
            Err(error) => {
                self.remove_files(id).await;
                return Err(error);
            }
        };
        let entry = match self.ask_catalog(command).await {
            Ok(entry) => entry,
            Err(error) => {
                // In doubt the files stay: the next start finds the topic in the catalog, or reports them.
                if left_nothing(error.code) {
                    self.remove_files(id).await;
                }
                return Err(error);
            }
        };
        let name = entry.name.clone();
        inner.names.insert(id, name.clone());
        inner.topics.insert(name.clone(), Arc::new(Topic { entry: Arc::clone(&entry), config, partitions }));
        drop(changes);
        tracing::info!(topic = %name, topic_id = %id, partitions = entry.partitions, "topic created");
        self.tell_groups_of_topics().await;
        self.info_of(&entry)
    }

    async fn grow(
        &self,
        name: &TopicName,
        total: i32,
        validate_only: bool,
    ) -> Result<TopicInfo, BrokerError> {
        let inner = &self.inner;
        let changes = inner.changes.lock().await;
        let topic = self.changeable(name)?;
        let command = CatalogCommand::AddPartitions { name: name.clone(), total };
        let entry = self.check(command.clone())?;
        if validate_only {
            return self.info_of(&topic.entry);
        }
        let added = self.open_new(&entry, &topic.config, topic.entry.partitions, total).await?;
        let entry = match self.ask_catalog(command).await {
            Ok(entry) => entry,
            Err(error) => {
                if left_nothing(error.code) {
                    self.remove_partition_files(&added).await;
                }
                return Err(error);
            }
        };
        let mut partitions = topic.partitions.clone();
        partitions.extend(added);
        let config = Arc::clone(&topic.config);
        inner.topics.insert(name.clone(), Arc::new(Topic { entry: Arc::clone(&entry), config, partitions }));
        drop(changes);
        tracing::info!(topic = %name, partitions = total, "partitions added");
        self.tell_groups_of_topics().await;
        self.info_of(&entry)
    }

    async fn delete(&self, name: &TopicName) -> Result<(), BrokerError> {
        let inner = &self.inner;
        let changes = inner.changes.lock().await;
        let topic = self.changeable(name)?;
        self.ask_catalog(CatalogCommand::DeleteTopic { name: name.clone() }).await?;
        inner.topics.remove(name);
        inner.names.remove(&topic.id());
        for partition in topic.partitions() {
            partition.stop(BrokerError::unknown_topic(name));
        }
        inner.shared.forget(name);
        drop(changes);
        tracing::info!(topic = %name, topic_id = %topic.id(), "topic deleted");
        self.tell_groups_of_topics().await;
        self.finish_removals().await;
        Ok(())
    }

    /// A change of the catalog alone.
    async fn change(
        &self,
        name: &TopicName,
        command: CatalogCommand,
        validate_only: bool,
    ) -> Result<Arc<TopicEntry>, BrokerError> {
        let changes = self.inner.changes.lock().await;
        self.changeable(name)?;
        let entry = if validate_only { self.check(command) } else { self.ask_catalog(command).await };
        drop(changes);
        entry
    }

    /// Puts the entry's configs into service.
    fn reconfigure(&self, entry: &Arc<TopicEntry>) -> Result<(), BrokerError> {
        let config = self.resolve(entry)?;
        let Some(topic) = self.topic(&entry.name) else { return Ok(()) };
        for partition in topic.partitions() {
            partition.reconfigure(&config);
        }
        let partitions = topic.partitions.clone();
        self.inner
            .topics
            .insert(entry.name.clone(), Arc::new(Topic { entry: Arc::clone(entry), config, partitions }));
        tracing::info!(topic = %entry.name, "topic altered");
        Ok(())
    }

    /// Removes what deleted topics left: files, committed offsets, then the memory of the deletion itself. What
    /// fails is tried again by the next maintenance.
    pub(super) async fn finish_removals(&self) {
        let _one_round = self.inner.removals.lock().await;
        let effects: Vec<CatalogEffect> =
            self.inner.catalog.look(|catalog| catalog.pending_effects().collect());
        for CatalogEffect::RemoveTopic(id) in effects {
            if !self.remove_files(id).await {
                continue;
            }
            let forgotten = self.ask_groups(GroupRequest::ForgetTopic(id)).await;
            let finished = match forgotten {
                Ok(_) => self.ask_catalog(CatalogCommand::FinishRemoval { id }).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = finished {
                tracing::warn!(topic_id = %id, %error, "the removal of a deleted topic is to be finished later");
            }
        }
    }

    pub(super) async fn remove_files(&self, id: TopicId) -> bool {
        let log_dir = Arc::clone(&self.inner.log_dir);
        let removed = tokio::task::spawn_blocking(move || log_dir.remove_topic(id)).await;
        let failed = match removed {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(topic_id = %id, failed, "the files of a topic could not be removed");
        false
    }

    async fn remove_partition_files(&self, partitions: &[Arc<Partition>]) {
        for id in partitions.iter().map(|partition| partition.id()) {
            let log_dir = Arc::clone(&self.inner.log_dir);
            let removed = tokio::task::spawn_blocking(move || log_dir.remove_partition(id)).await;
            if !matches!(removed, Ok(Ok(()))) {
                tracing::warn!(topic_id = %id.topic_id, partition = %id.partition, "files could not be removed");
            }
        }
    }

    /// Creates the files of the partitions `from..to`; all or an error.
    async fn open_new(
        &self,
        entry: &Arc<TopicEntry>,
        config: &Arc<TopicConfig>,
        from: i32,
        to: i32,
    ) -> Result<Vec<Arc<Partition>>, BrokerError> {
        let Inner { log_dir, shared, options, .. } = &*self.inner;
        let (log_dir, shared, threads) = (Arc::clone(log_dir), Arc::clone(shared), options.recovery_threads);
        let all: Vec<_> = wanted(entry, config, from, to).collect();
        let opened =
            tokio::task::spawn_blocking(move || open_partitions(&log_dir, &shared, &all, threads)).await;
        let opened =
            opened.map_err(|error| BrokerError::internal(format!("creating files ended early: {error}")))?;
        match opened.iter().find_map(|partition| partition.log().err()) {
            Some(error) => {
                self.inner.shared.forget_from(&entry.name, from);
                self.remove_partition_files(&opened).await;
                Err(error)
            }
            None => Ok(opened),
        }
    }

    /// The topic, if clients may change it.
    fn changeable(&self, name: &TopicName) -> Result<Arc<Topic>, BrokerError> {
        if name.is_internal() {
            return Err(BrokerError::internal_topic(name));
        }
        self.topic(name).ok_or_else(|| BrokerError::unknown_topic(name))
    }

    fn check(&self, command: CatalogCommand) -> Result<Arc<TopicEntry>, BrokerError> {
        let now = self.inner.shared.clock.now();
        Ok(self.inner.catalog.look(|catalog| catalog.check(now, command))?)
    }

    async fn ask_catalog(&self, command: CatalogCommand) -> Result<Arc<TopicEntry>, BrokerError> {
        Ok(self.inner.catalog.ask(command).await??)
    }

    fn resolve(&self, entry: &TopicEntry) -> Result<Arc<TopicConfig>, BrokerError> {
        let config = TopicConfig::resolve(&self.inner.options.topic_defaults, &entry.configs);
        let refused = |error| BrokerError::from(tidelog_core::catalog::CatalogError::Config(error));
        config.map(Arc::new).map_err(refused)
    }

    fn info_of(&self, entry: &TopicEntry) -> Result<TopicInfo, BrokerError> {
        let topic = self.topic(&entry.name).ok_or_else(|| BrokerError::unknown_topic(&entry.name))?;
        let partitions = topic.partitions().iter().map(|partition| partition.status()).collect();
        Ok(self.describe_entry(entry, partitions))
    }

    fn describe_entry(
        &self,
        entry: &TopicEntry,
        partitions: Vec<crate::partition::PartitionStatus>,
    ) -> TopicInfo {
        TopicInfo {
            name: entry.name.clone(),
            id: entry.id,
            internal: entry.name.is_internal(),
            partitions,
            configs: describe(&self.inner.options.topic_defaults, &entry.configs),
        }
    }
}
