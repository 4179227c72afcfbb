//! The records of one response, decoded as they are asked for.

use bytes::Bytes;
use tidelog_model::batch::{BatchError, RecordBatch};
use tidelog_model::record::Records;
use tidelog_model::{Offset, TopicPartition};

use super::ConsumerRecord;
use crate::position::ReadFilter;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, BatchError>> + Send>;

/// What is left of a response.
pub(super) struct Decoder {
    /// The partition's place in the consumer.
    pub(super) index: usize,
    /// Where the response after this one starts.
    pub(super) next_offset: Offset,
    /// The bytes to grant again when this is used up.
    pub(super) wire_bytes: usize,
    id: TopicPartition,
    /// The first batch may begin before the offset asked for.
    from: Offset,
    until: Option<Offset>,
    batches: Batches,
    batch: Option<OpenBatch>,
    /// Why nothing after this can be read.
    broken: Option<String>,
}

struct OpenBatch {
    records: Records,
    leader_epoch: i32,
    wire_bytes: usize,
    record_count: usize,
}

/// The next thing in a response.
pub(super) enum Decoded {
    Record(ConsumerRecord),
    /// A batch has ended.
    BatchEnd {
        wire_bytes: usize,
    },
    /// There is no more; the present batch, if any, is given up at the bound.
    End {
        wire_bytes: usize,
    },
    /// Bytes are broken.
    Broken(String),
}

impl Decoder {
    pub(super) fn new(
        index: usize,
        id: TopicPartition,
        bytes: Bytes,
        range: (Offset, Option<Offset>),
        next_offset: Offset,
    ) -> Self {
        Self {
            index,
            next_offset,
            wire_bytes: bytes.len(),
            id,
            from: range.0,
            until: range.1,
            batches: Box::new(RecordBatch::split(bytes)),
            batch: None,
            broken: None,
        }
    }

    /// How many records the present batch has at most; what its header says is not to be trusted further.
    pub(super) fn records_left_hint(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.record_count.min(64 * 1024))
    }

    /// Steps over records outside of the range and those that do not pass.
    pub(super) fn next(&mut self, filter: &ReadFilter) -> Decoded {
        loop {
            if let Some(reason) = &self.broken {
                return Decoded::Broken(reason.clone());
            }
            let Some(batch) = &mut self.batch else {
                match self.open_batch() {
                    Ok(true) => {}
                    Ok(false) => return Decoded::End { wire_bytes: 0 },
                    Err(reason) => self.broken = Some(reason),
                }
                continue;
            };
            let record = match batch.records.next() {
                Some(Ok(record)) => record,
                Some(Err(error)) => {
                    self.broken = Some(error.to_string());
                    continue;
                }
                None => {
                    let wire_bytes = batch.wire_bytes;
                    self.batch = None;
                    return Decoded::BatchEnd { wire_bytes };
                }
            };
            if self.until.is_some_and(|until| record.offset >= until) {
                return Decoded::End { wire_bytes: batch.wire_bytes };
            }
            if record.offset < self.from
                || !filter.passes(record.key.as_deref(), record.value.as_deref(), &record.headers)
            {
                continue;
            }
            return Decoded::Record(ConsumerRecord {
                topic: self.id.topic.clone(),
                partition: self.id.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
                leader_epoch: batch.leader_epoch,
            });
        }
    }

    /// Opens the next batch of users' records. `false` when there is none.
    fn open_batch(&mut self) -> Result<bool, String> {
        for batch in self.batches.by_ref() {
            let batch = batch.map_err(|error| error.to_string())?;
            let header = batch.header();
            if header.is_control() || header.last_offset() < self.from {
                continue;
            }
            let (leader_epoch, wire_bytes) = (header.leader_epoch, header.size());
            let record_count = usize::try_from(header.record_count).unwrap_or_default();
            let records = batch.records().map_err(|error| error.to_string())?;
            self.batch = Some(OpenBatch { records, leader_epoch, wire_bytes, record_count });
            return Ok(true);
        }
        Ok(false)
    }
}
