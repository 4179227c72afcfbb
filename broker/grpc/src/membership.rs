//! `tidelog.v1.Membership`: members of groups whose partitions the broker shares out, and what groups are at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tidelog_core::group::consumer::{
    ConsumerGroupDescription, Heartbeat, HeartbeatReply, Partitions, Positions,
};
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, TopicId, TopicName};
use tidelog_proto::v1;
use tidelog_proto::v1::membership_server::Membership;
use tidelog_proto::v1::{
    DescribeGroupRequest, DescribeGroupResponse, GroupMember, HeartbeatRequest, HeartbeatResponse,
};
use tidelog_runtime::group::DescribedGroup;
use tidelog_runtime::{Broker, BrokerError};
use tonic::{Request, Response, Status};

use crate::error::{invalid, status};
use crate::metrics::Api;
use crate::names::{group_id, partition_count, partition_index, topic_name};
use crate::services::Shared;

pub(crate) struct MembershipService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Membership for MembershipService {
    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let host =
            request.remote_addr().map_or_else(String::new, |peer| format!("/{}", peer.ip().to_canonical()));
        let call = async {
            let beat = self.beat(request.into_inner(), host).await;
            beat.map(Response::new).map_err(status)
        };
        self.0.metrics.observe(Api::Heartbeat, call).await
    }

    async fn describe_group(
        &self,
        request: Request<DescribeGroupRequest>,
    ) -> Result<Response<DescribeGroupResponse>, Status> {
        let call = async {
            let described = self.describe(&request.get_ref().group).await;
            described.map(Response::new).map_err(status)
        };
        self.0.metrics.observe(Api::DescribeGroup, call).await
    }
}

impl MembershipService {
    async fn beat(
        &self,
        request: HeartbeatRequest,
        client_host: String,
    ) -> Result<HeartbeatResponse, BrokerError> {
        let broker = &self.0.broker;
        let group = group_id(&request.group)?;
        let joins = request.member_epoch == 0;
        let owned = request.owned.map(|owned| self.owned(owned)).transpose()?;
        let subscription =
            request.subscription.map(|subscription| self.subscription(subscription)).transpose()?;
        let (names, regex) = subscription.unzip();
        let heartbeat = Heartbeat {
            member_id: request.member_id,
            // Members of this protocol name themselves.
            generated_member_id: None,
            member_epoch: request.member_epoch,
            instance_id: Some(request.instance_id).filter(|id| !id.is_empty()),
            rack_id: None,
            rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| joins || *ms != 0),
            subscribed_topic_names: names,
            subscribed_topic_regex: regex.flatten(),
            server_assignor: Some(request.assignor).filter(|name| !name.is_empty()),
            owned,
            client_id: request.client_id,
            client_host,
        };
        let reply = broker.consumer_group_heartbeat(&group, heartbeat).await?;
        Ok(answer(broker, reply))
    }

    fn subscription(
        &self,
        subscription: v1::Subscription,
    ) -> Result<(BTreeSet<TopicName>, Option<String>), BrokerError> {
        if subscription.topics.is_empty() && subscription.topic_regex.is_empty() {
            return Err(invalid("subscription", "subscription: name a topic, or a topic_regex"));
        }
        if !subscription.topics.is_empty() {
            partition_count("subscription", subscription.topics.len(), &self.0.limits)?;
        }
        let names = subscription.topics.iter().map(|name| topic_name("subscription", name));
        Ok((names.collect::<Result<_, _>>()?, Some(subscription.topic_regex)))
    }

    /// A topic that is gone is not read by anybody.
    fn owned(&self, owned: v1::PartitionSet) -> Result<Partitions, BrokerError> {
        let count = owned.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        if count > 0 {
            partition_count("owned", count, &self.0.limits)?;
        }
        let mut partitions = Partitions::new();
        for topic in owned.topics {
            let name = topic_name("owned", &topic.topic)?;
            let indexes = topic.partitions.into_iter().map(partition_index).collect::<Result<Vec<_>, _>>()?;
            if let Some(found) = self.0.broker.topic(&name) {
                partitions.entry(found.id()).or_default().extend(indexes);
            }
        }
        Ok(partitions)
    }

    async fn describe(&self, group: &str) -> Result<DescribeGroupResponse, BrokerError> {
        let group = group_id(group)?;
        match self.0.broker.describe_group(&group).await {
            Ok(described) => Ok(classic(&self.0.broker, described)),
            // It may be of the other kind.
            Err(error) if error.code == ErrorCode::GroupIdNotFound => self.describe_consumer(&group).await,
            Err(error) => Err(error),
        }
    }

    async fn describe_consumer(&self, group: &GroupId) -> Result<DescribeGroupResponse, BrokerError> {
        let described = self.0.broker.describe_consumer_group(group).await?;
        Ok(consumer(&self.0.broker, described))
    }
}

