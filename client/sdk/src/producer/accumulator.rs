//! Collects records into batches, one open batch per partition. Pure: time is an argument.
//!
//! **Invariants:** a record is encoded once, into the buffer that is sent. Batches of a partition are closed
//! and handed out in the order of their records. Batch numbers rise in the order of opening, hence of
//! deadlines. A batch is `unsettled` from its opening until [`Accumulator::settled`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{PartitionIndex, Timestamp, TopicName, limits};
use tokio::time::Instant;

use super::partitioner::{Sticky, partition_of_key};
use super::receipt::{Completion, Receipt};

/// The room a partition's first batch starts with; later ones start with the size of the one before.
const FIRST_BUFFER_BYTES: usize = 4 * 1024;

/// A partition that was written to, by the order of its first use.
pub(super) type LaneId = usize;
/// A batch, by the order of opening.
pub(super) type BatchNumber = u64;
/// A header as the batch builder takes it.
pub(super) type HeaderSlice<'a> = (&'a [u8], Option<&'a [u8]>);

/// How long an open batch waits for more records.
#[derive(Debug, Clone, Copy)]
pub(super) enum Linger {
    /// Always so long.
    Fixed(Duration),
    /// Not at all when nothing of its partition is on the way, else at most so long.
    WhileBusy(Duration),
}

#[derive(Debug, Clone)]
pub(super) struct AccumulatorSettings {
    pub(super) linger: Linger,
    pub(super) batch_bytes: usize,
    pub(super) compression: Compression,
    pub(super) delivery_timeout: Duration,
    /// How long what is known of a topic is trusted.
    pub(super) metadata_max_age: Duration,
    /// Where keyless records start.
    pub(super) random: u32,
}

/// What the broker says of a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicInfo {
    pub(super) partitions: usize,
    /// The topic's `max.message.bytes`.
    pub(super) batch_bytes_max: usize,
    pub(super) fetched_at: Instant,
}

/// A record's parts as they are encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordParts<'a> {
    pub(super) partition: Option<usize>,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [HeaderSlice<'a>],
    /// The most bytes it adds to a batch; also what it counts for in the producer's memory.
    pub(super) size_bound: usize,
}

#[derive(Debug)]
pub(super) struct Appended {
    pub(super) receipt: Receipt,
    /// The sender has something new to look at.
    pub(super) wake: bool,
    /// What is known of the topic is old.
    pub(super) stale: bool,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing is known of the topic.
    UnknownTopic,
    /// The topic is known not to have that partition.
    UnknownPartition { partitions: usize },
    /// No batch of the topic can hold it.
    TooLarge { limit: usize, actual: usize },
}

/// What is known of a closed batch besides its bytes.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) number: BatchNumber,
    pub(super) lane: LaneId,
    pub(super) topic: TopicName,
    pub(super) partition: PartitionIndex,
    /// When its records fail.
    pub(super) deadline: Instant,
    pub(super) records: usize,
    /// The memory its records hold.
    pub(super) reserved: usize,
    /// The largest batch its topic takes.
    pub(super) batch_bytes_max: usize,
    pub(super) completion: Arc<Completion>,
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct ClosedBatch {
    pub(super) ticket: Ticket,
    pub(super) builder: BatchBuilder,
}

#[derive(Debug)]
struct OpenBatch {
    number: BatchNumber,
    ready_at: Instant,
    deadline: Instant,
    builder: BatchBuilder,
    reserved: usize,
    completion: Arc<Completion>,
}

#[derive(Debug)]
struct Lane {
    topic: TopicName,
    partition: PartitionIndex,
    open: Option<OpenBatch>,
    buffer_bytes: usize,
    /// Closed and unsettled batches.
    on_the_way: usize,
}

#[derive(Debug)]
struct Topic {
    info: TopicInfo,
    sticky: Sticky,
    /// Its partitions' lanes.
    lanes: Vec<LaneId>,
}

