//! What a caller holds while a record is on its way, and what tells it the end.
//!
//! **Invariant:** a batch has one [`Completion`], settled exactly once; a receipt is a pointer to it and an
//! index. A record costs no allocation here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tidelog_model::batch::RecordBatch;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName};

use super::Record;
use crate::error::{Error, ErrorKind};

/// Where a record was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp: its own, or the broker's on `LogAppendTime` topics.
    pub timestamp: Timestamp,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored {
        base_offset: Offset,
        log_append_time: Option<Timestamp>,
    },
    /// The batch is kept, so that its records can be given back.
    Failed {
        error: Error,
        batch: Option<RecordBatch>,
    },
}

/// Shared by the receipts of a batch.
#[derive(Debug)]
pub(super) struct Completion {
    topic: TopicName,
    partition: PartitionIndex,
    outcome: OnceLock<Outcome>,
    wakers: Mutex<Vec<Option<Waker>>>,
    /// The records of a failed batch, decoded when the first of them is asked for.
    records: OnceLock<Vec<Record>>,
}

impl Completion {
    pub(super) const fn new(topic: TopicName, partition: PartitionIndex) -> Self {
        Self {
            topic,
            partition,
            outcome: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
            records: OnceLock::new(),
        }
    }

    /// Ends the batch. A second call changes nothing.
    pub(super) fn settle(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_err() {
            return;
        }
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Resolves when the batch has ended.
    pub(super) fn ended(self: &Arc<Self>) -> Ended {
        Ended { completion: Arc::clone(self), registered: None }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        // A panic while waking leaves the list usable.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, registered: &mut Option<usize>, cx: &Context<'_>) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut wakers = self.wakers();
        // Settling sets the outcome before it takes the wakers: looking again under the lock misses nothing.
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let slot = registered.and_then(|at| wakers.get_mut(at));
        match slot {
            Some(slot) => *slot = Some(cx.waker().clone()),
            None => {
                *registered = Some(wakers.len());
                wakers.push(Some(cx.waker().clone()));
            }
        }
        Poll::Pending
    }

    fn forget_waker(&self, registered: Option<usize>) {
        if let Some(at) = registered
            && let Some(slot) = self.wakers().get_mut(at)
        {
            *slot = None;
        }
    }

    fn record(&self, index: u32) -> Option<Record> {
        let Outcome::Failed { batch: Some(batch), .. } = self.outcome.get()? else { return None };
        let records = self.records.get_or_init(|| decode(batch, &self.topic, self.partition));
        records.get(usize::try_from(index).ok()?).cloned()
    }
}

fn decode(batch: &RecordBatch, topic: &TopicName, partition: PartitionIndex) -> Vec<Record> {
    let Ok(records) = batch.records() else { return Vec::new() };
    let back = |record: tidelog_model::record::Record| Record {
        topic: topic.into(),
        partition: Some(partition.get()),
        timestamp: Some(record.timestamp),
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    records.map_while(Result::ok).map(back).collect()
}

/// The end of a batch as a future of its first failure.
#[derive(Debug)]
pub(super) struct Ended {
    completion: Arc<Completion>,
    registered: Option<usize>,
}

impl Future for Ended {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.completion.poll(&mut this.registered, cx).map(|outcome| match outcome {
            Outcome::Stored { .. } => Ok(()),
            Outcome::Failed { error, .. } => Err(error.clone()),
        })
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.completion.forget_waker(self.registered);
    }
}

/// A record that was not stored, and why.
pub struct SendError {
    error: Error,
    record: Failed,
}

enum Failed {
    /// It never got into a batch.
    Given(Box<Record>),
    /// It is in the batch that failed.
    Batched(Arc<Completion>, u32),
}

impl SendError {
    pub(super) fn new(error: Error, record: Record) -> Self {
        Self { error, record: Failed::Given(Box::new(record)) }
    }

    /// Why it was not stored.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// Whether sending the same record later may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.error.is_retryable()
    }

    /// Whether the record may be in the log all the same.
    #[must_use]
    pub fn may_have_been_written(&self) -> bool {
        self.error.may_have_been_written()
    }

    /// The record, to try again or to keep elsewhere. A record that was in a batch comes back with the
    /// partition that was chosen for it. `None` only when the batch could not be encoded at all.
    #[must_use]
    pub fn into_record(self) -> Option<Record> {
        match self.record {
            Failed::Given(record) => Some(*record),
            Failed::Batched(completion, index) => completion.record(index),
        }
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        error.error
    }
}

/// Resolves when the record is as durable as the producer's [`Acks`](super::Acks) asks, or failed. May be
/// dropped: the record is sent all the same.
#[derive(Debug)]
#[must_use = "a receipt tells whether the record was stored; flush() waits for all of them"]
pub struct Receipt {
    completion: Arc<Completion>,
    index: u32,
    timestamp: Timestamp,
    registered: Option<usize>,
}

impl Receipt {
    pub(super) const fn new(completion: Arc<Completion>, index: u32, timestamp: Timestamp) -> Self {
        Self { completion, index, timestamp, registered: None }
    }
}

impl Future for Receipt {
    type Output = Result<RecordMetadata, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.completion.poll(&mut this.registered, cx).map(|outcome| match outcome {
            Outcome::Stored { base_offset, log_append_time } => Ok(RecordMetadata {
                topic: this.completion.topic.clone(),
                partition: this.completion.partition,
                offset: base_offset.plus(u64::from(this.index)),
                timestamp: log_append_time.unwrap_or(this.timestamp),
            }),
            Outcome::Failed { error, .. } => Err(SendError {
                error: error.clone(),
                record: Failed::Batched(Arc::clone(&this.completion), this.index),
            }),
        })
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.completion.forget_waker(self.registered);
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
