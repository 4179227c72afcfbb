//! The task that sends a producer's batches and settles their receipts.
//!
//! **Invariants:** one stream at a time. After any failure on a stream nothing more is sent on it: its
//! answers are awaited, then a new one is opened, on which everything unanswered is sent again in order.
//! Whatever happens, every batch is settled exactly once, at the latest when this task ends.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tidelog_model::batch::Compression;
use tidelog_model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::{InitProducerIdRequest, InitProducerIdResponse, ProduceResponse, ProduceResult};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use super::accumulator::{BatchNumber, ClosedBatch, Ticket};
use super::numbering::Numbering;
use super::outbox::{Outbox, Outgoing};
use super::receipt::Outcome;
use super::shared::{Shared, late, too_large};
use super::stream::ProduceStream;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};

/// How many batches are compressed side by side.
const ENCODERS: usize = 4;
/// The longest sleep; anything earlier wakes the task.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) struct Sender {
    shared: Arc<Shared>,
    api: LogClient<Channel>,
    outbox: Outbox,
    /// Batches being compressed; they come out in the order they went in.
    encoding: FuturesOrdered<BoxFuture<'static, Encoded>>,
    encoding_bytes: usize,
    stream: Option<ProduceStream>,
    backoff: Backoff,
    reconnect_at: Option<Instant>,
    numbering: Numbering,
    /// The broker was asked for a producer id.
    asking: Option<BoxFuture<'static, Result<InitProducerIdResponse, Status>>>,
    /// Why the last stream broke, until the broker answers again.
    trouble: Option<Error>,
}

enum Encoded {
    Done(Box<Outgoing>),
    Failed(Ticket, Outcome),
}

