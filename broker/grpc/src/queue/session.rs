//! The stream of one member: credit and settles come in, records and answers go out.
//!
//! The whole stream is one state machine, driven by whoever sends the responses: a client that does not read is not
//! given more records.
//!
//! **Invariants**
//! * Settles are answered as they become durable; at most so many wait, and at the bound the client's socket is not
//!   read.
//! * When the broker is about to stop the member gets no more records, and may still settle what it has for a while.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use tidelog_model::GroupId;
use tidelog_proto::v1::subscribe_request::Kind as Asked;
use tidelog_proto::v1::subscribe_response::Kind as Told;
use tidelog_proto::v1::{
    Draining, SettleRequest, SettleResponse, SubscribeOpen, SubscribeRequest, SubscribeResponse, Subscribed,
};
use tidelog_runtime::delivery::OrderMode;
use tidelog_runtime::{BrokerError, JoinQueue, JoinedQueue, QueueMember};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::settle::{other_group, settle};
use super::{DELIVERY_BYTES, at_most, deliveries, lease};
use crate::drain::Drain;
use crate::error::{failure, invalid, shutting_down, status};
use crate::metrics::Api;
use crate::names::group_id;
use crate::services::Shared;

/// Settles of one stream that wait for the device.
const SETTLES_MAX: usize = 256;
/// How long a member may settle what it has when the broker is about to stop.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// What the client calls itself, at most, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// Serves one stream.
pub(super) fn subscribe_stream(
    shared: Arc<Shared>,
    inbound: Streaming<SubscribeRequest>,
    host: String,
) -> impl Stream<Item = Result<SubscribeResponse, Status>> + Send + 'static {
    shared.metrics.add_in_flight(Api::Subscribe, 1);
    let session = Session {
        drain: shared.drain.clone(),
        inbound,
        host,
        reader: None,
        settling: FuturesUnordered::new(),
        until: None,
        end: None,
        started: Instant::now(),
        shared,
    };
    stream::unfold(Box::new(session), |mut session| async move {
        session.next().await.map(|response| (response, session))
    })
}

/// The member of an open stream.
struct Reader {
    group: GroupId,
    member: QueueMember,
}

struct Session {
    shared: Arc<Shared>,
    drain: Drain,
    inbound: Streaming<SubscribeRequest>,
    host: String,
    reader: Option<Reader>,
    settling: FuturesUnordered<BoxFuture<'static, Result<SettleResponse, BrokerError>>>,
    /// When the stream ends because the broker is about to stop.
    until: Option<Instant>,
    /// How the stream ends once every settle is answered.
    end: Option<Result<(), Status>>,
    started: Instant,
}

