//! A produce request whose batches were appended and wait to be as durable as asked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tidelog_proto::v1::{ProduceResponse, ProduceResult};
use tidelog_runtime::AckFuture;

use super::appender::LaneId;
use crate::error::detail;

/// One batch that waits.
#[derive(Debug)]
struct Wait {
    /// Its place in the response.
    place: usize,
    lane: LaneId,
    ack: AckFuture,
}

/// The future of a request's response.
#[derive(Debug)]
pub(super) struct PendingRequest {
    started: Instant,
    bytes: usize,
    response: ProduceResponse,
    waits: std::vec::IntoIter<Wait>,
    current: Option<Wait>,
    collected: Vec<Wait>,
    failed: Vec<LaneId>,
}

/// A request whose outcome is known.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) started: Instant,
    /// The bytes of its batches, which are no longer in flight.
    pub(super) bytes: usize,
    pub(super) response: ProduceResponse,
    /// The lanes whose batches failed while they waited.
    pub(super) failed: Vec<LaneId>,
}

impl PendingRequest {
    pub(super) fn new(started: Instant, request_id: u64, batches: usize, bytes: usize) -> Self {
        let results = Vec::with_capacity(batches);
        Self {
            started,
            bytes,
            response: ProduceResponse { request_id, results },
            waits: Vec::new().into_iter(),
            current: None,
            collected: Vec::with_capacity(batches),
            failed: Vec::new(),
        }
    }

    /// The bytes of the request's batches.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The outcome of the next batch, known at once.
    pub(super) fn push_result(&mut self, result: ProduceResult) {
        self.response.results.push(result);
    }

    /// The next batch has a place and waits for `ack`.
    pub(super) fn push_wait(&mut self, result: ProduceResult, lane: LaneId, ack: AckFuture) {
        let place = self.response.results.len();
        self.collected.push(Wait { place, lane, ack });
        self.response.results.push(result);
    }

    /// Ends the collection; from here on it is a future.
    pub(super) fn seal(mut self) -> Self {
        self.waits = std::mem::take(&mut self.collected).into_iter();
        self.current = self.waits.next();
        self
    }
}

impl Future for PendingRequest {
    type Output = Answered;

    /// Waits for one batch after the other: each is polled about once, however many the request holds.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.get_mut();
        while let Some(wait) = &mut this.current {
            if let Err(error) = ready!(Pin::new(&mut wait.ack).poll(cx)) {
                this.failed.push(wait.lane);
                if let Some(result) = this.response.results.get_mut(wait.place) {
                    *result = ProduceResult { error: Some(detail(error)), ..super::appender::NOTHING };
                }
            }
            this.current = this.waits.next();
        }
        Poll::Ready(Answered {
            started: this.started,
            bytes: this.bytes,
            response: std::mem::take(&mut this.response),
            failed: std::mem::take(&mut this.failed),
        })
    }
}
