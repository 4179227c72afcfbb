//! SyncGroup (14): the leader hands in the assignments, every member gets its own.
//!
//! * v3+: static members. v5+: the member says which protocol it believes in, and is refused when it is another.

use std::sync::Arc;

use kafka_wire::{SyncGroupRequest, SyncGroupResponse};
use tidelog_core::group::api::{MemberAssignment, SyncGroup, SyncGroupReply};

use super::groups::{group_id, member};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    match sync(&context, call.version, request).await {
        Ok(reply) => message!(SyncGroupResponse {
            protocol_type: (call.version >= 5).then(|| reply.protocol_type.into()),
            protocol_name: (call.version >= 5).then(|| reply.protocol_name.into()),
            assignment: reply.assignment,
        }),
        Err(failure) => message!(SyncGroupResponse { error_code: failure.code() }),
    }
}

async fn sync(context: &Context, version: i16, request: SyncGroupRequest) -> Result<SyncGroupReply, Failure> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= 5 && !named {
        let text = "the protocol type and name must be given";
        return Err(Failure::new(KafkaError::INCONSISTENT_GROUP_PROTOCOL, text));
    }
    let assignments = request.assignments.into_iter().map(|assignment| MemberAssignment {
        member_id: assignment.member_id.into_string(),
        assignment: assignment.assignment,
    });
    let sync = SyncGroup {
        group: group_id(&request.group_id)?,
        member: member(&request.member_id, request.group_instance_id.as_ref(), request.generation_id),
        protocol_type: request.protocol_type.map(StrBytes::into_string),
        protocol_name: request.protocol_name.map(StrBytes::into_string),
        assignments: assignments.collect(),
    };
    Ok(context.broker().sync_group(sync).await?)
}
