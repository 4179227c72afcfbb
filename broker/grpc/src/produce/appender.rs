//! Appends batches one after the other and remembers which partitions failed, so that no batch overtakes
//! one that was lost.
//!
//! **Invariant:** once a batch to a partition failed, every later one of the same appender to that
//! partition is refused with OUT_OF_ORDER. Sending the failed batch again on the same stream would put it
//! behind its successors; a new stream starts in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tidelog_model::{ErrorCode, Timestamp};
use tidelog_proto::v1::{PartitionBatch, ProduceRequest, ProduceResult};
use tidelog_runtime::{Acks, AdmitPermit, Appended, Broker, BrokerError, Partition, check_batch};

use super::pending::PendingRequest;
use crate::error::{detail, failure};
use crate::names::{partition_index, writable_topic};

/// The result of a batch that is not in the log.
pub(super) const NOTHING: ProduceResult = ProduceResult {
    base_offset: -1,
    log_append_time_ms: -1,
    log_start_offset: -1,
    error: None,
    duplicate: false,
};

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
                        duplicate: appended.duplicate,
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
        let checked = check_batch(batch.record_batch, partition.batch_rules()).await;
        let appended =
            checked.map_err(BrokerError::from).and_then(|checked| partition.append(checked, acks, share));
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
