//! IncrementalAlterConfigs (44): sets and resets configs of topics, adds to lists and removes from them; the
//! configs of one resource all or none.

use std::sync::Arc;

use kafka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_wire::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use crate::configs::{Alteration, Change, alter};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::names::repeated;
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let key = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.to_string());
    let twice = repeated(request.resources.iter().map(key));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let altered = if twice.contains(&key(&resource)) {
            Err(Failure::new(KafkaError::INVALID_REQUEST, "the resource is named twice in one request"))
        } else {
            match alteration(resource, request.validate_only) {
                Ok(alteration) => alter(&context, alteration).await,
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
    message!(IncrementalAlterConfigsResponse { responses })
}

fn alteration(resource: AlterConfigsResource, validate_only: bool) -> Result<Alteration<Change>, Failure> {
    let configs = resource.configs.into_iter().map(|config| Ok((config.name.to_string(), change(&config)?)));
    Ok(Alteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string(),
        configs: configs.collect::<Result<_, Failure>>()?,
        validate_only,
    })
}

fn change(config: &AlterableConfig) -> Result<Change, Failure> {
    let value = || {
        let refused = || Failure::new(KafkaError::INVALID_REQUEST, "a config's value must not be null");
        config.value.as_ref().map(ToString::to_string).ok_or_else(refused)
    };
    match config.config_operation {
        0 => Ok(Change::Set(value()?)),
        1 => Ok(Change::Reset),
        2 => Ok(Change::Append(value()?)),
        3 => Ok(Change::Subtract(value()?)),
        other => Err(Failure::new(KafkaError::INVALID_REQUEST, format!("there is no operation {other}"))),
    }
}

#[cfg(test)]
#[path = "incremental_alter_configs_tests.rs"]
mod tests;
