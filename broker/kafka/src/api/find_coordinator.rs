//! FindCoordinator (10): who keeps a group. The one broker keeps all.
//!
//! * v1+: the key may name a transaction, which the one broker keeps too; v4+: several keys at once.

use std::sync::Arc;

use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::groups::group_id;
use crate::context::{Call, Context, NODE_ID};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::{StrBytes, message};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let key_type = request.key_type;
    if call.version >= 4 {
        let coordinators = request.coordinator_keys.into_iter();
        let coordinators = coordinators.map(|key| coordinator(&context, key_type, key)).collect();
        return message!(FindCoordinatorResponse { coordinators });
    }
    let found = coordinator(&context, key_type, request.key);
    message!(FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
    })
}

fn coordinator(context: &Context, key_type: i8, key: StrBytes) -> Coordinator {
    match check(key_type, &key) {
        Ok(()) => {
            let (host, port) = context.advertised();
            message!(Coordinator { key, node_id: NODE_ID, host: host.into(), port })
        }
        Err(failure) => message!(Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: failure.code(),
            error_message: failure.message(),
        }),
    }
}

fn check(key_type: i8, key: &str) -> Result<(), Failure> {
    match key_type {
        GROUP => group_id(key).map(|_| ()),
        TRANSACTION if !key.is_empty() => Ok(()),
        TRANSACTION => Err(Failure::new(KafkaError::INVALID_REQUEST, "the transactional id is empty")),
        other => Err(Failure::new(
            KafkaError::INVALID_REQUEST,
            format!("there are no coordinators of type {other}: 0 is a group, 1 a transaction"),
        )),
    }
}
