//! Runs the groups over their internal partition: serve what waits, append what changed, answer when it is
//! durable.
//!
//! One task owns the groups. It serves all requests that wait, appends their events together and waits for one
//! flush; requests that come while it runs share the next one.
//!
//! **Invariants:**
//! * No answer leaves before the events of its round and of all rounds before are durable, so nobody sees a
//!   state that a crash could take back.
//! * When events do not become durable the groups are read again from the log, and everybody who waits gets a
//!   failure that may be tried again: members join anew.
//! * The partition stays small: when most of its records are overtaken, a snapshot of the groups is appended,
//!   and only when all of it is durable the records before it go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidelog_core::group::consumer::{ConsumerGroupEvent, TopicsView};
use tidelog_core::group::{
    GroupConfig, GroupEvent, GroupLimits, GroupReply, GroupRequest, Groups, Input, Output, Token,
};
use tidelog_model::{ErrorCode, Timestamp, TopicId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::coordinator::{EventBatch, count, pack, replay_events, snapshot_at};
use crate::error::BrokerError;
use crate::open_error::OpenError;
use crate::owner::Acks;
use crate::partition::Partition;

/// The most requests one flush answers.
const ROUND_REQUESTS_MAX: usize = 1_000;
/// Requests that wait for a round; more wait at the door.
const QUEUE_REQUESTS_MAX: usize = 4_096;
/// How long to wait before the log is read again that could not be read.
const REPLAY_AGAIN: Duration = Duration::from_secs(1);

struct Ask {
    /// Boxed, as most requests are much smaller than the largest.
    request: Box<GroupRequest>,
    answer: oneshot::Sender<Result<GroupReply, BrokerError>>,
}

/// The groups in service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GroupWorker {
    queue: mpsc::Sender<Ask>,
    closing: Arc<Notify>,
}

/// What the groups look at to know which topics there are.
pub(crate) type Topics = Arc<dyn TopicsView + Send + Sync>;

impl GroupWorker {
    /// Puts replayed groups into service.
    pub(crate) fn start(
        mut replayed: ReplayedGroups,
        partition: Arc<Partition>,
        clock: Arc<dyn Clock>,
        topics: Topics,
    ) -> Self {
        let (queue, asks) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let closing = Arc::new(Notify::new());
        replayed.groups.loaded(clock.now());
        let worker = Worker {
            config: replayed.config,
            snapshot_at: snapshot_at(count(replayed.groups.snapshot().count())),
            groups: Some(replayed.groups),
            partition,
            clock,
            topics,
            waiting: HashMap::new(),
            next_token: 0,
            events: replayed.events,
            replayed: None,
            closing: Arc::clone(&closing),
            closed: false,
        };
        tokio::spawn(worker.run(asks));
        Self { queue, closing }
    }

    /// Asks the groups and waits for the answer. The request is carried out even when the caller stops
    /// waiting.
    pub(crate) async fn ask(&self, request: GroupRequest) -> Result<GroupReply, BrokerError> {
        let (answer, reply) = oneshot::channel();
        let request = Box::new(request);
        let asked = self.queue.send(Ask { request, answer }).await;
        asked.map_err(|_| BrokerError::shutting_down())?;
        reply.await.map_err(|_| BrokerError::shutting_down())?
    }

    /// Tells everybody who waits that the broker goes away.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }
}

/// The groups after replay.
pub(crate) struct ReplayedGroups {
    groups: Groups,
    config: (GroupConfig, GroupLimits),
    /// How many events the partition holds.
    events: u64,
}

impl ReplayedGroups {
    /// The ids of the logs of queue groups.
    pub(crate) fn queue_ids(&self) -> BTreeSet<TopicId> {
        self.groups.queue_ids().map(TopicId::from_uuid).collect()
    }
}

/// Reads the groups; blocks.
///
/// # Errors
/// When the log cannot be read or holds an event that this program does not know.
pub(crate) fn replay_groups(
    config: (GroupConfig, GroupLimits),
    partition: &Partition,
) -> Result<ReplayedGroups, OpenError> {
    let mut groups = Groups::new(config.0.clone(), config.1);
    let events = replay_events(partition, |event: &GroupEvent| groups.apply(event))?;
    Ok(ReplayedGroups { groups, config, events })
}

