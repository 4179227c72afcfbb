//! One file per API: what it does, and what differs between its versions.

pub(crate) mod admin;
pub(crate) mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_topics;
pub(crate) mod metadata;
pub(crate) mod produce;