impl Session {
    async fn next(&mut self) -> Option<Result<SubscribeResponse, Status>> {
        loop {
            if self.end.is_some() && self.settling.is_empty() {
                let end = self.end.replace(Ok(()));
                return end.and_then(Result::err).map(Err);
            }
            let reading = self.end.is_none() && self.settling.len() < SETTLES_MAX;
            let giving = self.end.is_none() && self.until.is_none();
            let until = self.until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                Some(settled) = self.settling.next(), if !self.settling.is_empty() => match settled {
                    Ok(settled) => return Some(Ok(told(Told::Settled(settled)))),
                    Err(error) => self.end = Some(Err(status(error))),
                },
                () = self.drain.started(), if giving => {
                    self.until = Some(Instant::now() + DRAIN_TIME);
                    return Some(Ok(told(Told::Draining(Draining {}))));
                }
                () = tokio::time::sleep_until(until), if self.until.is_some() && self.end.is_none() => {
                    self.end = Some(Err(status(shutting_down())));
                }
                message = self.inbound.message(), if reading => match message {
                    Ok(Some(request)) => match self.take(request).await {
                        Ok(Some(response)) => return Some(Ok(response)),
                        Ok(None) => {}
                        Err(error) => self.end = Some(Err(status(error))),
                    },
                    Ok(None) => self.end = Some(Ok(())),
                    Err(broken) => self.end = Some(Err(broken)),
                },
                batch = next_batch(&mut self.reader), if giving => match batch {
                    Some(batch) => return Some(Ok(told(Told::Deliveries(deliveries(batch))))),
                    None => self.end = Some(Err(status(gone()))),
                },
            }
        }
    }

    async fn take(&mut self, request: SubscribeRequest) -> Result<Option<SubscribeResponse>, BrokerError> {
        let asked = request.kind.ok_or_else(|| invalid("kind", "kind: the message says nothing"))?;
        let Some(reader) = &self.reader else {
            let Asked::Open(open) = asked else {
                return Err(invalid("open", "open: it must be the first message of the stream"));
            };
            return self.open(open).await.map(Some);
        };
        match asked {
            Asked::Open(_) => Err(invalid("open", "open: the stream is open already")),
            Asked::CreditRecords(records) => {
                let records = self.credit(records)?;
                self.shared.broker.credit_queue(&reader.group, &reader.member.joined, records).await?;
                Ok(None)
            }
            Asked::Settle(request) => {
                if let Some(error) = other_group(&reader.group, &request.group) {
                    return Err(error);
                }
                let (shared, group) = (Arc::clone(&self.shared), reader.group.clone());
                self.settling.push(Box::pin(observed(shared, group, request)));
                Ok(None)
            }
        }
    }

    async fn open(&mut self, open: SubscribeOpen) -> Result<SubscribeResponse, BrokerError> {
        let group = group_id(&open.group)?;
        let bytes_max = self.shared.limits.fetch_response_bytes_max;
        let bytes = at_most("delivery_bytes_max", open.delivery_bytes_max, bytes_max)?;
        if open.client_id.len() > CLIENT_ID_BYTES_MAX {
            let message = format!(
                "client_id: {} bytes, at most {CLIENT_ID_BYTES_MAX} are allowed",
                open.client_id.len()
            );
            return Err(invalid("client_id", message));
        }
        let join = JoinQueue {
            client_id: open.client_id,
            client_host: self.host.clone(),
            credit: self.credit(open.credit_records)?,
            bytes_max: if bytes == 0 { DELIVERY_BYTES } else { bytes },
            lease_ms: lease("lease_ms", open.lease_ms)?,
            once: false,
        };
        let member = self.shared.broker.join_queue(&group, join).await?;
        let subscribed = subscribed(&member.joined);
        self.reader = Some(Reader { group, member });
        Ok(told(Told::Subscribed(subscribed)))
    }

    fn credit(&self, records: i32) -> Result<usize, BrokerError> {
        at_most("credit_records", records, self.shared.limits.credit_records_max)
    }
}

/// Settles and counts the call.
async fn observed(
    shared: Arc<Shared>,
    group: GroupId,
    request: SettleRequest,
) -> Result<SettleResponse, BrokerError> {
    let started = std::time::Instant::now();
    let settled = settle(&shared, &group, request).await;
    let code = if settled.is_ok() { Code::Ok } else { Code::Unavailable };
    shared.metrics.record(Api::Settle, code, started.elapsed());
    settled
}

/// The next records; never without a member.
async fn next_batch(reader: &mut Option<Reader>) -> Option<tidelog_runtime::QueueBatch> {
    match reader {
        Some(reader) => reader.member.next().await,
        None => std::future::pending().await,
    }
}

fn subscribed(joined: &JoinedQueue) -> Subscribed {
    let order = match joined.order {
        OrderMode::Unordered => "unordered",
        OrderMode::Key => "key",
        OrderMode::Partition => "partition",
    };
    Subscribed {
        member_id: joined.member_id.to_string(),
        lease_ms: joined.lease_ms,
        order: order.to_owned(),
        attempts_max: i32::from(joined.max_attempts),
    }
}

const fn told(kind: Told) -> SubscribeResponse {
    SubscribeResponse { kind: Some(kind) }
}

/// The group ended its members: it was deleted, or is read back from its log.
fn gone() -> BrokerError {
    let message = "the queue group does not serve this member any more: subscribe again";
    failure(tidelog_model::ErrorCode::CoordinatorNotAvailable, message)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.metrics.add_in_flight(Api::Subscribe, -1);
        self.shared.metrics.record(Api::Subscribe, Code::Ok, self.started.elapsed());
    }
}
