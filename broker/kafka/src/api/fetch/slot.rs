//! One partition of a fetch: where it is read, what was read, and why it cannot be.

use std::sync::Arc;

use tidelog_model::{LeaderEpoch, Offset};
use tidelog_runtime::{Extent, Located, Partition, Topic};
use tokio::sync::Semaphore;

use super::answer::{Fetched, PartitionAnswer};
use super::request::FetchPartition;
use crate::error::KafkaError;
use crate::response::Records;
use crate::topic_ref::{check_epoch, find_partition};

/// Up to so many bytes of records leave together with what is written around them.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

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
    records: Vec<Records>,
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

    /// Finds about `room` bytes; a first batch of any size where `oversized` is allowed. What is held in memory
    /// has its place in `memory`.
    pub(super) async fn read(&mut self, room: usize, oversized: bool, memory: &Arc<Semaphore>) -> Read {
        let State::Reading(reading) = &mut self.state else { return Read::Failed };
        match reading.read(room, oversized, memory).await {
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
    async fn read(
        &mut self,
        room: usize,
        oversized: bool,
        memory: &Arc<Semaphore>,
    ) -> Result<Read, KafkaError> {
        let own = self.bytes_max.saturating_sub(self.size);
        let allowed = room.min(own);
        let no_room = if own < room { Read::Filled } else { Read::Full };
        if allowed == 0 && !oversized {
            self.filled = true;
            return Ok(no_room);
        }
        let extent = match self.partition.locate(self.next, allowed).await.map_err(|error| error.code)? {
            Located::Batches(extent) => extent,
            Located::AtEnd(next) => {
                self.next = next;
                return Ok(Read::AtEnd);
            }
        };
        let (size, next) = (extent.size(), extent.next_offset());
        if size > allowed && !oversized {
            self.filled = true;
            return Ok(no_room);
        }
        self.records.push(records(extent, memory).await?);
        self.next = next;
        self.size = self.size.saturating_add(size);
        Ok(Read::Bytes(size))
    }
}

/// Few records are read at once, as long as there is room for them.
async fn records(extent: Extent, memory: &Arc<Semaphore>) -> Result<Records, KafkaError> {
    let size = extent.size();
    let room = u32::try_from(size).ok().filter(|_| size <= GATHERED_BYTES_MAX);
    let permit = room.and_then(|room| Arc::clone(memory).try_acquire_many_owned(room).ok());
    let Some(permit) = permit else { return Ok(Records::Extent(extent)) };
    let bytes = extent.read(0, size).await.map_err(|error| error.code)?;
    Ok(Records::Bytes(bytes, Some(permit)))
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

fn fetched(partition: &Partition, diverging: Option<(i32, i64)>, records: Vec<Records>) -> Fetched {
    let marks = partition.readable();
    Fetched {
        high_watermark: marks.high_watermark.get(),
        last_stable: marks.last_stable.get(),
        log_start: marks.log_start.get(),
        diverging,
        records,
    }
}
