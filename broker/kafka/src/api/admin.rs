//! Which handler answers which of the administrative APIs. None of them need be in the order of appends.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    acls, alter_configs, alter_partition_reassignments, create_partitions, create_topics, delete_records,
    delete_topics, describe_client_quotas, describe_cluster, describe_configs, describe_log_dirs,
    describe_topic_partitions, describe_user_scram_credentials, elect_leaders, incremental_alter_configs,
    list_config_resources, list_partition_reassignments,
};
use crate::context::{Call, Context};
use crate::dispatch::{Pending, Refused, cold};
use crate::versions::{
    ALTER_CONFIGS, ALTER_PARTITION_REASSIGNMENTS, Api, CREATE_ACLS, CREATE_PARTITIONS, CREATE_TOPICS,
    DELETE_ACLS, DELETE_RECORDS, DELETE_TOPICS, DESCRIBE_ACLS, DESCRIBE_CLIENT_QUOTAS, DESCRIBE_CLUSTER,
    DESCRIBE_CONFIGS, DESCRIBE_LOG_DIRS, DESCRIBE_TOPIC_PARTITIONS, DESCRIBE_USER_SCRAM_CREDENTIALS,
    ELECT_LEADERS, INCREMENTAL_ALTER_CONFIGS, LIST_CONFIG_RESOURCES, LIST_PARTITION_REASSIGNMENTS,
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
        DELETE_RECORDS => cold(api, context, call, body, delete_records::handle),
        DESCRIBE_ACLS => cold(api, context, call, body, acls::describe),
        CREATE_ACLS => cold(api, context, call, body, acls::create),
        DELETE_ACLS => cold(api, context, call, body, acls::delete),
        DESCRIBE_LOG_DIRS => cold(api, context, call, body, describe_log_dirs::handle),
        ELECT_LEADERS => cold(api, context, call, body, elect_leaders::handle),
        ALTER_PARTITION_REASSIGNMENTS => {
            cold(api, context, call, body, alter_partition_reassignments::handle)
        }
        LIST_PARTITION_REASSIGNMENTS => cold(api, context, call, body, list_partition_reassignments::handle),
        DESCRIBE_CLIENT_QUOTAS => cold(api, context, call, body, describe_client_quotas::handle),
        DESCRIBE_USER_SCRAM_CREDENTIALS => {
            cold(api, context, call, body, describe_user_scram_credentials::handle)
        }
        DESCRIBE_CLUSTER => cold(api, context, call, body, describe_cluster::handle),
        LIST_CONFIG_RESOURCES => cold(api, context, call, body, list_config_resources::handle),
        DESCRIBE_TOPIC_PARTITIONS => cold(api, context, call, body, describe_topic_partitions::handle),
        _ => super::groups::route(api, context, call, body)?,
    })
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