fn answer(broker: &Broker, reply: HeartbeatReply) -> HeartbeatResponse {
    HeartbeatResponse {
        member_epoch: reply.member_epoch,
        heartbeat_interval_ms: reply.heartbeat_interval_ms,
        assignment: reply.assignment.map(|assignment| {
            let topics = named(broker, &assignment).map(|(topic, set)| v1::TopicPartitions {
                topic: topic.to_string(),
                partitions: set.iter().map(|partition| partition.get()).collect(),
            });
            v1::PartitionSet { topics: topics.collect() }
        }),
    }
}

/// The topics by their names; those that are gone are left out.
fn named<'a>(
    broker: &'a Broker,
    partitions: &'a BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
) -> impl Iterator<Item = (TopicName, &'a BTreeSet<PartitionIndex>)> {
    partitions.iter().filter_map(|(id, set)| Some((broker.topic_by_id(*id)?.name().clone(), set)))
}

fn consumer(broker: &Broker, described: ConsumerGroupDescription) -> DescribeGroupResponse {
    let members = described.members.into_iter().map(|member| {
        let partitions = named(broker, &member.current.assigned).flat_map(|(topic, set)| {
            let place = |partition: &PartitionIndex| v1::TopicPartition {
                topic: topic.to_string(),
                partition: partition.get(),
            };
            set.iter().map(place).collect::<Vec<_>>()
        });
        GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.subscription.instance_id.unwrap_or_default(),
            client_id: member.subscription.client_id,
            client_host: member.subscription.client_host,
            epoch: member.current.member_epoch,
            partitions: partitions.collect(),
        }
    });
    DescribeGroupResponse {
        state: described.state.name().to_owned(),
        r#type: "consumer".to_owned(),
        epoch: described.group_epoch,
        assignor: described.assignor.to_owned(),
        pending_seeks: pending(broker, &described.pending_seek),
        members: members.collect(),
    }
}

fn classic(broker: &Broker, described: DescribedGroup) -> DescribeGroupResponse {
    let members = described.members.into_iter().map(|member| GroupMember {
        member_id: member.member_id,
        instance_id: member.instance_id.unwrap_or_default(),
        client_id: member.client_id,
        client_host: member.client_host,
        epoch: described.generation,
        partitions: assignment(member.assignment).unwrap_or_default(),
    });
    DescribeGroupResponse {
        state: described.state.name().to_owned(),
        r#type: "classic".to_owned(),
        epoch: described.generation,
        assignor: described.protocol_name,
        pending_seeks: pending(broker, &described.pending_seek),
        members: members.collect(),
    }
}

fn pending(broker: &Broker, positions: &Positions) -> Vec<v1::PendingSeek> {
    let seek = |((topic, partition), offset): (&(TopicId, PartitionIndex), &Offset)| {
        let topic = broker.topic_by_id(*topic)?.name().to_string();
        Some(v1::PendingSeek { topic, partition: partition.get(), offset: offset.get() })
    };
    positions.iter().filter_map(seek).collect()
}

/// The partitions in an assignment of Kafka's consumers, whose form the broker need not know to pass it on:
/// version, topics with their partitions, and further bytes. `None` when it is something else.
fn assignment(mut bytes: Bytes) -> Option<Vec<v1::TopicPartition>> {
    let _version = bytes.try_get_i16().ok()?;
    let topics = bytes.try_get_i32().ok()?;
    let mut places = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let name = bytes.split_to(Some(length).filter(|length| *length <= bytes.len())?);
        let topic = std::str::from_utf8(&name).ok()?;
        let partitions = bytes.try_get_i32().ok()?;
        for _ in 0..partitions {
            let partition = bytes.try_get_i32().ok()?;
            places.push(v1::TopicPartition { topic: topic.to_owned(), partition });
        }
    }
    Some(places)
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
