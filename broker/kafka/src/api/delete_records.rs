//! DeleteRecords (21): moves the log start of partitions forward, durably. Offset -1 is the high watermark.
//!
//! * Partitions that are compacted only keep their records, as in Kafka: a key's last record must stay.

use std::sync::Arc;

use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use kafka_wire::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use tidelog_model::Offset;

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::names::partition;
use crate::wire::message;

/// "Up to the high watermark".
const ALL: i64 = -1;
/// The low watermark that is told with an error.
const NO_OFFSET: i64 = -1;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let deleted = delete(&context, &topic.name, &wanted).await;
            let (low_watermark, error_code) = match deleted {
                Ok(start) => (start.get(), KafkaError::NONE.code()),
                Err(error) => (NO_OFFSET, error.code()),
            };
            let partition_index = wanted.partition_index;
            partitions.push(message!(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code
            }));
        }
        topics.push(message!(DeleteRecordsTopicResult { name: topic.name, partitions }));
    }
    message!(DeleteRecordsResponse { topics })
}

async fn delete(
    context: &Context,
    topic: &str,
    wanted: &DeleteRecordsPartition,
) -> Result<Offset, KafkaError> {
    let broker = context.broker();
    let partition = partition(broker, topic, wanted.partition_index).map_err(|error| error.code)?;
    let known = broker.topic(partition.topic()).ok_or(KafkaError::UNKNOWN_TOPIC_OR_PARTITION)?;
    if !known.is_internal() && !known.config().cleanup_delete {
        return Err(KafkaError::POLICY_VIOLATION);
    }
    let before = match wanted.offset {
        ALL => None,
        offset => Some(Offset::new(offset).ok_or(KafkaError::OFFSET_OUT_OF_RANGE)?),
    };
    Ok(partition.delete_records(before).await.map_err(|error| error.code)?)
}

#[cfg(test)]
#[path = "delete_records_tests.rs"]
mod tests;
