//! A Produce request, taken apart without copying: the records of each partition are a slice of the frame.

use bytes::Bytes;

use crate::reader::{ReadError, Reader};
use crate::topic_ref::{TopicForm, TopicRef};
use crate::wire::StrBytes;

/// The first version in the flexible form.
pub(super) const FLEXIBLE_FROM: i16 = 9;
/// The first version with topic ids.
const IDS_FROM: i16 = 13;
/// The fewest bytes of a partition: its index and a length.
const PARTITION_BYTES_MIN: usize = 5;

/// The body of a Produce request, from version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProduceRequest {
    pub(crate) transactional_id: Option<StrBytes>,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) topics: Vec<ProduceTopic>,
}

/// What is for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProduceTopic {
    pub(crate) topic: TopicRef,
    pub(crate) partitions: Vec<ProducePartition>,
}

/// What is for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducePartition {
    pub(crate) index: i32,
    pub(crate) records: Option<Bytes>,
}

impl ProduceRequest {
    /// Takes a body apart.
    pub(crate) fn read(body: Bytes, version: i16) -> Result<Self, ReadError> {
        let mut reader = Reader::new(body, version >= FLEXIBLE_FROM);
        let form = if version >= IDS_FROM { TopicForm::Ids } else { TopicForm::Names };
        let transactional_id = reader.nullable_string()?;
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let count = reader.array(TopicRef::BYTES_MIN)?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            topics.push(ProduceTopic::read(&mut reader, form)?);
        }
        reader.tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

impl ProduceTopic {
    fn read(reader: &mut Reader, form: TopicForm) -> Result<Self, ReadError> {
        let topic = TopicRef::read(reader, form)?;
        let count = reader.array(PARTITION_BYTES_MIN)?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            let (index, records) = (reader.i32()?, reader.nullable_bytes()?);
            reader.tags()?;
            partitions.push(ProducePartition { index, records });
        }
        reader.tags()?;
        Ok(Self { topic, partitions })
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
