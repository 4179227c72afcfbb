//! What can go wrong, in few kinds: retry, reconnect, fix the call, or the data is broken.
//!
//! **Invariant:** every error says whether the same call may succeed later ([`Error::is_retryable`]) and
//! whether a write that ended with it may be in the log all the same ([`Error::may_have_been_written`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::topic_name::NameError;
use tidelog_model::{ErrorCode, TopicPartition};
use tidelog_proto::v1::ErrorDetail;
use tonic::{Code, Status};

/// The result of the client's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure an [`Error`] is: what a program decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The broker cannot be reached, or it is shutting down.
    Unreachable,
    /// No answer came within the time allowed.
    Timeout,
    /// The broker (or this client's own memory limit) has no room now.
    Throttled,
    /// The topic, partition or group does not exist.
    NotFound,
    /// A setting, name or argument of the call is not allowed.
    InvalidRequest,
    /// The record breaks a rule of the broker or the topic.
    InvalidRecord,
    /// The record or the message is larger than allowed.
    TooLarge,
    /// The offset lies outside what the partition holds.
    OutOfRange,
    /// The call conflicts with the present state: the name is taken, the generation is fenced.
    Conflict,
    /// The caller is not known, or may not do this.
    Denied,
    /// The broker's disk failed or is full, or stored bytes are broken.
    Storage,
    /// The producer, consumer or client was closed.
    Closed,
    /// The other side does not speak the protocol as agreed, or bytes arrived broken.
    Protocol,
    /// The broker broke one of its own rules.
    Internal,
}

