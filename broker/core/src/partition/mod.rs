//! The rules of one partition.

mod append;

pub use append::{AppendReject, AppendRules, PartitionState, TimestampType};
