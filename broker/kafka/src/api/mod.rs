//! One file per API: what it does, and what differs between its versions.

mod acls;
pub(crate) mod admin;
mod alter_configs;
mod alter_partition_reassignments;
pub(crate) mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
mod elect_leaders;
pub(crate) mod fetch;
mod incremental_alter_configs;
mod list_config_resources;
pub(crate) mod list_offsets;
mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
