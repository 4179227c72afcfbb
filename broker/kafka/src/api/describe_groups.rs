//! DescribeGroups (15): members of classic groups. A group that does not exist is "Dead"; from v6 on it is
//! GROUP_ID_NOT_FOUND instead (KIP-1043). Groups of the consumer protocol have an API of their own.

use std::sync::Arc;

use kafka_wire::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::{DescribeGroupsRequest, DescribeGroupsResponse};
use tidelog_core::group::api as group;

use super::groups::{group_id, operations};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = operations(call.version >= 3 && request.include_authorized_operations);
    let mut groups = Vec::with_capacity(request.groups.len());
    for name in request.groups {
        let mut described = match describe(&context, &name).await {
            Ok(found) => answer(found),
            Err(failure) => refused(call.version, &failure),
        };
        described.group_id = name;
        described.authorized_operations = operations;
        groups.push(described);
    }
    message!(DescribeGroupsResponse { groups })
}

async fn describe(context: &Context, name: &str) -> Result<group::DescribedGroup, Failure> {
    Ok(context.broker().describe_group(&group_id(name)?).await?)
}

fn answer(found: group::DescribedGroup) -> DescribedGroup {
    let members = found.members.into_iter().map(|member| {
        message!(DescribedGroupMember {
            member_id: member.member_id.into(),
            group_instance_id: member.instance_id.map(StrBytes::from),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            member_metadata: member.metadata,
            member_assignment: member.assignment,
        })
    });
    message!(DescribedGroup {
        group_state: found.state.name().into(),
        protocol_type: found.protocol_type.into(),
        protocol_data: found.protocol_name.into(),
        members: members.collect(),
    })
}

fn refused(version: i16, failure: &Failure) -> DescribedGroup {
    let missing = failure.error == KafkaError::GROUP_ID_NOT_FOUND;
    let error_code = if missing && version < 6 { 0 } else { failure.code() };
    let group_state = if missing { "Dead" } else { "" };
    // Older versions have no place for the text.
    let error_message = failure.message().filter(|_| version >= 6);
    message!(DescribedGroup { error_code, error_message, group_state: group_state.into() })
}
