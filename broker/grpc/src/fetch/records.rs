//! One read of one partition with the records in plain fields, waiting for the first one if asked to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::batch::{BatchError, RecordBatch};
use tidelog_model::record::Record;
use tidelog_model::{ErrorCode, Offset};
use tidelog_proto::v1::{FetchRecordsRequest, FetchRecordsResponse, Header, PlainRecord};
use tidelog_runtime::{BrokerError, Partition};
use tokio::time::Instant;

use super::Place;
use crate::error::{failure, invalid, over_limit};
use crate::names;
use crate::services::Shared;

/// Records in one response when the client names no limit, and the most it may name.
const RECORDS_DEFAULT: usize = 100;
const RECORDS_MAX: usize = 10_000;
/// The longest wait for the first record, in milliseconds.
const WAIT_MS_MAX: u64 = 60_000;
/// How much is read at a time, and after how many bytes a response is full. Most clients refuse messages of
/// more than 4 MiB; a single larger record is sent all the same.
const READ_BYTES: usize = 1024 * 1024;
const RESPONSE_BYTES: usize = 2 * 1024 * 1024;
/// Decoding more than this is done on the blocking pool.
const DECODE_INLINE_MAX: usize = 64 * 1024;

/// Serves one request.
pub(crate) async fn fetch_records(
    shared: &Shared,
    request: FetchRecordsRequest,
) -> Result<FetchRecordsResponse, BrokerError> {
    let limit = match bounded("limit", request.limit, RECORDS_MAX)? {
        0 => RECORDS_DEFAULT,
        limit => limit,
    };
    let wait_ms_max = usize::try_from(WAIT_MS_MAX).unwrap_or(usize::MAX);
    let wait_ms = u64::try_from(bounded("wait_ms", request.wait_ms, wait_ms_max)?).unwrap_or(WAIT_MS_MAX);
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let partition = names::partition(&shared.broker, &request.topic, request.partition)?;
    let place = Place::parse(request.position)?;
    let next = place.resolve(&partition).await?;
    let mut found = Decoded { records: Vec::new(), bytes: 0, next };
    let mut drain = shared.drain.clone();
    loop {
        let slice = partition.read(found.next, READ_BYTES).await?;
        let at_end = slice.bytes.is_empty() && slice.next_offset <= found.next;
        if at_end {
            let waited = tokio::select! {
                // A broker that stops answers with what there is.
                biased;
                () = drain.started() => false,
                moved = moved_past(&partition, found.next), if found.records.is_empty() => moved?,
                () = tokio::time::sleep_until(deadline) => false,
            };
            if !waited {
                break;
            }
            continue;
        }
        found = decode_slice(found, slice.bytes, slice.next_offset, limit).await?;
        if found.is_full(limit) {
            break;
        }
        if !found.records.is_empty() && found.next >= partition.watermarks().high_watermark {
            break;
        }
    }
    let marks = partition.watermarks();
    Ok(FetchRecordsResponse {
        records: found.records,
        next_offset: found.next.get(),
        high_watermark: marks.high_watermark.get(),
        log_start_offset: marks.log_start.get(),
    })
}

fn bounded(field: &'static str, value: i32, limit: usize) -> Result<usize, BrokerError> {
    match usize::try_from(value) {
        Ok(value) if value <= limit => Ok(value),
        Ok(value) => {
            let message = format!("{field} is {value}, at most {limit} is allowed");
            Err(over_limit(ErrorCode::InvalidRequest, field, limit, value, message))
        }
        Err(_) => Err(invalid(field, format!("{field} is {value}: it cannot be negative"))),
    }
}

/// Waits until there is something at or after `next`.
async fn moved_past(partition: &Arc<Partition>, next: Offset) -> Result<bool, BrokerError> {
    let mut marks = partition.subscribe();
    if marks.borrow_and_update().high_watermark > next {
        return Ok(true);
    }
    let deleted = |_| failure(ErrorCode::UnknownTopicOrPartition, "the topic was deleted").field("topic");
    marks.changed().await.map(|()| true).map_err(deleted)
}

/// What was read so far.
struct Decoded {
    records: Vec<PlainRecord>,
    bytes: usize,
    /// Where the next read starts.
    next: Offset,
}

impl Decoded {
    const fn is_full(&self, limit: usize) -> bool {
        self.records.len() >= limit || self.bytes >= RESPONSE_BYTES
    }
}

async fn decode_slice(
    mut found: Decoded,
    bytes: Bytes,
    after: Offset,
    limit: usize,
) -> Result<Decoded, BrokerError> {
    let long = bytes.len() > DECODE_INLINE_MAX;
    let work = move || {
        let from = found.next;
        for record in records_from(bytes, from) {
            let record = record.map_err(|error| broken(&error))?;
            if found.is_full(limit) {
                // The rest is for the next request.
                return Ok(found);
            }
            found.next = record.offset.next();
            found.bytes = found.bytes.saturating_add(size(&record));
            found.records.push(plain(record));
        }
        found.next = after;
        Ok(found)
    };
    if !long {
        return work();
    }
    let decoded = tokio::task::spawn_blocking(work).await;
    decoded.map_err(|error| failure(ErrorCode::Internal, format!("decoding ended early: {error}")))?
}

/// The records at or after `from` of some batches, markers left out.
pub(crate) fn records_from(bytes: Bytes, from: Offset) -> impl Iterator<Item = Result<Record, BatchError>> {
    RecordBatch::split(bytes)
        .flat_map(|batch| {
            let records = batch.and_then(|batch| {
                if batch.header().is_control() { Ok(None) } else { batch.records().map(Some) }
            });
            let (records, error) = match records {
                Ok(records) => (records, None),
                Err(error) => (None, Some(Err(error))),
            };
            let records = records.into_iter().flatten().map(|record| record.map_err(BatchError::from));
            records.chain(error)
        })
        .filter(move |record| record.as_ref().map_or(true, |record| record.offset >= from))
}

/// Bytes of the log that do not decode.
pub(crate) fn broken(error: &BatchError) -> BrokerError {
    let message =
        format!("records in the log cannot be decoded ({error}): look at the broker's log and disk");
    failure(ErrorCode::CorruptLog, message)
}

fn size(record: &Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(key, value)| key.len() + length(value) + 8).sum();
    // What a message costs beside its contents.
    32 + length(&record.key) + length(&record.value) + headers
}

fn plain(record: Record) -> PlainRecord {
    PlainRecord {
        partition: None,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
        timestamp_ms: Some(record.timestamp.millis()),
        offset: record.offset.get(),
    }
}
