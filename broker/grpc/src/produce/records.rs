//! Records in plain fields: partitions are chosen as Kafka's clients do, and batches built here.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidelog_model::batch::{BatchBuilder, BatchRules, Compression};
use tidelog_model::partitioner::partition_for_key;
use tidelog_model::{ErrorCode, Timestamp, TopicName};
use tidelog_proto::v1::{
    ErrorDetail, Header, PartitionBatch, PlainRecord, ProduceRecordsRequest, ProduceRecordsResponse,
    ProduceRequest, ProduceResult, RecordResult,
};
use tidelog_runtime::{BrokerError, Topic};

use super::acks;
use super::appender::Appender;
use crate::error::{detail, failure, invalid, over_limit, too_many};
use crate::names::{partition_index, writable_topic};
use crate::services::Shared;

/// Where the results of one batch's records stand in the response, in the batch's order.
type Places = Vec<usize>;

/// Appends the records of one request and waits until they are as durable as asked.
pub(crate) async fn produce_records(
    shared: &Shared,
    request: ProduceRecordsRequest,
) -> Result<ProduceRecordsResponse, BrokerError> {
    let acks = acks(request.acks)?;
    let (count, limit) = (request.records.len(), shared.limits.batches_per_request_max);
    if count == 0 {
        return Err(invalid("records", "records: the request holds no record"));
    }
    if count > limit {
        return Err(too_many("records", "records", limit, count));
    }
    let name = writable_topic("topic", &request.topic)?;
    let topic = shared.broker.topic(&name).ok_or_else(|| unknown_topic(&name))?;
    let mut results = vec![RecordResult { partition: -1, offset: -1, error: None }; count];
    let (batches, places) = build_all(shared, &topic, request.records, &mut results)?;
    if batches.is_empty() {
        return Ok(ProduceRecordsResponse { results });
    }
    let request = ProduceRequest { request_id: 0, acks: 0, batches };
    let mut appender = Appender::new(shared.broker.clone());
    let answered = appender.append_all(Instant::now(), acks, request).await.await;
    for (batch, places) in answered.response.results.into_iter().zip(places) {
        fill_in(&mut results, &batch, places);
    }
    Ok(ProduceRecordsResponse { results })
}

fn unknown_topic(name: &TopicName) -> BrokerError {
    let message = format!("there is no topic {name}: create it first");
    failure(ErrorCode::UnknownTopicOrPartition, message).field("topic")
}

/// Gives each record of a batch its offset, or the batch's error.
fn fill_in(results: &mut [RecordResult], batch: &ProduceResult, places: Places) {
    for (delta, place) in (0..).zip(places) {
        if let Some(result) = results.get_mut(place) {
            result.error.clone_from(&batch.error);
            result.offset = if batch.error.is_some() { -1 } else { batch.base_offset.saturating_add(delta) };
        }
    }
}

/// The records of one partition that are on their way into batches.
struct Lane {
    rules: BatchRules,
    open: Option<(BatchBuilder, Places)>,
    /// Set once a record was refused: later ones must not overtake it.
    refused: bool,
}

/// Builds the batches of all partitions; records that cannot be built get their errors at once.
fn build_all(
    shared: &Shared,
    topic: &Topic,
    records: Vec<PlainRecord>,
    results: &mut [RecordResult],
) -> Result<(Vec<PartitionBatch>, Vec<Places>), BrokerError> {
    let now = now_ms();
    let mut lanes: BTreeMap<i32, Lane> = BTreeMap::new();
    let (mut batches, mut places) = (Vec::new(), Vec::new());
    for ((place, record), result) in records.into_iter().enumerate().zip(results) {
        let index = choose_partition(shared, topic, &record);
        result.partition = index;
        let lane = match lanes.entry(index) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => match rules_of(shared, topic, index) {
                Ok(rules) => entry.insert(Lane { rules, open: None, refused: false }),
                Err(error) => {
                    result.error = Some(detail(error));
                    continue;
                }
            },
        };
        match lane.add(place, &record, now) {
            Ok(None) => {}
            Ok(Some(full)) => close(topic, index, full, (&mut batches, &mut places))?,
            Err(error) => result.error = Some(*error),
        }
    }
    for (index, lane) in lanes {
        if let Some(open) = lane.open {
            close(topic, index, open, (&mut batches, &mut places))?;
        }
    }
    Ok((batches, places))
}

fn close(
    topic: &Topic,
    partition: i32,
    (builder, batch_places): (BatchBuilder, Places),
    (batches, places): (&mut Vec<PartitionBatch>, &mut Vec<Places>),
) -> Result<(), BrokerError> {
    let broken = |error| failure(ErrorCode::Internal, format!("building a batch failed: {error}"));
    let record_batch = builder.build().map_err(broken)?.into_bytes();
    batches.push(PartitionBatch { topic: topic.name().to_string(), partition, record_batch });
    places.push(batch_places);
    Ok(())
}

fn choose_partition(shared: &Shared, topic: &Topic, record: &PlainRecord) -> i32 {
    let count = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
    match (record.partition, &record.key) {
        (Some(partition), _) => partition,
        (None, Some(key)) => partition_for_key(key, count).get(),
        (None, None) => shared.round_robin.next(count).get(),
    }
}

fn rules_of(shared: &Shared, topic: &Topic, index: i32) -> Result<BatchRules, BrokerError> {
    Ok(shared.broker.partition(topic.name(), partition_index(index)?)?.batch_rules())
}

impl Lane {
    /// Adds a record; returns the batch before it when that is full.
    fn add(
        &mut self,
        place: usize,
        record: &PlainRecord,
        now: i64,
    ) -> Result<Option<(BatchBuilder, Places)>, Box<ErrorDetail>> {
        let headers: Vec<(&[u8], Option<&[u8]>)> = record.headers.iter().map(header_slices).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let size = BatchBuilder::record_size_bound(key, value, &headers);
        self.check(record, size)?;
        let timestamp = Timestamp::from_millis(record.timestamp_ms.unwrap_or(now));
        let limit = self.rules.batch_bytes_max;
        let full = self.open.take_if(|(builder, _)| builder.size_bytes().saturating_add(size) > limit);
        let (builder, places) =
            self.open.get_or_insert_with(|| (BatchBuilder::new(Compression::None, size), Vec::new()));
        builder.append(timestamp, key, value, &headers);
        places.push(place);
        Ok(full)
    }

    /// Refuses what could not be in a batch; the batches of this request after it are refused as well.
    fn check(&mut self, record: &PlainRecord, size: usize) -> Result<(), Box<ErrorDetail>> {
        let refusal = if self.refused {
            failure(ErrorCode::OutOfOrder, "an earlier record of this request to the partition was refused")
        } else if self.rules.key_required && record.key.is_none() {
            failure(ErrorCode::InvalidRecord, "the topic is compacted: records need a key").field("key")
        } else {
            let (limit, actual) =
                (self.rules.batch_bytes_max, size.saturating_add(tidelog_model::batch::BATCH_OVERHEAD));
            if actual <= limit {
                return Ok(());
            }
            let message =
                format!("the record needs {actual} bytes, the topic's max.message.bytes is {limit}");
            over_limit(ErrorCode::MessageTooLarge, "records", limit, actual, message)
        };
        self.refused = true;
        Err(Box::new(detail(refusal)))
    }
}

fn header_slices(header: &Header) -> (&[u8], Option<&[u8]>) {
    (&header.key, header.value.as_deref())
}

/// Now, in milliseconds since the Unix epoch, as a client without a clock of its own would have it.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
