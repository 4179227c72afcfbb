//! `tidelog.v1.Groups`: committed offsets of named groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::limits::OFFSET_METADATA_BYTES_MAX;
use tidelog_model::{ErrorCode, LeaderEpoch, Offset};
use tidelog_proto::v1;
use tidelog_proto::v1::groups_server::Groups;
use tidelog_proto::v1::{
    CommitOffsetsRequest, CommitOffsetsResponse, CommitResult, DeleteGroupRequest, DeleteGroupResponse,
    DeleteOffsetsRequest, DeleteOffsetsResponse, FetchOffsetsRequest, FetchOffsetsResponse, GroupSummary,
    ListGroupsRequest, ListGroupsResponse, SeekGroupRequest, SeekGroupResponse,
};
use tidelog_runtime::group::{GroupMember, ListGroups, ListedGroup, Sought, WhenActive};
use tidelog_runtime::{BrokerError, CommitOffsets, FetchOffsets, OffsetCommit, TopicRef};
use tonic::{Request, Response, Status};

use crate::error::{detail, invalid, over_limit, status};
use crate::metrics::Api;
use crate::names::{group_id, partition_count, partition_index, topic_name};
use crate::services::Shared;

pub(crate) struct GroupsService(pub(crate) Arc<Shared>);

impl GroupsService {
    async fn observe<T>(
        &self,
        api: Api,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<Response<T>, Status> {
        let call = async { call.await.map(Response::new).map_err(status) };
        self.0.metrics.observe(api, call).await
    }

    async fn commit(&self, request: CommitOffsetsRequest) -> Result<CommitOffsetsResponse, BrokerError> {
        let group = group_id(&request.group)?;
        partition_count("offsets", request.offsets.len(), &self.0.limits)?;
        // What cannot be committed is answered in its place; the rest goes on together.
        let parsed: Vec<Result<OffsetCommit, BrokerError>> =
            request.offsets.into_iter().map(offset_commit).collect();
        let good: Vec<OffsetCommit> = parsed.iter().flatten().cloned().collect();
        let committed = if good.is_empty() {
            Vec::new()
        } else {
            let member = member(request.member_id, request.member_epoch);
            self.0.broker.commit_offsets(CommitOffsets { group, member, offsets: good }).await?
        };
        let mut committed = committed.into_iter();
        let result = |parsed: Result<OffsetCommit, BrokerError>| {
            let outcome = parsed.and_then(|_| committed.next().unwrap_or(Ok(())));
            CommitResult { error: outcome.err().map(detail) }
        };
        Ok(CommitOffsetsResponse { results: parsed.into_iter().map(result).collect() })
    }

    async fn fetch(&self, request: &FetchOffsetsRequest) -> Result<FetchOffsetsResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let mut wanted = BTreeSet::new();
        if !request.partitions.is_empty() {
            partition_count("partitions", request.partitions.len(), &self.0.limits)?;
        }
        for place in &request.partitions {
            let topic = topic_name("topic", &place.topic)?;
            wanted.insert((TopicRef::from(topic), partition_index(place.partition)?));
        }
        let partitions = Some(wanted).filter(|wanted| !wanted.is_empty());
        let asked = FetchOffsets { partitions, ..FetchOffsets::all(group) };
        let offsets = self.0.broker.fetch_offsets(asked).await?;
        Ok(FetchOffsetsResponse { offsets: offsets.into_iter().map(committed_offset).collect() })
    }

    async fn list(&self) -> Result<ListGroupsResponse, BrokerError> {
        let summary = |group: ListedGroup| GroupSummary {
            group: group.group.to_string(),
            partitions: i32::try_from(group.partitions).unwrap_or(i32::MAX),
            state: group.state.name().to_owned(),
            r#type: group.group_type.name().to_owned(),
            members: i32::try_from(group.members).unwrap_or(i32::MAX),
        };
        let groups = self.0.broker.list_groups(ListGroups::default()).await?;
        Ok(ListGroupsResponse { groups: groups.into_iter().map(summary).collect() })
    }
}

