//! Handing records out.
//!
//! Retries that are due come first, the one that has waited for longest before the others, but while there are new
//! records they are at most half of a batch: neither starves the other.

use tidelog_model::{Offset, Timestamp};

use super::{Lane, Lease};
use crate::delivery::event::Op;
use crate::delivery::policy::{Backoff, DelayedEdge, OrderMode};
use crate::delivery::window::{Open, State};

/// What a consumer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquire {
    /// Who asks.
    pub member: u64,
    /// The most records.
    pub records_max: usize,
    /// About the most bytes; the first record may be larger.
    pub bytes_max: usize,
    /// How long the records are the consumer's, if nobody asks for more time; the group's default when `None`.
    pub lease_ms: Option<i64>,
}

/// Whether an offset has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// It has.
    Data,
    /// It has none that anybody may see: a marker, an aborted record.
    Gone,
}

/// A record that nobody had yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its offset.
    pub offset: Offset,
    /// The hash of its key; 0 when it has none.
    pub key: u32,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether there is a record.
    pub kind: RecordKind,
}

/// Where new records are looked at.
pub trait RecordSource {
    /// The first record at or after `from` that can be looked at now; the offsets before it have none. `None`
    /// when there is nothing to look at yet.
    fn next(&mut self, from: Offset) -> Option<SourceRecord>;

    /// The size of a record that was handed out before, in bytes, if it is known.
    fn bytes_of(&self, offset: Offset) -> Option<usize> {
        let _ = offset;
        None
    }
}

/// A record that is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its offset.
    pub offset: Offset,
    /// Which attempt this is, from 1.
    pub attempt: u16,
    /// How often it was handed out, this time included and whether it counted or not, as far as this run knows.
    pub acquired: u16,
    /// How often it was redriven.
    pub redrives: u8,
    /// When it failed first.
    pub first_failure: Option<Timestamp>,
}

/// Why no more records are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// As many are leased as may be.
    Leased,
    /// As many are delayed as may be.
    Delayed,
    /// The first that is not settled is too far behind.
    Lookahead,
    /// The group retries as much as it may.
    Budget,
}

/// Records for a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// What the consumer names when it settles them.
    pub lease: u64,
    /// When the lease ends.
    pub deadline: Timestamp,
    /// The records, in the order of their offsets.
    pub records: Vec<Delivery>,
    /// Why there are not more.
    pub blocked: Option<Blocked>,
}

/// A batch while it is put together.
struct Batch {
    records: Vec<Offset>,
    bytes: usize,
    ask: Acquire,
    blocked: Option<Blocked>,
    /// Nothing may join what is in it.
    closed: bool,
}

impl Batch {
    fn has_room(&self, bytes: usize) -> bool {
        !self.closed
            && self.records.len() < self.ask.records_max
            && (self.records.is_empty() || self.bytes.saturating_add(bytes) <= self.ask.bytes_max)
    }

    /// Takes a record that was in the window already, if there is room and, for a retry, one left.
    fn take(
        &mut self,
        offset: Offset,
        bytes: usize,
        retry: bool,
        may_retry: &mut impl FnMut() -> bool,
    ) -> bool {
        if !self.has_room(bytes) {
            return false;
        }
        if retry && !may_retry() {
            self.blocked.get_or_insert(Blocked::Budget);
            return false;
        }
        self.push(offset, bytes);
        true
    }

