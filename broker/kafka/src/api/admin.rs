//! Which handler answers which of the administrative APIs. None of them need be in the order of appends.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    alter_configs, create_partitions, create_topics, delete_topics, describe_configs,
    incremental_alter_configs,
};
use crate::context::{Call, Context};
use crate::dispatch::{Pending, Refused, cold};
use crate::versions::{
    ALTER_CONFIGS, Api, CREATE_PARTITIONS, CREATE_TOPICS, DELETE_TOPICS, DESCRIBE_CONFIGS,
    INCREMENTAL_ALTER_CONFIGS,
};

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
        DESCRIBE_CONFIGS => cold(api, context, call, body, describe_configs::handle),
        INCREMENTAL_ALTER_CONFIGS => cold(api, context, call, body, incremental_alter_configs::handle),
        ALTER_CONFIGS => cold(api, context, call, body, alter_configs::handle),
        key => return Err(Refused::UnknownApi { key }),
    })
}
