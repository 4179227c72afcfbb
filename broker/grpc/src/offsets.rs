//! Offsets of partitions at positions.

use futures::stream::{self, StreamExt};
use std::sync::Arc;

use tidelog_model::{Offset, Timestamp};
use tidelog_proto::v1::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsResult};
use tidelog_runtime::{BrokerError, Partition};

use crate::error::detail;
use crate::fetch::{Place, broken, records_from};
use crate::names::{self, partition_count};
use crate::services::Shared;

/// Look-ups of one request that run at the same time.
const LOOKUPS: usize = 16;

/// Serves one request.
pub(crate) async fn list_offsets(
    shared: &Shared,
    request: ListOffsetsRequest,
) -> Result<ListOffsetsResponse, BrokerError> {
    partition_count("partitions", request.partitions.len(), &shared.limits)?;
    let lookups = request.partitions.into_iter().map(|wanted| async move {
        look_up(shared, wanted).await.unwrap_or_else(|error| ListOffsetsResult {
            offset: -1,
            timestamp_ms: -1,
            log_start_offset: -1,
            high_watermark: -1,
            error: Some(detail(error)),
        })
    });
    Ok(ListOffsetsResponse { results: stream::iter(lookups).buffered(LOOKUPS).collect().await })
}

async fn look_up(shared: &Shared, wanted: ListOffsetsPartition) -> Result<ListOffsetsResult, BrokerError> {
    let partition = names::partition(&shared.broker, &wanted.topic, wanted.partition)?;
    partition.check_readable()?;
    let (offset, timestamp) = match Place::parse(wanted.position)? {
        Place::Latest => (partition.end()?, None),
        Place::Earliest => {
            let start = partition.watermarks().log_start;
            (start, timestamp_at(&partition, start).await?)
        }
        Place::At(offset) => (offset, timestamp_at(&partition, offset).await?),
        Place::Since(timestamp) => {
            // Looked at first: a record that arrives in between must not lie before what is answered.
            let end = partition.end();
            match partition.offset_for_timestamp(timestamp).await? {
                Some((offset, timestamp)) => (offset, Some(timestamp)),
                None => (end?, None),
            }
        }
    };
    let marks = partition.watermarks();
    Ok(ListOffsetsResult {
        offset: offset.get(),
        timestamp_ms: timestamp.map_or(-1, Timestamp::millis),
        log_start_offset: marks.log_start.get(),
        high_watermark: marks.high_watermark.get(),
        error: None,
    })
}

/// The timestamp of the first record at or after `offset`, if there is one.
async fn timestamp_at(partition: &Arc<Partition>, offset: Offset) -> Result<Option<Timestamp>, BrokerError> {
    // The smallest read there is: one batch.
    let slice = partition.read(offset, 1).await?;
    let found = records_from(slice.bytes, offset).next().transpose().map_err(|error| broken(&error))?;
    Ok(found.map(|record| record.timestamp))
}