#[derive(Debug)]
struct Unsettled {
    deadline: Instant,
    completion: Arc<Completion>,
}

#[derive(Debug)]
pub(super) struct Accumulator {
    settings: AccumulatorSettings,
    topics: HashMap<TopicName, Topic>,
    lanes: Vec<Lane>,
    /// Closed batches, to be handed out in this order.
    closed: VecDeque<ClosedBatch>,
    /// Lanes that may have an open batch and nothing on the way.
    idle: VecDeque<LaneId>,
    /// Open batches in the order of opening; those closed since are skipped.
    opened: VecDeque<(LaneId, BatchNumber)>,
    next_number: BatchNumber,
    unsettled: BTreeMap<BatchNumber, Unsettled>,
    unsettled_records: usize,
    unsettled_bytes: usize,
}

impl Accumulator {
    pub(super) fn new(settings: AccumulatorSettings) -> Self {
        Self {
            settings,
            topics: HashMap::new(),
            lanes: Vec::new(),
            closed: VecDeque::new(),
            idle: VecDeque::new(),
            opened: VecDeque::new(),
            next_number: 0,
            unsettled: BTreeMap::new(),
            unsettled_records: 0,
            unsettled_bytes: 0,
        }
    }

    /// Learns about a topic, or learns that it has changed.
    pub(super) fn set_topic(&mut self, name: &TopicName, info: TopicInfo) {
        let random = self.settings.random;
        let new = || Topic { info, sticky: Sticky::new(random), lanes: Vec::new() };
        let topic = self.topics.entry(name.clone()).or_insert_with(new);
        topic.info = info;
        for index in topic.lanes.len()..info.partitions {
            let Some(partition) = i32::try_from(index).ok().and_then(PartitionIndex::new) else { break };
            topic.lanes.push(self.lanes.len());
            self.lanes.push(Lane {
                topic: name.clone(),
                partition,
                open: None,
                buffer_bytes: FIRST_BUFFER_BYTES,
                on_the_way: 0,
            });
        }
    }

    /// When a topic was last asked about, if it is known.
    pub(super) fn fetched_at(&self, name: &TopicName) -> Option<Instant> {
        let info = self.topics.get(name)?.info;
        (info.partitions > 0).then_some(info.fetched_at)
    }

    /// Makes the next record of the topic ask again what it is like.
    pub(super) fn forget_topic(&mut self, name: &TopicName) {
        if let Some(topic) = self.topics.get_mut(name) {
            // The lanes stay: they may have batches.
            topic.info.partitions = 0;
        }
    }

