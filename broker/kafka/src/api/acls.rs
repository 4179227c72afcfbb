//! DescribeAcls (29), CreateAcls (30) and DeleteAcls (31): there is no authorizer, and clients are told so in the
//! way Kafka tells them when it has none.

use std::sync::Arc;

use kafka_wire::create_acls_response::AclCreationResult;
use kafka_wire::delete_acls_response::DeleteAclsFilterResult;
use kafka_wire::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::message;

fn disabled() -> Failure {
    Failure::new(KafkaError::SECURITY_DISABLED, "there are no ACLs: every client may do everything")
}

pub(crate) async fn describe(
    _context: Arc<Context>,
    _call: Call,
    _request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    let failure = disabled();
    message!(DescribeAclsResponse { error_code: failure.code(), error_message: failure.message() })
}

pub(crate) async fn create(
    _context: Arc<Context>,
    _call: Call,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let failure = disabled();
    let (error_code, error_message) = (failure.code(), failure.message());
    let refused = message!(AclCreationResult { error_code, error_message });
    message!(CreateAclsResponse { results: vec![refused; request.creations.len()] })
}

pub(crate) async fn delete(
    _context: Arc<Context>,
    _call: Call,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let failure = disabled();
    let (error_code, error_message) = (failure.code(), failure.message());
    let refused = message!(DeleteAclsFilterResult { error_code, error_message });
    message!(DeleteAclsResponse { filter_results: vec![refused; request.filters.len()] })
}
