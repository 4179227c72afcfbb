//! Queue groups in service: the pure lanes of the core over partitions, with a log of their own.
//!
//! ```text
//! partition ─► feed ─► lane ─► members          members ─► settle ─► lane ─► log of the group ─► answers
//!                        └─ dying (durable) ─► mover ─► topic of the dead letters ─► dead (durable)
//! ```
//!
//! * `worker`: one task per group; `group`: what it does; `ask`: what it is asked.
//! * `store`: the log of the group; `load`: reading it back.
//! * `row`: one lane with its partition; `feed` and `read`: its records; `mover`: its dead letters.

mod api;
mod ask;
mod feed;
mod governor;
mod group;
mod load;
mod members;
mod mover;
mod read;
mod row;
mod store;
mod worker;

use std::sync::Arc;

use dashmap::DashMap;
use tidelog_core::group::api::FetchOffsetsReply;
use tidelog_model::{ErrorCode, GroupId};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use self::api::{
    AlterQueue, CreateQueue, DeadLetterPage, DescribedLane, DescribedQueue, DescribedQueueMember, JoinQueue,
    JoinedQueue, QueueBatch, QueueMember, QueuePage, QueuePlace, QueueScope, RetryPage, SettleRecords,
    SettledRecords,
};
pub(crate) use self::api::{LetterDone, LetterOrder, LetterPlace};
pub(crate) use self::ask::{Ask, Asker};
pub(crate) use self::group::Served;
use self::load::keepers;
pub(crate) use self::mover::topic_of;
pub(crate) use self::read::read_at;
use crate::broker::Broker;
use crate::error::BrokerError;

/// Asks that wait for a group; more wait at the door.
const ASKS_MAX: usize = 4_096;

/// A queue group in service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) id: Uuid,
    asks: mpsc::Sender<Ask>,
}

impl Queue {
    /// Asks the group and waits for the answer. What is asked is done even when the caller stops waiting.
    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(Asker<T>) -> Ask) -> Result<T, BrokerError> {
        let (asker, answer) = oneshot::channel();
        self.tell(ask(asker)).await?;
        answer.await.map_err(|_| BrokerError::shutting_down())?
    }

    /// Tells the group something that needs no answer.
    pub(crate) async fn tell(&self, ask: Ask) -> Result<(), BrokerError> {
        self.asks.send(ask).await.map_err(|_| BrokerError::shutting_down())
    }

    /// Ends the service, and waits until it has ended.
    pub(crate) async fn close(&self) {
        if self.tell(Ask::Close).await.is_ok() {
            self.asks.closed().await;
        }
    }
}

/// The queue groups in service.
#[derive(Default)]
pub(crate) struct Queues {
    groups: DashMap<GroupId, Queue>,
}

impl Queues {
    /// The group of this name.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub(crate) fn get(&self, group: &GroupId) -> Result<Queue, BrokerError> {
        let queue = self.groups.get(group).map(|queue| queue.value().clone());
        queue.ok_or_else(|| {
            let message = format!("there is no queue group {}: create it first", group.as_str());
            BrokerError::new(ErrorCode::GroupIdNotFound, message).field("group")
        })
    }

    /// All groups.
    pub(crate) fn all(&self) -> Vec<Queue> {
        self.groups.iter().map(|queue| queue.value().clone()).collect()
    }

    /// Takes a group in.
    pub(crate) fn insert(&self, group: GroupId, queue: Queue) {
        self.groups.insert(group, queue);
    }

    /// Takes a group out.
    pub(crate) fn remove(&self, group: &GroupId) -> Option<Queue> {
        self.groups.remove(group).map(|(_, queue)| queue)
    }
}

/// Puts a group into service whose log is there.
pub(crate) fn start(broker: &Broker, served: Served) -> Queue {
    // Before the first maintenance, so that retention deletes nothing that a lane still needs.
    let keepers = keepers(broker, &served.definition.topics);
    spawn(broker, served, load::Begin::First, keepers, None)
}

/// Makes a group's log and puts it into service: it begins at these offsets. Durable when it returns.
///
/// # Errors
/// When its log cannot be made.
pub(crate) async fn create(
    broker: &Broker,
    served: Served,
    offsets: FetchOffsetsReply,
) -> Result<Queue, BrokerError> {
    let (ready, in_service) = oneshot::channel();
    let keepers = keepers(broker, &served.definition.topics);
    let queue = spawn(broker, served, load::Begin::New(offsets), keepers, Some(ready));
    in_service.await.map_err(|_| BrokerError::shutting_down())??;
    Ok(queue)
}

fn spawn(
    broker: &Broker,
    served: Served,
    begin: load::Begin,
    keepers: load::Keepers,
    ready: Option<oneshot::Sender<Result<(), BrokerError>>>,
) -> Queue {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let id = served.definition.id;
    let clock = Arc::clone(&broker.options().clock);
    let start =
        worker::Start { served: Arc::new(served), broker: broker.downgrade(), clock, begin, keepers, ready };
    tokio::spawn(worker::run(start, asked));
    Queue { id, asks }
}
