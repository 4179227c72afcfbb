//! The one place where error codes and gRPC statuses are mapped.
//!
//! A failed call carries its [`ErrorDetail`] as a `google.protobuf.Any` inside a `google.rpc.Status` in the
//! status' details (`grpc-status-details-bin`), the layout every gRPC library knows how to read. Where one
//! request has several results, the same message stands in-line in the response.
//!
//! **Invariant:** [`grpc_code`] names every code without a default arm: a new failure cannot be forgotten.

use bytes::Bytes;
use prost::Message;
use tidelog_model::ErrorCode;
use tonic::{Code, Status};

use crate::v1::rpc_status::Any;
use crate::v1::{ErrorDetail, RpcStatus};

/// The type URL of an [`ErrorDetail`] in the details of a status.
pub const ERROR_DETAIL_TYPE_URL: &str = "type.googleapis.com/tidelog.v1.ErrorDetail";

/// The gRPC code of a failure.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::GroupIdNotFound => Code::NotFound,
        ErrorCode::TopicAlreadyExists | ErrorCode::GroupAlreadyExists => Code::AlreadyExists,
        ErrorCode::InvalidName
        | ErrorCode::InvalidPartitions
        | ErrorCode::InvalidConfig
        | ErrorCode::InvalidRequest
        | ErrorCode::CorruptMessage
        | ErrorCode::InvalidRecord
        | ErrorCode::MessageTooLarge
        | ErrorCode::UnsupportedCompression
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InconsistentGroupProtocol
        | ErrorCode::UnsupportedAssignor
        | ErrorCode::InvalidRegularExpression
        | ErrorCode::InvalidSessionTimeout
        | ErrorCode::InvalidGroupId
        | ErrorCode::OffsetMetadataTooLarge => Code::InvalidArgument,
        ErrorCode::InternalTopic => Code::PermissionDenied,
        ErrorCode::OffsetOutOfRange => Code::OutOfRange,
        ErrorCode::OutOfOrder => Code::Aborted,
        ErrorCode::FencedGeneration
        | ErrorCode::OutOfOrderSequence
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownMemberId
        | ErrorCode::IllegalGeneration
        | ErrorCode::RebalanceInProgress
        | ErrorCode::MemberIdRequired
        | ErrorCode::FencedInstanceId
        | ErrorCode::UnreleasedInstanceId
        | ErrorCode::FencedMemberEpoch
        | ErrorCode::StaleMemberEpoch
        | ErrorCode::NonEmptyGroup
        | ErrorCode::GroupSubscribedToTopic => Code::FailedPrecondition,
        ErrorCode::DiskFull | ErrorCode::Overloaded | ErrorCode::GroupMaxSizeReached => {
            Code::ResourceExhausted
        }
        ErrorCode::StorageFailed | ErrorCode::ShuttingDown | ErrorCode::CoordinatorNotAvailable => {
            Code::Unavailable
        }
        ErrorCode::CorruptLog => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
    }
}

impl ErrorDetail {
    /// A failure with its code's own answers to "try again?" and "may it be written?".
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.name().to_owned(),
            message: message.into(),
            retryable: code.is_retryable(),
            may_have_been_written: code.may_have_been_written(),
            ..Self::default()
        }
    }

    /// Names the request field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Names the limit that was passed and the value that was found.
    #[must_use]
    pub const fn with_limit(mut self, limit: i64, actual: i64) -> Self {
        self.limit = Some(limit);
        self.actual = Some(actual);
        self
    }

    /// The code by its name, or `None` when a newer peer sent one that this version does not know.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_name(&self.code)
    }

    /// The failed call's status, with this message as its detail.
    #[must_use]
    pub fn into_status(self) -> Status {
        let code = self.error_code().map_or(Code::Unknown, grpc_code);
        let message = self.message.clone();
        let any = Any { type_url: ERROR_DETAIL_TYPE_URL.to_owned(), value: self.encode_to_vec().into() };
        let rpc_status = RpcStatus { code: i32::from(code), message: message.clone(), details: vec![any] };
        Status::with_details(code, message, Bytes::from(rpc_status.encode_to_vec()))
    }

    /// The detail a failed call carries, or `None` when the status does not come from a Tidelog broker (the
    /// connection broke, a proxy answered).
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = RpcStatus::decode(status.details()).ok()?.details;
        // Only the part after the last slash names the type; the host is the sender's choice.
        let any = details.into_iter().find(|any| any.type_url.ends_with("/tidelog.v1.ErrorDetail"))?;
        Self::decode(any.value).ok()
    }
}

impl From<ErrorDetail> for Status {
    fn from(detail: ErrorDetail) -> Self {
        detail.into_status()
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