enum Event {
    Answer(Result<Option<ProduceResponse>, Status>),
    Encoded(Encoded),
    ProducerId(Result<InitProducerIdResponse, Status>),
    Woken,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (initial, max) = shared.settings.backoff;
        let backoff = Backoff::new(initial, max);
        let numbering = Numbering::new(shared.settings.idempotence);
        Self {
            api: shared.client.own_log_api(),
            shared,
            outbox: Outbox::new(backoff.clone(), numbering.in_flight_max()),
            encoding: FuturesOrdered::new(),
            encoding_bytes: 0,
            stream: None,
            backoff,
            reconnect_at: None,
            numbering,
            asking: None,
            trouble: None,
        }
    }

    /// Runs until the producer is closed and everything is settled.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            if self.is_over() {
                return;
            }
            self.expire(now);
            self.outbox.unpark(now);
            self.ask_for_id(now);
            self.renumber();
            self.fill(now);
            self.send(now);
            let wake_at = self.next_wake(now);
            match self.next_event(wake_at).await {
                Event::Answer(answer) => self.on_answer(answer),
                Event::Encoded(encoded) => self.on_encoded(encoded),
                Event::ProducerId(answer) => self.on_producer_id(answer),
                Event::Woken => {}
            }
        }
    }

    /// Dropping the task fails what is left.
    fn is_over(&self) -> bool {
        let state = self.shared.state();
        state.abort || (state.closing && state.accumulator.next_deadline().is_none())
    }

    async fn next_event(&mut self, wake_at: Instant) -> Event {
        let stream = self.stream.as_mut();
        let asking = self.asking.as_mut();
        // Answers first: they free memory and request slots.
        tokio::select! {
            biased;
            answer = async { match stream { Some(stream) => stream.next().await, None => future::pending().await } } => {
                Event::Answer(answer)
            }
            id = async { match asking { Some(asking) => asking.await, None => future::pending().await } } => {
                Event::ProducerId(id)
            }
            Some(encoded) = self.encoding.next(), if !self.encoding.is_empty() => Event::Encoded(encoded),
            () = self.shared.wake.notified() => Event::Woken,
            () = tokio::time::sleep_until(wake_at) => Event::Woken,
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let can_fill = self.has_capacity();
        let state = self.shared.state();
        let deadline = state.accumulator.next_deadline();
        let ready = if can_fill { state.accumulator.next_ready_at() } else { None };
        drop(state);
        let can_send = self.stream.is_none() && self.numbering.is_ready() && self.outbox.has_sendable();
        let wants_id = self.numbering.needs_id() && self.asking.is_none() && deadline.is_some();
        let reconnect = self.reconnect_at.filter(|_| can_send || wants_id);
        let answer = self.stream.as_ref().and_then(|stream| stream.waiting_since);
        let answer = answer.map(|since| since + self.shared.settings.request_timeout);
        let times = [deadline, ready, reconnect, answer, self.outbox.next_unpark()];
        times.into_iter().flatten().min().unwrap_or(now + IDLE)
    }

    /// Whether another batch can be taken from the accumulator. While it cannot, batches there grow.
    fn has_capacity(&self) -> bool {
        let settings = &self.shared.settings;
        self.numbering.is_ready()
            && self.encoding.len() < ENCODERS
            && self.outbox.requests_in_flight() < settings.in_flight_requests
            && self.outbox.active_bytes().saturating_add(self.encoding_bytes) < settings.in_flight_bytes
    }

    fn fill(&mut self, now: Instant) {
        while self.has_capacity() {
            let Some(mut batch) = self.shared.state().accumulator.next_ready(now) else { return };
            if let Some(stamp) = self.numbering.next(batch.ticket.lane, batch.ticket.records) {
                batch.builder = batch.builder.producer(stamp.id, stamp.epoch, stamp.sequence);
            }
            if self.shared.settings.compression == Compression::None {
                self.on_encoded(encode(batch));
                continue;
            }
            // Compressing takes milliseconds: not on a worker that others wait for.
            let ticket = batch.ticket.clone();
            self.encoding_bytes += ticket.reserved;
            let encoding = tokio::task::spawn_blocking(move || encode(batch));
            self.encoding.push_back(Box::pin(async move {
                let gone = |_| Encoded::Failed(ticket, failed(Error::closed("producer's runtime")));
                encoding.await.unwrap_or_else(gone)
            }));
        }
    }

    fn on_encoded(&mut self, encoded: Encoded) {
        let ticket = match &encoded {
            Encoded::Done(outgoing) => &outgoing.ticket,
            Encoded::Failed(ticket, _) => ticket,
        };
        if self.shared.settings.compression != Compression::None {
            self.encoding_bytes = self.encoding_bytes.saturating_sub(ticket.reserved);
        }
        match encoded {
            Encoded::Done(outgoing) => self.outbox.push(*outgoing),
            Encoded::Failed(ticket, outcome) => self.shared.settle(&ticket, outcome),
        }
    }

    fn send(&mut self, now: Instant) {
        let settings = &self.shared.settings;
        let may_connect = self.reconnect_at.is_none_or(|at| at <= now);
        if self.stream.is_none() && may_connect && self.numbering.is_ready() && self.outbox.has_sendable() {
            self.reconnect_at = None;
            self.stream = Some(ProduceStream::open(&self.api, settings.in_flight_requests));
        }
        let Some(stream) = &mut self.stream else { return };
        while stream.is_usable()
            && self.outbox.requests_in_flight() < settings.in_flight_requests
            && self.outbox.sent_bytes() < settings.in_flight_bytes
        {
            // Small batches share a request as large as a full batch.
            let request = self.outbox.next_request(settings.acks.to_wire(), settings.batch_bytes);
            let Some(request) = request else { break };
            stream.send(request, now);
        }
    }

    fn on_answer(&mut self, answer: Result<Option<ProduceResponse>, Status>) {
        match answer {
            Ok(Some(response)) => self.on_response(response),
            Ok(None) => self.on_end(),
            Err(status) => {
                let sent = self.stream.as_ref().is_none_or(|stream| stream.may_have_sent(&status));
                self.on_broken(self.shared.client.error(&status), sent);
            }
        }
    }

    /// The broker has answered something.
    fn on_sign_of_life(&mut self) {
        if self.shared.state().breaker.on_answer() {
            tracing::info!(
                url = self.shared.client.url(),
                "the broker answers again: circuit breaker closed"
            );
        }
        self.backoff.reset();
        self.trouble = None;
    }

    /// Asks for a producer id when there is something to send with it.
    fn ask_for_id(&mut self, now: Instant) {
        let may_connect = self.reconnect_at.is_none_or(|at| at <= now);
        let wanted = self.numbering.needs_id() && self.asking.is_none() && may_connect;
        if !wanted || self.shared.state().accumulator.next_deadline().is_none() {
            return;
        }
        let (mut api, limit) = (self.api.clone(), self.shared.settings.request_timeout);
        self.asking = Some(Box::pin(async move {
            let answer = tokio::time::timeout(limit, api.init_producer_id(InitProducerIdRequest {})).await;
            let late = |_| Err(Status::deadline_exceeded(format!("no producer id within {limit:?}")));
            answer.unwrap_or_else(late).map(tonic::Response::into_inner)
        }));
    }

    fn on_producer_id(&mut self, answer: Result<InitProducerIdResponse, Status>) {
        self.asking = None;
        match answer {
            Ok(given) => {
                self.on_sign_of_life();
                let epoch = i16::try_from(given.producer_epoch).unwrap_or_default();
                self.numbering.begin(ProducerId(given.producer_id), ProducerEpoch(epoch));
            }
            Err(status) => {
                let error = self.shared.client.error(&status);
                self.note_failure(error);
            }
        }
    }

    /// Stamps again what the broker has refused for its number, and what comes after it, once none of it is on
    /// the way.
    fn renumber(&mut self) {
        if self.stream.is_some() || !self.encoding.is_empty() {
            return;
        }
        for lane in self.numbering.take_lost() {
            for outgoing in self.outbox.of_lane(lane) {
                if let Some(stamp) = self.numbering.next(lane, outgoing.ticket.records) {
                    let batch = outgoing.batch.clone();
                    outgoing.batch = batch.with_producer(stamp.id, stamp.epoch, stamp.sequence);
                }
            }
        }
    }

    fn on_response(&mut self, response: ProduceResponse) {
        let now = Instant::now();
        self.on_sign_of_life();
        let Some(batches) = self.outbox.answered(response.request_id) else {
            tracing::warn!(
                request_id = response.request_id,
                "the broker answered a request that was not made"
            );
            return;
        };
        if response.results.len() != batches.len() {
            let counts = format!("{} results for {} batches", response.results.len(), batches.len());
            self.fail_batches(&batches, &Error::protocol(counts).maybe_written(true));
        } else {
            for (number, result) in batches.into_iter().zip(response.results) {
                self.on_result(number, result, now);
            }
        }
        let Some(stream) = &mut self.stream else { return };
        let unanswered = self.outbox.requests_in_flight() > 0;
        stream.waiting_since = unanswered.then_some(now);
        if !unanswered && !stream.is_usable() {
            self.stream = None;
        }
    }

    fn on_result(&mut self, number: BatchNumber, result: ProduceResult, now: Instant) {
        let Some(detail) = result.error else {
            let base_offset = Offset::new(result.base_offset).unwrap_or_default();
            let append_time = result.log_append_time_ms;
            let log_append_time = (append_time >= 0).then_some(Timestamp::from_millis(append_time));
            if let Some(outgoing) = self.outbox.take(number) {
                self.outbox.succeeded(outgoing.ticket.lane);
                self.shared.settle(&outgoing.ticket, Outcome::Stored { base_offset, log_append_time });
            }
            return;
        };
        // Whatever failed, later batches of that partition are refused on this stream.
        if let Some(stream) = &mut self.stream {
            stream.drain();
        }
        let error = Error::from_detail(detail);
        if error.code() == Some("OUT_OF_ORDER") {
            self.outbox.requeue(number);
            return;
        }
        let refused_number =
            matches!(error.code(), Some("OUT_OF_ORDER_SEQUENCE_NUMBER" | "INVALID_PRODUCER_EPOCH"));
        if refused_number && self.shared.settings.idempotence {
            self.on_refused_number(number, now);
            return;
        }
        if let Some(outgoing) = self.outbox.get_mut(number) {
            let (lane, topic) = (outgoing.ticket.lane, outgoing.ticket.topic.clone());
            if error.is_retryable() {
                let at_least = error.retry_after().unwrap_or_default();
                self.outbox.park(lane, now, rand::random(), at_least);
            } else if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::TooLarge) {
                self.shared.state().accumulator.forget_topic(&topic);
            }
        }
        let written = error.may_have_been_written();
        self.retry_or_fail(number, &error, written);
    }

    /// The broker misses a batch before this one, so this one is not stored either, whatever became of earlier
    /// tries: it is sent under a new number.
    fn on_refused_number(&mut self, number: BatchNumber, now: Instant) {
        let Some(outgoing) = self.outbox.get_mut(number) else { return };
        outgoing.maybe_written = false;
        outgoing.renumbered = outgoing.renumbered.saturating_add(1);
        let again = outgoing.renumbered > 1;
        let lane = outgoing.ticket.lane;
        self.numbering.lost(lane, outgoing.batch.header().producer_id);
        if again {
            // A broker that refuses new numbers too is not asked without end.
            self.outbox.park(lane, now, rand::random(), Duration::ZERO);
        }
        self.outbox.requeue(number);
    }

    /// The broker ended the stream.
    fn on_end(&mut self) {
        let unanswered = self.outbox.requests_in_flight() > 0;
        if unanswered {
            let message = format!("the broker at {} ended the stream", self.shared.client.url());
            self.on_broken(Error::new(ErrorKind::Unreachable, message), true);
            return;
        }
        let drained = self.stream.take().is_some_and(|stream| !stream.is_usable());
        if !drained {
            self.reconnect_at = Some(Instant::now() + self.backoff.next(rand::random()));
        }
    }

    /// The stream broke: what is unanswered is sent again on the next one.
    fn on_broken(&mut self, error: Error, sent: bool) {
        self.stream = None;
        self.note_failure(error.clone());
        for number in self.outbox.stream_ended() {
            self.retry_or_fail(number, &error, sent);
        }
    }

    /// The broker could not be reached, or broke off: it is left alone for a while.
    fn note_failure(&mut self, error: Error) {
        let now = Instant::now();
        let pause = self.backoff.next(rand::random()).max(error.retry_after().unwrap_or_default());
        let mut state = self.shared.state();
        let opened = state.breaker.on_failure(now);
        let pause = pause.max(state.breaker.open_for(now).unwrap_or_default());
        drop(state);
        if opened {
            tracing::warn!(%error, "the broker failed too often in a row: circuit breaker open");
        } else if self.trouble.is_none() {
            tracing::warn!(%error, "lost the broker; retrying");
        }
        self.reconnect_at = Some(now + pause);
        self.trouble = Some(error);
    }

    /// A try of a batch failed. `written` says whether it may have been stored all the same.
    fn retry_or_fail(&mut self, number: BatchNumber, error: &Error, written: bool) {
        let Some(outgoing) = self.outbox.get_mut(number) else { return };
        outgoing.attempts = outgoing.attempts.saturating_add(1);
        outgoing.maybe_written |= written;
        let exhausted = self.shared.settings.attempts_max.is_some_and(|max| outgoing.attempts >= max);
        if error.is_retryable() && !exhausted {
            self.outbox.requeue(number);
        } else {
            self.fail_batches(&[number], error);
        }
    }

    fn fail_batches(&mut self, numbers: &[BatchNumber], error: &Error) {
        for outgoing in numbers.iter().filter_map(|number| self.outbox.take(*number)).collect::<Vec<_>>() {
            self.fail(outgoing, error.clone());
        }
    }

    fn fail(&self, outgoing: Outgoing, error: Error) {
        let error = error.maybe_written(outgoing.maybe_written);
        self.shared.settle(&outgoing.ticket, Outcome::Failed { error, batch: Some(outgoing.batch) });
    }

    /// Fails the batches that were not stored in time, and gives up on a stream that went silent.
    fn expire(&mut self, now: Instant) {
        let timeout = self.shared.settings.delivery_timeout;
        let expired = self.outbox.take_expired(now);
        let unsent = self.shared.state().accumulator.take_expired(now);
        if !(expired.is_empty() && unsent.is_empty()) {
            let error = late(timeout, self.trouble.as_ref());
            for (outgoing, sent) in expired {
                self.fail(outgoing, error.clone().maybe_written(sent));
            }
            for batch in unsent {
                self.fail_unsent(batch, &error);
            }
        }
        let request_timeout = self.shared.settings.request_timeout;
        let waiting_since = self.stream.as_ref().and_then(|stream| stream.waiting_since);
        if waiting_since.is_some_and(|since| since + request_timeout <= now) {
            let message = format!("no answer from {} for {request_timeout:?}", self.shared.client.url());
            self.on_broken(Error::new(ErrorKind::Timeout, message), true);
        }
    }

    fn fail_unsent(&self, batch: ClosedBatch, error: &Error) {
        let batch_of = |builder: tidelog_model::batch::BatchBuilder| builder.build().ok();
        let outcome = Outcome::Failed { error: error.clone(), batch: batch_of(batch.builder) };
        self.shared.settle(&batch.ticket, outcome);
    }
}

