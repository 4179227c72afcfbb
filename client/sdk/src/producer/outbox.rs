//! Encoded batches between the accumulator and the broker's answer. Pure: time is an argument.
//!
//! **Invariants:** on one stream, the batches of a partition are sent in the order of their numbers. When a
//! batch failed on a stream, the sender sends nothing more on it, so that a later batch cannot pass an earlier
//! one. A batch is either waiting or in exactly one unanswered request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tidelog_model::batch::RecordBatch;
use tidelog_proto::v1;
use tokio::time::Instant;

use super::accumulator::{BatchNumber, LaneId, Ticket};
use crate::backoff::Backoff;

/// An encoded batch.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) ticket: Ticket,
    pub(super) batch: RecordBatch,
    /// How often it was tried and failed.
    pub(super) attempts: u32,
    /// A try ended without an answer.
    pub(super) maybe_written: bool,
    /// How often the broker refused its number.
    pub(super) renumbered: u32,
}

impl Outgoing {
    pub(super) const fn new(ticket: Ticket, batch: RecordBatch) -> Self {
        Self { ticket, batch, attempts: 0, maybe_written: false, renumbered: 0 }
    }

    fn bytes(&self) -> usize {
        self.batch.bytes().len()
    }
}

#[derive(Debug)]
struct Request {
    batches: Vec<(BatchNumber, LaneId)>,
    bytes: usize,
}

/// A partition whose batches the broker refuses for now.
#[derive(Debug)]
struct Trouble {
    backoff: Backoff,
    /// Nothing of it is sent until then; `None` once it may be tried again.
    parked_until: Option<Instant>,
    waiting: BTreeSet<BatchNumber>,
}

#[derive(Debug)]
pub(super) struct Outbox {
    batches: BTreeMap<BatchNumber, Outgoing>,
    /// Batches to send now, in this order.
    sendable: BTreeSet<BatchNumber>,
    sendable_bytes: usize,
    /// Partitions that failed since their last success.
    troubles: HashMap<LaneId, Trouble>,
    requests: HashMap<u64, Request>,
    sent_bytes: usize,
    /// Unanswered batches of each partition, those included that have ended meanwhile.
    in_flight: HashMap<LaneId, usize>,
    /// The most of them; a partition that has so many sends no more.
    in_flight_max: usize,
    next_request: u64,
    backoff: Backoff,
}

impl Outbox {
    pub(super) fn new(backoff: Backoff, in_flight_max: usize) -> Self {
        Self {
            batches: BTreeMap::new(),
            sendable: BTreeSet::new(),
            sendable_bytes: 0,
            troubles: HashMap::new(),
            requests: HashMap::new(),
            sent_bytes: 0,
            in_flight: HashMap::new(),
            in_flight_max,
            next_request: 0,
            backoff,
        }
    }

