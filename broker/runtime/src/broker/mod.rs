//! The broker: what front ends call.
//!
//! Changes of topics run one at a time, each in a task of its own, so that a client that goes away in the
//! middle leaves no half-made change behind.

mod dead_letters;
mod files;
mod groups;
mod open;
mod queues;
mod tasks;
mod topics;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use dashmap::DashMap;
use tidelog_core::catalog::Catalog;
use tidelog_log::LogDir;
use tidelog_model::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use dead_letters::{ListedDeadLetter, RedriveProgress, RedriveSpec};
pub use groups::{CommitOffsets, CommittedOffset, EachResult, FetchOffsets, OffsetCommit, TopicRef};
pub use queues::QueueInfo;
pub use topics::CreateTopic;

use crate::admission::{Admission, AdmitPermit};
use crate::coordinator::Coordinator;
use crate::error::BrokerError;
use crate::group_worker::GroupWorker;
use crate::metrics::Metrics;
use crate::open_error::OpenError;
use crate::options::BrokerOptions;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::queue::Queues;
use crate::shared::{Problem, Shared};
use crate::topic::Topic;

/// Whether the broker can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether clients should be sent here. A partition that is broken since the start does not change that;
    /// a flush that failed while running does.
    pub ready: bool,
    /// What an operator should look at, one line each.
    pub problems: Vec<String>,
}

/// A broker in service. Cheap to clone; the last clone that is dropped without [`Broker::shutdown`] ends it
/// like a crash would.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    options: BrokerOptions,
    shared: Arc<Shared>,
    log_dir: Arc<LogDir>,
    admission: Admission,
    producer_ids: ProducerIds,
    topics: Arc<DashMap<TopicName, Arc<Topic>>>,
    names: DashMap<TopicId, TopicName>,
    catalog: Coordinator<Catalog>,
    groups: GroupWorker,
    queues: Queues,
    /// The logs of queue groups that are open.
    queue_logs: DashMap<Uuid, Arc<Partition>>,
    /// One change of topics at a time.
    changes: tokio::sync::Mutex<()>,
    /// One round of removals at a time.
    removals: tokio::sync::Mutex<()>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("data_dir", &self.inner.options.data_dir).finish_non_exhaustive()
    }
}

/// A broker that is not kept alive.
#[derive(Clone)]
pub(crate) struct WeakBroker(Weak<Inner>);

impl WeakBroker {
    /// The broker, if it is still there.
    pub(crate) fn upgrade(&self) -> Option<Broker> {
        self.0.upgrade().map(|inner| Broker { inner })
    }
}

impl Broker {
    pub(crate) fn downgrade(&self) -> WeakBroker {
        WeakBroker(Arc::downgrade(&self.inner))
    }

    /// Opens the data directory, recovers every partition and starts serving.
    ///
    /// A partition that cannot be recovered does not stop the others: [`Broker::health`] names it and its
    /// reads and writes say why.
    ///
    /// # Errors
    /// [`OpenError`] when the data directory or the broker's own topics cannot be used.
    pub async fn open(options: BrokerOptions) -> Result<Self, OpenError> {
        open::open(options).await
    }

