//! Which handler answers which of the administrative APIs. None of them need be in the order of appends.

use std::sync::Arc;

use bytes::Bytes;

use super::{create_partitions, create_topics, delete_topics};
use crate::context::{Call, Context};
use crate::dispatch::{Pending, Refused, cold};
use crate::versions::{Api, CREATE_PARTITIONS, CREATE_TOPICS, DELETE_TOPICS};

/// Begins an administrative request.
pub(crate) fn route(
    api: &'static Api,
    context: Arc<Context>,
    call: Call,
    body: Bytes,
) -> Result<Pending, Refused> {
    Ok(match api.key {
        CREATE_TOPICS => cold(api, context, call, body, create_topics::handle),
        DELETE_TOPICS => cold(api, context, call, body, delete_topics::handle),
        CREATE_PARTITIONS => cold(api, context, call, body, create_partitions::handle),
        key => return Err(Refused::UnknownApi { key }),
    })
}
