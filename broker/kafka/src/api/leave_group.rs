//! LeaveGroup (13): members leave. v3+: several at once, static ones by their names (KIP-345).

use std::sync::Arc;

use kafka_wire::leave_group_request::MemberIdentity;
use kafka_wire::leave_group_response::MemberResponse;
use kafka_wire::{LeaveGroupRequest, LeaveGroupResponse};
use tidelog_core::group::api::{LeaveGroup, LeavingMember};

use super::groups::group_id;
use crate::context::{Call, Context};
use crate::failure::{Failure, outcome};
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let alone = call.version < 3;
    let leaving = if alone {
        vec![message!(MemberIdentity { member_id: request.member_id.clone() })]
    } else {
        request.members
    };
    match leave(&context, &request.group_id, &leaving).await {
        Ok(results) if alone => {
            let (error_code, _) = results.first().map(outcome).unwrap_or_default();
            message!(LeaveGroupResponse { error_code })
        }
        Ok(results) => {
            let members = leaving.into_iter().zip(results).map(|(member, result)| {
                message!(MemberResponse {
                    member_id: member.member_id,
                    group_instance_id: member.group_instance_id,
                    error_code: outcome(&result).0,
                })
            });
            message!(LeaveGroupResponse { members: members.collect() })
        }
        Err(failure) => message!(LeaveGroupResponse { error_code: failure.code() }),
    }
}

async fn leave(
    context: &Context,
    group: &str,
    leaving: &[MemberIdentity],
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let members = leaving.iter().map(|member| LeavingMember {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(StrBytes::to_string),
    });
    let request = LeaveGroup { group: group_id(group)?, members: members.collect() };
    let results = context.broker().leave_group(request).await?;
    Ok(results.into_iter().map(|result| result.map_err(Failure::from)).collect())
}
