//! The shared words of Tidelog: ids, names, limits, error codes, and record batch v2 as bytes.
//!
//! Pure: no I/O, no clock, no randomness. Every crate of the workspace may use this one; it uses none of
//! them.
//!
//! **Invariant:** [`batch::RecordBatch`] is only made by the validator or the builder, and
//! [`batch::AssignedBatch`] only by stamping a `RecordBatch`; whoever holds one may rely on its layout.

pub mod batch;
pub mod error_code;
mod frame;
pub mod ids;
pub mod limits;
pub mod partitioner;
pub mod record;
pub mod topic_name;
pub mod varint;

pub use error_code::ErrorCode;
pub use ids::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
    TopicPartition,
};
pub use topic_name::{GroupId, TopicName};
