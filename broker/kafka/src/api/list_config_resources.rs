//! ListConfigResources (74): what has configs: topics and the broker.
//!
//! * v0 lists client metrics only, of which there are none. From v1 no types are all of them.

use std::sync::Arc;

use kafka_wire::list_config_resources_response::ConfigResource;
use kafka_wire::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::configs::ResourceType;
use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::wire::message;

/// The types there are in Kafka.
const TYPES: [i8; 5] = [
    ResourceType::TOPIC,
    ResourceType::BROKER,
    ResourceType::BROKER_LOGGER,
    ResourceType::CLIENT_METRICS,
    ResourceType::GROUP,
];

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    if call.version == 0 {
        return ListConfigResourcesResponse::default();
    }
    if request.resource_types.iter().any(|kind| !TYPES.contains(kind)) {
        let error_code = KafkaError::UNSUPPORTED_VERSION.code();
        return message!(ListConfigResourcesResponse { error_code });
    }
    let wanted = |kind| request.resource_types.is_empty() || request.resource_types.contains(&kind);
    let mut config_resources = Vec::new();
    if wanted(ResourceType::TOPIC) {
        config_resources.extend(context.broker().topics().iter().map(|topic| {
            let resource_name = topic.name().as_str().into();
            message!(ConfigResource { resource_name, resource_type: ResourceType::TOPIC })
        }));
    }
    if wanted(ResourceType::BROKER) {
        let resource_name = NODE_ID.to_string().into();
        config_resources
            .push(message!(ConfigResource { resource_name, resource_type: ResourceType::BROKER }));
    }
    message!(ListConfigResourcesResponse { config_resources })
}
