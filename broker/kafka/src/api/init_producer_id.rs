//! InitProducerId (22): an id for an idempotent producer.
//!
//! * A producer without a transactional id gets an id that nobody had before, in epoch 0, whatever it had: Kafka
//!   does the same, and what it sent in vain under the old id cannot be taken for anything new.
//! * There are no transactions. A transactional id is TRANSACTIONAL_ID_AUTHORIZATION_FAILED: the error that every
//!   client takes as final at once, where others are tried again until `initTransactions` times out.
//! * v2+ is flexible; v3+ tells the id and the epoch that the producer had, both or neither.

use std::sync::Arc;

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};
use tidelog_model::{ProducerEpoch, ProducerId};

use crate::context::{Call, Context};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::wire::message;

/// The first version with the id and epoch that the producer had.
const CURRENT_FROM: i16 = 3;
/// No id, no epoch.
const NONE: i16 = -1;

pub(crate) async fn handle(
    context: Arc<Context>,
    call: Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let given = check(&call, &request).and_then(|()| Ok(context.broker().init_producer_id()?));
    match given {
        Ok((ProducerId(producer_id), ProducerEpoch(producer_epoch))) => {
            message!(InitProducerIdResponse { producer_id, producer_epoch })
        }
        Err(failure) => {
            // The response has no place for a text.
            tracing::debug!(peer = %context.peer, client_id = %call.client_id, "no producer id: {}", failure.text());
            message!(InitProducerIdResponse {
                error_code: failure.code(),
                producer_id: i64::from(NONE),
                producer_epoch: NONE,
            })
        }
    }
}

fn check(call: &Call, request: &InitProducerIdRequest) -> Result<(), Failure> {
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => {
            return Err(Failure::new(
                KafkaError::INVALID_REQUEST,
                "the transactional id is empty: send none",
            ));
        }
        Some(id) => {
            let text = format!("transactional id {id:?}: there are no transactions, produce without one");
            return Err(Failure::new(KafkaError::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, text));
        }
    }
    let (id, epoch) = (request.producer_id, request.producer_epoch);
    if call.version >= CURRENT_FROM && (id == i64::from(NONE)) != (epoch == NONE) {
        let text = format!("producer id {id} and epoch {epoch}: send both, or -1 for both");
        return Err(Failure::new(KafkaError::INVALID_REQUEST, text));
    }
    Ok(())
}

#[cfg(test)]
#[path = "init_producer_id_tests.rs"]
mod tests;
