//! ListPartitionReassignments (46): partitions on their way to other brokers. With one broker there are none.

use std::sync::Arc;

use kafka_wire::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::context::{Call, Context};

pub(crate) async fn handle(
    _context: Arc<Context>,
    _call: Call,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
