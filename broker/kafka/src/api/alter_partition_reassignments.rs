//! AlterPartitionReassignments (45): partitions stay where they are. Assigning one to the broker that has it is
//! done at once; there is nowhere else to assign it to, and nothing to cancel.

use std::sync::Arc;

use kafka_wire::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::failure::{Failure, outcome};
use crate::names::partition;
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|wanted| {
            let partition_index = wanted.partition_index;
            let assigned = assign(&context, &topic.name, partition_index, wanted.replicas.as_deref());
            let (error_code, error_message) = outcome(&assigned);
            message!(ReassignablePartitionResponse { partition_index, error_code, error_message })
        });
        let partitions = partitions.collect();
        message!(ReassignableTopicResponse { name: topic.name, partitions })
    });
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let responses = responses.collect();
    message!(AlterPartitionReassignmentsResponse { allow_replication_factor_change, responses })
}

fn assign(context: &Context, topic: &str, index: i32, replicas: Option<&[i32]>) -> Result<(), Failure> {
    partition(context.broker(), topic, index)?;
    match replicas {
        Some([NODE_ID]) => Ok(()),
        Some(_) => {
            let text = "the only broker there is to assign a partition to is 1, once";
            Err(Failure::new(KafkaError::INVALID_REPLICA_ASSIGNMENT, text))
        }
        None => Err(Failure::new(
            KafkaError::NO_REASSIGNMENT_IN_PROGRESS,
            "the partition is not being assigned anywhere else",
        )),
    }
}
