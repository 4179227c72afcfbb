//! Runs one machine of the core over its internal partition: decide, append, apply what is durable, answer.
//!
//! One task owns the machine. It takes the commands that wait, as far as their lanes differ, decides them
//! against the same state, appends their events together and waits for one flush: commands that come while a
//! flush runs share the next one.
//!
//! **Invariants:**
//! * The machine's state is what replaying the partition gives, at every moment at which no append is in
//!   doubt: an event is applied when, and only when, the log says it is durable.
//! * A command that was answered with success survives a crash.
//! * The partition stays small: when most of its records are overtaken, a snapshot of the machine is
//!   appended, and only when all of it is durable the records before it go.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tidelog_core::codec::Event;
use tidelog_core::{Decision, Machine};
use tidelog_log::{ReadOutcome, ReadWait};
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{ErrorCode, Offset, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::error::BrokerError;
use crate::open_error::OpenError;
use crate::owner::Acks;
use crate::partition::Partition;

/// The most commands one flush answers.
const ROUND_COMMANDS_MAX: usize = 1_000;
/// Commands that wait for a round; more wait at the door.
const QUEUE_COMMANDS_MAX: usize = 4_096;
/// The size at which a batch of events is closed, in bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// How much replay reads at once, in bytes.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// A snapshot is not worth its flush below this many events.
const SNAPSHOT_EVENTS_MIN: u64 = 10_000;

struct Ask<M: Machine> {
    command: M::Command,
    answer: oneshot::Sender<Result<M::Reply, BrokerError>>,
}

/// A machine in service. Cheap to clone.
pub(crate) struct Coordinator<M: Machine> {
    machine: Arc<RwLock<M>>,
    queue: mpsc::Sender<Ask<M>>,
}

impl<M: Machine> Clone for Coordinator<M> {
    fn clone(&self) -> Self {
        Self { machine: Arc::clone(&self.machine), queue: self.queue.clone() }
    }
}

impl<M: Machine> Coordinator<M> {
    /// Puts a replayed machine into service.
    pub(crate) fn start(replayed: Replayed<M>, partition: Arc<Partition>, clock: Arc<dyn Clock>) -> Self {
        let (queue, asks) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let machine = Arc::new(RwLock::new(replayed.machine));
        let worker = Worker {
            machine: Arc::clone(&machine),
            partition,
            clock,
            events: replayed.events,
            snapshot_at: snapshot_at(replayed.events_at_snapshot),
        };
        tokio::spawn(worker.run(asks));
        Self { machine, queue }
    }

    /// Asks the machine and waits until the answer is durable. The command is carried out even when the
    /// caller stops waiting.
    pub(crate) async fn ask(&self, command: M::Command) -> Result<M::Reply, BrokerError> {
        let (answer, reply) = oneshot::channel();
        let asked = self.queue.send(Ask { command, answer }).await;
        asked.map_err(|_| BrokerError::shutting_down())?;
        reply.await.map_err(|_| BrokerError::shutting_down())?
    }

    /// Looks at the state. `look` must be short: it holds up the machine.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.machine.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A machine after replay.
pub(crate) struct Replayed<M> {
    pub(crate) machine: M,
    /// How many events the partition holds.
    events: u64,
    /// How many events a snapshot of the machine has.
    events_at_snapshot: u64,
}

/// Applies every event of the partition to `machine`; blocks.
///
/// # Errors
/// When the log cannot be read or holds an event that this program does not know.
pub(crate) fn replay<M: Machine>(mut machine: M, partition: &Partition) -> Result<Replayed<M>, OpenError> {
    let events = replay_events(partition, |event| machine.apply(event))?;
    let events_at_snapshot = count(machine.snapshot().count());
    Ok(Replayed { machine, events, events_at_snapshot })
}

/// Gives every event of the partition to `apply` and returns their number; blocks.
///
/// # Errors
/// When the log cannot be read or holds an event that this program does not know.
pub(crate) fn replay_events<E: Event>(
    partition: &Partition,
    mut apply: impl FnMut(&E),
) -> Result<u64, OpenError> {
    let unreadable = |offset: Offset, reason: String| OpenError::InternalTopic {
        topic: partition.topic().clone(),
        offset,
        reason,
    };
    let mut events = 0;
    let marks = partition.watermarks();
    let mut next = marks.log_start;
    let log = partition.log().map_err(|error| unreadable(next, error.message))?;
    while next < marks.high_watermark {
        let read = log.read(next, marks.high_watermark, REPLAY_BYTES, ReadWait::MayBlock);
        let slice = match read.map_err(|error| unreadable(next, error.to_string()))? {
            ReadOutcome::Batches(slice) if !slice.bytes.is_empty() => slice,
            ReadOutcome::Batches(_) => break,
            ReadOutcome::WouldBlock => return Err(unreadable(next, "the read would block".to_owned())),
        };
        for batch in RecordBatch::split(slice.bytes) {
            let batch = batch.map_err(|error| unreadable(next, error.to_string()))?;
            events += apply_batch(&mut apply, &batch, next)
                .map_err(|(offset, reason)| unreadable(offset, reason))?;
        }
        next = slice.next_offset;
    }
    Ok(events)
}

/// Applies the events of one batch from `from` on; a log start may lie inside a batch.
fn apply_batch<E: Event>(
    apply: &mut impl FnMut(&E),
    batch: &RecordBatch,
    from: Offset,
) -> Result<u64, (Offset, String)> {
    let at = batch.header().base_offset;
    let mut events = 0;
    for record in batch.records().map_err(|error| (at, error.to_string()))? {
        let record = record.map_err(|error| (at, error.to_string()))?;
        if record.offset < from {
            continue;
        }
        let value = record.value.ok_or_else(|| (record.offset, "the record has no value".to_owned()))?;
        let event = E::decode(&value).map_err(|error| (record.offset, error.to_string()))?;
        apply(&event);
        events += 1;
    }
    Ok(events)
}

/// One command of a round.
struct Decided<M: Machine> {
    reply: M::Reply,
    answer: oneshot::Sender<Result<M::Reply, BrokerError>>,
    /// The first batch that did not become durable and holds an event of this command.
    failed: Option<BrokerError>,
}

/// Events that become durable together.
pub(crate) struct EventBatch<E> {
    pub(crate) batch: RecordBatch,
    /// The events with the index of the command each belongs to.
    pub(crate) events: Vec<(usize, E)>,
}

struct Worker<M: Machine> {
    machine: Arc<RwLock<M>>,
    partition: Arc<Partition>,
    clock: Arc<dyn Clock>,
    /// Events in the partition.
    events: u64,
    /// The number of events at which a snapshot is due.
    snapshot_at: u64,
}

impl<M: Machine> Worker<M> {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask<M>>) {
        let mut carried = None;
        loop {
            let first = match carried.take() {
                Some(ask) => ask,
                None => match self.next_ask(&mut asks).await {
                    Wake::Ask(ask) => ask,
                    Wake::Deadline => {
                        self.deadline().await;
                        continue;
                    }
                    Wake::Closed => return,
                },
            };
            let round;
            (round, carried) = self.round(first, &mut asks);
            self.serve(round).await;
            if self.events >= self.snapshot_at {
                self.snapshot().await;
            }
        }
    }

    async fn next_ask(&self, asks: &mut mpsc::Receiver<Ask<M>>) -> Wake<M> {
        let deadline = self.look(M::next_deadline);
        let Some(deadline) = deadline else {
            return asks.recv().await.map_or(Wake::Closed, Wake::Ask);
        };
        let wait_ms = deadline.millis().saturating_sub(self.clock.now().millis());
        // The wall clock may be set: look again every second.
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0).clamp(1, 1_000));
        tokio::select! {
            // Commands first, so that a stream of deadlines cannot starve them.
            biased;
            ask = asks.recv() => ask.map_or(Wake::Closed, Wake::Ask),
            () = tokio::time::sleep(wait) => Wake::Deadline,
        }
    }

    /// The commands that wait, up to the first whose lane is taken; that one opens the next round.
    fn round(&self, first: Ask<M>, asks: &mut mpsc::Receiver<Ask<M>>) -> (Vec<Ask<M>>, Option<Ask<M>>) {
        let mut lanes = std::collections::BTreeSet::new();
        match self.look(|machine| machine.lane(&first.command)) {
            None => return (vec![first], None),
            Some(lane) => lanes.insert(lane),
        };
        let mut round = vec![first];
        while round.len() < ROUND_COMMANDS_MAX {
            let Ok(ask) = asks.try_recv() else { break };
            let lane = self.look(|machine| machine.lane(&ask.command));
            if !lane.is_some_and(|lane| lanes.insert(lane)) {
                return (round, Some(ask));
            }
            round.push(ask);
        }
        (round, None)
    }

    async fn serve(&mut self, round: Vec<Ask<M>>) {
        let now = self.clock.now();
        let mut decided = Vec::with_capacity(round.len());
        let mut events = Vec::new();
        for Ask { command, answer } in round {
            let Decision { events: new, reply } = self.look(|machine| machine.decide(now, command));
            events.extend(new.into_iter().map(|event| (decided.len(), event)));
            decided.push(Decided::<M> { reply, answer, failed: None });
        }
        for (command, error) in self.append(now, events).await {
            if let Some(decided) = decided.get_mut(command) {
                decided.failed.get_or_insert(error);
            }
        }
        for Decided { reply, answer, failed } in decided {
            // Whoever stopped waiting does not want the answer.
            drop(answer.send(failed.map_or(Ok(reply), Err)));
        }
    }

    async fn deadline(&mut self) {
        let now = self.clock.now();
        let due = self.look(|machine| {
            let due = machine.next_deadline().is_some_and(|deadline| deadline <= now);
            if due { machine.on_deadline(now) } else { Vec::new() }
        });
        let events = due.into_iter().map(|event| (0, event)).collect();
        for (_, error) in self.append(now, events).await {
            tracing::warn!(topic = %self.partition.topic(), %error, "a deadline's events were not stored");
        }
    }

    /// Appends events and applies those that become durable, in the order of the log. Returns why the others
    /// did not, with the commands they belong to.
    async fn append(&mut self, now: Timestamp, events: Vec<(usize, M::Event)>) -> Vec<(usize, BrokerError)> {
        let mut failures = Vec::new();
        let mut waiting = Vec::new();
        for EventBatch { batch, events } in pack(now, events, &mut failures) {
            match self.partition.append_unchecked(batch, Acks::Durable, None) {
                Ok(appended) => waiting.push((appended.ack, events)),
                Err(error) => {
                    failures.extend(events.into_iter().map(|(command, _)| (command, error.clone())))
                }
            }
        }
        for (ack, events) in waiting {
            match ack.await {
                Ok(()) => {
                    self.events += count(events.len());
                    let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
                    events.iter().for_each(|(_, event)| machine.apply(event));
                }
                Err(error) => {
                    failures.extend(events.into_iter().map(|(command, _)| (command, error.clone())))
                }
            }
        }
        failures
    }

    /// Appends a snapshot and drops what it overtakes. A crash in between leaves more events than needed.
    async fn snapshot(&mut self) {
        let topic = self.partition.topic().clone();
        let events: Vec<(usize, M::Event)> =
            self.look(|machine| machine.snapshot().map(|event| (0, event)).collect());
        let (total, before) = (count(events.len()), self.partition.watermarks().log_end);
        let failures = self.append(self.clock.now(), events).await;
        // Whatever happens, the next try waits for as many events again.
        self.snapshot_at = self.events.saturating_add(snapshot_at(total));
        if let Some((_, error)) = failures.first() {
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

    fn look<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.machine.read().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Wake<M: Machine> {
    Ask(Ask<M>),
    Deadline,
    Closed,
}

/// The number of events at which a log whose snapshot has `live` of them is worth a new one.
pub(crate) const fn snapshot_at(live: u64) -> u64 {
    live.saturating_mul(3).saturating_add(SNAPSHOT_EVENTS_MIN)
}

/// Packs events into batches; an event that no batch can hold fails its command.
pub(crate) fn pack<E: Event>(
    now: Timestamp,
    events: Vec<(usize, E)>,
    failures: &mut Vec<(usize, BrokerError)>,
) -> Vec<EventBatch<E>> {
    let mut batches = Vec::new();
    let mut open: Option<(BatchBuilder, Vec<(usize, E)>)> = None;
    for (command, event) in events {
        let (builder, held) =
            open.get_or_insert_with(|| (BatchBuilder::new(Compression::None, 1024), Vec::new()));
        builder.append(now, Some(&event.key()), Some(&event.encode()), &[]);
        held.push((command, event));
        if builder.size_bytes() >= BATCH_BYTES {
            close(open.take(), &mut batches, failures);
        }
    }
    close(open, &mut batches, failures);
    batches
}

fn close<E>(
    open: Option<(BatchBuilder, Vec<(usize, E)>)>,
    batches: &mut Vec<EventBatch<E>>,
    failures: &mut Vec<(usize, BrokerError)>,
) {
    let Some((builder, events)) = open else { return };
    match builder.build() {
        Ok(batch) => batches.push(EventBatch { batch, events }),
        Err(error) => {
            let error = BrokerError::new(ErrorCode::Internal, format!("events could not be stored: {error}"));
            failures.extend(events.into_iter().map(|(command, _)| (command, error.clone())));
        }
    }
}

pub(crate) fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
