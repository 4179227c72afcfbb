//! How far the reading of each partition has come. Pure.
//!
//! **Invariants:** `position` is the next offset to hand out and `fetch_from` the next one to ask for; what
//! lies between them is in memory. A session number is used once, so that a response can be told from one
//! that was on its way when the partition was moved.

use tidelog_model::{Offset, TopicPartition};
use tidelog_proto::v1;

use crate::position::Position;

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: TopicPartition,
    /// The next offset to hand out.
    pub(super) position: Offset,
    /// Where the broker is to go on; never [`Position::Committed`].
    pub(super) fetch_from: Position,
    /// The present assignment at the broker, if there is one.
    pub(super) session: Option<u64>,
    pub(super) until: Option<Offset>,
    pub(super) high_watermark: Offset,
    /// The epoch of the last record handed out.
    pub(super) leader_epoch: Option<i32>,
    pub(super) paused: bool,
    /// An error ended the reading, until the caller seeks.
    pub(super) failed: bool,
    /// It is another member's now; the place in the list is free.
    pub(super) gone: bool,
    /// When to try again after a passing error.
    pub(super) retry_at: Option<tokio::time::Instant>,
}

impl Partition {
    pub(super) fn new(id: TopicPartition, start: Offset, high_watermark: Offset) -> Self {
        Self {
            id,
            position: start,
            fetch_from: Position::Offset(start),
            session: None,
            until: None,
            high_watermark,
            leader_epoch: None,
            paused: false,
            failed: false,
            gone: false,
            retry_at: None,
        }
    }

    /// Whether everything before the bound was handed out.
    pub(super) fn is_done(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }

    /// Whether the broker is to read it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.gone && !self.paused && !self.failed && !self.is_done() && self.retry_at.is_none()
    }

    /// Whether everything readable was handed out, as far as is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.high_watermark
    }

    /// Goes on elsewhere; what is in memory is dropped by the caller.
    pub(super) fn move_to(&mut self, offset: Offset) {
        self.position = offset;
        self.fetch_from = Position::Offset(offset);
        self.failed = false;
        self.retry_at = None;
    }

    /// Moves the position past what was handed out or skipped, but not past the bound.
    pub(super) fn advance(&mut self, next: Offset) {
        self.position = self.until.map_or(next, |until| next.min(until));
    }

    /// The assignment message of a new session.
    pub(super) fn assignment(&mut self, session: u64) -> v1::FetchPartition {
        self.session = Some(session);
        v1::FetchPartition {
            topic: self.id.topic.as_str().to_owned(),
            partition: self.id.partition.get(),
            position: self.fetch_from.to_wire(),
            session,
            until_offset: self.until.map(Offset::get),
        }
    }

    pub(super) fn to_wire(&self) -> v1::TopicPartition {
        v1::TopicPartition { topic: self.id.topic.as_str().to_owned(), partition: self.id.partition.get() }
    }

    /// Counts the records of a batch as handed out.
    pub(super) fn hand_out(&mut self, batch: &super::ConsumerBatch) {
        if let Some(last) = batch.records.last() {
            self.advance(last.offset.next());
            self.leader_epoch = Some(last.leader_epoch);
        }
    }
}
