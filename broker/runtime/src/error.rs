//! The one error of the `Broker` API: a code of the protocols, a line for people, and the facts.

use thiserror::Error;
use tidelog_core::catalog::CatalogError;
use tidelog_core::group::GroupError;
use tidelog_core::partition::AppendReject;
use tidelog_model::batch::BatchError;
use tidelog_model::{ErrorCode, PartitionIndex, TopicId, TopicName};

/// How often a producer should ask a partition again that remembers as many as it may.
const PRODUCERS_RETRY_MS: i64 = 1_000;

/// Why the broker refused or failed a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct BrokerError {
    /// The failure's code, the same in all protocols.
    pub code: ErrorCode,
    /// One line that names the cause and the remedy.
    pub message: String,
    /// The request field at fault, when one is.
    pub field: Option<&'static str>,
    /// The limit that was passed, when one was.
    pub limit: Option<i64>,
    /// The value found, when a limit was passed.
    pub actual: Option<i64>,
    /// Wait at least this long before the next try, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

impl BrokerError {
    /// An error of this code and text.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message, field: None, limit: None, actual: None, retry_after_ms: None }
    }

    /// Names the request field at fault.
    #[must_use]
    pub fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Gives the limit that was passed and the value found.
    #[must_use]
    pub fn limit(mut self, limit: i64, actual: i64) -> Self {
        self.limit = Some(limit);
        self.actual = Some(actual);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, ms: i64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    pub(crate) fn unknown_topic(name: &TopicName) -> Self {
        Self::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}: create it first"))
            .field("topic")
    }

    pub(crate) fn unknown_topic_id(id: TopicId) -> Self {
        Self::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic with the id {id}"))
            .field("topic")
    }

    pub(crate) fn unknown_partition(name: &TopicName, partition: PartitionIndex, count: usize) -> Self {
        let message = format!("topic {name} has {count} partitions, there is no partition {partition}");
        Self::new(ErrorCode::UnknownTopicOrPartition, message).field("partition")
    }

    pub(crate) fn internal_topic(name: &TopicName) -> Self {
        let message = format!("topic {name} belongs to the broker: it can be read but not changed");
        Self::new(ErrorCode::InternalTopic, message).field("topic")
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(ErrorCode::ShuttingDown, "the broker is shutting down: try again when it is back")
    }

    /// The broker broke one of its own rules.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    fn limits(self, limits: Option<(i64, i64)>) -> Self {
        match limits {
            Some((limit, actual)) => self.limit(limit, actual),
            None => self,
        }
    }
}

impl From<CatalogError> for BrokerError {
    fn from(error: CatalogError) -> Self {
        let plain = Self { field: error.field(), ..Self::new(error.code(), error.to_string()) };
        plain.limits(error.limit_and_actual())
    }
}

impl From<GroupError> for BrokerError {
    fn from(error: GroupError) -> Self {
        let plain = Self { field: error.field(), ..Self::new(error.code(), error.to_string()) };
        plain.limits(error.limit_and_actual())
    }
}

impl From<AppendReject> for BrokerError {
    fn from(reject: AppendReject) -> Self {
        let plain = Self::new(reject.code(), reject.to_string()).field("record_batch");
        if let AppendReject::TooManyProducers { .. } = reject {
            return plain.retry_after(PRODUCERS_RETRY_MS);
        }
        match reject {
            AppendReject::TooOld { limit_ms, actual_ms, .. }
            | AppendReject::TooNew { limit_ms, actual_ms, .. } => plain.limit(limit_ms, actual_ms),
            AppendReject::OutOfOrderSequence { .. }
            | AppendReject::StaleProducerEpoch { .. }
            | AppendReject::TooManyProducers { .. }
            | AppendReject::Transactional
            | AppendReject::DeleteHorizon
            | AppendReject::OffsetsExhausted { .. } => plain,
        }
    }
}

impl From<BatchError> for BrokerError {
    fn from(error: BatchError) -> Self {
        Self::new(error.code(), error.to_string()).field("record_batch").limits(error.limit())
    }
}
