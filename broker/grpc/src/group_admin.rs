//! `tidelog.v1.GroupAdmin`: queue groups for operators.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::{GroupId, Offset, PartitionIndex, TopicName};
use tidelog_proto::v1;
use tidelog_proto::v1::group_admin_server::GroupAdmin;
use tidelog_proto::v1::{
    AlterQueueGroupRequest, CreateQueueGroupRequest, DescribeQueueGroupRequest, GatingRecord,
    ListRetriesRequest, ListRetriesResponse, QueueGroup, RunRetriesNowRequest, RunRetriesNowResponse,
};
use tidelog_runtime::delivery::{Admission, Blocked, OpenCause, Retry};
use tidelog_runtime::{
    AlterQueue, BrokerError, CreateQueue, DescribedLane, DescribedQueue, QueueInfo, QueuePlace, QueueScope,
};
use tonic::{Request, Response, Status};

use crate::error::{invalid, status, too_many};
use crate::metrics::Api;
use crate::names::{group_id, partition_index, topic_name};
use crate::services::Shared;
use crate::topics::config_entry;

/// The most rows of one page, and how many there are when the client does not say.
const PAGE_MAX: i32 = 1_000;
const PAGE: i32 = 100;

pub(crate) struct GroupAdminService(pub(crate) Arc<Shared>);

impl GroupAdminService {
    async fn observe<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<Response<T>, Status> {
        let call = async { call.await.map(Response::new).map_err(status) };
        self.0.metrics.observe(api, call).await
    }

    async fn create(&self, request: CreateQueueGroupRequest) -> Result<QueueGroup, BrokerError> {
        let spec = CreateQueue {
            group: group_id(&request.group)?,
            topics: self.topics("topics", &request.topics)?,
            configs: request.configs.into_iter().collect(),
            validate_only: request.validate_only,
        };
        let (group, checked) = (spec.group.clone(), spec.validate_only);
        let info = self.0.broker.create_queue(spec).await?;
        self.shown(&group, info, checked).await
    }

    async fn alter(&self, request: AlterQueueGroupRequest) -> Result<QueueGroup, BrokerError> {
        let topics = request.add_topics.len() + request.remove_topics.len();
        if topics + request.set_configs.len() + request.reset_configs.len() == 0 {
            let message =
                "the request changes nothing: give add_topics, remove_topics, set_configs or reset_configs";
            return Err(invalid("set_configs", message));
        }
        let spec = AlterQueue {
            group: group_id(&request.group)?,
            add_topics: self.topics("add_topics", &request.add_topics)?,
            remove_topics: self.topics("remove_topics", &request.remove_topics)?,
            set: request.set_configs.into_iter().collect(),
            reset: request.reset_configs,
            validate_only: request.validate_only,
        };
        let (group, checked) = (spec.group.clone(), spec.validate_only);
        let info = self.0.broker.alter_queue(spec).await?;
        self.shown(&group, info, checked).await
    }

    async fn describe(&self, group: &str) -> Result<QueueGroup, BrokerError> {
        let group = group_id(group)?;
        let info = self.0.broker.queue_info(&group).await?;
        self.shown(&group, info, false).await
    }

    async fn shown(
        &self,
        group: &GroupId,
        info: QueueInfo,
        only_checked: bool,
    ) -> Result<QueueGroup, BrokerError> {
        let mut shown = QueueGroup {
            group: info.group.as_str().to_owned(),
            topics: info.topics.iter().map(ToString::to_string).collect(),
            configs: info.configs.into_iter().map(config_entry).collect(),
            created_ms: info.created.millis(),
            dead_letter_topic: info.dead_letter_topic.to_string(),
            ..QueueGroup::default()
        };
        if !only_checked {
            stand(&mut shown, self.0.broker.describe_queue(group).await?);
        }
        Ok(shown)
    }

