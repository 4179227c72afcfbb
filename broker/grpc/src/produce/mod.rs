//! Appending what clients send: batches by stream or one request at a time, or records in plain fields.

mod appender;
mod pending;
mod records;
mod stream;

pub(crate) use records::produce_records;
pub(crate) use stream::produce_stream;

use std::time::Instant;

use tidelog_proto::v1::{Acks, ProduceRequest, ProduceResponse};
use tidelog_runtime::BrokerError;

use self::appender::Appender;
use crate::error::{invalid, too_many};
use crate::limits::Limits;
use crate::services::Shared;

/// One request on its own: appends its batches in order and waits until they are as durable as asked.
pub(crate) async fn produce_batches(
    shared: &Shared,
    request: ProduceRequest,
) -> Result<ProduceResponse, BrokerError> {
    let acks = check(&request, &shared.limits)?;
    let mut appender = Appender::new(shared.broker.clone());
    let pending = appender.append_all(Instant::now(), acks, request).await;
    Ok(pending.await.response)
}

/// How durable the request's batches have to be; refuses requests without a batch or with too many.
fn check(request: &ProduceRequest, limits: &Limits) -> Result<tidelog_runtime::Acks, BrokerError> {
    let count = request.batches.len();
    if count == 0 {
        return Err(invalid("batches", "batches: the request holds no batch"));
    }
    if count > limits.batches_per_request_max {
        return Err(too_many("batches", "batches", limits.batches_per_request_max, count));
    }
    acks(request.acks)
}

/// The acknowledgement a request asks for.
fn acks(value: i32) -> Result<tidelog_runtime::Acks, BrokerError> {
    match Acks::try_from(value) {
        Ok(Acks::Unspecified | Acks::Durable) => Ok(tidelog_runtime::Acks::Durable),
        Ok(Acks::Written) => Ok(tidelog_runtime::Acks::Written),
        Ok(Acks::None) => Ok(tidelog_runtime::Acks::None),
        Err(_) => Err(invalid(
            "acks",
            format!("acks {value} is unknown: use ACKS_DURABLE (1), ACKS_WRITTEN (2) or ACKS_NONE (3)"),
        )),
    }
}
