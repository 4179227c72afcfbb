//! Queue groups: made, changed, read, settled and looked at.
//!
//! **Order, so that a crash anywhere is safe:** where a group's lanes begin is durable before the groups know that it
//! exists (a crash in between leaves a log that is kept and reported); a deleted group leaves the groups before its
//! log goes.
//!
//! Beside what each method names, all fail with `COORDINATOR_NOT_AVAILABLE` while a group is read back, and with
//! `SHUTTING_DOWN`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_core::catalog::{ConfigEntry, TopicConfig, TopicEntry};
use tidelog_core::delivery::{QueueConfig, Route, check_circles, describe_queue};
use tidelog_core::group::{GroupReply, GroupRequest, QueueDefinition, StoredQueue};
use tidelog_model::{ErrorCode, GroupId, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::files::{open_partition, wanted};
use super::open::internal_config;
use super::{Broker, Inner};
use crate::error::BrokerError;
use crate::partition::Partition;
use crate::queue::{
    self, AlterQueue, Ask, CreateQueue, DescribedQueue, JoinQueue, QueueMember, Served, SettleRecords,
    SettledRecords,
};

/// What a queue group is, and how it is set.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueInfo {
    /// Its name.
    pub group: GroupId,
    /// What it reads.
    pub topics: BTreeSet<TopicName>,
    /// All its settings.
    pub configs: Vec<ConfigEntry>,
    /// When it was created.
    pub created: Timestamp,
    /// Where its dead letters go.
    pub dead_letter_topic: TopicName,
}

impl Broker {
    /// Makes a queue group of a new name, or of one that has committed offsets and no members: it begins there.
    /// Durable when it returns.
    ///
    /// # Errors
    /// `GROUP_ALREADY_EXISTS`, `NON_EMPTY_GROUP`, `INVALID_CONFIG`, `INVALID_REQUEST`; or as files cannot be made.
    pub async fn create_queue(&self, spec: CreateQueue) -> Result<QueueInfo, BrokerError> {
        let broker = self.clone();
        self.run(async move { broker.create_queue_now(spec).await }).await
    }

    /// Gives a queue group other topics and settings; durable when it returns. It forgets nothing of a topic that
    /// it reads no more: when it reads it again it goes on where it was.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `INVALID_CONFIG`, `INVALID_REQUEST`.
    pub async fn alter_queue(&self, spec: AlterQueue) -> Result<QueueInfo, BrokerError> {
        let broker = self.clone();
        self.run(async move { broker.alter_queue_now(spec).await }).await
    }

    /// What a queue group is and how it is set.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `INCONSISTENT_GROUP_PROTOCOL` for groups of other types.
    pub async fn queue_info(&self, group: &GroupId) -> Result<QueueInfo, BrokerError> {
        let stored = self.stored_queue(group).await?;
        info_of(&serve(stored.group, stored.definition)?)
    }

