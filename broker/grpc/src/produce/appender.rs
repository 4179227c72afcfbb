//! Appends batches one after the other and remembers which partitions failed, so that no batch overtakes
//! one that was lost.
//!
//! **Invariant:** once a batch to a partition failed, every later one of the same appender to that
//! partition is refused with OUT_OF_ORDER. Sending the failed batch again on the same stream would put it
//! behind its successors; a new stream starts in order.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use tidelog_model::batch::{BatchHeader, BatchRules, Compression, RecordBatch};
use tidelog_model::{ErrorCode, Timestamp};
use tidelog_proto::v1::{PartitionBatch, ProduceRequest, ProduceResult};
use tidelog_runtime::{Acks, AdmitPermit, Appended, Broker, BrokerError, Partition};
use tokio::sync::Semaphore;

use super::pending::PendingRequest;
use crate::error::{detail, failure, over_limit};
use crate::names::{partition_index, writable_topic};

/// Compressed batches up to this size are unfolded on the connection's task, larger ones elsewhere.
const UNFOLD_INLINE_MAX: usize = 16 * 1024;
/// Plain batches up to this size are checked on the connection's task: about 2 ms of work.
const CHECK_INLINE_MAX: usize = 8 * 1024 * 1024;

/// How many large batches are checked at the same time: unfolding one may take its limit in memory.
static CHECKS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// The result of a batch that is not in the log.
pub(super) const NOTHING: ProduceResult =
    ProduceResult { base_offset: -1, log_append_time_ms: -1, log_start_offset: -1, error: None };

/// A partition as one appender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneId(usize);

#[derive(Debug)]
enum Lane {
    Open(Arc<Partition>),
    Failed,
}

/// Appends the batches of one stream, or of one request.
#[derive(Debug)]
pub(super) struct Appender {
    broker: Broker,
    ids: HashMap<Box<str>, HashMap<i32, LaneId>>,
    lanes: Vec<Lane>,
    failed: usize,
}

impl Appender {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, ids: HashMap::new(), lanes: Vec::new(), failed: 0 }
    }

    /// How many partitions failed.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// Marks a partition whose batch failed after it was appended.
    pub(super) fn fail(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(id.0)
            && matches!(lane, Lane::Open(_))
        {
            *lane = Lane::Failed;
            self.failed += 1;
        }
    }

    /// Appends all batches of a request in their order; each has its own result.
    pub(super) async fn append_all(
        &mut self,
        started: Instant,
        acks: Acks,
        request: ProduceRequest,
    ) -> PendingRequest {
        let bytes = request.batches.iter().map(|batch| batch.record_batch.len()).sum();
        let mut pending = PendingRequest::new(started, request.request_id, request.batches.len(), bytes);
        let mut admitted = self.broker.admit(bytes).await;
        for batch in request.batches {
            let appended = match &mut admitted {
                Ok(permit) => self.append(acks, batch, permit).await,
                Err(error) => Err(self.refuse(&batch, error.clone())),
            };
            match appended {
                Ok((lane, appended)) => {
                    let result = ProduceResult {
                        base_offset: appended.base_offset.get(),
                        log_append_time_ms: appended.log_append_time.map_or(-1, Timestamp::millis),
                        log_start_offset: appended.log_start.get(),
                        error: None,
                    };
                    pending.push_wait(result, lane, appended.ack);
                }
                Err(error) => pending.push_result(ProduceResult { error: Some(detail(error)), ..NOTHING }),
            }
        }
        pending.seal()
    }

    async fn append(
        &mut self,
        acks: Acks,
        batch: PartitionBatch,
        permit: &mut AdmitPermit,
    ) -> Result<(LaneId, Appended), BrokerError> {
        let (id, partition) = self.open(&batch.topic, batch.partition)?;
        let share = permit.split(batch.record_batch.len());
        let checked = validate(batch.record_batch, partition.batch_rules()).await;
        let appended = checked.and_then(|checked| partition.append(checked, acks, share));
        match appended {
            Ok(appended) => Ok((id, appended)),
            Err(error) => {
                self.fail(id);
                Err(error)
            }
        }
    }

    /// The answer to a batch that is refused for a reason of the whole request.
    fn refuse(&mut self, batch: &PartitionBatch, error: BrokerError) -> BrokerError {
        match self.open(&batch.topic, batch.partition) {
            Ok((id, _)) => {
                self.fail(id);
                error
            }
            Err(of_partition) => of_partition,
        }
    }

    /// The lane of a partition and the partition, if batches may go there.
    fn open(&mut self, topic: &str, partition: i32) -> Result<(LaneId, Arc<Partition>), BrokerError> {
        let known = self.ids.get(topic).and_then(|partitions| partitions.get(&partition)).copied();
        if let Some(id) = known {
            return match self.lanes.get(id.0) {
                Some(Lane::Open(opened)) => Ok((id, Arc::clone(opened))),
                Some(Lane::Failed) | None => Err(out_of_order(topic, partition)),
            };
        }
        // Names that break the rules never become a partition: nothing to keep in order, nor in memory.
        let name = writable_topic("topic", topic)?;
        let index = partition_index(partition)?;
        let resolved = self.broker.partition(&name, index);
        let id = LaneId(self.lanes.len());
        self.ids.entry(topic.into()).or_default().insert(partition, id);
        match resolved {
            Ok(opened) => {
                self.lanes.push(Lane::Open(Arc::clone(&opened)));
                Ok((id, opened))
            }
            Err(error) => {
                self.lanes.push(Lane::Failed);
                self.failed += 1;
                Err(error)
            }
        }
    }
}

fn out_of_order(topic: &str, partition: i32) -> BrokerError {
    let message = format!(
        "an earlier batch of this stream to {topic}-{partition} failed: end the stream and send both again on a \
         new one, so that they stay in order"
    );
    failure(ErrorCode::OutOfOrder, message)
}

/// The check at the door, on the connection's task as long as it is short.
async fn validate(bytes: Bytes, rules: BatchRules) -> Result<RecordBatch, BrokerError> {
    if bytes.len() > rules.batch_bytes_max {
        let (limit, actual) = (rules.batch_bytes_max, bytes.len());
        let message = format!(
            "the batch has {actual} bytes, the topic's max.message.bytes is {limit}: send smaller batches, or \
             raise it"
        );
        return Err(over_limit(ErrorCode::MessageTooLarge, "record_batch", limit, actual, message));
    }
    if !takes_long(&bytes) {
        return RecordBatch::validate(bytes, &rules).map_err(BrokerError::from);
    }
    // The semaphore is never closed; were it, the check would go on without a bound.
    let _slot = CHECKS.acquire().await.ok();
    let checked = tokio::task::spawn_blocking(move || RecordBatch::validate(bytes, &rules)).await;
    let checked = checked
        .map_err(|error| failure(ErrorCode::Internal, format!("checking the batch ended early: {error}")))?;
    checked.map_err(BrokerError::from)
}

fn takes_long(bytes: &[u8]) -> bool {
    let plain = BatchHeader::parse(bytes).is_ok_and(|header| header.compression() == Some(Compression::None));
    bytes.len() > if plain { CHECK_INLINE_MAX } else { UNFOLD_INLINE_MAX }
}
