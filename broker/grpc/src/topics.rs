//! `tidelog.v1.Topics`: topics and their configs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_model::Offset;
use tidelog_proto::v1::topics_server::Topics;
use tidelog_proto::v1::{
    AddPartitionsRequest, AddPartitionsResponse, AlterTopicRequest, AlterTopicResponse, ConfigEntry,
    CreateTopicRequest, CreateTopicResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicRequest,
    DeleteTopicResponse, DescribeTopicRequest, DescribeTopicResponse, ListTopicsRequest, ListTopicsResponse,
    PartitionDescription, TopicDescription, TopicSummary, delete_records_request, delete_records_response,
};
use tidelog_runtime::{BrokerError, CreateTopic, PartitionStatus, TopicInfo};
use tonic::{Request, Response, Status};

use crate::error::{detail, invalid, status, too_many};
use crate::metrics::Api;
use crate::names::{partition_count, partition_index, topic_name, writable_topic};
use crate::services::Shared;

/// The most configs one request may set or reset: more than there are.
const CONFIGS_MAX: usize = 1_000;

pub(crate) struct TopicsService(pub(crate) Arc<Shared>);

impl TopicsService {
    async fn observe<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<Response<T>, Status> {
        let call = async { call.await.map(Response::new).map_err(status) };
        self.0.metrics.observe(api, call).await
    }

    async fn create(&self, request: CreateTopicRequest) -> Result<CreateTopicResponse, BrokerError> {
        config_count("configs", request.configs.len())?;
        let spec = CreateTopic {
            name: topic_name("name", &request.name)?,
            partitions: (request.partitions != 0).then_some(request.partitions),
            configs: request.configs.into_iter().collect(),
            validate_only: request.validate_only,
        };
        let topic = self.0.broker.create_topic(spec).await?;
        Ok(CreateTopicResponse { topic: Some(description(topic)) })
    }

    fn list(&self, request: ListTopicsRequest) -> ListTopicsResponse {
        let topics = self.0.broker.topics();
        let shown = topics.iter().filter(|topic| request.include_internal || !topic.is_internal());
        let summary = |topic: &Arc<tidelog_runtime::Topic>| TopicSummary {
            name: topic.name().to_string(),
            id: topic.id().to_string(),
            partitions: count(topic.partition_count()),
            internal: topic.is_internal(),
        };
        let mut topics: Vec<TopicSummary> = shown.map(summary).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        ListTopicsResponse { topics }
    }

    async fn alter(&self, request: AlterTopicRequest) -> Result<AlterTopicResponse, BrokerError> {
        let name = writable_topic("name", &request.name)?;
        config_count("set", request.set.len())?;
        config_count("reset", request.reset.len())?;
        let set: BTreeMap<String, String> = request.set.into_iter().collect();
        if let Some(key) = request.reset.iter().find(|key| set.contains_key(*key)) {
            return Err(invalid("reset", format!("{key} is both set and reset: choose one")));
        }
        let topic = self.0.broker.alter_topic(&name, set, request.reset, request.validate_only).await?;
        Ok(AlterTopicResponse { topic: Some(description(topic)) })
    }

    async fn add_partitions(
        &self,
        request: AddPartitionsRequest,
    ) -> Result<AddPartitionsResponse, BrokerError> {
        let name = writable_topic("name", &request.name)?;
        let topic = self.0.broker.add_partitions(&name, request.total, request.validate_only).await?;
        Ok(AddPartitionsResponse { topic: Some(description(topic)) })
    }

    async fn delete_records(
        &self,
        request: DeleteRecordsRequest,
    ) -> Result<DeleteRecordsResponse, BrokerError> {
        let name = writable_topic("topic", &request.topic)?;
        partition_count("partitions", request.partitions.len(), &self.0.limits)?;
        let mut partitions = Vec::with_capacity(request.partitions.len());
        for wanted in request.partitions {
            let (log_start_offset, error) = match self.delete_in_partition(&name, &wanted).await {
                Ok(start) => (start.get(), None),
                Err(error) => (-1, Some(detail(error))),
            };
            partitions.push(delete_records_response::Partition {
                partition: wanted.partition,
                log_start_offset,
                error,
            });
        }
        Ok(DeleteRecordsResponse { partitions })
    }

    async fn delete_in_partition(
        &self,
        name: &tidelog_model::TopicName,
        wanted: &delete_records_request::Partition,
    ) -> Result<Offset, BrokerError> {
        let before = match wanted.before_offset {
            -1 => None,
            offset => Some(Offset::new(offset).ok_or_else(|| {
                invalid("before_offset", format!("before_offset {offset} is negative: -1 means everything"))
            })?),
        };
        let partition = self.0.broker.partition(name, partition_index(wanted.partition)?)?;
        partition.delete_records(before).await
    }
}

#[tonic::async_trait]
impl Topics for TopicsService {
    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        self.observe(Api::CreateTopic, self.create(request.into_inner())).await
    }

    async fn list_topics(
        &self,
        request: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        self.observe(Api::ListTopics, async { Ok(self.list(request.into_inner())) }).await
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let name = request.into_inner().name;
        let describe = async {
            let topic = self.0.broker.describe_topic(&topic_name("name", &name)?)?;
            Ok(DescribeTopicResponse { topic: Some(description(topic)) })
        };
        self.observe(Api::DescribeTopic, describe).await
    }

    async fn alter_topic(
        &self,
        request: Request<AlterTopicRequest>,
    ) -> Result<Response<AlterTopicResponse>, Status> {
        self.observe(Api::AlterTopic, self.alter(request.into_inner())).await
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        let name = request.into_inner().name;
        let delete = async {
            self.0.broker.delete_topic(&writable_topic("name", &name)?).await?;
            Ok(DeleteTopicResponse {})
        };
        self.observe(Api::DeleteTopic, delete).await
    }

    async fn add_partitions(
        &self,
        request: Request<AddPartitionsRequest>,
    ) -> Result<Response<AddPartitionsResponse>, Status> {
        self.observe(Api::AddPartitions, self.add_partitions(request.into_inner())).await
    }

    async fn delete_records(
        &self,
        request: Request<DeleteRecordsRequest>,
    ) -> Result<Response<DeleteRecordsResponse>, Status> {
        self.observe(Api::DeleteRecords, self.delete_records(request.into_inner())).await
    }
}

fn config_count(field: &'static str, count: usize) -> Result<(), BrokerError> {
    if count > CONFIGS_MAX { Err(too_many(field, "configs", CONFIGS_MAX, count)) } else { Ok(()) }
}

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn description(topic: TopicInfo) -> TopicDescription {
    TopicDescription {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.internal,
        partitions: topic.partitions.into_iter().map(partition_description).collect(),
        configs: topic.configs.into_iter().map(config_entry).collect(),
    }
}

fn partition_description(status: PartitionStatus) -> PartitionDescription {
    PartitionDescription {
        partition: status.partition.get(),
        leader_epoch: status.leader_epoch.get(),
        log_start_offset: status.log_start.get(),
        high_watermark: status.high_watermark.get(),
        log_end_offset: status.log_end.get(),
        size_bytes: i64::try_from(status.size_bytes).unwrap_or(i64::MAX),
        segments: count(status.segments),
        problem: status.problem.unwrap_or_default(),
    }
}

/// A config as clients see it.
pub(crate) fn config_entry(entry: tidelog_runtime::ConfigEntry) -> ConfigEntry {
    ConfigEntry {
        key: entry.key.to_string(),
        value: entry.value,
        source: entry.source.to_string(),
        r#type: entry.kind.to_string(),
        documentation: entry.documentation.to_string(),
    }
}
