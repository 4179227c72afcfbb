//! The owner of a partition: the only place that assigns offsets, moves watermarks and answers producers.
//!
//! It is a struct behind a short lock, not a task: everything under the lock is decide, apply and enqueue,
//! without I/O and without waiting, so an append costs no hop to another thread and back.
//!
//! ```text
//! append ──lock──► decide, apply, enqueue ──► device thread ──committed──► lock: advance ──► acks leave
//! ```
//!
//! **Invariants:**
//! * Batches enter the log's queue in the order of their offsets, because both happen under one lock.
//! * The published high watermark reaches a batch before its ack leaves: who was acked can read.
//! * No ack leaves before the log has reported its batch; if the log says that batches are not there, their
//!   producers are told so; if nobody knows, they are told that.
//! * The log never calls back while it holds a lock of its own, so owner → log is the only lock order.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tidelog_core::partition::{PartitionState, ProducerRow, ProducerStates};
use tidelog_core::{WatermarkMove, Watermarks};
use tidelog_log::{AppendFailure, AppendFailureKind, CommitListener};
use tidelog_model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::admission::AdmitPermit;
use crate::error::BrokerError;
use crate::shared::{PartitionKey, Problem, Shared};

/// When a producer is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// At once.
    None,
    /// When the batch is written, before it is flushed.
    Written,
    /// When the batch is as durable as the topic's flush policy promises.
    Durable,
}

/// The outcome of an append, when it is known. Dropping it does not take the append back.
#[derive(Debug)]
pub struct AckFuture(Ack);

#[derive(Debug)]
enum Ack {
    Ready,
    Waiting(oneshot::Receiver<Result<(), BrokerError>>),
    /// Nothing was appended; the reason holds when the batch that it rests on is durable.
    Refused(oneshot::Receiver<Result<(), BrokerError>>, BrokerError),
}

/// How many batches a partition takes in before what it remembers of producers is written down: about as many
/// headers a start reads at most.
const SAVE_PRODUCERS_BATCHES: u64 = 4_096;
/// How soon a producer may try again when too many files were open.
const OUT_OF_FILES_RETRY_MS: i64 = 1_000;

impl Future for AckFuture {
    type Output = Result<(), BrokerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Without an answer the owner went away with the batch in its queue: the broker was torn down.
        let gone = |_| Err(BrokerError::shutting_down());
        match &mut self.0 {
            Ack::Ready => Poll::Ready(Ok(())),
            Ack::Waiting(answer) => Pin::new(answer).poll(context).map(|answer| answer.unwrap_or_else(gone)),
            Ack::Refused(answer, reason) => Pin::new(answer)
                .poll(context)
                .map(|answer| answer.unwrap_or_else(gone).and_then(|()| Err(reason.clone()))),
        }
    }
}

/// A batch that is assigned and not committed.
struct Pending {
    /// The offset after its last record.
    end: Offset,
    bytes: u64,
    records: u64,
    since: Instant,
    /// Whoever waits for the commit.
    answer: Option<oneshot::Sender<Result<(), BrokerError>>>,
    /// Gives its bytes back when the batch leaves the queue.
    permit: Option<AdmitPermit>,
}

/// What the owner of a partition knows.
pub(crate) struct Owner {
    pub(crate) state: PartitionState,
    pub(crate) incarnation: u64,
    pub(crate) marks: Watermarks,
    /// Why the partition takes no appends any more.
    pub(crate) stopped: Option<BrokerError>,
    pending: VecDeque<Pending>,
    /// Whoever waits for the write only, by the end of the batch.
    writing: VecDeque<(Offset, oneshot::Sender<Result<(), BrokerError>>)>,
    /// Whoever's answer rests on a batch of another try or request, by the end of that batch.
    resting: VecDeque<(Offset, oneshot::Sender<Result<(), BrokerError>>)>,
    /// Batches committed since what is remembered of producers was written down.
    unsaved: u64,
}

impl Owner {
    /// Remembers an assigned batch and returns what its producer waits for.
    pub(crate) fn enqueue(
        &mut self,
        end: Offset,
        (bytes, records): (u64, u64),
        acks: Acks,
        permit: Option<AdmitPermit>,
    ) -> AckFuture {
        self.marks = self.marks.advance(WatermarkMove::Appended(end));
        let (mut answer, mut ack) = (None, Ack::Ready);
        if acks != Acks::None {
            let (sender, receiver) = oneshot::channel();
            ack = Ack::Waiting(receiver);
            match acks {
                Acks::Durable => answer = Some(sender),
                Acks::Written | Acks::None => self.writing.push_back((end, sender)),
            }
        }
        self.pending.push_back(Pending { end, bytes, records, since: Instant::now(), answer, permit });
        AckFuture(ack)
    }

