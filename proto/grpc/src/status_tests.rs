//! A failure survives the way through a gRPC status, and every code has a place there.

use std::collections::BTreeSet;

use prost::Message;
use tidelog_model::ErrorCode;
use tonic::{Code, Status};

use crate::status::grpc_code;
use crate::v1::{ErrorDetail, RpcStatus};

#[test]
fn every_code_survives_the_way_through_a_status() {
    for code in ErrorCode::ALL {
        let detail = ErrorDetail::new(code, format!("{code} happened")).with_field("x").with_limit(5, 6);
        let status = Status::from(detail.clone());
        assert_eq!(status.code(), grpc_code(code));
        assert_eq!(status.message(), detail.message);
        let read = ErrorDetail::from_status(&status).unwrap();
        assert_eq!(read, detail);
        assert_eq!(read.error_code(), Some(code));
    }
}

#[test]
fn codes_have_unique_names_and_are_found_by_them() {
    let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_name(code.name()), Some(code));
    }
    assert_eq!(ErrorCode::from_name("NO_SUCH_CODE"), None);
    assert_eq!(ErrorCode::from_name(""), None);
}

#[test]
fn no_failure_is_reported_as_success_or_as_a_connection_trouble_it_is_not() {
    for code in ErrorCode::ALL {
        assert!(!matches!(grpc_code(code), Code::Ok | Code::Cancelled | Code::DeadlineExceeded), "{code}");
        // Generic clients retry UNAVAILABLE by themselves: only what can be retried may say so.
        if grpc_code(code) == Code::Unavailable {
            assert!(code.is_retryable(), "{code}");
        }
    }
}

#[test]
fn the_details_are_a_google_rpc_status_with_an_any() {
    let status = ErrorDetail::new(ErrorCode::DiskFull, "no room").into_status();
    let rpc_status = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(rpc_status.code, i32::from(Code::ResourceExhausted));
    assert_eq!(rpc_status.message, "no room");
    assert_eq!(rpc_status.details.len(), 1);
    assert_eq!(rpc_status.details[0].type_url, "type.googleapis.com/tidelog.v1.ErrorDetail");
    assert!(ErrorDetail::from_status(&status).unwrap().retryable);
}

#[test]
fn statuses_of_others_have_no_detail() {
    assert_eq!(ErrorDetail::from_status(&Status::unavailable("connection refused")), None);
    let garbage = Status::with_details(Code::Internal, "x", bytes::Bytes::from_static(b"\xff\xff\xff"));
    assert_eq!(ErrorDetail::from_status(&garbage), None);
    let unknown = ErrorDetail { code: "FROM_THE_FUTURE".to_owned(), ..ErrorDetail::default() };
    assert_eq!(unknown.error_code(), None);
    assert_eq!(unknown.into_status().code(), Code::Unknown);
}
