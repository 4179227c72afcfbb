//! The fetch stream: one state machine, driven by whoever sends the responses.
//!
//! ```text
//! assign ─► resolve ─► ready ─► read ─┬─ more ─► ready (at the end of the queue: round robin)
//!                        ▲            ├─ at the high watermark ─► idle ─► woken by the watermarks ─► ready
//!                        └────────────┴─ error, or `until` reached ─► stopped, until the client moves it
//! ```
//!
//! **Invariants**
//! * Batches are sent only against credit that the client granted; positions and errors cost none.
//! * Partitions with something to read take turns, each with at most one response.
//! * An idle partition costs nothing but its place in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::Stream;
use futures::stream;
use tidelog_proto::v1::{
    FetchAssign, FetchOpen, FetchPartition, FetchRequest, FetchResponse, FetchUnassign, fetch_request,
};
use tidelog_runtime::BrokerError;
use tonic::{Status, Streaming};

use super::filter::Filter;
use super::slots::{Slot, SlotId, Slots};
use super::work::{Event, Work};
use super::{Place, trim};
use crate::drain::Drain;
use crate::error::{detail, failure, invalid, over_limit, shutting_down, status, too_many};
use crate::metrics::Api;
use crate::names;
use crate::services::Shared;

/// Credit and response size when the client names none, in bytes.
const BYTES_DEFAULT: usize = 1024 * 1024;
/// After so many skipped bytes the client hears where the read stands, so that it need not start over.
const PROGRESS_BYTES: usize = 8 * 1024 * 1024;
/// Filtering more than this is done on the blocking pool.
const FILTER_INLINE_MAX: usize = 64 * 1024;

/// Serves one stream.
pub(crate) fn fetch_stream(
    shared: Arc<Shared>,
    inbound: Streaming<FetchRequest>,
) -> impl Stream<Item = Result<FetchResponse, Status>> + Send + 'static {
    shared.metrics.add_in_flight(Api::Fetch, 1);
    let session = Session {
        drain: shared.drain.clone(),
        inbound: Some(inbound),
        slots: Slots::default(),
        work: Work::default(),
        outbox: VecDeque::new(),
        open: None,
        credit: 0,
        ended: false,
        started: std::time::Instant::now(),
        shared,
    };
    stream::unfold(Box::new(session), |mut session| async move {
        session.next().await.map(|response| (response, session))
    })
}

/// What the client asked for when it opened the stream.
struct Open {
    response_bytes_max: usize,
    filter: Option<Arc<Filter>>,
}

struct Session {
    shared: Arc<Shared>,
    drain: Drain,
    /// `None` once the client has said everything.
    inbound: Option<Streaming<FetchRequest>>,
    slots: Slots,
    work: Work,
    /// Errors and positions that cost no credit; at most a few for each partition of a request.
    outbox: VecDeque<FetchResponse>,
    open: Option<Open>,
    /// Bytes the client can take; below zero after a batch that was larger than the rest of it.
    credit: i64,
    ended: bool,
    started: std::time::Instant,
}