impl ErrorKind {
    /// The kind's name in lower case, as in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::NotFound => "not found",
            Self::InvalidRequest => "invalid request",
            Self::InvalidRecord => "invalid record",
            Self::TooLarge => "too large",
            Self::OutOfRange => "out of range",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Storage => "storage",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }

    const fn is_retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Throttled)
    }

    /// The remedy when the broker names none.
    const fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable => {
                "check that the broker runs, and that this is the address of its API, whose port is 9640 by \
                 default, and not the one for Kafka clients"
            }
            Self::Timeout => "the broker may be overloaded or unreachable; try again or allow more time",
            Self::Throttled => "slow down, or try again later",
            Self::NotFound => "check the name, or create the topic first",
            Self::TooLarge => "send less at once, or raise the topic's max.message.bytes",
            Self::OutOfRange => "the records were deleted or never written: read from earliest or latest",
            Self::Protocol => "check that the address is a Tidelog API address and that versions match",
            Self::Storage => "look at the broker's log and disk",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    code: Option<Cow<'static, str>>,
    help: Option<Cow<'static, str>>,
    retryable: bool,
    may_have_been_written: bool,
    retry_after: Option<Duration>,
    field: Option<String>,
    limit: Option<i64>,
    actual: Option<i64>,
    partition: Option<TopicPartition>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            code: None,
            help: kind.help().map(Cow::Borrowed),
            retryable: kind.is_retryable(),
            may_have_been_written: false,
            retry_after: None,
            field: None,
            limit: None,
            actual: None,
            partition: None,
        }))
    }

    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the records of a write that ended with this error may be in the log all the same. Sending
    /// them again may then store them twice.
    #[must_use]
    pub fn may_have_been_written(&self) -> bool {
        self.0.may_have_been_written
    }

    /// How long to wait before the next try, when the broker or the circuit breaker says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The broker's stable name of the failure, for example `MESSAGE_TOO_LARGE`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What went wrong, without the remedy.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The field of the request at fault, when one is.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The limit that was passed, when one was.
    #[must_use]
    pub fn limit(&self) -> Option<i64> {
        self.0.limit
    }

    /// The value that was found where a limit was passed.
    #[must_use]
    pub fn actual(&self) -> Option<i64> {
        self.0.actual
    }

    /// The partition the failure belongs to, when it belongs to one.
    #[must_use]
    pub fn partition(&self) -> Option<&TopicPartition> {
        self.0.partition.as_ref()
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn with_help(self, help: impl Into<Cow<'static, str>>) -> Self {
        self.change(|inner| inner.help = Some(help.into()))
    }

    pub(crate) fn with_partition(self, partition: TopicPartition) -> Self {
        self.change(|inner| inner.partition = Some(partition))
    }

    pub(crate) fn with_retry_after(self, after: Duration) -> Self {
        self.change(|inner| inner.retry_after = Some(after))
    }

    pub(crate) fn with_limit(self, limit: usize, actual: usize) -> Self {
        let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.change(|inner| {
            inner.limit = Some(signed(limit));
            inner.actual = Some(signed(actual));
        })
    }

    /// Records that a write may have happened; never takes it back.
    pub(crate) fn maybe_written(self, written: bool) -> Self {
        if written { self.change(|inner| inner.may_have_been_written = true) } else { self }
    }

    pub(crate) fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed, format!("the {what} is closed"))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// The error the broker put into a response or a status.
    pub(crate) fn from_detail(detail: ErrorDetail) -> Self {
        let kind = kind_of_code(detail.error_code());
        Self::new(kind, detail.message).change(|inner| {
            // The broker's text names the remedy.
            inner.help = None;
            inner.retryable = detail.retryable;
            inner.may_have_been_written = detail.may_have_been_written;
            inner.code = (!detail.code.is_empty()).then_some(Cow::Owned(detail.code));
            inner.field = (!detail.field.is_empty()).then_some(detail.field);
            inner.limit = detail.limit;
            inner.actual = detail.actual;
            let after = detail.retry_after_ms.and_then(|ms| u64::try_from(ms).ok());
            inner.retry_after = after.map(Duration::from_millis);
        })
    }

    /// The error of a failed call to the broker at `url`.
    pub(crate) fn from_status(status: &Status, url: &str) -> Self {
        if let Some(detail) = ErrorDetail::from_status(status) {
            return Self::from_detail(detail);
        }
        let message = status.message();
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted => {
                let cause = root_cause(status).unwrap_or_else(|| message.to_owned());
                Self::new(ErrorKind::Unreachable, format!("cannot reach the broker at {url}: {cause}"))
            }
            // What the HTTP/2 layer reports when a connection breaks in the middle of a call.
            Code::Internal if std::error::Error::source(status).is_some() => {
                let cause = root_cause(status).unwrap_or_else(|| message.to_owned());
                Self::new(ErrorKind::Unreachable, format!("lost the connection to {url}: {cause}"))
            }
            Code::DeadlineExceeded => Self::new(ErrorKind::Timeout, format!("no answer from {url} in time")),
            Code::NotFound => Self::new(ErrorKind::NotFound, message),
            Code::AlreadyExists => Self::new(ErrorKind::Conflict, message),
            Code::InvalidArgument | Code::FailedPrecondition => Self::invalid(message),
            Code::ResourceExhausted => Self::new(ErrorKind::Throttled, message),
            Code::OutOfRange => Self::new(ErrorKind::TooLarge, message),
            Code::PermissionDenied | Code::Unauthenticated => Self::new(ErrorKind::Denied, message),
            Code::DataLoss => Self::new(ErrorKind::Storage, message),
            Code::Internal => Self::new(ErrorKind::Internal, message),
            Code::Unimplemented | Code::Ok => {
                Self::protocol(format!("{url} does not answer as a Tidelog broker: {message}"))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(partition) = &self.0.partition {
            write!(f, "{partition}: ")?;
        }
        f.write_str(&self.0.message)?;
        match &self.0.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Codes that this version does not know count as failures of the broker; whether to try again is in the
/// detail itself.
fn kind_of_code(code: Option<ErrorCode>) -> ErrorKind {
    match code {
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::GroupIdNotFound) => ErrorKind::NotFound,
        Some(
            ErrorCode::TopicAlreadyExists
            | ErrorCode::OutOfOrder
            | ErrorCode::OutOfOrderSequence
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::FencedGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::RebalanceInProgress
            | ErrorCode::MemberIdRequired
            | ErrorCode::FencedInstanceId
            | ErrorCode::UnreleasedInstanceId
            | ErrorCode::FencedMemberEpoch
            | ErrorCode::StaleMemberEpoch
            | ErrorCode::NonEmptyGroup
            | ErrorCode::GroupAlreadyExists
            | ErrorCode::GroupSubscribedToTopic,
        ) => ErrorKind::Conflict,
        Some(
            ErrorCode::InvalidName
            | ErrorCode::InvalidPartitions
            | ErrorCode::InvalidConfig
            | ErrorCode::InvalidRequest
            | ErrorCode::InconsistentGroupProtocol
            | ErrorCode::UnsupportedAssignor
            | ErrorCode::InvalidRegularExpression
            | ErrorCode::InvalidSessionTimeout
            | ErrorCode::InvalidGroupId
            | ErrorCode::OffsetMetadataTooLarge,
        ) => ErrorKind::InvalidRequest,
        Some(ErrorCode::InternalTopic) => ErrorKind::Denied,
        Some(
            ErrorCode::CorruptMessage
            | ErrorCode::InvalidRecord
            | ErrorCode::UnsupportedCompression
            | ErrorCode::InvalidTimestamp,
        ) => ErrorKind::InvalidRecord,
        Some(ErrorCode::MessageTooLarge) => ErrorKind::TooLarge,
        Some(ErrorCode::OffsetOutOfRange) => ErrorKind::OutOfRange,
        Some(ErrorCode::StorageFailed | ErrorCode::DiskFull | ErrorCode::CorruptLog) => ErrorKind::Storage,
        Some(ErrorCode::Overloaded | ErrorCode::GroupMaxSizeReached) => ErrorKind::Throttled,
        Some(ErrorCode::ShuttingDown | ErrorCode::CoordinatorNotAvailable) => ErrorKind::Unreachable,
        _ => ErrorKind::Internal,
    }
}

/// The innermost cause: "Connection refused" rather than "transport error".
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