    /// Where a queue group stands.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub async fn describe_queue(&self, group: &GroupId) -> Result<DescribedQueue, BrokerError> {
        self.inner.queues.get(group)?.ask(Ask::Describe).await
    }

    /// Somebody wants records of a queue group. What it has when the answer is dropped counts as failed.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `GROUP_MAX_SIZE_REACHED`.
    pub async fn join_queue(&self, group: &GroupId, join: JoinQueue) -> Result<QueueMember, BrokerError> {
        self.inner.queues.get(group)?.ask(|asker| Ask::Join(join, asker)).await
    }

    /// A member can take more records.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub async fn credit_queue(
        &self,
        group: &GroupId,
        member: &queue::JoinedQueue,
        records: usize,
    ) -> Result<(), BrokerError> {
        self.inner.queues.get(group)?.tell(Ask::Credit(member.number, records)).await
    }

    /// Takes records back; durable when it returns. Each has its own result, in the order of the request.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`; for a result, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub async fn settle_queue(
        &self,
        group: &GroupId,
        settles: Vec<SettleRecords>,
    ) -> Result<Vec<Result<SettledRecords, BrokerError>>, BrokerError> {
        self.inner.queues.get(group)?.ask(|asker| Ask::Settle(settles, asker)).await
    }

    async fn create_queue_now(&self, spec: CreateQueue) -> Result<QueueInfo, BrokerError> {
        let changes = self.inner.changes.lock().await;
        let CreateQueue { group, topics, configs, validate_only } = spec;
        let created = self.inner.shared.clock.now();
        let definition = QueueDefinition { id: Uuid::new_v4(), topics, configs, created };
        let served = self.checked(group.clone(), definition.clone()).await?;
        let info = info_of(&served)?;
        if validate_only {
            return Ok(info);
        }
        let offsets = match self.stored_queue(&group).await {
            Ok(_) => {
                let message = format!("there is a queue group {} already", group.as_str());
                return Err(BrokerError::new(ErrorCode::GroupAlreadyExists, message).field("group"));
            }
            Err(_) => self.committed(&group).await?,
        };
        let id = definition.id;
        let queue = match queue::create(self, served, offsets).await {
            Ok(queue) => queue,
            Err(error) => {
                self.remove_queue_log(id).await;
                return Err(error);
            }
        };
        if let Err(error) = self.ask_groups(GroupRequest::CreateQueue(group.clone(), definition)).await {
            queue.close().await;
            // In doubt the files stay: the next start finds the group, or reports them.
            if super::tasks::left_nothing(error.code) {
                self.remove_queue_log(id).await;
            }
            return Err(error);
        }
        self.inner.queues.insert(group.clone(), queue);
        drop(changes);
        tracing::info!(group = group.as_str(), "queue group created");
        Ok(info)
    }

    async fn alter_queue_now(&self, spec: AlterQueue) -> Result<QueueInfo, BrokerError> {
        let changes = self.inner.changes.lock().await;
        let stored = self.stored_queue(&spec.group).await?;
        let mut definition = stored.definition;
        let order = QueueConfig::resolve(&definition.configs).map(|config| config.lane.order);
        definition.topics.retain(|topic| !spec.remove_topics.contains(topic));
        definition.topics.extend(spec.add_topics);
        definition.configs.retain(|key, _| !spec.reset.contains(key));
        definition.configs.extend(spec.set);
        let served = self.checked(spec.group.clone(), definition.clone()).await?;
        if order.is_ok_and(|order| order != served.config.lane.order) {
            let message = "tidelog.queue.order is chosen when the group is created: records that are on their way \
                           would lose their order";
            return Err(BrokerError::new(ErrorCode::InvalidConfig, message).field("configs"));
        }
        let info = info_of(&served)?;
        if spec.validate_only {
            return Ok(info);
        }
        self.ask_groups(GroupRequest::AlterQueue(spec.group.clone(), definition)).await?;
        let queue = self.inner.queues.get(&spec.group)?;
        queue.ask(|asker| Ask::Alter(Arc::new(served), asker)).await?;
        drop(changes);
        tracing::info!(group = spec.group.as_str(), "queue group altered");
        Ok(info)
    }

    /// Reads a definition, and checks what the groups do not know.
    async fn checked(&self, group: GroupId, definition: QueueDefinition) -> Result<Served, BrokerError> {
        if definition.topics.is_empty() {
            let message = "name at least one topic that the group is to read";
            return Err(BrokerError::new(ErrorCode::InvalidRequest, message).field("topics"));
        }
        if let Some(internal) = definition.topics.iter().find(|topic| topic.is_internal()) {
            return Err(BrokerError::internal_topic(internal).field("topics"));
        }
        let served = serve(group, definition)?;
        let letters = queue::topic_of(&served.group, &served.config.dead_letters)?;
        if letters.is_internal() {
            return Err(BrokerError::internal_topic(&letters).field("configs"));
        }
        self.check_circles(&served, letters).await?;
        Ok(served)
    }

    /// Checks that dead letters come to an end somewhere.
    async fn check_circles(&self, served: &Served, dead_letters: TopicName) -> Result<(), BrokerError> {
        let new =
            Route { group: served.group.clone(), reads: served.definition.topics.clone(), dead_letters };
        let mut others = Vec::new();
        for StoredQueue { group, definition, .. } in self.stored_queues().await? {
            let config = QueueConfig::resolve(&definition.configs);
            let Some(config) = config.ok().filter(|_| group != new.group) else { continue };
            let dead_letters = queue::topic_of(&group, &config.dead_letters)?;
            others.push(Route { group, reads: definition.topics, dead_letters });
        }
        check_circles(&new, &others)
            .map_err(|error| BrokerError::new(ErrorCode::InvalidRequest, error.to_string()).field("topics"))
    }

    async fn committed(
        &self,
        group: &GroupId,
    ) -> Result<tidelog_core::group::api::FetchOffsetsReply, BrokerError> {
        let fetch = tidelog_core::group::api::FetchOffsets {
            group: group.clone(),
            member_id: None,
            member_epoch: -1,
            partitions: None,
        };
        match self.ask_groups(GroupRequest::Fetch(fetch)).await? {
            GroupReply::Fetch(offsets) => Ok(offsets),
            other => Err(super::groups::mismatch(&other)),
        }
    }

    pub(super) async fn stored_queue(&self, group: &GroupId) -> Result<StoredQueue, BrokerError> {
        match self.ask_groups(GroupRequest::Queue(group.clone())).await? {
            GroupReply::Queue(stored) => Ok(stored),
            other => Err(super::groups::mismatch(&other)),
        }
    }

    pub(super) async fn stored_queues(&self) -> Result<Vec<StoredQueue>, BrokerError> {
        match self.ask_groups(GroupRequest::Queues).await? {
            GroupReply::Queues(stored) => Ok(stored),
            other => Err(super::groups::mismatch(&other)),
        }
    }

    /// Puts the queue groups into service that were there before.
    pub(super) async fn start_queues(&self) -> Result<(), BrokerError> {
        for StoredQueue { group, definition, .. } in self.stored_queues().await? {
            let served = serve(group.clone(), definition)?;
            self.inner.queues.insert(group, queue::start(self, served));
        }
        Ok(())
    }

    /// Refuses when it is a queue group that has members.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`.
    pub(super) async fn queue_is_empty(&self, group: &GroupId) -> Result<(), BrokerError> {
        let Ok(queue) = self.inner.queues.get(group) else { return Ok(()) };
        // One that cannot be served has no members.
        let members = queue.ask(Ask::Describe).await.map_or(0, |described| described.members.len());
        if members == 0 {
            return Ok(());
        }
        let message = format!("queue group {group} has {members} members: stop them first");
        Err(BrokerError::new(ErrorCode::NonEmptyGroup, message))
    }

    /// Takes a deleted group out of service, and its log away.
    pub(super) async fn remove_queue(&self, group: &GroupId) {
        if let Some(queue) = self.inner.queues.remove(group) {
            queue.close().await;
            self.remove_queue_log(queue.id).await;
        }
    }

    async fn remove_queue_log(&self, id: Uuid) {
        self.inner.queue_logs.remove(&id);
        self.remove_files(TopicId::from_uuid(id)).await;
    }

    /// Lets queue groups know that topics came, went or grew.
    pub(super) async fn tell_queues_of_topics(&self) {
        for queue in self.inner.queues.all() {
            drop(queue.tell(Ask::TopicsChanged).await);
        }
    }

    /// Opens the log of a queue group, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) async fn open_queue_log(&self, id: Uuid) -> Result<Arc<Partition>, BrokerError> {
        let Inner { log_dir, shared, queue_logs, .. } = &*self.inner;
        if let Some(open) = queue_logs.get(&id) {
            return Ok(Arc::clone(open.value()));
        }
        let (log_dir, shared) = (Arc::clone(log_dir), Arc::clone(shared));
        let name = TopicName::new(&format!("__tidelog_queue-{}", id.simple()));
        let name = name.map_err(|error| BrokerError::internal(error.to_string()))?;
        let topic = TopicId::from_uuid(id);
        let entry =
            TopicEntry { name, id: topic, partitions: 1, configs: BTreeMap::new(), created: Timestamp::NONE };
        let (entry, config): (_, Arc<TopicConfig>) = (Arc::new(entry), Arc::new(internal_config()));
        let opened = tokio::task::spawn_blocking(move || {
            let one = wanted(&entry, &config, 0, 1).next();
            one.map(|one| Arc::new(open_partition(&log_dir, &shared, &one)))
        });
        let opened =
            opened.await.map_err(|error| BrokerError::internal(format!("opening ended early: {error}")))?;
        let partition =
            opened.ok_or_else(|| BrokerError::internal("a queue group's log has no partition"))?;
        partition.log()?;
        queue_logs.insert(id, Arc::clone(&partition));
        Ok(partition)
    }
}

/// Reads a group's settings.
fn serve(group: GroupId, definition: QueueDefinition) -> Result<Served, BrokerError> {
    let config = QueueConfig::resolve(&definition.configs)
        .map_err(|error| BrokerError::new(ErrorCode::InvalidConfig, error.to_string()).field("configs"))?;
    Ok(Served { group, definition, config })
}

fn info_of(served: &Served) -> Result<QueueInfo, BrokerError> {
    Ok(QueueInfo {
        group: served.group.clone(),
        topics: served.definition.topics.clone(),
        configs: describe_queue(&served.definition.configs),
        created: served.definition.created,
        dead_letter_topic: queue::topic_of(&served.group, &served.config.dead_letters)?,
    })
}
