//! AlterConfigs (33): makes the configs that are named the only ones a topic sets; all others return to their
//! defaults. IncrementalAlterConfigs took its place, but clients still have it.

use std::sync::Arc;

use kafka_wire::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use kafka_wire::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};

use crate::configs::{Alteration, replace};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::names::repeated;
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let key = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.to_string());
    let twice = repeated(request.resources.iter().map(key));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let altered = if twice.contains(&key(&resource)) {
            Err(Failure::new(KafkaError::INVALID_REQUEST, "the resource is named twice in one request"))
        } else {
            match alteration(resource, request.validate_only) {
                Ok(alteration) => replace(&context, alteration).await,
                Err(failure) => Err(failure),
            }
        };
        let (error_code, error_message) = outcome(&altered);
        responses.push(message!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name
        }));
    }
    message!(AlterConfigsResponse { responses })
}

fn alteration(resource: AlterConfigsResource, validate_only: bool) -> Result<Alteration<String>, Failure> {
    let null = || Failure::new(KafkaError::INVALID_REQUEST, "a config's value must not be null");
    let configs = resource.configs.into_iter().map(|config| {
        let value = config.value.ok_or_else(null)?;
        Ok((config.name.to_string(), value.to_string()))
    });
    Ok(Alteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string(),
        configs: configs.collect::<Result<_, Failure>>()?,
        validate_only,
    })
}

#[cfg(test)]
#[path = "alter_configs_tests.rs"]
mod tests;
