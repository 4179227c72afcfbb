//! The rules of one partition.

mod append;
mod producer_states;

pub use append::{AppendDecision, AppendReject, AppendRules, PartitionState, TimestampType};
pub use producer_states::{
    BATCHES_REMEMBERED, ProducerLimits, ProducerStates, ProducerVerdict, RememberedBatch,
};
