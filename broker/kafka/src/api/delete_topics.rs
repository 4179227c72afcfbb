//! DeleteTopics (20): by name, from v6 also by id. A topic is gone for good when this is answered.
//!
//! * v5+ has error messages; v6+ has ids, and a name may be null.

use std::sync::Arc;

use kafka_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use tidelog_model::TopicId;

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::names::{repeated, topic_name};
use crate::wire::{StrBytes, WireUuid, message, topic_id, wire_id};

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let wanted = if call.version >= 6 {
        request.topics
    } else {
        let by_name = |name| message!(DeleteTopicState { name: Some(name) });
        request.topic_names.into_iter().map(by_name).collect()
    };
    let names: Vec<StrBytes> = wanted.iter().filter_map(|topic| topic.name.clone()).collect();
    let twice = repeated(names.iter().map(|name| &**name));
    let ids_twice = repeated(wanted.iter().filter_map(|topic| topic_id(topic.topic_id)));
    let mut responses = Vec::with_capacity(wanted.len());
    for topic in wanted {
        let named_twice = topic.name.as_deref().is_some_and(|name| twice.contains(name))
            || topic_id(topic.topic_id).is_some_and(|id| ids_twice.contains(&id));
        responses.push(if named_twice {
            let text = "the topic is named twice in one request";
            answer(topic.name, topic.topic_id, &Err(Failure::new(KafkaError::INVALID_REQUEST, text)))
        } else {
            delete(&context, topic).await
        });
    }
    message!(DeleteTopicsResponse { responses })
}

async fn delete(context: &Context, wanted: DeleteTopicState) -> DeletableTopicResult {
    match (wanted.name, topic_id(wanted.topic_id)) {
        (Some(name), None) => {
            let deleted = delete_named(context, &name).await;
            let id = deleted.as_ref().map_or(WireUuid::ZERO, |id| wire_id(*id));
            answer(Some(name), id, &deleted)
        }
        (None, Some(id)) => {
            let Some(topic) = context.broker().topic_by_id(id) else {
                let text = format!("there is no topic with the id {id}");
                return answer(None, wanted.topic_id, &Err(Failure::new(KafkaError::UNKNOWN_TOPIC_ID, text)));
            };
            let deleted = delete_named(context, topic.name().as_str()).await;
            answer(Some(topic.name().as_str().into()), wanted.topic_id, &deleted)
        }
        (name, _) => {
            let text = "a topic is named either by its name or by its id";
            answer(name, wanted.topic_id, &Err(Failure::new(KafkaError::INVALID_REQUEST, text)))
        }
    }
}

async fn delete_named(context: &Context, name: &str) -> Result<TopicId, Failure> {
    let broker = context.broker();
    let unknown = |_| Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, "there is no topic of this name");
    let name = topic_name(name).map_err(unknown)?;
    let id = broker.topic(&name).map(|topic| topic.id());
    broker.delete_topic(&name).await?;
    id.ok_or_else(|| Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, "the topic was created just now"))
}

fn answer(
    name: Option<StrBytes>,
    topic_id: WireUuid,
    deleted: &Result<TopicId, Failure>,
) -> DeletableTopicResult {
    let (error_code, error_message) = outcome(deleted);
    message!(DeletableTopicResult { name, topic_id, error_code, error_message })
}

#[cfg(test)]
#[path = "delete_topics_tests.rs"]
mod tests;
