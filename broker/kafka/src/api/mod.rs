//! One file per API: what it does, and what differs between its versions.

pub(crate) mod admin;
mod alter_configs;
pub(crate) mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_configs;
mod incremental_alter_configs;
pub(crate) mod fetch;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