impl Session {
    async fn next(&mut self) -> Option<Result<FetchResponse, Status>> {
        if self.ended {
            return None;
        }
        match self.advance().await {
            Ok(Some(response)) => Some(Ok(response)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(broken) => {
                self.ended = true;
                Some(Err(broken))
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<FetchResponse>, Status> {
        loop {
            if let Some(response) = self.outbox.pop_front() {
                return Ok(Some(response));
            }
            let can_read = self.credit > 0 && self.slots.has_ready();
            if self.inbound.is_none() && (self.credit <= 0 || self.slots.all_stopped()) {
                return Ok(None);
            }
            tokio::select! {
                // The client's word comes before what is read for it; reading comes last, because it is
                // always ready.
                biased;
                () = self.drain.started() => return Err(status(shutting_down())),
                message = next_message(&mut self.inbound), if self.inbound.is_some() => {
                    self.on_message(message?).map_err(status)?;
                }
                event = self.work.next(), if !self.work.is_empty() => self.on_event(event),
                () = std::future::ready(()), if can_read => {
                    if let Some(response) = self.read_next().await {
                        return Ok(Some(response));
                    }
                    // A long row of empty reads must not keep the worker for itself.
                    tokio::task::consume_budget().await;
                }
            }
        }
    }

    fn on_message(&mut self, message: Option<FetchRequest>) -> Result<(), BrokerError> {
        let Some(message) = message else {
            self.inbound = None;
            return Ok(());
        };
        match (message.kind, self.open.is_some()) {
            (Some(fetch_request::Kind::Open(open)), false) => self.on_open(open),
            (Some(fetch_request::Kind::Open(_)), true) => {
                Err(invalid("open", "open: only the first message of the stream may open it"))
            }
            (_, false) => Err(invalid("open", "open: the first message of the stream must open it")),
            (Some(fetch_request::Kind::CreditBytes(bytes)), true) => self.grant(bytes),
            (Some(fetch_request::Kind::Assign(assign)), true) => self.on_assign(assign),
            (Some(fetch_request::Kind::Unassign(unassign)), true) => {
                self.on_unassign(&unassign);
                Ok(())
            }
            (None, true) => Err(invalid("kind", "kind: the message asks for nothing this broker knows")),
        }
    }

    fn on_open(&mut self, open: FetchOpen) -> Result<(), BrokerError> {
        let limit = self.shared.limits.fetch_response_bytes_max;
        let field = "response_bytes_max";
        let response_bytes_max = match usize::try_from(open.response_bytes_max) {
            Ok(0) => BYTES_DEFAULT.min(limit),
            Ok(bytes) if bytes <= limit => bytes,
            Ok(bytes) => {
                let message = format!("{field} is {bytes}, at most {limit} are allowed");
                let code = tidelog_model::ErrorCode::InvalidRequest;
                return Err(over_limit(code, field, limit, bytes, message));
            }
            Err(_) => return Err(invalid(field, format!("{field} is negative"))),
        };
        let filter = match open.filter {
            Some(filter) => Filter::new(filter, self.shared.limits.filter_bytes_max)?.map(Arc::new),
            None => None,
        };
        self.open = Some(Open { response_bytes_max, filter });
        let default = i64::try_from(BYTES_DEFAULT).unwrap_or(i64::MAX);
        self.grant(if open.credit_bytes == 0 { default } else { open.credit_bytes })?;
        open.assign.map_or(Ok(()), |assign| self.on_assign(assign))
    }

    fn grant(&mut self, bytes: i64) -> Result<(), BrokerError> {
        if bytes < 0 {
            return Err(invalid(
                "credit_bytes",
                format!("credit_bytes is {bytes}: credit cannot be taken back"),
            ));
        }
        self.credit = self.credit.saturating_add(bytes);
        Ok(())
    }

    fn on_assign(&mut self, assign: FetchAssign) -> Result<(), BrokerError> {
        let limit = self.shared.limits.partitions_per_request_max;
        if assign.partitions.len() > limit {
            return Err(too_many("partitions", "partitions", limit, assign.partitions.len()));
        }
        for wanted in assign.partitions {
            // A move ends what was read before, whether it leads anywhere or not.
            self.slots.remove(&wanted.topic, wanted.partition);
            if self.slots.len() >= limit {
                return Err(too_many("partitions", "partitions", limit, self.slots.len() + 1));
            }
            let named = (wanted.topic.clone(), wanted.partition, wanted.session);
            if let Err(error) = self.assign(wanted) {
                self.outbox.push_back(refused(named, error));
            }
        }
        Ok(())
    }

    fn assign(&mut self, wanted: FetchPartition) -> Result<(), BrokerError> {
        let partition = names::partition(&self.shared.broker, &wanted.topic, wanted.partition)?;
        let place = Place::parse(wanted.position)?;
        let until = match wanted.until_offset {
            None => None,
            Some(until) => Some(tidelog_model::Offset::new(until).ok_or_else(|| {
                invalid("until_offset", format!("until_offset {until} is negative: offsets count from 0"))
            })?),
        };
        let known = place.known(partition.watermarks());
        let id = self.slots.insert(Slot {
            topic: wanted.topic,
            index: wanted.partition,
            session: wanted.session,
            partition: Arc::clone(&partition),
            next: known.unwrap_or_default(),
            until,
            from_earliest: place == Place::Earliest,
            told_end: false,
            skipped_bytes: 0,
            wait: None,
            stopped: false,
        });
        if known.is_some() {
            self.start(id);
        } else {
            let wait = self.work.resolve(id, partition, place);
            self.set_wait(id, wait);
        }
        Ok(())
    }

    fn on_unassign(&mut self, unassign: &FetchUnassign) {
        for place in &unassign.partitions {
            self.slots.remove(&place.topic, place.partition);
        }
    }

    fn on_event(&mut self, event: Option<Event>) {
        match event {
            None => {}
            Some(Event::Wake(id)) => self.slots.make_ready(id),
            Some(Event::Resolved(id, Ok(offset))) => {
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.next = offset;
                    self.start(id);
                }
            }
            Some(Event::Resolved(id, Err(error))) => self.fail(id, error),
            Some(Event::Gone(id)) => {
                let gone =
                    failure(tidelog_model::ErrorCode::UnknownTopicOrPartition, "the topic was deleted");
                self.fail(id, gone.field("topic"));
            }
        }
    }

    /// The place of the first read is known.
    fn start(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.until.is_some_and(|until| slot.next >= until) {
            let response = slot.respond(bytes::Bytes::new());
            self.outbox.push_back(response);
            self.slots.stop(id);
        } else {
            self.slots.make_ready(id);
        }
    }

    fn set_wait(&mut self, id: SlotId, wait: futures::future::AbortHandle) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.wait = Some(wait);
        }
    }

    fn fail(&mut self, id: SlotId, error: BrokerError) {
        if let Some(slot) = self.slots.get_mut(id) {
            let response = FetchResponse { error: Some(detail(error)), ..slot.respond(bytes::Bytes::new()) };
            self.outbox.push_back(response);
            self.slots.stop(id);
        }
    }

    /// Reads the partition whose turn it is; `None` when that gave nothing to send.
    async fn read_next(&mut self) -> Option<FetchResponse> {
        let id = self.slots.pop_ready()?;
        let open = self.open.as_ref()?;
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        let bytes_max = open.response_bytes_max.min(credit);
        let filter = open.filter.clone();
        let slot = self.slots.get_mut(id)?;
        let partition = Arc::clone(&slot.partition);
        let slice = match partition.read(slot.next, bytes_max).await {
            Ok(slice) => slice,
            Err(error) => {
                self.on_read_error(id, error);
                return None;
            }
        };
        if slice.bytes.is_empty() && slice.next_offset <= slot.next {
            return self.park(id);
        }
        let read_bytes = slice.bytes.len();
        let (bytes, next) = match slot.until {
            Some(until) => trim::until(slice.bytes, slice.next_offset, until),
            None => (slice.bytes, slice.next_offset),
        };
        slot.next = next;
        slot.from_earliest = false;
        match filter {
            None => self.send(id, bytes, 0),
            Some(filter) => {
                let kept = apply(filter, bytes).await;
                let skipped = read_bytes.saturating_sub(kept.len());
                self.send(id, kept, skipped)
            }
        }
    }

    fn on_read_error(&mut self, id: SlotId, error: BrokerError) {
        let out_of_range = error.code == tidelog_model::ErrorCode::OffsetOutOfRange;
        if let Some(slot) = self.slots.get_mut(id)
            && out_of_range
            && slot.from_earliest
        {
            let start = slot.partition.watermarks().log_start;
            if start > slot.next {
                // Retention moved the start between the look at it and the read: the oldest record is
                // still what was asked for.
                slot.next = start;
                self.slots.make_ready(id);
                return;
            }
        }
        self.fail(id, error);
    }

    /// Decides what follows a read of some batches, of which `bytes` are sent.
    fn send(&mut self, id: SlotId, bytes: bytes::Bytes, skipped: usize) -> Option<FetchResponse> {
        let slot = self.slots.get_mut(id)?;
        let done = slot.until.is_some_and(|until| slot.next >= until);
        let size = bytes.len();
        let response = slot.respond(bytes);
        slot.skipped_bytes = slot.skipped_bytes.saturating_add(skipped);
        let worth_it = size > 0 || done || response.at_end || slot.skipped_bytes >= PROGRESS_BYTES;
        if worth_it {
            slot.skipped_bytes = 0;
            slot.told_end = response.at_end;
        }
        let at_end = response.at_end;
        if done {
            self.slots.stop(id);
        } else if at_end {
            self.wait(id);
        } else {
            self.slots.make_ready(id);
        }
        self.credit = self.credit.saturating_sub(i64::try_from(size).unwrap_or(i64::MAX));
        worth_it.then_some(response)
    }

    /// Nothing to read: waits, and says so once.
    fn park(&mut self, id: SlotId) -> Option<FetchResponse> {
        self.wait(id);
        let slot = self.slots.get_mut(id)?;
        if std::mem::replace(&mut slot.told_end, true) {
            return None;
        }
        Some(FetchResponse { at_end: true, ..slot.respond(bytes::Bytes::new()) })
    }

    fn wait(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.wait = Some(self.work.wait(id, &slot.partition, slot.next));
        }
    }
}

