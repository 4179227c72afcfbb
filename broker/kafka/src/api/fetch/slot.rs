//! One partition of a fetch: where it is read, what was read, and why it cannot be.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Offset};
use tidelog_runtime::{Partition, Topic};

use super::answer::{Fetched, PartitionAnswer};
use super::request::FetchPartition;
use crate::error::KafkaError;
use crate::topic_ref::{check_epoch, find_partition};

/// A partition in the making of its answer.
#[derive(Debug)]
pub(super) struct Slot {
    index: i32,
    state: State,
}

#[derive(Debug)]
enum State {
    Failed(KafkaError),
    /// The client's log and this one have parted: nothing is read.
    Diverging(Arc<Partition>, (i32, i64)),
    Reading(Reading),
}

/// What is read of a partition.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) partition: Arc<Partition>,
    /// Where the next read starts.
    next: Offset,
    bytes_max: usize,
    size: usize,
    records: Vec<Bytes>,
    /// Nothing more fits.
    filled: bool,
}

/// What a read of a slot came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes more.
    Bytes(usize),
    /// There is nothing more at the moment.
    AtEnd,
    /// There is more, and this partition may give no more.
    Filled,
    /// There is more, and it does not fit into the response.
    Full,
    /// The partition cannot be read.
    Failed,
}

impl Slot {
    pub(super) fn new(topic: &Result<Arc<Topic>, KafkaError>, asked: FetchPartition) -> Self {
        let state = open(topic, asked).unwrap_or_else(State::Failed);
        Self { index: asked.index, state }
    }

    /// Whether it has something that the client should hear of at once.
    pub(super) const fn is_urgent(&self) -> bool {
        matches!(self.state, State::Failed(_) | State::Diverging(..))
    }

    /// The partition, as long as more of it can be read.
    pub(super) fn readable(&self) -> Option<&Arc<Partition>> {
        match &self.state {
            State::Reading(reading) if !reading.filled => Some(&reading.partition),
            _ => None,
        }
    }

    /// How many more bytes the client takes of it.
    pub(super) const fn wanted(&self) -> usize {
        match &self.state {
            State::Reading(reading) => reading.bytes_max.saturating_sub(reading.size),
            State::Failed(_) | State::Diverging(..) => 0,
        }
    }

    /// Reads about `room` bytes; a first batch of any size where `oversized` is allowed.
    pub(super) async fn read(&mut self, room: usize, oversized: bool) -> Read {
        let State::Reading(reading) = &mut self.state else { return Read::Failed };
        match reading.read(room, oversized).await {
            Ok(read) => read,
            Err(error) => {
                // What was read before is sent first; the error is there when the client asks again.
                if reading.size == 0 {
                    self.state = State::Failed(error);
                } else {
                    reading.filled = true;
                }
                Read::Failed
            }
        }
    }

    pub(super) fn into_answer(self) -> PartitionAnswer {
        let outcome = match self.state {
            State::Failed(error) => Err(error),
            State::Diverging(partition, end) => Ok(fetched(&partition, Some(end), Vec::new())),
            State::Reading(reading) => Ok(fetched(&reading.partition, None, reading.records)),
        };
        PartitionAnswer { index: self.index, outcome }
    }
}

impl Reading {
    async fn read(&mut self, room: usize, oversized: bool) -> Result<Read, KafkaError> {
        let own = self.bytes_max.saturating_sub(self.size);
        let allowed = room.min(own);
        let no_room = if own < room { Read::Filled } else { Read::Full };
        if allowed == 0 && !oversized {
            self.filled = true;
            return Ok(no_room);
        }
        let slice = self.partition.read(self.next, allowed).await.map_err(|error| error.code)?;
        let size = slice.bytes.len();
        if size > allowed && !oversized {
            self.filled = true;
            return Ok(no_room);
        }
        self.next = slice.next_offset;
        if size == 0 {
            return Ok(Read::AtEnd);
        }
        self.size = self.size.saturating_add(size);
        self.records.push(slice.bytes);
        Ok(Read::Bytes(size))
    }
}

fn open(topic: &Result<Arc<Topic>, KafkaError>, asked: FetchPartition) -> Result<State, KafkaError> {
    let topic = topic.as_ref().map_err(|error| *error)?;
    let partition = find_partition(topic, asked.index).map_err(|failure| failure.error)?;
    check_epoch(&partition, asked.current_leader_epoch).map_err(|failure| failure.error)?;
    let next = Offset::new(asked.offset).ok_or(KafkaError::OFFSET_OUT_OF_RANGE)?;
    if let Some(end) = diverging(&partition, asked.last_fetched_epoch, next)? {
        return Ok(State::Diverging(partition, end));
    }
    let bytes_max = usize::try_from(asked.max_bytes).unwrap_or(0);
    Ok(State::Reading(Reading { partition, next, bytes_max, size: 0, records: Vec::new(), filled: false }))
}

/// Where the client's log and this one parted, if the record before `next` was not written in `epoch` here
/// (KIP-595).
fn diverging(partition: &Partition, epoch: i32, next: Offset) -> Result<Option<(i32, i64)>, KafkaError> {
    let Some(epoch) = LeaderEpoch::new(epoch) else { return Ok(None) };
    let end = partition.epoch_end(epoch).map_err(|error| error.code)?;
    let (known, end) = end.ok_or(KafkaError::OFFSET_OUT_OF_RANGE)?;
    Ok((known != epoch || end < next).then_some((known.get(), end.get())))
}

fn fetched(partition: &Partition, diverging: Option<(i32, i64)>, records: Vec<Bytes>) -> Fetched {
    let marks = partition.readable();
    Fetched {
        high_watermark: marks.high_watermark.get(),
        last_stable: marks.last_stable.get(),
        log_start: marks.log_start.get(),
        diverging,
        records,
    }
}
