//! DescribeCluster (60): the brokers and the controller; both are this broker.
//!
//! * v1+ asks for brokers or for controllers. Controllers are not told of: no client may talk to them.

use std::sync::Arc;

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN};
use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::wire::message;

/// What may be asked for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let asked = if call.version >= 1 { request.endpoint_type } else { BROKERS };
    if asked != BROKERS {
        let (error, text) = if asked == CONTROLLERS {
            (KafkaError::MISMATCHED_ENDPOINT_TYPE, "this is a broker, not a controller")
        } else {
            (KafkaError::UNSUPPORTED_ENDPOINT_TYPE, "there is no such type of endpoint")
        };
        let error_message = Some(text.into());
        return message!(DescribeClusterResponse { error_code: error.code(), error_message });
    }
    let (host, port) = context.advertised();
    let broker = message!(DescribeClusterBroker { broker_id: NODE_ID, host: host.into(), port });
    let operations = request.include_cluster_authorized_operations;
    message!(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker().cluster_id().into(),
        controller_id: NODE_ID,
        brokers: vec![broker],
        cluster_authorized_operations: if operations { CLUSTER_OPERATIONS } else { OPERATIONS_UNKNOWN },
    })
}