    fn push(&mut self, offset: Offset, bytes: usize) {
        self.records.push(offset);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl<B: Backoff> Lane<B> {
    /// Hands records out. `may_retry` is asked once for each record that has failed before and says whether the
    /// group has a retry left.
    pub fn acquire(
        &mut self,
        now: Timestamp,
        ask: Acquire,
        source: &mut impl RecordSource,
        may_retry: &mut impl FnMut() -> bool,
    ) -> Acquired {
        self.tick(now);
        let room = self.policy.window.leased.saturating_sub(self.window.counts().leased);
        let records_max = ask.records_max.min(room);
        let blocked = (room == 0).then_some(Blocked::Leased);
        let ask = Acquire { records_max, ..ask };
        let mut batch = Batch { records: Vec::new(), bytes: 0, ask, blocked, closed: records_max == 0 };
        if self.policy.order == OrderMode::Partition {
            self.take_in_order(&mut batch, source, may_retry);
        } else {
            let half = records_max.div_ceil(2);
            self.take_ready(&mut batch, half, source, may_retry);
            self.take_new(&mut batch, source);
            self.take_ready(&mut batch, records_max, source, may_retry);
        }
        self.lease_out(batch)
    }

    /// Takes records that were in the window already, until the batch has `records_max`.
    fn take_ready(
        &mut self,
        batch: &mut Batch,
        records_max: usize,
        source: &impl RecordSource,
        may_retry: &mut impl FnMut() -> bool,
    ) {
        let mut after = None;
        while batch.records.len() < records_max && batch.has_room(0) {
            let Some((due, offset)) = self.ready.next_after(after) else { return };
            after = Some((due, offset));
            let Some(open) = self.window.get(offset) else { continue };
            // An earlier record of its key has come back from the dead: it is offered again after that one.
            if !self.gates.is_first(open.key, offset) {
                self.ready.remove(offset);
                continue;
            }
            // Whoever made a consumer go silent goes alone, so that it takes no others along.
            if open.alone && !batch.records.is_empty() {
                continue;
            }
            let (alone, retry) = (open.alone, open.attempts > 0);
            if !batch.take(offset, source.bytes_of(offset).unwrap_or(0), retry, may_retry) {
                return;
            }
            self.ready.remove(offset);
            batch.closed = alone;
        }
    }

    /// Takes records that nobody had yet.
    fn take_new(&mut self, batch: &mut Batch, source: &mut impl RecordSource) {
        while batch.has_room(0) {
            let Some(record) = source.next(self.end) else { return };
            self.skip_gap(record.offset);
            if record.kind == RecordKind::Gone {
                self.skip_gap(record.offset.next());
                continue;
            }
            if let Some(edge) = self.edge(record.offset, batch.records.len()) {
                batch.blocked.get_or_insert(edge);
                return;
            }
            let open = Open::new(record.key);
            let waits =
                self.policy.order == OrderMode::Key && !self.gates.is_first(record.key, record.offset);
            let follows = self.follows(record.key);
            if waits || follows {
                self.pass(record.offset, open);
                self.offer(record.offset, Timestamp::from_millis(0));
                continue;
            }
            if !batch.has_room(record.bytes) {
                return;
            }
            self.pass(record.offset, open);
            batch.push(record.offset, record.bytes);
        }
    }

    /// Takes the records from the first that is not settled on, without a gap.
    fn take_in_order(
        &mut self,
        batch: &mut Batch,
        source: &mut impl RecordSource,
        may_retry: &mut impl FnMut() -> bool,
    ) {
        // One batch is out at a time; what was redriven comes before all that is newer.
        let mut from = Offset::ZERO;
        while batch.has_room(0) {
            let Some((offset, open)) = self.window.first_from(from) else { break };
            if open.state != State::Available || (open.alone && !batch.records.is_empty()) {
                return;
            }
            let (alone, retry) = (open.alone, open.attempts > 0);
            if !batch.take(offset, source.bytes_of(offset).unwrap_or(0), retry, may_retry) {
                return;
            }
            self.ready.remove(offset);
            batch.closed = alone;
            from = offset.next();
        }
        self.take_new(batch, source);
    }

    /// Why the record at `offset` may not join the window, with `taken` records about to be leased.
    fn edge(&self, offset: Offset, taken: usize) -> Option<Blocked> {
        let (counts, limits) = (self.window.counts(), self.policy.window);
        if offset.since(self.start) >= limits.lookahead {
            return Some(Blocked::Lookahead);
        }
        // Each that is out, or is to go out again, may come back to be delayed.
        let waiting = counts.delayed.saturating_add(self.ready.len());
        let may_delay = waiting.saturating_add(counts.leased).saturating_add(taken);
        // Without room for dead letters there is no other way out.
        let full = counts.dying >= limits.dying;
        let stall = full || self.policy.delayed_edge == DelayedEdge::Stall;
        (may_delay >= limits.delayed && stall).then_some(Blocked::Delayed)
    }

    /// There are no records from the end up to `to`.
    fn skip_gap(&mut self, to: Offset) {
        if to > self.end {
            self.ops.push(Op::Settled { first: self.end, last: to.before() });
            self.end = to;
            self.advance();
        }
    }

    /// The end moves past a record, which joins the window.
    fn pass(&mut self, offset: Offset, open: Open) {
        self.open(offset, open);
        self.end = self.end.max(offset.next());
    }

    fn lease_out(&mut self, mut batch: Batch) -> Acquired {
        batch.records.sort_unstable();
        let policy = self.policy.lease;
        let wanted = batch.ask.lease_ms.unwrap_or(policy.default_ms);
        let deadline = self.clock.plus_millis(wanted.clamp(policy.min_ms, policy.max_ms.max(policy.min_ms)));
        let (Some(first), Some(last)) = (batch.records.first().copied(), batch.records.last().copied())
        else {
            self.advance();
            let deadline = self.as_told(deadline);
            return Acquired { lease: 0, deadline, records: Vec::new(), blocked: batch.blocked };
        };
        let lease = i64::from(self.run.get()).unsigned_abs() << u32::BITS | u64::from(self.next_lease);
        self.next_lease = self.next_lease.wrapping_add(1);
        let mut records = Vec::with_capacity(batch.records.len());
        for offset in batch.records {
            let delivery = self.window.change(offset, |open| {
                open.state = State::Leased(lease);
                open.attempts = open.attempts.saturating_add(1);
                open.acquired = open.acquired.saturating_add(1).max(open.attempts);
                Delivery {
                    offset,
                    attempt: open.attempts,
                    acquired: open.acquired,
                    redrives: open.redrives,
                    first_failure: open.failure.as_ref().map(|failure| failure.first),
                }
            });
            let Some(delivery) = delivery else { continue };
            // So that a record that takes down its consumer and the broker with it comes to an end.
            if delivery.attempt > 1 {
                self.ops.push(Op::Attempted { offset, attempts: delivery.attempt });
            }
            records.push(delivery);
        }
        let held = Lease {
            member: batch.ask.member,
            first,
            last,
            records: records.len(),
            since: self.clock,
            deadline,
        };
        self.leases.insert(lease, held);
        self.lease_ends.insert((deadline, lease));
        self.advance();
        Acquired { lease, deadline: self.as_told(deadline), records, blocked: batch.blocked }
    }
}