impl Drop for Sender {
    /// Ends whatever is left: the producer was closed with a deadline, or the runtime shuts down.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closing = true;
        let unsent = state.accumulator.take_all();
        drop(state);
        let error = Error::closed("producer");
        for (outgoing, sent) in self.outbox.take_all() {
            self.fail(outgoing, error.clone().maybe_written(sent));
        }
        for batch in unsent {
            self.fail_unsent(batch, &error);
        }
        // Batches that were being compressed.
        let rest = self.shared.state().accumulator.unsettled();
        for completion in rest {
            completion.settle(Outcome::Failed { error: error.clone(), batch: None });
        }
        self.shared.memory.close();
    }
}

fn encode(batch: ClosedBatch) -> Encoded {
    let ClosedBatch { ticket, builder } = batch;
    match builder.build() {
        Err(error) => {
            let error = Error::new(ErrorKind::InvalidRecord, format!("cannot encode the batch: {error}"));
            Encoded::Failed(ticket, failed(error))
        }
        Ok(batch) if batch.bytes().len() > ticket.batch_bytes_max => {
            let error = too_large(ticket.batch_bytes_max, batch.bytes().len(), "max.message.bytes");
            Encoded::Failed(ticket, Outcome::Failed { error, batch: Some(batch) })
        }
        Ok(batch) => Encoded::Done(Box::new(Outgoing::new(ticket, batch))),
    }
}

fn failed(error: Error) -> Outcome {
    Outcome::Failed { error, batch: None }
}