impl Slot {
    /// The response at this place.
    fn respond(&self, record_batches: bytes::Bytes) -> FetchResponse {
        let marks = self.partition.watermarks();
        FetchResponse {
            topic: self.topic.clone(),
            partition: self.index,
            session: self.session,
            record_batches,
            next_offset: self.next.get(),
            high_watermark: marks.high_watermark.get(),
            log_start_offset: marks.log_start.get(),
            error: None,
            at_end: self.next >= marks.high_watermark,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let metrics = &self.shared.metrics;
        metrics.add_in_flight(Api::Fetch, -1);
        metrics.record(Api::Fetch, tonic::Code::Ok, self.started.elapsed());
    }
}

/// The client's next message; never returns when it has said everything.
async fn next_message(inbound: &mut Option<Streaming<FetchRequest>>) -> Result<Option<FetchRequest>, Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}

/// The answer to an assignment that leads nowhere.
fn refused((topic, partition, session): (String, i32, u64), error: BrokerError) -> FetchResponse {
    let error = Some(detail(error));
    FetchResponse {
        topic,
        partition,
        session,
        next_offset: -1,
        high_watermark: -1,
        log_start_offset: -1,
        error,
        ..FetchResponse::default()
    }
}

async fn apply(filter: Arc<Filter>, bytes: bytes::Bytes) -> bytes::Bytes {
    if bytes.len() <= FILTER_INLINE_MAX {
        return filter.apply(&bytes);
    }
    let all = bytes.clone();
    // A filter that broke down skips nothing.
    tokio::task::spawn_blocking(move || filter.apply(&bytes)).await.unwrap_or(all)
}
