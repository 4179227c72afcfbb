//! `tidelog.v1.Queue`: records of queue groups, handed out one by one and taken back settled.

mod session;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use tidelog_model::record::Record;
use tidelog_proto::v1::queue_server::Queue;
use tidelog_proto::v1::{
    Deliveries, Header, QueueRecord, ReceiveRequest, ReceiveResponse, SettleRequest, SettleResponse,
    SubscribeRequest, SubscribeResponse,
};
use tidelog_runtime::delivery::Delivery;
use tidelog_runtime::{BrokerError, JoinQueue, QueueBatch};
use tonic::{Request, Response, Status, Streaming};

use self::session::subscribe_stream;
use self::settle::settle;
use crate::error::{invalid, over_limit, status};
use crate::metrics::Api;
use crate::names::group_id;
use crate::services::Shared;

/// The most records of one `Receive`, and the longest it waits.
const RECEIVE_RECORDS_MAX: usize = 1_000;
const RECEIVE_WAIT_MAX: Duration = Duration::from_secs(60);
/// About how many bytes one delivery has when the client does not say.
const DELIVERY_BYTES: usize = 1024 * 1024;

pub(crate) struct QueueService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Queue for QueueService {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let host = client_host(&request);
        let stream = subscribe_stream(Arc::clone(&self.0), request.into_inner(), host);
        Ok(Response::new(boxed(stream)))
    }

    async fn receive(&self, request: Request<ReceiveRequest>) -> Result<Response<ReceiveResponse>, Status> {
        let host = client_host(&request);
        let call = async {
            let received = self.take(request.into_inner(), host).await;
            received.map(Response::new).map_err(status)
        };
        self.0.metrics.observe(Api::Receive, call).await
    }

    async fn settle(&self, request: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        let call = async {
            let request = request.into_inner();
            let settled = match group_id(&request.group) {
                Ok(group) => settle(&self.0, &group, request).await,
                Err(error) => Err(error),
            };
            settled.map(Response::new).map_err(status)
        };
        self.0.metrics.observe(Api::Settle, call).await
    }
}

fn boxed(
    stream: impl Stream<Item = Result<SubscribeResponse, Status>> + Send + 'static,
) -> BoxStream<'static, Result<SubscribeResponse, Status>> {
    Box::pin(stream)
}

/// Where a client is, as groups show it.
fn client_host<T>(request: &Request<T>) -> String {
    request.remote_addr().map_or_else(String::new, |peer| format!("/{}", peer.ip().to_canonical()))
}

impl QueueService {
    async fn take(&self, request: ReceiveRequest, host: String) -> Result<ReceiveResponse, BrokerError> {
        let group = group_id(&request.group)?;
        let records = at_most("records_max", request.records_max, RECEIVE_RECORDS_MAX)?.max(1);
        let wait = u64::try_from(request.wait_ms).map(Duration::from_millis).ok();
        let wait = wait.filter(|wait| *wait <= RECEIVE_WAIT_MAX).ok_or_else(|| {
            let message =
                format!("wait_ms: {} is not 0 to {}", request.wait_ms, RECEIVE_WAIT_MAX.as_millis());
            invalid("wait_ms", message)
        })?;
        let join = JoinQueue {
            client_id: String::new(),
            client_host: host,
            credit: records,
            bytes_max: DELIVERY_BYTES,
            lease_ms: lease("lease_ms", request.lease_ms)?,
            once: true,
        };
        let mut member = self.0.broker.join_queue(&group, join).await?;
        let mut drain = self.0.drain.clone();
        let first = tokio::select! {
            batch = member.next() => batch,
            () = tokio::time::sleep(wait) => member.last().await,
            () = drain.started() => member.last().await,
        };
        Ok(ReceiveResponse { deliveries: first.map(deliveries).into_iter().collect() })
    }
}

/// A number from 0 to a limit.
fn at_most(field: &'static str, value: i32, limit: usize) -> Result<usize, BrokerError> {
    match usize::try_from(value) {
        Ok(value) if value <= limit => Ok(value),
        Ok(value) => {
            let message = format!("{field}: {value} is more than {limit}");
            let code = tidelog_model::ErrorCode::InvalidRequest;
            Err(over_limit(code, field, limit, value, message))
        }
        Err(_) => Err(invalid(field, format!("{field}: {value} is negative"))),
    }
}

/// How long a lease is to last: as the group is set when it is 0.
fn lease(field: &'static str, millis: i64) -> Result<Option<i64>, BrokerError> {
    match millis {
        0 => Ok(None),
        1.. => Ok(Some(millis)),
        _ => Err(invalid(field, format!("{field}: {millis} is negative"))),
    }
}

fn deliveries(batch: QueueBatch) -> Deliveries {
    Deliveries {
        topic: batch.topic.to_string(),
        partition: batch.partition.get(),
        lease_id: batch.lease,
        lease_ms: batch.lease_ms,
        records: batch.records.into_iter().map(queue_record).collect(),
    }
}

fn queue_record((delivery, record): (Delivery, Record)) -> QueueRecord {
    QueueRecord {
        offset: delivery.offset.get(),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
        timestamp_ms: record.timestamp.millis(),
        attempt: i32::from(delivery.attempt),
        acquired_count: i32::from(delivery.acquired),
        redrives: i32::from(delivery.redrives),
        first_failure_ms: delivery.first_failure.map(|time| time.millis()),
    }
}
