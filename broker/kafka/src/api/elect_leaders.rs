//! ElectLeaders (43): no partition needs a leader elected, because the one broker leads all of them.

use std::sync::Arc;

use kafka_wire::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::partition;
use crate::wire::message;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let result = |topic: &str, partition_id: i32| {
        let failure = match partition(context.broker(), topic, partition_id) {
            Ok(_) => {
                let text = "the partition is led by the only broker there is";
                Failure::new(KafkaError::ELECTION_NOT_NEEDED, text)
            }
            Err(error) => Failure::from(error),
        };
        let (error_code, error_message) = (failure.code(), failure.message());
        message!(PartitionResult { partition_id, error_code, error_message })
    };
    // All partitions: those that need no election are not told of.
    let topics = request.topic_partitions.unwrap_or_default();
    let replica_election_results = topics.into_iter().map(|topic| {
        let partition_result = topic.partitions.iter().map(|index| result(&topic.topic, *index)).collect();
        message!(ReplicaElectionResult { topic: topic.topic, partition_result })
    });
    let replica_election_results = replica_election_results.collect();
    message!(ElectLeadersResponse { replica_election_results })
}
