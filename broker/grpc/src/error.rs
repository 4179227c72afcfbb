//! Errors on their way out: the broker's, and those that the services find themselves.

use tidelog_model::ErrorCode;
use tidelog_model::topic_name::NameError;
use tidelog_proto::v1::ErrorDetail;
use tidelog_runtime::BrokerError;
use tonic::Status;

/// A failure with nothing but its code and its text.
pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> BrokerError {
    BrokerError::new(code, message)
}

/// A field that is missing or out of range.
pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> BrokerError {
    failure(ErrorCode::InvalidRequest, message).field(field)
}

/// A field that holds more than the limit.
pub(crate) fn too_many(field: &'static str, what: &str, limit: usize, actual: usize) -> BrokerError {
    let message = format!("{field}: {actual} {what} in one request, at most {limit} are allowed: split it");
    over_limit(ErrorCode::InvalidRequest, field, limit, actual, message)
}

/// A limit that was passed.
pub(crate) fn over_limit(
    code: ErrorCode,
    field: &'static str,
    limit: usize,
    actual: usize,
    message: String,
) -> BrokerError {
    let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    failure(code, message).field(field).limit(signed(limit), signed(actual))
}

/// How much of a bad name is repeated to the client.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// A name that breaks the rules for names.
pub(crate) fn bad_name(field: &'static str, name: &str, error: &NameError) -> BrokerError {
    match error {
        NameError::TooLong { limit, actual, .. } => {
            over_limit(ErrorCode::InvalidName, field, *limit, *actual, error.to_string())
        }
        NameError::Character { .. } => {
            let quoted: String = name.chars().take(QUOTED_CHARACTERS_MAX).collect();
            failure(ErrorCode::InvalidName, format!("{quoted:?}: {error}")).field(field)
        }
        NameError::Empty { .. } | NameError::Dots { .. } => {
            failure(ErrorCode::InvalidName, error.to_string()).field(field)
        }
    }
}

/// The broker is going away; what was asked may be asked again elsewhere or later.
pub(crate) fn shutting_down() -> BrokerError {
    failure(ErrorCode::ShuttingDown, "the broker is shutting down: connect again and repeat the call")
}

/// The failure as it stands in responses.
pub(crate) fn detail(error: BrokerError) -> ErrorDetail {
    ErrorDetail {
        field: error.field.unwrap_or_default().to_owned(),
        limit: error.limit,
        actual: error.actual,
        retry_after_ms: error.retry_after_ms,
        ..ErrorDetail::new(error.code, error.message)
    }
}

/// The failure as the status of the whole call.
pub(crate) fn status(error: BrokerError) -> Status {
    detail(error).into_status()
}
