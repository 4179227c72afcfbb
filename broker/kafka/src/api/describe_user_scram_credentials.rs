//! DescribeUserScramCredentials (50): no user has credentials, because clients do not log in.

use std::sync::Arc;

use kafka_wire::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_wire::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::repeated;
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    _context: Arc<Context>,
    _call: Call,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let users: Vec<StrBytes> = request.users.unwrap_or_default().into_iter().map(|user| user.name).collect();
    let twice = repeated(users.iter());
    let result = |user: &StrBytes| {
        let failure = if twice.contains(user) {
            Failure::new(KafkaError::DUPLICATE_RESOURCE, "the user is named twice in one request")
        } else {
            Failure::new(KafkaError::RESOURCE_NOT_FOUND, "there are no users: clients do not log in")
        };
        let (error_code, error_message) = (failure.code(), failure.message());
        message!(DescribeUserScramCredentialsResult { user: user.clone(), error_code, error_message })
    };
    message!(DescribeUserScramCredentialsResponse { results: users.iter().map(result).collect() })
}
