//! `tidelog.v1.Dlq`: dead letters of queue groups.

use std::sync::Arc;

use futures::stream::BoxStream;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_proto::v1;
use tidelog_proto::v1::dlq_server::Dlq;
use tidelog_proto::v1::{
    DeadLetterSelector, Header, ListDeadLettersRequest, ListDeadLettersResponse, RedriveProgress,
    RedriveRequest, ResolveRequest, ResolveResponse,
};
use tidelog_runtime::delivery::{Cause, Selector, is_fact};
use tidelog_runtime::{BrokerError, ListedDeadLetter, RedriveProgress as Progress, RedriveSpec};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status};

use crate::error::{invalid, status, too_many};
use crate::group_admin::{optional_topic, page_name, page_size, place};
use crate::metrics::Api;
use crate::names::{group_id, partition_index};
use crate::services::Shared;

/// How many dead letters a second are redriven when the client does not say, and at most.
const RATE: i32 = 1_000;
const RATE_MAX: i32 = 100_000;

pub(crate) struct DlqService(pub(crate) Arc<Shared>);

impl DlqService {
    async fn list_now(
        &self,
        request: ListDeadLettersRequest,
    ) -> Result<ListDeadLettersResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let selector = self.selector(request.selector)?;
        let (from, limit) = (place(&request.page)?, page_size(request.limit)?);
        let page = self.0.broker.list_dead_letters(&group, &selector, from, limit).await?;
        let letters = page.found.into_iter().map(|(.., listed)| letter(listed, request.facts_only));
        let next_page = page.next.as_ref().map_or_else(String::new, page_name);
        Ok(ListDeadLettersResponse { letters: letters.collect(), next_page })
    }

    async fn resolve_now(&self, request: ResolveRequest) -> Result<ResolveResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let selector = self.selector(request.selector)?;
        let resolved = self.0.broker.resolve_dead_letters(&group, &selector, request.dry_run).await?;
        Ok(ResolveResponse { resolved: i64::try_from(resolved).unwrap_or(i64::MAX) })
    }

    fn redrive_spec(&self, request: RedriveRequest) -> Result<RedriveSpec, BrokerError> {
        let asked = if request.rate == 0 { RATE } else { request.rate };
        let rate = u32::try_from(asked).ok().filter(|_| (1..=RATE_MAX).contains(&asked));
        let rate = rate.ok_or_else(|| invalid("rate", format!("rate: {asked} is not 1 to {RATE_MAX}")))?;
        let id = if request.redrive_id == 0 { self.0.broker.new_redrive() } else { request.redrive_id };
        Ok(RedriveSpec { selector: self.selector(request.selector)?, id, rate, dry_run: request.dry_run })
    }

    fn selector(&self, asked: Option<DeadLetterSelector>) -> Result<Selector, BrokerError> {
        let Some(asked) = asked else { return Ok(Selector::default()) };
        let limits = &self.0.limits;
        if asked.offsets.len() > limits.partitions_per_request_max {
            return Err(too_many(
                "offsets",
                "ranges",
                limits.partitions_per_request_max,
                asked.offsets.len(),
            ));
        }
        let topic = optional_topic(&asked.topic)?;
        let partition = asked.partition.map(partition_index).transpose()?;
        if partition.is_some() && topic.is_none() {
            return Err(invalid("topic", "topic: name the topic of the partition"));
        }
        if !asked.offsets.is_empty() && partition.is_none() {
            return Err(invalid("partition", "partition: name the partition of the offsets"));
        }
        let range = |range: &v1::OffsetRange| {
            let both = (Offset::new(range.first), Offset::new(range.last));
            match both {
                (Some(first), Some(last)) if first <= last => Ok((first, last)),
                _ => Err(invalid("offsets", format!("offsets: {}..{} is no range", range.first, range.last))),
            }
        };
        let cause = match asked.cause.as_str() {
            "" => None,
            name => Some(Cause::from_name(name).ok_or_else(|| {
                let names: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
                invalid("cause", format!("cause: {:?} is none of {}", cut(name), names.join(", ")))
            })?),
        };
        let bytes_max = limits.filter_bytes_max;
        let key = asked.key.map(|key| key.to_vec());
        let header =
            asked.header.map(|header| (header.key.to_vec(), header.value.unwrap_or_default().to_vec()));
        let long = key.iter().chain(header.iter().flat_map(|(name, value)| [name, value]));
        if long.map(Vec::len).any(|length| length > bytes_max) {
            return Err(invalid(
                "selector",
                format!("selector: at most {bytes_max} bytes of a key or header"),
            ));
        }
        Ok(Selector {
            topic,
            partition,
            offsets: asked.offsets.iter().map(range).collect::<Result<_, _>>()?,
            failed_from: asked.failed_from_ms.map(Timestamp::from_millis),
            failed_to: asked.failed_to_ms.map(Timestamp::from_millis),
            cause,
            reason_code: Some(asked.reason_code).filter(|code| !code.is_empty()),
            key,
            header,
        })
    }
}