    /// Refuses new work, flushes everything and writes the marker of a clean shutdown. Appends that were
    /// accepted before are answered. Doing it again changes nothing.
    ///
    /// # Errors
    /// When the last flush fails: what was acknowledged is safe, the rest is in doubt.
    pub async fn shutdown(&self) -> Result<(), BrokerError> {
        let inner = &self.inner;
        // A change of topics that runs is finished first; none starts after it.
        let changes = inner.changes.lock().await;
        if !inner.shared.close() {
            return Ok(());
        }
        inner.admission.close();
        inner.groups.close();
        for queue in inner.queues.all() {
            queue.close().await;
        }
        for task in inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        let log_dir = Arc::clone(&inner.log_dir);
        let topics = self.topics();
        let closed = tokio::task::spawn_blocking(move || {
            let closed = log_dir.close();
            for partition in topics.iter().flat_map(|topic| topic.partitions()) {
                if let Err(error) = partition.save_producers() {
                    tracing::warn!(%error, "the next start reads the log for producers");
                }
            }
            closed
        });
        let closed = closed.await;
        for topic in self.topics() {
            topic.partitions().iter().for_each(|partition| partition.stop(BrokerError::shutting_down()));
        }
        drop(changes);
        let closed =
            closed.map_err(|error| BrokerError::internal(format!("shutdown ended early: {error}")))?;
        closed.map_err(|error| {
            BrokerError::new(ErrorCode::StorageFailed, format!("the last flush failed: {error}"))
        })?;
        tracing::info!(data_dir = %inner.options.data_dir.display(), "shut down cleanly");
        Ok(())
    }

    /// A producer id that nobody had before, and its first epoch. Kafka's `InitProducerId` without a
    /// transactional id: whatever id and epoch the producer had, it gets a new id.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`; `INTERNAL` after four thousand million ids in one run.
    pub fn init_producer_id(&self) -> Result<(ProducerId, ProducerEpoch), BrokerError> {
        if self.inner.shared.is_closing() {
            return Err(BrokerError::shutting_down());
        }
        let id = self.inner.producer_ids.next();
        let id =
            id.ok_or_else(|| BrokerError::internal("this run has no producer ids left: restart the broker"))?;
        Ok((id, ProducerEpoch(0)))
    }

    /// Whether the broker can do its work.
    #[must_use]
    pub fn health(&self) -> Health {
        let problems = self.inner.shared.problems();
        let failed = problems.iter().any(|problem| matches!(problem, Problem::StorageFailed(_)));
        let mut lines: Vec<String> = problems.iter().map(|problem| problem.text().to_owned()).collect();
        if let Some((free, reserve)) = self.inner.shared.disk_low() {
            lines.push(format!(
                "the disk has {free} bytes free, less than the reserve of {reserve}: produce is refused until \
                 there is more"
            ));
        }
        let closing = self.inner.shared.is_closing();
        if closing {
            lines.push("the broker is shutting down".to_owned());
        }
        Health { ready: !failed && !closing, problems: lines }
    }

    /// The id the data directory got when it was created.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.inner.log_dir.cluster_id().to_string()
    }

    /// The broker's options.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.inner.options
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<Arc<Topic>> =
            self.inner.topics.iter().map(|entry| Arc::clone(entry.value())).collect();
        topics.sort_by(|left, right| left.name().cmp(right.name()));
        topics
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.inner.topics.get(name).map(|topic| Arc::clone(topic.value()))
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        let name = self.inner.names.get(&id).map(|name| name.value().clone())?;
        self.topic(&name).filter(|topic| topic.id() == id)
    }

    /// A partition.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn partition(&self, topic: &TopicName, index: PartitionIndex) -> Result<Arc<Partition>, BrokerError> {
        let found = self.inner.topics.get(topic).ok_or_else(|| BrokerError::unknown_topic(topic))?;
        let partition = found.partition(index).cloned();
        partition.ok_or_else(|| BrokerError::unknown_partition(topic, index, found.partition_count()))
    }

    /// Asks for room for `bytes` of a request; waits a while when there is none.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE` when the request is larger than the whole budget; `OVERLOADED` when there was no
    /// room in time; `SHUTTING_DOWN`.
    pub async fn admit(&self, bytes: usize) -> Result<AdmitPermit, BrokerError> {
        let admitted = self.inner.admission.admit(bytes).await;
        if admitted.as_ref().is_err_and(|error| error.code == ErrorCode::Overloaded) {
            self.inner.shared.metrics.rejected_overloaded.add(1);
        }
        admitted
    }

    /// Bytes of requests on their way into logs now.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.inner.admission.in_flight_bytes()
    }

    /// What the broker counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.shared.metrics
    }
}
