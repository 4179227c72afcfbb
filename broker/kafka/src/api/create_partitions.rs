//! CreatePartitions (37): raises the number of partitions of topics. Every topic of the request is answered.

use std::sync::Arc;

use kafka_wire::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_wire::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::names::{repeated, topic_name};
use crate::wire::{StrBytes, message};

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<StrBytes> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let twice = repeated(names.iter().map(|name| &**name));
    let mut results = Vec::with_capacity(request.topics.len());
    for name in &twice {
        let text = "the topic is named twice in one request";
        results.push(answer((*name).into(), &Err(Failure::new(KafkaError::INVALID_REQUEST, text))));
    }
    for topic in request.topics {
        if !twice.contains(&*topic.name) {
            let grown = grow(&context, &topic, request.validate_only).await;
            results.push(answer(topic.name, &grown));
        }
    }
    message!(CreatePartitionsResponse { results })
}

async fn grow(context: &Context, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Failure> {
    let broker = context.broker();
    let unknown = |_| Failure::new(KafkaError::UNKNOWN_TOPIC_OR_PARTITION, "there is no topic of this name");
    let name = topic_name(&topic.name).map_err(unknown)?;
    if let Some(assignments) = &topic.assignments {
        let has = broker.topic(&name).map_or(0, |topic| topic.partition_count());
        let added = usize::try_from(topic.count).unwrap_or(0).saturating_sub(has);
        let named = assignments.iter().all(|assignment| assignment.broker_ids == [NODE_ID]);
        if added > 0 && (assignments.len() != added || !named) {
            let text = format!(
                "{added} partitions are added and {} assigned: each must be assigned to broker 1, the only one",
                assignments.len()
            );
            return Err(Failure::new(KafkaError::INVALID_REPLICA_ASSIGNMENT, text));
        }
    }
    broker.add_partitions(&name, topic.count, validate_only).await?;
    Ok(())
}

fn answer(name: StrBytes, grown: &Result<(), Failure>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = outcome(grown);
    message!(CreatePartitionsTopicResult { name, error_code, error_message })
}

#[cfg(test)]
#[path = "create_partitions_tests.rs"]
mod tests;
