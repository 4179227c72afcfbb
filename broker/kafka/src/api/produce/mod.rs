//! Produce (0): appends batches, one for each partition, and says where they are when they are as safe as the
//! client asked.
//!
//! * Batches are appended when the request is begun, in the order of requests; only the answer waits.
//! * `acks` 0 has no answer: when something is wrong, the connection is closed. 1 is answered when the batch is
//!   written, -1 when it is as durable as the topic's flush policy promises. What is not so after the request's
//!   own timeout is REQUEST_TIMED_OUT, and may be in the log all the same.
//! * A topic that does not exist is not created here; clients ask for metadata first.
//! * v3 is the first with batches of magic 2; clients are told of version 0 all the same, because librdkafka
//!   does not compress otherwise (KAFKA-18659). v5+ tells the log start, v7+ may hold zstd, v8+ names the record
//!   at fault, v9+ is flexible, v13+ names topics by their ids.

mod answer;
mod check;
pub(crate) mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_runtime::{Acks, AdmitPermit, BrokerError, Topic};
use tokio::time::{Instant, sleep_until};

use self::answer::{Outcome, TopicOutcomes};
use self::request::{ProducePartition, ProduceRequest};
use crate::context::{Call, Context};
use crate::dispatch::{self, Pending, Refused};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::frame;
use crate::topic_ref::find_partition;
use crate::wire::WireError;

/// Why a request cannot be begun; the connection is closed.
#[derive(Debug)]
pub(crate) enum NotBegun {
    Body(WireError),
    Refused(BrokerError),
}

/// Appends what the request holds, and returns what its answer waits for.
pub(crate) async fn begin(
    context: &Context,
    call: &Call,
    body: Bytes,
    permit: Option<AdmitPermit>,
) -> Result<Pending, NotBegun> {
    let started = Instant::now();
    let size = body.len();
    let request = ProduceRequest::read(body, call.version).map_err(|error| NotBegun::Body(error.into()))?;
    let mut permit = match permit {
        Some(permit) => permit,
        // Batches wait for the device whatever their size: small ones need their room too.
        None => frame::admit(context.broker(), size).await.map_err(NotBegun::Refused)?,
    };
    let acks = acks(request.acks);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = topic.topic.find(context.broker());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.index;
            partitions.push((index, append(&found, partition, &acks, call.version, &mut permit).await));
        }
        topics.push(TopicOutcomes { topic: topic.topic, partitions });
    }
    if matches!(acks, Ok(Acks::None)) {
        return Ok(Box::pin(async move { unanswered(&topics) }));
    }
    let wait_max = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let version = call.version;
    Ok(Box::pin(async move {
        wait(&mut topics, started, wait_max).await;
        Ok(dispatch::Outcome::Answer(answer::write(&topics, version)))
    }))
}

fn acks(acks: i16) -> Result<Acks, Failure> {
    match acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Written),
        -1 => Ok(Acks::Durable),
        _ => Err(Failure::new(
            KafkaError::INVALID_REQUIRED_ACKS,
            format!("acks is {acks}: use -1 (all), 1 (leader) or 0 (none)"),
        )),
    }
}

async fn append(
    topic: &Result<Arc<Topic>, Failure>,
    partition: ProducePartition,
    acks: &Result<Acks, Failure>,
    version: i16,
    permit: &mut AdmitPermit,
) -> Outcome {
    let acks = acks.clone()?;
    let topic = topic.as_ref().map_err(Clone::clone)?;
    let partition_found = find_partition(topic, partition.index)?;
    let share = permit.split(partition.records.as_ref().map_or(0, Bytes::len));
    let batch = check::check(partition.records, partition_found.batch_rules(), version).await?;
    let appended = partition_found.append(batch, acks, share).map_err(Failure::from)?;
    Ok(appended.into())
}

/// Waits until each batch is as safe as was asked for, or the time is up.
async fn wait(topics: &mut [TopicOutcomes], started: Instant, wait_max: Duration) {
    let time_up = sleep_until(started + wait_max);
    tokio::pin!(time_up);
    for (_, outcome) in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Some(ack) = outcome.as_mut().ok().and_then(|placed| placed.ack.take()) else { continue };
        let ended = tokio::select! {
            // What is known is told, however late it is.
            biased;
            ended = ack => ended.map_err(Failure::from),
            () = &mut time_up => Err(timed_out(wait_max)),
        };
        if let Err(failure) = ended {
            *outcome = Err(failure.into());
        }
    }
}

fn timed_out(wait_max: Duration) -> Failure {
    Failure::new(
        KafkaError::REQUEST_TIMED_OUT,
        format!("the batch is not yet as safe as was asked for after {} ms", wait_max.as_millis()),
    )
}

/// Nobody waits for an answer, so the end of the connection has to say that something is wrong.
fn unanswered(topics: &[TopicOutcomes]) -> Result<dispatch::Outcome, Refused> {
    let mut outcomes = topics.iter().flat_map(|topic| &topic.partitions);
    let failed = outcomes.find_map(|(_, outcome)| outcome.as_ref().err());
    match failed {
        None => Ok(dispatch::Outcome::None),
        Some(rejected) => Err(Refused::Unanswered { reason: rejected.failure.text().to_owned() }),
    }
}