    /// Waits for a batch that ends at `end` and was appended before.
    pub(crate) fn duplicate(&mut self, end: Offset, acks: Acks) -> AckFuture {
        if acks == Acks::None || end <= self.marks.high_watermark {
            return AckFuture(Ack::Ready);
        }
        AckFuture(Ack::Waiting(self.rest_on(end)))
    }

    /// Refuses for a reason that holds when the batch that ends at `end` is durable: at once if it is.
    pub(crate) fn refuse(&mut self, end: Offset, reason: BrokerError) -> Result<AckFuture, BrokerError> {
        if end <= self.marks.high_watermark {
            return Err(reason);
        }
        Ok(AckFuture(Ack::Refused(self.rest_on(end), reason)))
    }

    fn rest_on(&mut self, end: Offset) -> oneshot::Receiver<Result<(), BrokerError>> {
        let (sender, receiver) = oneshot::channel();
        let place = self.resting.partition_point(|(other, _)| *other <= end);
        self.resting.insert(place, (end, sender));
        receiver
    }

    /// Takes every pending batch that ends after `end` out of the queue.
    fn take_after(&mut self, end: Offset) -> Vec<Answer> {
        let keep = self.pending.partition_point(|pending| pending.end <= end);
        let mut answers: Vec<Answer> = self.pending.drain(keep..).filter_map(|gone| gone.answer).collect();
        let keep = self.writing.partition_point(|(batch_end, _)| *batch_end <= end);
        answers.extend(self.writing.drain(keep..).map(|(_, answer)| answer));
        let keep = self.resting.partition_point(|(rests_on, _)| *rests_on <= end);
        answers.extend(self.resting.drain(keep..).map(|(_, answer)| answer));
        answers
    }
}

type Answer = oneshot::Sender<Result<(), BrokerError>>;

/// An owner with its lock and its published watermarks; also what the log reports to.
///
/// The log holds this and not the partition, so that a dropped broker lets its files go.
pub(crate) struct Lane {
    key: PartitionKey,
    shared: Arc<Shared>,
    owner: Mutex<Owner>,
    marks: watch::Sender<Watermarks>,
    counted: bool,
}

impl Lane {
    /// An owner of an empty log; [`Self::recovered`] tells it what the log holds.
    pub(crate) fn new(key: PartitionKey, shared: Arc<Shared>, epoch: LeaderEpoch) -> Self {
        let marks = Watermarks::recovered(Offset::ZERO, Offset::ZERO, Offset::ZERO);
        let counted = !key.topic.is_internal();
        let owner = Owner {
            state: PartitionState::new(Offset::ZERO, epoch, ProducerStates::default()),
            incarnation: 0,
            marks,
            stopped: None,
            pending: VecDeque::new(),
            writing: VecDeque::new(),
            resting: VecDeque::new(),
            unsaved: 0,
        };
        Self { key, shared, owner: Mutex::new(owner), marks: watch::Sender::new(marks), counted }
    }

    /// Whether it is a partition of the broker's own.
    pub(crate) const fn is_internal(&self) -> bool {
        !self.counted
    }

    /// The partition's name.
    pub(crate) fn name(&self) -> String {
        self.key.to_string()
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What it remembers of producers before it knows any.
    pub(crate) fn no_producers(&self) -> ProducerStates {
        ProducerStates::new(self.shared.producer_limits)
    }

    /// Takes over a recovered log. `unsaved` batches of it are in no snapshot of the producers.
    pub(crate) fn recovered(
        &self,
        log_start: Offset,
        log_end: Offset,
        producers: ProducerStates,
        unsaved: u64,
    ) {
        let mut owner = self.owner();
        owner.unsaved = unsaved;
        owner.state = PartitionState::new(log_end, owner.state.epoch(), producers);
        owner.marks = Watermarks::recovered(log_start, owner.state.last_stable(log_end), log_end);
        let marks = owner.marks;
        drop(owner);
        self.marks.send_replace(marks);
    }

    /// The owner. A panic under the lock is a broken rule of ours: [`Self::checked`] refuses appends then.
    fn owner(&self) -> MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner, if it takes appends.
    pub(crate) fn checked(&self) -> Result<MutexGuard<'_, Owner>, BrokerError> {
        let owner = self.owner.lock().map_err(|_| {
            BrokerError::internal(format!(
                "partition {} stopped because it broke a rule of its own",
                self.key
            ))
        })?;
        match &owner.stopped {
            Some(stopped) => Err(stopped.clone()),
            None => Ok(owner),
        }
    }

