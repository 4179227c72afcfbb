//! CreateTopics (19): topics with their partitions and configs; durable when answered.
//!
//! * -1 partitions and -1 replicas are the broker's defaults.
//! * There is one broker, so there is one replica. More are refused, or made one where the listener clamps
//!   them, which the answer tells (v5+).
//! * A topic that is named twice in one request is answered once, with INVALID_REQUEST.
//! * v5+ answers with the configs, v7 with the topic's id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse};
use tidelog_runtime::{CreateTopic, TopicInfo};

use crate::configs::source_code;
use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::{repeated, topic_name};
use crate::wire::{StrBytes, message, wire_id};

/// The most topics of one request: what is answered is much longer than what is asked.
const TOPICS_MAX: usize = 10_000;

/// "The broker's default" in a number of partitions or replicas.
const DEFAULT: i32 = -1;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<StrBytes> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let twice = repeated(names.iter().map(|name| &**name));
    let mut topics = Vec::with_capacity(request.topics.len());
    for name in &twice {
        let failure = Failure::new(KafkaError::INVALID_REQUEST, "the topic is named twice in one request");
        topics.push(refused((*name).into(), &failure));
    }
    for topic in request.topics {
        if twice.contains(&*topic.name) {
            continue;
        }
        let name = topic.name.clone();
        if topics.len() >= TOPICS_MAX {
            let text = format!("more than {TOPICS_MAX} topics in one request");
            topics.push(refused(name, &Failure::new(KafkaError::INVALID_REQUEST, text)));
            continue;
        }
        topics.push(match create(&context, topic, request.validate_only).await {
            Ok((info, partitions)) => created(name, &info, partitions),
            Err(failure) => refused(name, &failure),
        });
    }
    message!(CreateTopicsResponse { topics })
}

/// Creates a topic; returns it and how many partitions it has.
async fn create(
    context: &Context,
    topic: CreatableTopic,
    validate_only: bool,
) -> Result<(TopicInfo, i32), Failure> {
    let broker = context.broker();
    let name = topic_name(&topic.name)?;
    let partitions = if topic.assignments.is_empty() {
        check_replication(context, topic.replication_factor)?;
        Some(topic.num_partitions).filter(|count| *count != DEFAULT)
    } else {
        Some(assigned(&topic)?)
    };
    let configs = configs(topic.configs)?;
    let info = broker.create_topic(CreateTopic { name, partitions, configs, validate_only }).await?;
    Ok((info, partitions.unwrap_or(broker.options().default_partitions)))
}

fn check_replication(context: &Context, factor: i16) -> Result<(), Failure> {
    let clamps = context.shared.options.clamp_replication_factor;
    if factor == -1 || factor == 1 || (factor > 1 && clamps) {
        return Ok(());
    }
    let text = format!("a replication factor of {factor} is not possible: there is 1 broker");
    Err(Failure::new(KafkaError::INVALID_REPLICATION_FACTOR, text))
}

/// The number of partitions that are assigned by hand.
fn assigned(topic: &CreatableTopic) -> Result<i32, Failure> {
    if topic.num_partitions != DEFAULT || i32::from(topic.replication_factor) != DEFAULT {
        let text =
            "partitions that are assigned by hand have no number of partitions or replicas beside them";
        return Err(Failure::new(KafkaError::INVALID_REQUEST, text));
    }
    check_assignments(&topic.assignments)
}

fn check_assignments(assignments: &[CreatableReplicaAssignment]) -> Result<i32, Failure> {
    let wrong = |text: &str| Failure::new(KafkaError::INVALID_REPLICA_ASSIGNMENT, text);
    let count = i32::try_from(assignments.len()).map_err(|_| wrong("there are too many assignments"))?;
    let indices: BTreeSet<i32> = assignments.iter().map(|assignment| assignment.partition_index).collect();
    if !indices.into_iter().eq(0..count) {
        return Err(wrong("the partitions must be numbered from 0, each once"));
    }
    if assignments.iter().any(|assignment| assignment.broker_ids != [NODE_ID]) {
        return Err(wrong("the only broker there is to assign a partition to is 1, once"));
    }
    Ok(count)
}

fn configs(configs: Vec<CreatableTopicConfig>) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |config: CreatableTopicConfig| match config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => Err(Failure::new(KafkaError::INVALID_CONFIG, "a topic config's value must not be null")),
    };
    configs.into_iter().map(pair).collect()
}

fn created(name: StrBytes, info: &TopicInfo, num_partitions: i32) -> CreatableTopicResult {
    let config = |entry: &tidelog_runtime::ConfigEntry| {
        message!(CreatableTopicConfigs {
            name: entry.key.into(),
            value: Some(entry.value.as_str().into()),
            config_source: source_code(entry.source),
        })
    };
    message!(CreatableTopicResult {
        name,
        topic_id: wire_id(info.id),
        num_partitions,
        replication_factor: 1,
        configs: Some(info.configs.iter().map(config).collect()),
    })
}

fn refused(name: StrBytes, failure: &Failure) -> CreatableTopicResult {
    message!(CreatableTopicResult {
        name,
        error_code: failure.code(),
        error_message: failure.message(),
        num_partitions: DEFAULT,
        replication_factor: -1,
        configs: Some(Vec::new()),
    })
}

#[cfg(test)]
#[path = "create_topics_tests.rs"]
mod tests;
