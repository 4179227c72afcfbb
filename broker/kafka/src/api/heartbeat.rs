//! Heartbeat (12): a member is alive, and hears whether it must join again. v3+: static members.

use std::sync::Arc;

use kafka_wire::{HeartbeatRequest, HeartbeatResponse};
use tidelog_core::group::api::GroupHeartbeat;

use super::groups::{group_id, member};
use crate::context::{Call, Context};
use crate::failure::{Failure, outcome};
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let (error_code, _) = outcome(&beat(&context, &request).await);
    message!(HeartbeatResponse { error_code })
}

async fn beat(context: &Context, request: &HeartbeatRequest) -> Result<(), Failure> {
    let member = member(&request.member_id, request.group_instance_id.as_ref(), request.generation_id);
    let beat = GroupHeartbeat { group: group_id(&request.group_id)?, member };
    Ok(context.broker().heartbeat_group(beat).await?)
}
