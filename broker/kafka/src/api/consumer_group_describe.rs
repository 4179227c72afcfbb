//! ConsumerGroupDescribe (69): members and assignments of groups of the consumer protocol (KIP-848).

use std::sync::Arc;

use kafka_wire::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
use kafka_wire::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use tidelog_core::group::consumer::{ConsumerGroupDescription, MemberDescription, Partitions};

use super::groups::{group_id, indexes, operations, topic_name};
use crate::context::{Call, Context};
use crate::failure::Failure;
use crate::wire::{StrBytes, message, wire_id};

/// The kind of a member that speaks the consumer protocol.
const CONSUMER: i8 = 1;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = operations(request.include_authorized_operations);
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for name in request.group_ids {
        let mut described = match describe(&context, &name).await {
            Ok(found) => answer(&context, found),
            Err(failure) => {
                message!(DescribedGroup { error_code: failure.code(), error_message: failure.message() })
            }
        };
        described.group_id = name;
        described.authorized_operations = operations;
        groups.push(described);
    }
    message!(ConsumerGroupDescribeResponse { groups })
}

async fn describe(context: &Context, name: &str) -> Result<ConsumerGroupDescription, Failure> {
    Ok(context.broker().describe_consumer_group(&group_id(name)?).await?)
}

fn answer(context: &Context, found: ConsumerGroupDescription) -> DescribedGroup {
    message!(DescribedGroup {
        group_state: found.state.name().into(),
        group_epoch: found.group_epoch,
        assignment_epoch: found.assignment_epoch,
        assignor_name: found.assignor.into(),
        members: found.members.into_iter().map(|described| member(context, described)).collect(),
    })
}

fn member(context: &Context, described: MemberDescription) -> Member {
    let subscription = described.subscription;
    let names = subscription.topic_names.iter().map(|name| name.as_str().into());
    message!(Member {
        member_id: described.member_id.to_string().into(),
        instance_id: subscription.instance_id.map(StrBytes::from),
        rack_id: subscription.rack_id.map(StrBytes::from),
        member_epoch: described.current.member_epoch,
        client_id: subscription.client_id.into(),
        client_host: subscription.client_host.into(),
        subscribed_topic_names: names.collect(),
        subscribed_topic_regex: subscription.topic_regex.map(StrBytes::from),
        assignment: assignment(context, &described.current.assigned),
        target_assignment: assignment(context, &described.target),
        member_type: CONSUMER,
    })
}

fn assignment(context: &Context, partitions: &Partitions) -> Assignment {
    let topics = partitions.iter().map(|(id, set)| {
        message!(TopicPartitions {
            topic_id: wire_id(*id),
            topic_name: topic_name(context.broker(), *id),
            partitions: indexes(set),
        })
    });
    message!(Assignment { topic_partitions: topics.collect() })
}
