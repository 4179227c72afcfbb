//! OffsetDelete (47): forgets how far a group has read in some partitions (KIP-496).

use std::sync::Arc;

use kafka_wire::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_wire::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_wire::{OffsetDeleteRequest, OffsetDeleteResponse};
use tidelog_model::PartitionIndex;
use tidelog_runtime::{BrokerError, TopicRef};

use super::groups::{group_id, partition_index, topic_ref};
use crate::context::{Call, Context};
use crate::failure::{Failure, outcome};
use crate::wire::{WireUuid, message};

type Place = (TopicRef, PartitionIndex);

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let checked: Vec<Vec<Result<Place, Failure>>> = request.topics.iter().map(places).collect();
    let known = checked.iter().flatten().flatten().cloned().collect();
    let mut results = match delete(&context, &request.group_id, known).await {
        Ok(results) => results.into_iter(),
        Err(failure) => return message!(OffsetDeleteResponse { error_code: failure.code() }),
    };
    let topics = request.topics.into_iter().zip(checked).map(|(topic, checked)| {
        let partitions = topic.partitions.into_iter().zip(checked).map(|(wanted, checked)| {
            let result = match checked {
                Ok(_) => results.next().unwrap_or(Ok(())).map_err(Failure::from),
                Err(failure) => Err(failure),
            };
            message!(OffsetDeleteResponsePartition {
                partition_index: wanted.partition_index,
                error_code: outcome(&result).0,
            })
        });
        let partitions = partitions.collect();
        message!(OffsetDeleteResponseTopic { name: topic.name, partitions })
    });
    message!(OffsetDeleteResponse { topics: topics.collect() })
}

fn places(topic: &OffsetDeleteRequestTopic) -> Vec<Result<Place, Failure>> {
    let named = topic_ref(&topic.name, WireUuid::ZERO);
    let place = |index| Ok((named.clone()?, partition_index(index)?));
    topic.partitions.iter().map(|wanted| place(wanted.partition_index)).collect()
}

async fn delete(
    context: &Context,
    group: &str,
    places: Vec<Place>,
) -> Result<Vec<Result<(), BrokerError>>, Failure> {
    Ok(context.broker().delete_offsets(&group_id(group)?, places).await?)
}
