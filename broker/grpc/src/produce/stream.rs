//! The pipelined produce stream: reads ahead while earlier requests wait for durability.
//!
//! The whole stream is one state machine, driven by whoever sends the responses: no task and no channel
//! stands between a commit and its answer, and a client that does not read its answers is not read either.
//!
//! **Invariants**
//! * Requests are appended in the order of the stream; one is appended to the end before the next is read.
//! * What waits is bounded in bytes and in requests; at the bound the client's socket is not read.
//! * A request that was appended is answered before the stream ends, whoever ends it.

use std::sync::Arc;
use std::time::Instant;

use futures::Stream;
use futures::stream::{self, FuturesUnordered, StreamExt};
use tidelog_proto::v1::{ProduceRequest, ProduceResponse};
use tonic::{Code, Status, Streaming};

use super::appender::Appender;
use super::check;
use super::pending::{Answered, PendingRequest};
use crate::drain::Drain;
use crate::error::{over_limit, shutting_down, status};
use crate::metrics::Api;
use crate::services::Shared;

/// Serves one stream.
pub(crate) fn produce_stream(
    shared: Arc<Shared>,
    inbound: Streaming<ProduceRequest>,
) -> impl Stream<Item = Result<ProduceResponse, Status>> + Send + 'static {
    shared.metrics.add_in_flight(Api::Produce, 1);
    let session = Session {
        appender: Appender::new(shared.broker.clone()),
        drain: shared.drain.clone(),
        inbound,
        pending: FuturesUnordered::new(),
        in_flight_bytes: 0,
        end: None,
        shared,
    };
    stream::unfold(Box::new(session), |mut session| async move {
        session.next().await.map(|response| (response, session))
    })
}

struct Session {
    shared: Arc<Shared>,
    appender: Appender,
    drain: Drain,
    inbound: Streaming<ProduceRequest>,
    pending: FuturesUnordered<PendingRequest>,
    in_flight_bytes: usize,
    /// Set when no more requests are read: how the stream ends once everything is answered.
    end: Option<Result<(), Status>>,
}

impl Session {
    async fn next(&mut self) -> Option<Result<ProduceResponse, Status>> {
        loop {
            let reading = self.end.is_none() && self.has_room();
            if self.pending.is_empty() && !reading {
                // Everything is answered: end as was decided, and only once.
                return self.end.replace(Ok(())).and_then(Result::err).map(Err);
            }
            tokio::select! {
                // Answers first: they give memory back and let the client go on.
                biased;
                Some(answered) = self.pending.next(), if !self.pending.is_empty() => {
                    return Some(Ok(self.answer(answered)));
                }
                () = self.drain.started(), if self.end.is_none() => {
                    self.end = Some(Err(status(shutting_down())));
                }
                message = self.inbound.message(), if reading => match message {
                    Ok(Some(request)) => self.take(request).await,
                    Ok(None) => self.end = Some(Ok(())),
                    Err(broken) => self.end = Some(Err(broken)),
                },
            }
        }
    }

    fn has_room(&self) -> bool {
        let limits = &self.shared.limits;
        self.in_flight_bytes < limits.stream_in_flight_bytes_max
            && self.pending.len() < limits.stream_in_flight_requests_max
    }

    async fn take(&mut self, request: ProduceRequest) {
        let started = Instant::now();
        let acks = match check(&request, &self.shared.limits) {
            Ok(acks) => acks,
            Err(error) => {
                self.end = Some(Err(status(error)));
                return;
            }
        };
        let pending = self.appender.append_all(started, acks, request).await;
        self.in_flight_bytes += pending.bytes();
        self.pending.push(pending);
        let (limit, failed) = (self.shared.limits.failed_partitions_max, self.appender.failed());
        if failed > limit {
            let message = format!("batches to {failed} partitions failed, at most {limit} are kept in mind");
            let code = tidelog_model::ErrorCode::InvalidRequest;
            self.end = Some(Err(status(over_limit(code, "batches", limit, failed, message))));
        }
    }

    fn answer(&mut self, answered: Answered) -> ProduceResponse {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(answered.bytes);
        for lane in answered.failed {
            self.appender.fail(lane);
        }
        self.shared.metrics.record(Api::Produce, Code::Ok, answered.started.elapsed());
        answered.response
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.metrics.add_in_flight(Api::Produce, -1);
    }
}
