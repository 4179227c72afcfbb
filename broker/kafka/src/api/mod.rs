//! One file per API: what it does, and what differs between its versions.

pub(crate) mod api_versions;
pub(crate) mod metadata;
