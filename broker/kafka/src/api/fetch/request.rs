//! A Fetch request, taken apart.

use bytes::Bytes;

use crate::reader::{ReadError, Reader};
use crate::topic_ref::{TopicForm, TopicRef};

/// The first version in the flexible form.
pub(super) const FLEXIBLE_FROM: i16 = 12;
/// The first version with sessions.
pub(super) const SESSIONS_FROM: i16 = 7;
/// The first version with topic ids.
const IDS_FROM: i16 = 13;
/// The fewest bytes of a partition: its index, an offset and a limit.
const PARTITION_BYTES_MIN: usize = 16;

/// The body of a Fetch request, from version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchRequest {
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) isolation_level: i8,
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) topics: Vec<FetchTopic>,
    /// What a session no longer wants.
    pub(crate) forgotten: Vec<ForgottenTopic>,
}

/// What is wanted of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchTopic {
    pub(crate) topic: TopicRef,
    pub(crate) partitions: Vec<FetchPartition>,
}

/// What is wanted of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchPartition {
    pub(crate) index: i32,
    /// The epoch in which the client believes it to be led; -1 when that does not matter.
    pub(crate) current_leader_epoch: i32,
    pub(crate) offset: i64,
    /// The epoch of the record before `offset`, if the client knows and wants to know whether that still holds.
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

/// Partitions of one topic that a session no longer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForgottenTopic {
    pub(crate) topic: TopicRef,
    pub(crate) partitions: Vec<i32>,
}

impl FetchRequest {
    /// Takes a body apart.
    pub(crate) fn read(body: Bytes, version: i16) -> Result<Self, ReadError> {
        let mut reader = Reader::new(body, version >= FLEXIBLE_FROM);
        let form = if version >= IDS_FROM { TopicForm::Ids } else { TopicForm::Names };
        if version < 15 {
            // The replica id: consumers send -1, and there are no replicas here.
            reader.i32()?;
        }
        let (max_wait_ms, min_bytes, max_bytes) = (reader.i32()?, reader.i32()?, reader.i32()?);
        let isolation_level = reader.i8()?;
        let with_sessions = version >= SESSIONS_FROM;
        let (session_id, session_epoch) =
            if with_sessions { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let topics = array(&mut reader, |reader| FetchTopic::read(reader, form, version))?;
        let forgotten = if with_sessions {
            array(&mut reader, |reader| ForgottenTopic::read(reader, form))?
        } else {
            Vec::new()
        };
        if version >= 11 {
            // The rack: all replicas of a partition are in one.
            reader.string()?;
        }
        reader.tags()?;
        Ok(Self {
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten,
        })
    }
}

/// An array of topics.
fn array<T>(
    reader: &mut Reader,
    mut read: impl FnMut(&mut Reader) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let count = reader.array(TopicRef::BYTES_MIN)?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(read(reader)?);
    }
    Ok(topics)
}

impl FetchTopic {
    fn read(reader: &mut Reader, form: TopicForm, version: i16) -> Result<Self, ReadError> {
        let topic = TopicRef::read(reader, form)?;
        let count = reader.array(PARTITION_BYTES_MIN)?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(FetchPartition::read(reader, version)?);
        }
        reader.tags()?;
        Ok(Self { topic, partitions })
    }
}

impl FetchPartition {
    fn read(reader: &mut Reader, version: i16) -> Result<Self, ReadError> {
        let index = reader.i32()?;
        let current_leader_epoch = if version >= 9 { reader.i32()? } else { -1 };
        let offset = reader.i64()?;
        let last_fetched_epoch = if version >= FLEXIBLE_FROM { reader.i32()? } else { -1 };
        if version >= 5 {
            // The log start of a follower.
            reader.i64()?;
        }
        let max_bytes = reader.i32()?;
        reader.tags()?;
        Ok(Self { index, current_leader_epoch, offset, last_fetched_epoch, max_bytes })
    }
}

impl ForgottenTopic {
    fn read(reader: &mut Reader, form: TopicForm) -> Result<Self, ReadError> {
        let topic = TopicRef::read(reader, form)?;
        let count = reader.array(size_of::<i32>())?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(reader.i32()?);
        }
        reader.tags()?;
        Ok(Self { topic, partitions })
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
