//! JoinGroup (11): a member joins, or joins again. Answered when the generation is complete.
//!
//! * v0: the rebalance timeout is the session timeout. v4+: a new member is given an id and joins again with it
//!   (KIP-394). v5+: static members (KIP-345). v9: the leader may be told that the assignment stands (KIP-814).

use std::sync::Arc;

use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse};
use tidelog_core::group::api::{GroupProtocol, JoinGroup, JoinGroupReply, Joined};
use tidelog_runtime::BrokerError;

use super::groups::{client_host, group_id};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = call.version;
    let member_id = request.member_id.clone();
    let answered = match join(&context, call, request) {
        Ok(join) => context.broker().join_group(join).await.map_err(|error: BrokerError| error.into()),
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(JoinGroupReply::Joined(joined)) => answer(version, joined),
        Ok(JoinGroupReply::MemberIdRequired { member_id }) => {
            refused(version, KafkaError::MEMBER_ID_REQUIRED, member_id.into())
        }
        Err(failure) => refused(version, failure.error, member_id),
    }
}

fn join(context: &Context, call: Call, request: JoinGroupRequest) -> Result<JoinGroup, Failure> {
    let protocols = request.protocols.into_iter();
    let protocols = protocols
        .map(|protocol| GroupProtocol { name: protocol.name.into_string(), metadata: protocol.metadata });
    Ok(JoinGroup {
        group: group_id(&request.group_id)?,
        member_id: request.member_id.into_string(),
        require_known_member_id: call.version >= 4 && request.group_instance_id.is_none(),
        instance_id: request.group_instance_id.map(StrBytes::into_string),
        can_skip_assignment: call.version >= 9,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: (call.version >= 1).then_some(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.into_string(),
        protocols: protocols.collect(),
        client_id: call.client_id,
        client_host: client_host(context),
    })
}

fn answer(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        message!(JoinGroupResponseMember {
            member_id: member.member_id.into(),
            group_instance_id: member.instance_id.map(StrBytes::from),
            metadata: member.metadata,
        })
    });
    message!(JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: (version >= 7).then(|| joined.protocol_type.into()),
        protocol_name: Some(joined.protocol_name.into()),
        leader: joined.leader.into(),
        skip_assignment: version >= 9 && joined.skip_assignment,
        member_id: joined.member_id.into(),
        members: members.collect(),
    })
}

fn refused(version: i16, error: KafkaError, member_id: StrBytes) -> JoinGroupResponse {
    message!(JoinGroupResponse {
        error_code: error.code(),
        generation_id: -1,
        // It may be null only where it is flexible enough to say so.
        protocol_name: (version < 7).then(StrBytes::default),
        member_id,
    })
}
