//! DeleteGroups (42): forgets groups that have no members, with their offsets.

use std::sync::Arc;

use kafka_wire::delete_groups_response::DeletableGroupResult;
use kafka_wire::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::groups::group_id;
use crate::context::{Call, Context};
use crate::failure::{Failure, outcome};
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for name in request.groups_names {
        let (error_code, error_message) = outcome(&delete(&context, &name).await);
        results.push(message!(DeletableGroupResult { group_id: name, error_code, error_message }));
    }
    message!(DeleteGroupsResponse { results })
}

async fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    Ok(context.broker().delete_group(&group_id(name)?).await?)
}
