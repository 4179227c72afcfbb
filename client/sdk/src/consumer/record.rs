//! What a consumer hands out.

use bytes::Bytes;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};

/// A record read from a partition. Key, value and headers are slices of the response they came in: copy
/// small parts that are kept for long, or they keep the whole response in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The key; absent is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; keys may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The epoch of the partition's owner that stored the record.
    pub leader_epoch: i32,
}

/// Consecutive records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerBatch {
    /// The partition.
    pub partition: TopicPartition,
    /// The records, in order; never empty.
    pub records: Vec<ConsumerRecord>,
    /// The bytes they took on the wire.
    pub wire_bytes: usize,
}