#[tonic::async_trait]
impl Dlq for DlqService {
    type RedriveStream = BoxStream<'static, Result<RedriveProgress, Status>>;

    async fn list(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let call = async { self.list_now(request.into_inner()).await.map(Response::new).map_err(status) };
        self.0.metrics.observe(Api::ListDeadLetters, call).await
    }

    async fn redrive(
        &self,
        request: Request<RedriveRequest>,
    ) -> Result<Response<Self::RedriveStream>, Status> {
        let request = request.into_inner();
        let group = group_id(&request.group).map_err(status)?;
        let spec = self.redrive_spec(request).map_err(status)?;
        // Before the stream is answered, so that a group that is not there fails the call.
        self.0.broker.describe_queue(&group).await.map_err(status)?;
        let (sender, receiver) = watch::channel(Ok(progress(spec.id, Progress::default(), false)));
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let started = std::time::Instant::now();
            let drain = shared.drain.clone();
            let id = spec.id;
            // A client that went away, and a broker that is about to stop, end it.
            let tell = |at| sender.send(Ok(progress(id, at, false))).is_ok() && !drain.is_started();
            let ended = shared.broker.redrive(&group, &spec, tell).await;
            let code = if ended.is_ok() { Code::Ok } else { Code::Unavailable };
            let last = match ended {
                Ok(_) if drain.is_started() => Err(crate::error::shutting_down()),
                Ok(at) => Ok(progress(id, at, true)),
                Err(error) => Err(error),
            };
            drop(sender.send(last));
            shared.metrics.record(Api::Redrive, code, started.elapsed());
        });
        let told = WatchStream::new(receiver).map(|told| told.map_err(status));
        Ok(Response::new(Box::pin(told)))
    }

    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        let call = async { self.resolve_now(request.into_inner()).await.map(Response::new).map_err(status) };
        self.0.metrics.observe(Api::ResolveDeadLetters, call).await
    }
}

/// As much of a word as is repeated to the client.
fn cut(word: &str) -> String {
    word.chars().take(60).collect()
}

fn progress(id: u64, at: Progress, done: bool) -> RedriveProgress {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    RedriveProgress {
        redrive_id: id,
        seen: signed(at.seen),
        selected: signed(at.selected),
        redriven: signed(at.redriven),
        had_it: signed(at.had_it),
        too_often: signed(at.too_often),
        gone: signed(at.gone),
        done,
    }
}

fn letter(listed: ListedDeadLetter, facts_only: bool) -> v1::DeadLetter {
    let ListedDeadLetter { topic, partition, letter: at, dead_letter_topic, copy } = listed;
    let known = place_of(&topic, partition, at.offset, &dead_letter_topic, (at.partition, at.place));
    let Some((facts, record)) = copy else {
        return v1::DeadLetter { redrives: i32::from(at.redrives), lost: true, ..known };
    };
    let own = record.headers.into_iter().filter(|(name, _)| !is_fact(name));
    v1::DeadLetter {
        cause: facts.cause.name().to_owned(),
        reason_code: facts.reason.0,
        reason_text: facts.reason.1,
        attempts: i32::from(facts.attempts),
        redrives: i32::from(facts.redrives),
        first_failure_ms: facts.first_failure.millis(),
        last_failure_ms: facts.last_failure.millis(),
        key: record.key,
        value: record.value.filter(|_| !facts_only),
        headers: own.filter(|_| !facts_only).map(|(key, value)| Header { key, value }).collect(),
        timestamp_ms: facts.original_timestamp.millis(),
        truncated: facts.truncated,
        ..known
    }
}

fn place_of(
    topic: &TopicName,
    partition: PartitionIndex,
    offset: Offset,
    dead_letter_topic: &TopicName,
    (index, place): (PartitionIndex, Offset),
) -> v1::DeadLetter {
    v1::DeadLetter {
        topic: topic.to_string(),
        partition: partition.get(),
        offset: offset.get(),
        dead_letter_topic: dead_letter_topic.to_string(),
        dead_letter_partition: index.get(),
        dead_letter_offset: place.get(),
        ..v1::DeadLetter::default()
    }
}