    /// Takes a record into its partition's batch.
    pub(super) fn append(
        &mut self,
        now: Instant,
        topic: &TopicName,
        record: &RecordParts<'_>,
    ) -> Result<Appended, Refusal> {
        let known = self.topics.get(topic).ok_or(Refusal::UnknownTopic)?;
        let info = known.info;
        if info.partitions == 0 {
            return Err(Refusal::UnknownTopic);
        }
        let index = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of_key(key, info.partitions),
            (None, None) => known.sticky.current(info.partitions),
        };
        let lane_id = known.lanes.get(index).filter(|_| index < info.partitions).copied();
        let lane_id = lane_id.ok_or(Refusal::UnknownPartition { partitions: info.partitions })?;
        self.check_size(record, &info)?;
        let limit = self.batch_limit(&info);
        let mut wake = self.make_room(lane_id, record.size_bound, limit);
        wake |= self.open(lane_id, now, record.size_bound, limit);
        let receipt = self.put(lane_id, record).ok_or(Refusal::UnknownTopic)?;
        wake |= self.make_room(lane_id, 1, limit);
        Ok(Appended { receipt, wake, stale: now >= info.fetched_at + self.settings.metadata_max_age })
    }

    /// Refuses what no batch can hold, before compression can be known to help.
    fn check_size(&self, record: &RecordParts<'_>, info: &TopicInfo) -> Result<(), Refusal> {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let actual = length(record.key).saturating_add(length(record.value));
        let limit = match self.settings.compression {
            Compression::None => info.batch_bytes_max,
            _ => limits::UNCOMPRESSED_BATCH_BYTES_MAX,
        };
        if actual > limit { Err(Refusal::TooLarge { limit, actual }) } else { Ok(()) }
    }

    /// The largest batch to collect: what the topic takes bounds it, with a margin for what a codec adds to
    /// bytes that do not compress.
    fn batch_limit(&self, info: &TopicInfo) -> usize {
        let margin = match self.settings.compression {
            Compression::None => 0,
            _ => info.batch_bytes_max / 128 + 64,
        };
        self.settings.batch_bytes.min(info.batch_bytes_max.saturating_sub(margin))
    }

    /// Closes the lane's open batch when it cannot take `more` bytes. Returns whether it did.
    fn make_room(&mut self, lane_id: LaneId, more: usize, limit: usize) -> bool {
        let Some(open) = self.lanes.get(lane_id).and_then(|lane| lane.open.as_ref()) else { return false };
        let records_max = usize::try_from(limits::RECORDS_PER_BATCH_MAX).unwrap_or(usize::MAX);
        let full = open.builder.size_bytes().saturating_add(more) > limit
            || open.builder.record_count() >= records_max;
        full && open.builder.record_count() > 0 && self.close(lane_id)
    }

    /// Opens a batch in the lane when none is. Returns whether it did.
    fn open(&mut self, lane_id: LaneId, now: Instant, first_bytes: usize, limit: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(lane_id).filter(|lane| lane.open.is_none()) else { return false };
        let number = self.next_number;
        self.next_number += 1;
        let deadline = now + self.settings.delivery_timeout;
        let linger = match self.settings.linger {
            Linger::Fixed(linger) => linger,
            Linger::WhileBusy(linger) => {
                if lane.on_the_way == 0 {
                    self.idle.push_back(lane_id);
                }
                linger
            }
        };
        let buffer_bytes = lane.buffer_bytes.min(limit).max(first_bytes);
        let completion = Arc::new(Completion::new(lane.topic.clone(), lane.partition));
        self.unsettled.insert(number, Unsettled { deadline, completion: Arc::clone(&completion) });
        self.opened.push_back((lane_id, number));
        lane.open = Some(OpenBatch {
            number,
            ready_at: now + linger,
            deadline,
            builder: BatchBuilder::new(self.settings.compression, buffer_bytes),
            reserved: 0,
            completion,
        });
        true
    }

    fn put(&mut self, lane_id: LaneId, record: &RecordParts<'_>) -> Option<Receipt> {
        let open = self.lanes.get_mut(lane_id)?.open.as_mut()?;
        let index = u32::try_from(open.builder.record_count()).unwrap_or(u32::MAX);
        open.builder.append(record.timestamp, record.key, record.value, record.headers);
        open.reserved += record.size_bound;
        self.unsettled_bytes += record.size_bound;
        self.unsettled_records += 1;
        Some(Receipt::new(Arc::clone(&open.completion), index, record.timestamp))
    }

    /// Closes the lane's open batch. Returns whether there was one.
    fn close(&mut self, lane_id: LaneId) -> bool {
        let Some(lane) = self.lanes.get_mut(lane_id) else { return false };
        let Some(open) = lane.open.take() else { return false };
        lane.on_the_way += 1;
        lane.buffer_bytes = open.builder.size_bytes();
        let topic = self.topics.get_mut(&lane.topic);
        let batch_bytes_max = topic.map_or(usize::MAX, |topic| {
            let partition = usize::try_from(lane.partition.unsigned()).unwrap_or(usize::MAX);
            topic.sticky.batch_closed(partition, topic.info.partitions);
            topic.info.batch_bytes_max
        });
        let ticket = Ticket {
            number: open.number,
            lane: lane_id,
            topic: lane.topic.clone(),
            partition: lane.partition,
            deadline: open.deadline,
            records: open.builder.record_count(),
            reserved: open.reserved,
            batch_bytes_max,
            completion: open.completion,
        };
        self.closed.push_back(ClosedBatch { ticket, builder: open.builder });
        true
    }

    /// The next batch to send, if one is due.
    pub(super) fn next_ready(&mut self, now: Instant) -> Option<ClosedBatch> {
        if let Some(batch) = self.closed.pop_front() {
            return Some(batch);
        }
        while let Some(lane) = self.idle.pop_front() {
            if self.lanes.get(lane).is_some_and(|lane| lane.on_the_way == 0) && self.close(lane) {
                return self.closed.pop_front();
            }
        }
        while let Some((lane, number)) = self.opened.front().copied() {
            match self.open_batch(lane, number) {
                Some(open) if open.ready_at > now => return None,
                Some(_) => {
                    self.opened.pop_front();
                    self.close(lane);
                    return self.closed.pop_front();
                }
                None => {
                    self.opened.pop_front();
                }
            }
        }
        None
    }

    fn open_batch(&self, lane: LaneId, number: BatchNumber) -> Option<&OpenBatch> {
        let open = self.lanes.get(lane)?.open.as_ref()?;
        (open.number == number).then_some(open)
    }

    /// When [`Self::next_ready`] has something again, if nothing is added or settled. Exact only after it
    /// returned `None`.
    pub(super) fn next_ready_at(&self) -> Option<Instant> {
        let (lane, number) = self.opened.front()?;
        self.open_batch(*lane, *number).map(|open| open.ready_at)
    }

    /// The earliest deadline of any unsettled batch, wherever it is.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unsettled.first_key_value().map(|(_, unsettled)| unsettled.deadline)
    }

    /// Takes out the batches that are still here and past their deadline.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<ClosedBatch> {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        // Deadlines rise along `opened`, so that only its front need be looked at.
        while let Some((lane, number)) = self.opened.front().copied() {
            let open = self.open_batch(lane, number);
            if open.is_some_and(|open| open.deadline > now) {
                break;
            }
            if open.is_some() {
                self.close(lane);
            }
            self.opened.pop_front();
        }
        let (expired, rest) = self.closed.drain(..).partition(|batch| batch.ticket.deadline <= now);
        self.closed = rest;
        Vec::from_iter(expired as VecDeque<_>)
    }

    /// Closes all open batches, so that they are sent at once.
    pub(super) fn close_all(&mut self) {
        let opened = std::mem::take(&mut self.opened);
        for (lane, number) in opened {
            if self.open_batch(lane, number).is_some() {
                self.close(lane);
            }
        }
    }

    /// Takes out everything that is here.
    pub(super) fn take_all(&mut self) -> Vec<ClosedBatch> {
        self.close_all();
        self.closed.drain(..).collect()
    }

    /// Records that a batch handed out before has ended.
    pub(super) fn settled(&mut self, batch: &Ticket) {
        if self.unsettled.remove(&batch.number).is_none() {
            return;
        }
        self.unsettled_records = self.unsettled_records.saturating_sub(batch.records);
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(batch.reserved);
        let Some(state) = self.lanes.get_mut(batch.lane) else { return };
        state.on_the_way = state.on_the_way.saturating_sub(1);
        let eager = matches!(self.settings.linger, Linger::WhileBusy(_));
        if eager && state.on_the_way == 0 && state.open.is_some() {
            self.idle.push_back(batch.lane);
        }
    }

    pub(super) fn unsettled_records(&self) -> usize {
        self.unsettled_records
    }

    pub(super) fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    /// What every batch that is not settled ends with.
    pub(super) fn unsettled(&self) -> Vec<Arc<Completion>> {
        self.unsettled.values().map(|unsettled| Arc::clone(&unsettled.completion)).collect()
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
