//! Starting: the data directory, the broker's own topics, then everything else.
//!
//! ```text
//! lock and format ► __tidelog_catalog ► replay ► __tidelog_groups ► replay ► all partitions, in parallel
//!                 ► removals that a crash interrupted ► offsets of topics that are gone ► tasks
//! ```
//!
//! **Invariant:** nothing on disk is deleted because the catalog does not know it. Such directories are
//! reported and kept: a lost catalog must not cost the records too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dashmap::DashMap;
use tidelog_core::catalog::{Catalog, TopicConfig, TopicEntry};
use tidelog_core::group::{GroupReply, GroupRequest};
use tidelog_core::machine::Machine;
use tidelog_log::{LogDir, LogDirOptions};
use tidelog_model::{Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::files::{Wanted, open_partition, open_partitions, wanted};
use super::groups::ServedTopics;
use super::{Broker, Inner};
use crate::admission::Admission;
use crate::coordinator::{Coordinator, Replayed, replay};
use crate::group_worker::{GroupWorker, ReplayedGroups, replay_groups};
use crate::open_error::OpenError;
use crate::options::BrokerOptions;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::queue::Queues;
use crate::shared::Shared;
use crate::topic::Topic;

/// The topic of the catalog's events, and its id, which is the same in every data directory.
const CATALOG_TOPIC: (&str, &[u8; 16]) = ("__tidelog_catalog", b"tidelog::catalog");
/// The topic of the groups' events, and its id.
const GROUPS_TOPIC: (&str, &[u8; 16]) = ("__tidelog_groups", b"tidelog::groups_");

/// What the blocking part of the start hands over.
struct Recovered {
    shared: Arc<Shared>,
    log_dir: Arc<LogDir>,
    catalog: (Replayed<Catalog>, Arc<Partition>),
    groups: (ReplayedGroups, Arc<Partition>),
    topics: Vec<Topic>,
}

pub(super) async fn open(options: BrokerOptions) -> Result<Broker, OpenError> {
    options.check()?;
    let for_recovery = options.clone();
    let recovered = tokio::task::spawn_blocking(move || recover(&for_recovery)).await;
    let recovered = recovered.map_err(|error| OpenError::Start(error.to_string()))??;
    let Recovered { shared, log_dir, catalog, groups, topics } = recovered;
    let by_name = Arc::new(DashMap::new());
    let names = DashMap::new();
    for topic in topics {
        names.insert(topic.id(), topic.name().clone());
        by_name.insert(topic.name().clone(), Arc::new(topic));
    }
    let clock = &options.clock;
    let served = Arc::new(ServedTopics(Arc::clone(&by_name)));
    let inner = Inner {
        admission: Admission::new(options.in_flight_bytes_max, options.admission_wait_max),
        catalog: Coordinator::start(catalog.0, catalog.1, Arc::clone(clock)),
        groups: GroupWorker::start(groups.0, groups.1, Arc::clone(clock), served),
        producer_ids: ProducerIds::new(log_dir.leader_epoch()),
        shared,
        log_dir,
        topics: by_name,
        names,
        queues: Queues::default(),
        queue_logs: DashMap::new(),
        changes: tokio::sync::Mutex::new(()),
        removals: tokio::sync::Mutex::new(()),
        tasks: Mutex::new(Vec::new()),
        options,
    };
    let broker = Broker { inner: Arc::new(inner) };
    broker.check_disk().await;
    broker.finish_removals().await;
    broker.forget_lost_topics().await;
    broker.start_queues().await.map_err(|error| OpenError::Start(error.message))?;
    broker.start_tasks();
    Ok(broker)
}

/// The blocking part of the start.
fn recover(options: &BrokerOptions) -> Result<Recovered, OpenError> {
    let started = Instant::now();
    let dir_options = LogDirOptions { sync_threads: options.sync_threads, ..LogDirOptions::default() };
    let log_dir = LogDir::open(Arc::clone(&options.disk), &options.data_dir, dir_options)?;
    let shared = Arc::new(Shared::new(
        Arc::clone(&options.clock),
        options.disk_reserve_bytes,
        options.blocking_reads_max,
        options.read_bytes_max,
        options.producer_limits,
    ));
    let catalog = Catalog::new(options.catalog_limits, options.topic_defaults.clone())?;
    let catalog_topic = internal_topic(&log_dir, &shared, CATALOG_TOPIC)?;
    let catalog = replay_topic(catalog, &catalog_topic)?;
    let groups_topic = internal_topic(&log_dir, &shared, GROUPS_TOPIC)?;
    let groups_partition = only_partition(&groups_topic)?;
    let group_config = (options.group_config.clone(), options.group_limits);
    let groups = (replay_groups(group_config, &groups_partition)?, groups_partition);
    let mut topics = recover_topics(options, &log_dir, &shared, &catalog.0.machine)?;
    topics.extend([catalog_topic, groups_topic]);
    let queues = groups.0.queue_ids();
    report_orphans(&log_dir, &topics, &catalog.0.machine, &queues)?;
    let partitions: usize = topics.iter().map(Topic::partition_count).sum();
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(topics = topics.len(), partitions, took_ms, "recovered");
    Ok(Recovered { shared, log_dir: Arc::new(log_dir), catalog, groups, topics })
}

fn internal_topic(
    log_dir: &LogDir,
    shared: &Arc<Shared>,
    (name, id): (&str, &[u8; 16]),
) -> Result<Topic, OpenError> {
    let name = TopicName::new(name).map_err(|error| OpenError::Start(error.to_string()))?;
    let id = TopicId::from_uuid(Uuid::from_bytes(*id));
    let config = internal_config();
    let configs = BTreeMap::new();
    let entry = Arc::new(TopicEntry { name, id, partitions: 1, configs, created: Timestamp::NONE });
    let config = Arc::new(config);
    let partitions = wanted(&entry, &config, 0, 1)
        .map(|wanted| Arc::new(open_partition(log_dir, shared, &wanted)))
        .collect();
    Ok(Topic { entry, config, partitions })
}

/// How the logs of the broker's own are set: snapshots keep them small, and nothing else may remove their records.
pub(super) fn internal_config() -> TopicConfig {
    TopicConfig {
        cleanup_delete: false,
        retention_ms: None,
        segment_bytes: 16 * 1024 * 1024,
        file_delete_delay_ms: 0,
        ..TopicConfig::default()
    }
}

fn replay_topic<M: Machine>(machine: M, topic: &Topic) -> Result<(Replayed<M>, Arc<Partition>), OpenError> {
    let partition = only_partition(topic)?;
    Ok((replay(machine, &partition)?, partition))
}

fn only_partition(topic: &Topic) -> Result<Arc<Partition>, OpenError> {
    let partition = topic.partitions.first().cloned();
    partition.ok_or_else(|| OpenError::Start(format!("{} has no partition", topic.name())))
}

fn recover_topics(
    options: &BrokerOptions,
    log_dir: &LogDir,
    shared: &Arc<Shared>,
    catalog: &Catalog,
) -> Result<Vec<Topic>, OpenError> {
    let mut topics = Vec::new();
    let mut all: Vec<Wanted> = Vec::new();
    for entry in catalog.topics() {
        let config = Arc::new(TopicConfig::resolve(catalog.defaults(), &entry.configs)?);
        all.extend(wanted(entry, &config, 0, entry.partitions));
        topics.push(Topic { entry: Arc::clone(entry), config, partitions: Vec::new() });
    }
    let mut opened = open_partitions(log_dir, shared, &all, options.recovery_threads).into_iter();
    for topic in &mut topics {
        let count = usize::try_from(topic.entry.partitions).unwrap_or(0);
        topic.partitions = opened.by_ref().take(count).collect();
    }
    Ok(topics)
}

fn report_orphans(
    log_dir: &LogDir,
    topics: &[Topic],
    catalog: &Catalog,
    queues: &BTreeSet<TopicId>,
) -> Result<(), OpenError> {
    let known: BTreeSet<TopicId> = topics.iter().map(Topic::id).chain(queues.iter().copied()).collect();
    let on_disk = log_dir.topics_on_disk().map_err(|error| OpenError::Start(error.to_string()))?;
    for id in on_disk {
        if !known.contains(&id) && !catalog.is_removing(id) {
            tracing::warn!(
                topic_id = %id,
                "the data directory has files of a topic or queue group that nobody knows: they are kept"
            );
        }
    }
    Ok(())
}

impl Broker {
    /// Forgets committed offsets of topics that are neither in service nor about to be removed: a crash may
    /// come between a commit and the deletion of its topic.
    async fn forget_lost_topics(&self) {
        let held = match self.ask_groups(GroupRequest::Topics).await {
            Ok(GroupReply::Topics(held)) => held,
            other => {
                tracing::warn!(?other, "the topics of committed offsets are unknown");
                return;
            }
        };
        for topic_id in held.into_iter().filter(|id| !self.inner.names.contains_key(id)) {
            if let Err(error) = self.ask_groups(GroupRequest::ForgetTopic(topic_id)).await {
                tracing::warn!(%topic_id, %error, "committed offsets of a deleted topic are still there");
            }
        }
    }
}