    pub(crate) fn watermarks(&self) -> Watermarks {
        self.owner().marks
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.owner().state.epoch()
    }

    /// The watermarks as readers see them.
    pub(crate) fn readable(&self) -> Watermarks {
        *self.marks.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Watermarks> {
        self.marks.subscribe()
    }

    /// Why the partition takes no appends, if it does not.
    pub(crate) fn stopped(&self) -> Option<BrokerError> {
        self.checked().err()
    }

    /// Moves the log start.
    pub(crate) fn trimmed(&self, log_start: Offset) {
        let mut owner = self.owner();
        // The log may know of commits that have not been reported yet.
        let log_start = log_start.min(owner.marks.high_watermark);
        owner.marks = owner.marks.advance(WatermarkMove::Trimmed(log_start));
        let marks = owner.marks;
        drop(owner);
        self.publish(marks);
    }

    /// Ends the partition's service: pending producers get `reason`, waiting readers wake up.
    pub(crate) fn stop(&self, reason: BrokerError) {
        let mut owner = self.owner();
        let durable = owner.marks.high_watermark;
        let answers = owner.take_after(durable);
        owner.stopped.get_or_insert_with(|| reason.clone());
        drop(owner);
        answer_all(answers, &reason);
        self.wake();
    }

    /// Wakes everyone who waits for the watermarks to move.
    pub(crate) fn wake(&self) {
        self.marks.send_modify(|_| {});
    }

    /// Publishes moves of the log start and the high watermark. Two publishers may arrive here in another
    /// order than they held the owner's lock, so only forward moves count.
    fn publish(&self, marks: Watermarks) {
        self.marks.send_if_modified(|seen| {
            let log_start = seen.log_start.max(marks.log_start);
            let high_watermark = seen.high_watermark.max(marks.high_watermark);
            let last_stable = seen.last_stable.max(marks.last_stable);
            let moved = log_start != seen.log_start
                || high_watermark != seen.high_watermark
                || last_stable != seen.last_stable;
            let log_end = marks.log_end.max(high_watermark);
            *seen = Watermarks { log_start, last_stable, high_watermark, log_end };
            moved
        });
    }

    /// What is remembered of producers below the high watermark, if batches came since the last time.
    pub(crate) fn producers_to_save(&self) -> Option<(Offset, Vec<ProducerRow>)> {
        let now = self.shared.clock.now();
        let mut owner = self.checked().ok()?;
        owner.state.expire_producers(now);
        if std::mem::take(&mut owner.unsaved) == 0 {
            return None;
        }
        let end = owner.marks.high_watermark;
        Some((end, owner.state.producers().rows_below(end)))
    }

    /// Takes note that what was to be written down was not.
    pub(crate) fn not_saved(&self) {
        let mut owner = self.owner();
        owner.unsaved = owner.unsaved.max(1);
    }

    /// Whether so much came since the producers were written down that it should not wait for maintenance.
    pub(crate) fn wants_saving(&self) -> bool {
        self.owner().unsaved >= SAVE_PRODUCERS_BATCHES
    }

    /// Takes back what is not in the log, whose producers get `error`; how many those are.
    fn cut_back(&self, end: Offset, incarnation: u64, error: &BrokerError) -> u64 {
        let mut owner = self.owner();
        owner.incarnation = incarnation;
        owner.state.reset(end);
        owner.marks = owner.marks.advance(WatermarkMove::CutBack(end));
        let answers = owner.take_after(end);
        drop(owner);
        let count = u64::try_from(answers.len()).unwrap_or(u64::MAX);
        tracing::warn!(partition = %self.key, %end, error = %error, "the queued batches are not in the log");
        answer_all(answers, error);
        count
    }

    fn failed(&self, reason: &str, incarnation: u64) {
        let message = format!(
            "the storage of partition {} failed ({reason}): its writes are off until the broker is restarted on \
             a healthy device; records that were acknowledged can still be read",
            self.key
        );
        let error = BrokerError::new(ErrorCode::StorageFailed, message);
        let mut owner = self.owner();
        owner.incarnation = incarnation;
        let durable = owner.marks.high_watermark;
        let answers = owner.take_after(durable);
        let first = owner.stopped.is_none();
        owner.stopped.get_or_insert_with(|| error.clone());
        drop(owner);
        let count = u64::try_from(answers.len()).unwrap_or(u64::MAX);
        self.shared.metrics.rejected_storage.add(count);
        if first {
            tracing::error!(partition = %self.key, reason, "storage failed: the partition takes no more writes");
            self.shared.report(&self.key, Problem::StorageFailed(error.message.clone()));
        }
        answer_all(answers, &error);
        self.wake();
    }
}

impl CommitListener for Lane {
    fn written(&self, end: Offset) {
        let mut owner = self.owner();
        let done = owner.writing.partition_point(|(batch_end, _)| *batch_end <= end);
        if done == 0 {
            return;
        }
        let answers: Vec<Answer> = owner.writing.drain(..done).map(|(_, answer)| answer).collect();
        drop(owner);
        for answer in answers {
            send(answer, Ok(()));
        }
    }