    /// Takes in a batch; those of a partition come in the order of their numbers.
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        let number = outgoing.ticket.number;
        self.batches.insert(number, outgoing);
        self.requeue(number);
    }

    /// Makes a batch wait to be sent (again).
    pub(super) fn requeue(&mut self, number: BatchNumber) {
        let Some(outgoing) = self.batches.get(&number) else { return };
        match self.troubles.get_mut(&outgoing.ticket.lane).filter(|trouble| trouble.parked_until.is_some()) {
            Some(trouble) => {
                trouble.waiting.insert(number);
            }
            None => {
                if self.sendable.insert(number) {
                    self.sendable_bytes += outgoing.bytes();
                }
            }
        }
    }

    /// Sends nothing of this partition for a while: at least `at_least`, longer after each failure in a row.
    pub(super) fn park(&mut self, lane: LaneId, now: Instant, random: u32, at_least: Duration) {
        let backoff = &self.backoff;
        let fresh = || Trouble { backoff: backoff.clone(), parked_until: None, waiting: BTreeSet::new() };
        let trouble = self.troubles.entry(lane).or_insert_with(fresh);
        trouble.parked_until = Some(now + trouble.backoff.next(random).max(at_least));
        let batches = &self.batches;
        let of_lane = |number: &BatchNumber| batches.get(number).is_some_and(|b| b.ticket.lane == lane);
        let moved: Vec<_> = self.sendable.iter().copied().filter(of_lane).collect();
        trouble.waiting.extend(&moved);
        moved.iter().for_each(|number| self.unqueue(*number));
    }

    fn unqueue(&mut self, number: BatchNumber) {
        if self.sendable.remove(&number) {
            let bytes = self.batches.get(&number).map_or(0, Outgoing::bytes);
            self.sendable_bytes = self.sendable_bytes.saturating_sub(bytes);
        }
    }

    /// Lets the partitions send again whose time has come.
    pub(super) fn unpark(&mut self, now: Instant) {
        let mut free = Vec::new();
        for trouble in self.troubles.values_mut() {
            if trouble.parked_until.is_some_and(|until| until <= now) {
                trouble.parked_until = None;
                free.extend(std::mem::take(&mut trouble.waiting));
            }
        }
        for number in free {
            if let Some(outgoing) = self.batches.get(&number)
                && self.sendable.insert(number)
            {
                self.sendable_bytes += outgoing.bytes();
            }
        }
    }

    /// When [`Self::unpark`] has something to do.
    pub(super) fn next_unpark(&self) -> Option<Instant> {
        self.troubles.values().filter_map(|trouble| trouble.parked_until).min()
    }

    /// A request of waiting batches, of about `bytes_max` unless a single batch is larger.
    pub(super) fn next_request(&mut self, acks: v1::Acks, bytes_max: usize) -> Option<v1::ProduceRequest> {
        let mut request = Request { batches: Vec::new(), bytes: 0 };
        let mut wire = Vec::new();
        for number in &self.sendable {
            let Some(outgoing) = self.batches.get(number) else { break };
            let (bytes, lane) = (outgoing.bytes(), outgoing.ticket.lane);
            let in_flight = self.in_flight.entry(lane).or_default();
            if *in_flight >= self.in_flight_max {
                continue;
            }
            if !wire.is_empty() && request.bytes.saturating_add(bytes) > bytes_max {
                break;
            }
            *in_flight += 1;
            request.bytes = request.bytes.saturating_add(bytes);
            request.batches.push((*number, lane));
            wire.push(v1::PartitionBatch {
                topic: outgoing.ticket.topic.as_str().to_owned(),
                partition: outgoing.ticket.partition.get(),
                record_batch: outgoing.batch.bytes().clone(),
            });
        }
        request.batches.iter().for_each(|(number, _)| self.unqueue(*number));
        if wire.is_empty() {
            return None;
        }
        let request_id = self.next_request;
        self.next_request += 1;
        self.sent_bytes = self.sent_bytes.saturating_add(request.bytes);
        self.requests.insert(request_id, request);
        Some(v1::ProduceRequest { request_id, acks: acks.into(), batches: wire })
    }

    /// The batches of an answered request, in its order; they are in no request then.
    pub(super) fn answered(&mut self, request_id: u64) -> Option<Vec<BatchNumber>> {
        let request = self.requests.remove(&request_id)?;
        self.sent_bytes = self.sent_bytes.saturating_sub(request.bytes);
        for (_, lane) in &request.batches {
            if let Some(in_flight) = self.in_flight.get_mut(lane) {
                *in_flight = in_flight.saturating_sub(1);
            }
        }
        Some(request.batches.into_iter().map(|(number, _)| number).collect())
    }

    /// The stream is gone: the batches whose fate is unknown, in order.
    pub(super) fn stream_ended(&mut self) -> Vec<BatchNumber> {
        self.sent_bytes = 0;
        self.in_flight.clear();
        let requests = std::mem::take(&mut self.requests);
        let batches = requests.into_values().flat_map(|request| request.batches);
        let mut lost: Vec<_> = batches.map(|(number, _)| number).collect();
        lost.sort_unstable();
        lost
    }

    /// The batches of a partition, in order.
    pub(super) fn of_lane(&mut self, lane: LaneId) -> impl Iterator<Item = &mut Outgoing> {
        self.batches.values_mut().filter(move |outgoing| outgoing.ticket.lane == lane)
    }

    pub(super) fn get_mut(&mut self, number: BatchNumber) -> Option<&mut Outgoing> {
        self.batches.get_mut(&number)
    }

    /// Takes out a batch that has ended; an answer that comes for it later is ignored.
    pub(super) fn take(&mut self, number: BatchNumber) -> Option<Outgoing> {
        self.unqueue(number);
        let outgoing = self.batches.remove(&number)?;
        if let Some(trouble) = self.troubles.get_mut(&outgoing.ticket.lane) {
            trouble.waiting.remove(&number);
        }
        Some(outgoing)
    }

    /// The partition works again.
    pub(super) fn succeeded(&mut self, lane: LaneId) {
        let trouble = self.troubles.remove(&lane);
        for number in trouble.into_iter().flat_map(|trouble| trouble.waiting) {
            self.requeue(number);
        }
    }

    /// Takes out the batches past their deadline. Whether each is in an unanswered request comes with it.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<(Outgoing, bool)> {
        let mut expired = Vec::new();
        while let Some((number, outgoing)) = self.batches.first_key_value() {
            if outgoing.ticket.deadline > now {
                break;
            }
            let number = *number;
            let sent =
                self.requests.values().any(|request| request.batches.iter().any(|(sent, _)| *sent == number));
            expired.extend(self.take(number).map(|outgoing| (outgoing, sent)));
        }
        expired
    }

    pub(super) fn take_all(&mut self) -> Vec<(Outgoing, bool)> {
        let sent: BTreeSet<_> = self.stream_ended().into_iter().collect();
        self.sendable.clear();
        self.sendable_bytes = 0;
        self.troubles.clear();
        let batches = std::mem::take(&mut self.batches);
        batches.into_iter().map(|(number, outgoing)| (outgoing, sent.contains(&number))).collect()
    }

    pub(super) fn has_sendable(&self) -> bool {
        !self.sendable.is_empty()
    }

    pub(super) fn requests_in_flight(&self) -> usize {
        self.requests.len()
    }

    pub(super) const fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Bytes sent or about to be; those of parked partitions do not count.
    pub(super) const fn active_bytes(&self) -> usize {
        self.sent_bytes.saturating_add(self.sendable_bytes)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