impl GroupsService {
    async fn seek(&self, request: SeekGroupRequest) -> Result<SeekGroupResponse, BrokerError> {
        let group = group_id(&request.group)?;
        partition_count("positions", request.positions.len(), &self.0.limits)?;
        let position = |wire: v1::SeekPosition| {
            let negative = || invalid("offset", format!("offset {} is negative", wire.offset));
            let offset = Offset::new(wire.offset).ok_or_else(negative)?;
            let topic = topic_name("topic", &wire.topic)?;
            Ok((TopicRef::from(topic), partition_index(wire.partition)?, offset))
        };
        let positions: Result<Vec<_>, BrokerError> = request.positions.into_iter().map(position).collect();
        let when_active = if request.active { WhenActive::Move } else { WhenActive::Refuse };
        let sought = self.0.broker.seek_group(&group, positions?, when_active).await?;
        Ok(SeekGroupResponse { pending: sought == Sought::Pending })
    }

    async fn delete_offsets(
        &self,
        request: DeleteOffsetsRequest,
    ) -> Result<DeleteOffsetsResponse, BrokerError> {
        let group = group_id(&request.group)?;
        partition_count("partitions", request.partitions.len(), &self.0.limits)?;
        let place = |wire: v1::TopicPartition| {
            Ok((TopicRef::from(topic_name("topic", &wire.topic)?), partition_index(wire.partition)?))
        };
        let places: Result<Vec<_>, BrokerError> = request.partitions.into_iter().map(place).collect();
        let deleted = self.0.broker.delete_offsets(&group, places?).await?;
        let result = |result: Result<(), BrokerError>| CommitResult { error: result.err().map(detail) };
        Ok(DeleteOffsetsResponse { results: deleted.into_iter().map(result).collect() })
    }
}

#[tonic::async_trait]
impl Groups for GroupsService {
    async fn commit_offsets(
        &self,
        request: Request<CommitOffsetsRequest>,
    ) -> Result<Response<CommitOffsetsResponse>, Status> {
        self.observe(Api::CommitOffsets, self.commit(request.into_inner())).await
    }

    async fn fetch_offsets(
        &self,
        request: Request<FetchOffsetsRequest>,
    ) -> Result<Response<FetchOffsetsResponse>, Status> {
        self.observe(Api::FetchOffsets, self.fetch(request.get_ref())).await
    }

    async fn list_groups(
        &self,
        _request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        self.observe(Api::ListGroups, self.list()).await
    }

    async fn seek_group(
        &self,
        request: Request<SeekGroupRequest>,
    ) -> Result<Response<SeekGroupResponse>, Status> {
        self.observe(Api::SeekGroup, self.seek(request.into_inner())).await
    }

    async fn delete_offsets(
        &self,
        request: Request<DeleteOffsetsRequest>,
    ) -> Result<Response<DeleteOffsetsResponse>, Status> {
        self.observe(Api::DeleteOffsets, self.delete_offsets(request.into_inner())).await
    }

    async fn delete_group(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        let group = request.into_inner().group;
        let delete = async {
            self.0.broker.delete_group(&group_id(&group)?).await?;
            Ok(DeleteGroupResponse {})
        };
        self.observe(Api::DeleteGroup, delete).await
    }
}

/// Who commits; nobody in the group when there is no id.
fn member(member_id: String, generation: i32) -> GroupMember {
    if member_id.is_empty() {
        return GroupMember::none();
    }
    GroupMember { member_id, instance_id: None, generation }
}

fn offset_commit(offset: v1::CommittedOffset) -> Result<OffsetCommit, BrokerError> {
    if offset.metadata.len() > OFFSET_METADATA_BYTES_MAX {
        let (limit, actual) = (OFFSET_METADATA_BYTES_MAX, offset.metadata.len());
        let message = format!("metadata has {actual} bytes, at most {limit} are allowed");
        return Err(over_limit(ErrorCode::InvalidRequest, "metadata", limit, actual, message));
    }
    let negative = || invalid("offset", format!("offset {} is negative", offset.offset));
    Ok(OffsetCommit {
        topic: topic_name("topic", &offset.topic)?.into(),
        partition: partition_index(offset.partition)?,
        offset: Offset::new(offset.offset).ok_or_else(negative)?,
        leader_epoch: LeaderEpoch::new(offset.leader_epoch),
        metadata: offset.metadata,
    })
}

fn committed_offset(committed: tidelog_runtime::CommittedOffset) -> v1::CommittedOffset {
    v1::CommittedOffset {
        topic: committed.topic.to_string(),
        partition: committed.partition.get(),
        offset: committed.offset.get(),
        leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
        metadata: committed.metadata,
        commit_timestamp_ms: committed.commit_timestamp.millis(),
    }
}