    async fn retries(&self, request: &ListRetriesRequest) -> Result<ListRetriesResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let scope = QueueScope { topic: optional_topic(&request.topic)?, ..QueueScope::default() };
        let (from, limit) = (place(&request.page)?, page_size(request.limit)?);
        let page = self.0.broker.list_retries(&group, scope, from, limit).await?;
        let now = self.0.broker.options().clock.now();
        let row = |(topic, partition, retry): (TopicName, PartitionIndex, Retry)| v1::Retry {
            topic: topic.to_string(),
            partition: partition.get(),
            offset: retry.offset.get(),
            attempts: i32::from(retry.attempts),
            due_ms: retry.due.millis().saturating_sub(now.millis()),
            first_failure_ms: retry.first_failure.millis(),
            last_failure_ms: retry.last_failure.millis(),
            reason_code: retry.reason.as_ref().map_or_else(String::new, |reason| reason.code().to_owned()),
            reason_text: retry.reason.as_ref().map_or_else(String::new, |reason| reason.text().to_owned()),
        };
        let next_page = page.next.as_ref().map_or_else(String::new, page_name);
        Ok(ListRetriesResponse { retries: page.found.into_iter().map(row).collect(), next_page })
    }

    async fn retry_now(&self, request: RunRetriesNowRequest) -> Result<RunRetriesNowResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let offset = |field: &'static str, value: Option<i64>| match value {
            Some(value) => Offset::new(value)
                .map(Some)
                .ok_or_else(|| invalid(field, format!("{field}: {value} is negative"))),
            None => Ok(None),
        };
        let scope = QueueScope {
            topic: optional_topic(&request.topic)?,
            partition: request.partition.map(partition_index).transpose()?,
            first: offset("first_offset", request.first_offset)?,
            last: offset("last_offset", request.last_offset)?,
        };
        if scope.partition.is_some() && scope.topic.is_none() {
            return Err(invalid("topic", "topic: name the topic of the partition"));
        }
        if (scope.first.is_some() || scope.last.is_some()) && scope.partition.is_none() {
            return Err(invalid("partition", "partition: name the partition of the offsets"));
        }
        let records = self.0.broker.retry_now(&group, scope).await?;
        Ok(RunRetriesNowResponse { records: i64::try_from(records).unwrap_or(i64::MAX) })
    }

    fn topics(&self, field: &'static str, names: &[String]) -> Result<BTreeSet<TopicName>, BrokerError> {
        let limit = self.0.limits.partitions_per_request_max;
        if names.len() > limit {
            return Err(too_many(field, "topics", limit, names.len()));
        }
        names.iter().map(|name| topic_name(field, name)).collect()
    }
}

#[tonic::async_trait]
impl GroupAdmin for GroupAdminService {
    async fn create_queue_group(
        &self,
        request: Request<CreateQueueGroupRequest>,
    ) -> Result<Response<QueueGroup>, Status> {
        self.observe(Api::CreateQueueGroup, self.create(request.into_inner())).await
    }

    async fn alter_queue_group(
        &self,
        request: Request<AlterQueueGroupRequest>,
    ) -> Result<Response<QueueGroup>, Status> {
        self.observe(Api::AlterQueueGroup, self.alter(request.into_inner())).await
    }

    async fn describe_queue_group(
        &self,
        request: Request<DescribeQueueGroupRequest>,
    ) -> Result<Response<QueueGroup>, Status> {
        self.observe(Api::DescribeQueueGroup, self.describe(&request.get_ref().group)).await
    }

    async fn list_retries(
        &self,
        request: Request<ListRetriesRequest>,
    ) -> Result<Response<ListRetriesResponse>, Status> {
        self.observe(Api::ListRetries, self.retries(request.get_ref())).await
    }

    async fn run_retries_now(
        &self,
        request: Request<RunRetriesNowRequest>,
    ) -> Result<Response<RunRetriesNowResponse>, Status> {
        self.observe(Api::RunRetriesNow, self.retry_now(request.into_inner())).await
    }
}