enum Wake {
    Ask(Ask),
    Deadline,
    Closing,
    Closed,
}

struct Worker {
    config: (GroupConfig, GroupLimits),
    /// The groups; none after a failure until they could be read again.
    groups: Option<Groups>,
    partition: Arc<Partition>,
    clock: Arc<dyn Clock>,
    topics: Topics,
    waiting: HashMap<Token, oneshot::Sender<Result<GroupReply, BrokerError>>>,
    next_token: u64,
    /// Events in the partition.
    events: u64,
    /// The number of events at which a snapshot is due.
    snapshot_at: u64,
    /// When the log was last read again.
    replayed: Option<Instant>,
    closing: Arc<Notify>,
    closed: bool,
}

impl Worker {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            match self.next(&mut asks).await {
                Wake::Ask(first) => self.round(first, &mut asks).await,
                Wake::Deadline => {}
                Wake::Closing => {
                    self.closed = true;
                    self.fail_all(&BrokerError::shutting_down());
                }
                Wake::Closed => return,
            }
            if !self.closed {
                self.deadline().await;
                self.maybe_snapshot().await;
            }
        }
    }

    async fn next(&self, asks: &mut mpsc::Receiver<Ask>) -> Wake {
        let deadline = self.groups.as_ref().and_then(Groups::next_deadline);
        let wait_ms = deadline.map(|deadline| deadline.millis().saturating_sub(self.clock.now().millis()));
        // The wall clock may be set: look again every second.
        let wait_ms = wait_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0).clamp(1, 1_000);
        let wait = if deadline.is_some() { Duration::from_millis(wait_ms) } else { REPLAY_AGAIN };
        tokio::select! {
            // Requests first: a heartbeat that waits here came in time.
            biased;
            ask = asks.recv() => ask.map_or(Wake::Closed, Wake::Ask),
            () = self.closing.notified(), if !self.closed => Wake::Closing,
            () = tokio::time::sleep(wait) => Wake::Deadline,
        }
    }

    /// Serves the requests that wait.
    async fn round(&mut self, first: Ask, asks: &mut mpsc::Receiver<Ask>) {
        self.ensure_groups().await;
        let now = self.clock.now();
        let mut out = Output::default();
        self.serve(now, first, &mut out);
        for _ in 1..ROUND_REQUESTS_MAX {
            let Ok(ask) = asks.try_recv() else { break };
            self.serve(now, ask, &mut out);
        }
        self.finish(now, out).await;
    }

    fn serve(&mut self, now: Timestamp, ask: Ask, out: &mut Output) {
        if self.closed {
            drop(ask.answer.send(Err(BrokerError::shutting_down())));
            return;
        }
        let Some(groups) = &mut self.groups else {
            drop(ask.answer.send(Err(not_available("they cannot be read"))));
            return;
        };
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.waiting.insert(token, ask.answer);
        let input = Input { token, random: Uuid::new_v4(), request: *ask.request };
        let served = groups.handle(now, input, &*self.topics);
        out.events.extend(served.events);
        out.replies.extend(served.replies);
    }

    async fn deadline(&mut self) {
        let now = self.clock.now();
        let Some(groups) = &mut self.groups else { return };
        if groups.next_deadline().is_some_and(|deadline| deadline <= now) {
            let out = groups.on_deadline(now, &*self.topics);
            self.finish(now, out).await;
        }
    }

    /// Makes what has changed durable, then lets the answers leave.
    async fn finish(&mut self, now: Timestamp, out: Output) {
        let (classic, consumer) = rebalances(&out.events);
        if let Err(error) = self.append(now, out.events).await {
            tracing::warn!(topic = %self.partition.topic(), %error, "events of groups were not stored");
            let closing = error.code == ErrorCode::ShuttingDown;
            let error = if closing { error } else { not_available(&error.message) };
            self.fail_all(&error);
            self.groups = None;
            self.replayed = None;
            return;
        }
        self.partition.metrics().rebalances_classic.add(classic);
        self.partition.metrics().rebalances_consumer.add(consumer);
        for (token, answer) in out.replies {
            if let Some(waiting) = self.waiting.remove(&token) {
                // Whoever stopped waiting does not want the answer.
                drop(waiting.send(answer.map_err(BrokerError::from)));
            }
        }
    }

    fn fail_all(&mut self, error: &BrokerError) {
        for (_, waiting) in self.waiting.drain() {
            drop(waiting.send(Err(error.clone())));
        }
    }

    async fn append(&mut self, now: Timestamp, events: Vec<GroupEvent>) -> Result<(), BrokerError> {
        let mut failures = Vec::new();
        let mut waiting = Vec::new();
        let numbered = events.into_iter().map(|event| (0, event)).collect();
        for EventBatch { batch, events } in pack(now, numbered, &mut failures) {
            // What follows an event that was not stored must not be stored either.
            if !failures.is_empty() {
                break;
            }
            match self.partition.append_unchecked(batch, Acks::Durable, None) {
                Ok(appended) => waiting.push((appended.ack, events.len())),
                Err(error) => failures.push((0, error)),
            }
        }
        for (ack, events) in waiting {
            match ack.await {
                Ok(()) => self.events = self.events.saturating_add(count(events)),
                Err(error) => failures.push((0, error)),
            }
        }
        failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Reads the groups again if they were dropped.
    async fn ensure_groups(&mut self) {
        let again = self.replayed.is_none_or(|at| at.elapsed() >= REPLAY_AGAIN);
        if self.groups.is_some() || self.closed || !again {
            return;
        }
        self.replayed = Some(Instant::now());
        let (config, partition) = (self.config.clone(), Arc::clone(&self.partition));
        let replayed = tokio::task::spawn_blocking(move || replay_groups(config, &partition)).await;
        let failed = match replayed {
            Ok(Ok(mut replayed)) => {
                replayed.groups.loaded(self.clock.now());
                self.events = replayed.events;
                self.groups = Some(replayed.groups);
                tracing::info!(topic = %self.partition.topic(), "groups were read again");
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(topic = %self.partition.topic(), failed, "groups could not be read");
    }

    /// Appends a snapshot when one is due and drops what it overtakes. A crash in between leaves more events
    /// than needed.
    async fn maybe_snapshot(&mut self) {
        let Some(groups) = self.groups.as_ref().filter(|_| self.events >= self.snapshot_at) else { return };
        let topic = self.partition.topic().clone();
        let events: Vec<GroupEvent> = groups.snapshot().collect();
        let (total, before) = (count(events.len()), self.partition.watermarks().log_end);
        let stored = self.append(self.clock.now(), events).await;
        // Whatever happens, the next try waits for as many events again.
        self.snapshot_at = self.events.saturating_add(snapshot_at(total));
        if let Err(error) = stored {
            tracing::warn!(%topic, %error, "a snapshot was not stored: the log before it stays");
            return;
        }
        match self.partition.trim(before).await {
            Ok(log_start) => {
                self.events = total;
                self.snapshot_at = snapshot_at(total);
                tracing::info!(%topic, %log_start, events = total, "snapshot stored");
            }
            Err(error) => tracing::warn!(%topic, %error, "the log before a snapshot could not be dropped"),
        }
    }
}

/// How many new generations of classic groups, and epochs of consumer groups, these events are.
fn rebalances(events: &[GroupEvent]) -> (u64, u64) {
    let classic = |event: &&GroupEvent| match event {
        GroupEvent::ClassicStored { image, .. } => !image.members.is_empty(),
        _ => false,
    };
    let consumer = |event: &&GroupEvent| match event {
        GroupEvent::Consumer { event, .. } => matches!(event, ConsumerGroupEvent::GroupEpochRaised { .. }),
        _ => false,
    };
    (count(events.iter().filter(classic).count()), count(events.iter().filter(consumer).count()))
}

fn not_available(why: &str) -> BrokerError {
    let message = format!("the groups are not available now ({why}): try again, members have to join again");
    BrokerError::new(ErrorCode::CoordinatorNotAvailable, message).retry_after(1_000)
}
