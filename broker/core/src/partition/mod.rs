//! The rules of one partition.

mod append;
mod producer_states;
mod unstable;

pub use append::{AppendDecision, AppendReject, AppendRules, PartitionState, TimestampType};
pub use producer_states::{
    BATCHES_REMEMBERED, ProducerLimits, ProducerRow, ProducerStates, ProducerVerdict, RememberedBatch,
};