    fn committed(&self, end: Offset) {
        let mut owner = self.owner();
        if end <= owner.marks.high_watermark {
            return;
        }
        owner.state.committed(end);
        let stable = owner.state.last_stable(end);
        owner.marks = owner.marks.advance(WatermarkMove::Committed { end, stable });
        let marks = owner.marks;
        let done = owner.pending.partition_point(|pending| pending.end <= end);
        let done: Vec<Pending> = owner.pending.drain(..done).collect();
        let rested = owner.resting.partition_point(|(rests_on, _)| *rests_on <= end);
        let rested: Vec<Answer> = owner.resting.drain(..rested).map(|(_, answer)| answer).collect();
        let before = owner.unsaved;
        owner.unsaved = before.saturating_add(u64::try_from(done.len()).unwrap_or(u64::MAX));
        let due = before < SAVE_PRODUCERS_BATCHES && owner.unsaved >= SAVE_PRODUCERS_BATCHES;
        drop(owner);
        self.publish(marks);
        if self.counted {
            self.count(&done);
            if due {
                self.shared.want_saving();
            }
        }
        for answer in rested {
            send(answer, Ok(()));
        }
        for pending in done {
            if let Some(answer) = pending.answer {
                send(answer, Ok(()));
            }
            drop(pending.permit);
        }
    }

    fn rejected(&self, failure: AppendFailure) {
        match failure.kind {
            AppendFailureKind::DiskFull => {
                let error = self.shared.disk_full_error();
                let refused = self.cut_back(failure.end, failure.incarnation, &error);
                self.shared.metrics.rejected_disk_full.add(refused);
            }
            AppendFailureKind::OutOfFiles { reason } => {
                let message = format!(
                    "partition {} takes no batches at the moment, and resumes by itself: {reason}",
                    self.key
                );
                let error =
                    BrokerError::new(ErrorCode::Overloaded, message).retry_after(OUT_OF_FILES_RETRY_MS);
                let refused = self.cut_back(failure.end, failure.incarnation, &error);
                self.shared.metrics.rejected_storage.add(refused);
            }
            AppendFailureKind::Gone => self.stop(BrokerError::shutting_down()),
            AppendFailureKind::Failed { reason } => self.failed(&reason, failure.incarnation),
        }
    }
}

impl Lane {
    fn count(&self, done: &[Pending]) {
        let metrics = &self.shared.metrics;
        let now = Instant::now();
        metrics.batches_in.add(u64::try_from(done.len()).unwrap_or(u64::MAX));
        metrics.records_in.add(done.iter().map(|pending| pending.records).sum());
        metrics.bytes_in.add(done.iter().map(|pending| pending.bytes).sum());
        for pending in done {
            metrics.append_seconds.observe(now.saturating_duration_since(pending.since));
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("key", &self.key).finish_non_exhaustive()
    }
}

fn answer_all(answers: Vec<Answer>, error: &BrokerError) {
    for answer in answers {
        send(answer, Err(error.clone()));
    }
}

/// A producer that went away does not wait for its answer.
fn send(answer: Answer, outcome: Result<(), BrokerError>) {
    drop(answer.send(outcome));
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
