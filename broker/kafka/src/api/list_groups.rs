//! ListGroups (16): all groups. v4+: with their states, and only some of them; v5+: with their types.

use std::sync::Arc;

use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire::{ListGroupsRequest, ListGroupsResponse};
use tidelog_core::group::api::ListGroups;

use crate::context::{Call, Context};
use crate::failure::Failure;
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let words = |words: Vec<StrBytes>| words.into_iter().map(StrBytes::into_string).collect();
    let wanted = ListGroups { states: words(request.states_filter), types: words(request.types_filter) };
    match context.broker().list_groups(wanted).await {
        Ok(groups) => {
            let groups = groups.into_iter().map(|group| {
                message!(ListedGroup {
                    group_id: group.group.as_str().into(),
                    protocol_type: group.protocol_type.into(),
                    group_state: group.state.name().into(),
                    group_type: group.group_type.name().into(),
                })
            });
            message!(ListGroupsResponse { groups: groups.collect() })
        }
        Err(error) => message!(ListGroupsResponse { error_code: Failure::from(error).code() }),
    }
}
