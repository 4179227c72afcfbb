//! DescribeConfigs (32): all configs of topics and of the broker with the defaults, or the ones asked for.
//!
//! * v3+ has types and documentation; synonyms and documentation only when they are asked for.
//! * A resource that is named several times is answered once.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::configs::{ResourceType, Synonym, Told, described};
use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::wire::{StrBytes, message};

/// The most resources of one request: what is answered is much longer than what is asked.
const RESOURCES_MAX: usize = 10_000;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for resource in &request.resources {
        if seen.insert((resource.resource_type, &*resource.resource_name)) {
            let configs = if seen.len() > RESOURCES_MAX {
                Err(Failure::new(KafkaError::INVALID_REQUEST, "more than 10000 resources in one request"))
            } else {
                let kind = ResourceType::of(resource.resource_type);
                described(&context, kind, &resource.resource_name)
            };
            results.push(answer(&request, resource, configs));
        }
    }
    message!(DescribeConfigsResponse { results })
}

fn answer(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    configs: Result<Vec<Told>, Failure>,
) -> DescribeConfigsResult {
    let (error_code, error_message) = outcome(&configs);
    let asked: Option<BTreeSet<&str>> = resource
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
        .map(|keys| keys.iter().map(|key| &**key).collect());
    let configs = configs.unwrap_or_default().into_iter();
    let wanted = configs.filter(|told| asked.as_ref().is_none_or(|keys| keys.contains(&*told.name)));
    message!(DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: wanted.map(|told| config(request, told)).collect(),
    })
}

fn config(request: &DescribeConfigsRequest, told: Told) -> DescribeConfigsResourceResult {
    let synonym = |synonym: Synonym| {
        let value: Option<StrBytes> = Some(synonym.value);
        message!(DescribeConfigsSynonym { name: synonym.name, value, source: synonym.source })
    };
    let synonyms = if request.include_synonyms { told.synonyms } else { Vec::new() };
    message!(DescribeConfigsResourceResult {
        name: told.name,
        value: told.value,
        read_only: told.read_only,
        config_source: told.source,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: told.kind,
        documentation: request.include_documentation.then_some(told.documentation),
    })
}

#[cfg(test)]
#[path = "describe_configs_tests.rs"]
mod tests;