/// Says where a group stands.
fn stand(shown: &mut QueueGroup, described: DescribedQueue) {
    let now = described.at;
    let (breaker, until) = match described.admission {
        Admission::Yes => ("closed", None),
        Admission::Probe(_) => ("probing", None),
        Admission::Open { until, cause: OpenCause::Failures } => ("open", Some(until)),
        Admission::Open { until, cause: OpenCause::DeadLetterFlood } => {
            ("open: too many dead letters", Some(until))
        }
    };
    shown.breaker = breaker.to_owned();
    shown.breaker_ms = until.map(|until| until.millis().saturating_sub(now.millis()).max(0));
    shown.lanes = described.lanes.into_iter().map(|one| lane(one, now.millis())).collect();
    let members = described.members.into_iter().map(|member| v1::QueueMember {
        member_id: member.member_id.to_string(),
        client_id: member.client_id,
        client_host: member.client_host,
        leased: count(member.leased),
    });
    shown.members = members.collect();
}

fn lane(lane: DescribedLane, now: i64) -> v1::Lane {
    let counts = lane.counts;
    let gating = lane.gating.into_iter();
    v1::Lane {
        topic: lane.topic.to_string(),
        partition: lane.partition.get(),
        start_offset: counts.start.get(),
        end_offset: counts.end.get(),
        high_watermark: lane.high_watermark.get(),
        backlog: i64::try_from(lane.high_watermark.since(counts.end)).unwrap_or(i64::MAX),
        available: count(counts.available),
        leased: count(counts.leased),
        delayed: count(counts.delayed),
        dying: count(counts.dying),
        dead: count(counts.dead),
        next_due_ms: counts.next_due.map(|due| due.millis().saturating_sub(now)),
        skipped: i64::try_from(counts.skipped).unwrap_or(i64::MAX),
        blocked: lane.blocked.map_or("", blocked).to_owned(),
        gating: gating
            .map(|(offset, waiting)| GatingRecord { offset: offset.get(), waiting: count(waiting) })
            .collect(),
        problem: lane.problem.unwrap_or_default(),
    }
}

const fn blocked(blocked: Blocked) -> &'static str {
    match blocked {
        Blocked::Leased => "WINDOW_ACQUIRED",
        Blocked::Delayed => "WINDOW_DELAYED",
        Blocked::Lookahead => "WINDOW_LOOKAHEAD",
        Blocked::Budget => "RETRY_BUDGET",
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A topic, or all of them when it is empty.
pub(crate) fn optional_topic(name: &str) -> Result<Option<TopicName>, BrokerError> {
    if name.is_empty() { Ok(None) } else { topic_name("topic", name).map(Some) }
}

/// How many rows a page has.
pub(crate) fn page_size(limit: i32) -> Result<usize, BrokerError> {
    let asked = if limit == 0 { PAGE } else { limit };
    let size = usize::try_from(asked).ok().filter(|_| (1..=PAGE_MAX).contains(&asked));
    size.ok_or_else(|| invalid("limit", format!("limit: {limit} is not 1 to {PAGE_MAX}")))
}

/// A place in words: no topic's name has a slash.
pub(crate) fn page_name(place: &QueuePlace) -> String {
    format!("{}/{}/{}", place.topic, place.partition, place.offset)
}

/// The place that an earlier answer gave; none when it is empty.
pub(crate) fn place(page: &str) -> Result<Option<QueuePlace>, BrokerError> {
    if page.is_empty() {
        return Ok(None);
    }
    let mut parts = page.split('/');
    let place = || {
        let topic = TopicName::new(parts.next()?).ok()?;
        let partition = PartitionIndex::new(parts.next()?.parse().ok()?)?;
        let offset = Offset::new(parts.next()?.parse().ok()?)?;
        parts.next().is_none().then_some(QueuePlace { topic, partition, offset })
    };
    let mut place = place;
    place().map(Some).ok_or_else(|| invalid("page", "page: give it as the last answer's next_page has it"))
}

#[cfg(test)]
#[path = "group_admin_tests.rs"]
mod tests;
