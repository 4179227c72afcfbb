//! What a caller holds while a record is on its way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// A record that was not stored, and why.
pub struct SendError {
    error: Error,
    record: Option<Box<Record>>,
}

impl SendError {
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

    /// The record, to try again or to keep elsewhere.
    #[must_use]
    pub fn into_record(self) -> Option<Record> {
        self.record.map(|record| *record)
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
pub struct Receipt {}

impl Future for Receipt {
    type Output = Result<RecordMetadata, SendError>;

    #[expect(clippy::todo, reason = "signature first")]
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}
