//! Reads the ranges of a replay: as the records come, or merged by time.
//!
//! **Invariant:** [`Source::positions`] never passes a record that was not handed out.

use std::collections::VecDeque;

use futures::future::join_all;
use tidelog_client::{
    Client, Consumer, ConsumerBatch, ConsumerRecord, Error, Offset, Position, ReadFilter, TopicPartition,
};

use crate::failure::Failure;

/// Merging reads each partition on a connection of its own.
const MERGED_MAX: usize = 256;
/// What the broker may send ahead, over all connections.
const CREDIT_BYTES: usize = 32 * 1024 * 1024;
/// What it may send ahead at least on each connection.
const CREDIT_BYTES_MIN: usize = 64 * 1024;
/// Merged records that are handed out at once.
const MERGED_BATCH: usize = 256;

/// What is left to read of a partition: from the first offset to before the second.
pub(super) type Left = (TopicPartition, Offset, Offset);

/// In which order records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// In order within each partition, whichever partition has some.
    AsTheyCome,
    /// By time over all partitions, as far as each of them is in order of time itself.
    ByTime,
}

/// Reads ranges of partitions to their ends.
#[derive(Debug)]
pub(super) enum Source {
    /// There is nothing to read.
    Empty,
    /// One stream of all partitions.
    Mixed(Box<Consumer>),
    /// A stream for each partition.
    Merged(Vec<Reader>),
}

/// One partition of a merge.
#[derive(Debug)]
pub(super) struct Reader {
    id: TopicPartition,
    /// `None` when it has come to its end.
    consumer: Option<Consumer>,
    /// Read and not handed out.
    records: VecDeque<ConsumerRecord>,
    /// Where reading stands when nothing is waiting.
    position: Offset,
    failed: Option<Error>,
}

impl Source {
    /// Starts reading; only records that pass `filter` are handed out.
    pub(super) async fn open(
        client: &Client,
        left: &[Left],
        filter: &ReadFilter,
        order: Order,
    ) -> Result<Self, Failure> {
        if left.is_empty() {
            return Ok(Self::Empty);
        }
        if order == Order::AsTheyCome || left.len() == 1 {
            let consumer = consumer(client, left, filter, CREDIT_BYTES).await?;
            return Ok(Self::Mixed(Box::new(consumer)));
        }
        if left.len() > MERGED_MAX {
            let message = format!("cannot merge {} partitions by time: at most {MERGED_MAX}", left.len());
            return Err(Failure::usage(message).with_help("choose fewer with --partition, or use --rate"));
        }
        let credit = (CREDIT_BYTES / left.len()).max(CREDIT_BYTES_MIN);
        let open = left.iter().map(|part| async move {
            let consumer = consumer(client, std::slice::from_ref(part), filter, credit).await?;
            let (id, position) = (part.0.clone(), part.1);
            Ok(Reader { id, consumer: Some(consumer), records: VecDeque::new(), position, failed: None })
        });
        let readers: Result<Vec<Reader>, Failure> = join_all(open).await.into_iter().collect();
        readers.map(Self::Merged)
    }

    /// The next records; `None` at the end of all ranges. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<ConsumerRecord>, Error>> {
        match self {
            Self::Empty => None,
            Self::Mixed(consumer) => {
                consumer.next_batch().await.map(|batch| batch.map(|ConsumerBatch { records, .. }| records))
            }
            Self::Merged(readers) => merge(readers).await,
        }
    }

    /// Reads no more of a partition.
    pub(super) fn stop(&mut self, id: &TopicPartition) {
        match self {
            Self::Empty => {}
            // It reads this partition: the record that was one too many came from there.
            Self::Mixed(consumer) => drop(consumer.pause(std::slice::from_ref(id))),
            Self::Merged(readers) => readers.retain(|reader| reader.id != *id),
        }
    }

    /// How far each partition was read: everything below was handed out or does not pass the filter. Only
    /// between two calls of [`Self::next`], with everything done that the last one gave.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        match self {
            Self::Empty => Vec::new(),
            Self::Mixed(consumer) => consumer.positions().into_iter().collect(),
            Self::Merged(readers) => {
                readers.iter().map(|reader| (reader.id.clone(), reader.stands_at())).collect()
            }
        }
    }
}

async fn consumer(
    client: &Client,
    left: &[Left],
    filter: &ReadFilter,
    credit_bytes: usize,
) -> Result<Consumer, Failure> {
    let mut builder = client.consumer().filter(filter.clone()).credit_bytes(credit_bytes);
    for (id, next, end) in left {
        builder = builder.partition(id.topic.as_str(), id.partition.get(), Position::Offset(*next));
        builder = builder.until([(id.clone(), *end)]);
    }
    Ok(builder.build().await?)
}

/// Records in order of time, as many as can be told without waiting, but at least one.
async fn merge(readers: &mut [Reader]) -> Option<Result<Vec<ConsumerRecord>, Error>> {
    join_all(readers.iter_mut().map(Reader::fill)).await;
    if let Some(error) = readers.iter_mut().find_map(|reader| reader.failed.take()) {
        return Some(Err(error));
    }
    let mut merged = Vec::new();
    // Until a partition runs dry: what it has next may be the oldest.
    while merged.len() < MERGED_BATCH && readers.iter().all(|reader| !reader.is_dry()) {
        let oldest = readers.iter_mut().filter(|reader| !reader.records.is_empty());
        let oldest = oldest.min_by_key(|reader| reader.records.front().map(|record| record.timestamp));
        let Some(record) = oldest.and_then(|reader| reader.records.pop_front()) else { break };
        merged.push(record);
    }
    (!merged.is_empty()).then_some(Ok(merged))
}

impl Reader {
    /// Whether more may come and nothing is here.
    fn is_dry(&self) -> bool {
        self.records.is_empty() && self.consumer.is_some()
    }

    /// Waits for records, unless there are some or no more come. Cancel-safe.
    async fn fill(&mut self) {
        if !self.records.is_empty() {
            return;
        }
        let Some(consumer) = &mut self.consumer else { return };
        let batch = consumer.next_batch().await;
        self.position = consumer.positions().into_values().next().unwrap_or(self.position);
        match batch {
            Some(Ok(batch)) => self.records = batch.records.into(),
            Some(Err(error)) => self.failed = Some(error),
            None => self.consumer = None,
        }
    }

    fn stands_at(&self) -> Offset {
        let waiting = self.records.front().map(|record| record.offset);
        let consumer = self.consumer.as_ref().and_then(|consumer| consumer.positions().into_values().next());
        waiting.or(consumer).unwrap_or(self.position)
    }
}
