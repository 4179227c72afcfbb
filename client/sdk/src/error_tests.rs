//! How broker codes and gRPC statuses become the kinds a program acts on.

use super::*;

const URL: &str = "http://127.0.0.1:9640";

#[test]
fn the_brokers_detail_wins_over_the_status_code() {
    let mut detail =
        ErrorDetail::new(ErrorCode::MessageTooLarge, "the batch has 20 bytes, at most 10 are allowed")
            .with_field("record_batch")
            .with_limit(10, 20);
    detail.retry_after_ms = Some(1500);
    let error = Error::from_status(&detail.into_status(), URL);
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.code(), Some("MESSAGE_TOO_LARGE"));
    assert_eq!(error.to_string(), "the batch has 20 bytes, at most 10 are allowed");
    assert_eq!((error.limit(), error.actual()), (Some(10), Some(20)));
    assert_eq!(error.field(), Some("record_batch"));
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
    assert!(!error.is_retryable() && !error.may_have_been_written());
}

#[test]
fn every_code_keeps_its_answers_to_retry_and_written() {
    let cases = [
        (ErrorCode::UnknownTopicOrPartition, ErrorKind::NotFound),
        (ErrorCode::TopicAlreadyExists, ErrorKind::Conflict),
        (ErrorCode::InvalidName, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidPartitions, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidConfig, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidRequest, ErrorKind::InvalidRequest),
        (ErrorCode::InternalTopic, ErrorKind::Denied),
        (ErrorCode::CorruptMessage, ErrorKind::InvalidRecord),
        (ErrorCode::InvalidRecord, ErrorKind::InvalidRecord),
        (ErrorCode::MessageTooLarge, ErrorKind::TooLarge),
        (ErrorCode::UnsupportedCompression, ErrorKind::InvalidRecord),
        (ErrorCode::InvalidTimestamp, ErrorKind::InvalidRecord),
        (ErrorCode::OffsetOutOfRange, ErrorKind::OutOfRange),
        (ErrorCode::OutOfOrder, ErrorKind::Conflict),
        (ErrorCode::OutOfOrderSequence, ErrorKind::Conflict),
        (ErrorCode::InvalidProducerEpoch, ErrorKind::Conflict),
        (ErrorCode::StorageFailed, ErrorKind::Storage),
        (ErrorCode::DiskFull, ErrorKind::Storage),
        (ErrorCode::CorruptLog, ErrorKind::Storage),
        (ErrorCode::Overloaded, ErrorKind::Throttled),
        (ErrorCode::ShuttingDown, ErrorKind::Unreachable),
        (ErrorCode::FencedGeneration, ErrorKind::Conflict),
        (ErrorCode::UnknownMemberId, ErrorKind::Conflict),
        (ErrorCode::IllegalGeneration, ErrorKind::Conflict),
        (ErrorCode::RebalanceInProgress, ErrorKind::Conflict),
        (ErrorCode::MemberIdRequired, ErrorKind::Conflict),
        (ErrorCode::FencedInstanceId, ErrorKind::Conflict),
        (ErrorCode::UnreleasedInstanceId, ErrorKind::Conflict),
        (ErrorCode::FencedMemberEpoch, ErrorKind::Conflict),
        (ErrorCode::StaleMemberEpoch, ErrorKind::Conflict),
        (ErrorCode::InconsistentGroupProtocol, ErrorKind::InvalidRequest),
        (ErrorCode::UnsupportedAssignor, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidRegularExpression, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidSessionTimeout, ErrorKind::InvalidRequest),
        (ErrorCode::InvalidGroupId, ErrorKind::InvalidRequest),
        (ErrorCode::OffsetMetadataTooLarge, ErrorKind::InvalidRequest),
        (ErrorCode::GroupMaxSizeReached, ErrorKind::Throttled),
        (ErrorCode::NonEmptyGroup, ErrorKind::Conflict),
        (ErrorCode::GroupIdNotFound, ErrorKind::NotFound),
        (ErrorCode::GroupAlreadyExists, ErrorKind::Conflict),
        (ErrorCode::GroupSubscribedToTopic, ErrorKind::Conflict),
        (ErrorCode::CoordinatorNotAvailable, ErrorKind::Unreachable),
        (ErrorCode::Internal, ErrorKind::Internal),
    ];
    for (code, kind) in cases {
        let error = Error::from_detail(ErrorDetail::new(code, "why"));
        assert_eq!(error.kind(), kind, "{code}");
        assert_eq!(error.is_retryable(), code.is_retryable(), "{code}");
        assert_eq!(error.may_have_been_written(), code.may_have_been_written(), "{code}");
    }
}

#[test]
fn statuses_without_detail_become_the_kind_a_program_can_act_on() {
    let cases = [
        (Status::unavailable("tcp connect error"), ErrorKind::Unreachable, true),
        (Status::unknown("transport error"), ErrorKind::Unreachable, true),
        (Status::deadline_exceeded(""), ErrorKind::Timeout, true),
        (Status::resource_exhausted("slow"), ErrorKind::Throttled, true),
        (Status::out_of_range("message too large"), ErrorKind::TooLarge, false),
        (Status::unimplemented("no such service"), ErrorKind::Protocol, false),
        (Status::unauthenticated("who"), ErrorKind::Denied, false),
        (Status::internal("a bug"), ErrorKind::Internal, false),
    ];
    for (status, kind, retryable) in cases {
        let error = Error::from_status(&status, URL);
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status}");
    }
}

#[test]
fn the_text_names_cause_remedy_and_partition() {
    let error = Error::from_status(&Status::unavailable("refused"), URL);
    assert_eq!(
        error.to_string(),
        "cannot reach the broker at http://127.0.0.1:9640: refused (check that the broker runs, and that this is \
         the address of its API, whose port is 9640 by default, and not the one for Kafka clients)"
    );
    let topic = tidelog_model::TopicName::new("orders").unwrap();
    let partition = TopicPartition { topic, partition: tidelog_model::PartitionIndex::ZERO };
    let error = Error::closed("producer").with_partition(partition);
    assert_eq!(error.to_string(), "orders-0: the producer is closed");
}

#[test]
fn a_change_leaves_clones_alone_and_written_is_never_taken_back() {
    let error = Error::closed("producer");
    let written = error.clone().maybe_written(true).maybe_written(false);
    assert!(written.may_have_been_written());
    assert!(!error.may_have_been_written());
}
