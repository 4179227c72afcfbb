//! One lane in service: the pure lane, what it reads from, and what keeps its records.

use std::sync::Arc;

use tidelog_core::delivery::{Blocked, Lane, LaneBackoff, LaneId};
use tidelog_model::{Offset, Timestamp, TopicName};
use tokio::sync::watch;

use super::feed::Feed;
use super::mover::Mover;
use crate::partition::{Hold, Partition};

/// A lane, and all that goes with it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) topic: TopicName,
    pub(super) partition: Arc<Partition>,
    pub(super) lane: Lane<LaneBackoff>,
    pub(super) feed: Feed,
    /// A read for new records is on its way.
    pub(super) filling: bool,
    pub(super) mover: Mover,
    keeper: Keeper,
    /// Whether the group reads the topic; if not, only the dead letters matter.
    pub(super) served: bool,
    /// Why nothing more was handed out.
    pub(super) blocked: Option<Blocked>,
    /// Why the partition could not be read, and when to try again.
    pub(super) trouble: Option<(String, Timestamp)>,
    /// It may have changed since its events were taken.
    pub(super) dirty: bool,
}

/// Keeps retention from the records of a lane.
#[derive(Debug)]
pub(super) struct Keeper {
    hold: Hold,
    wanted: watch::Receiver<Offset>,
}

impl Keeper {
    /// Keeps all records, until it is told otherwise.
    pub(super) fn new(partition: &Partition) -> Self {
        let hold = partition.hold();
        let wanted = hold.wanted();
        Self { hold, wanted }
    }
}

impl Row {
    pub(super) fn new(
        topic: TopicName,
        partition: Arc<Partition>,
        lane: Lane<LaneBackoff>,
        keeper: Keeper,
    ) -> Self {
        Self {
            topic,
            partition,
            mover: Mover::new(lane.next_sequence()),
            lane,
            feed: Feed::default(),
            filling: false,
            keeper,
            served: true,
            blocked: None,
            trouble: None,
            dirty: true,
        }
    }

    pub(super) const fn id(&self) -> LaneId {
        self.lane.id()
    }

    /// Whether there is something to hand out, as far as is known.
    pub(super) fn may_deliver(&self, now: Timestamp) -> bool {
        self.served
            && self.trouble.as_ref().is_none_or(|(_, until)| *until <= now)
            && (self.lane.has_ready() || self.feed.has_more(self.lane.end()))
    }

    /// Where new records are to be read, if they are.
    pub(super) fn wants_feed(&self, now: Timestamp) -> Option<Offset> {
        let quiet = self.trouble.as_ref().is_none_or(|(_, until)| *until <= now);
        if self.filling || !self.served || !quiet { None } else { self.feed.wants(self.lane.end()) }
    }

    /// Lets retention have what is settled. That must be durable.
    pub(super) fn let_go(&self, first_unsettled: Offset) {
        // A dead letter that was redriven since lies below.
        let from = first_unsettled.min(self.lane.first_unsettled());
        self.keeper.hold.hold_from(if self.served { from } else { Offset::MAX });
    }

    /// Keeps the record at `offset` from retention; whether it is still there.
    pub(super) fn keep(&self, offset: Offset) -> bool {
        self.keeper.hold.hold_too(offset);
        offset >= self.partition.subscribe().borrow().log_start
    }

    /// Gives up what retention wants to have, as far as it may.
    pub(super) fn yield_to_retention(&mut self, now: Timestamp) {
        if self.keeper.wanted.has_changed().unwrap_or(false) {
            let wanted = *self.keeper.wanted.borrow_and_update();
            self.skip_to(now, wanted);
        }
    }

    /// The log begins at `start`, or will.
    pub(super) fn skip_to(&mut self, now: Timestamp, start: Offset) {
        self.lane.retention(now, start);
        self.dirty = true;
    }

    /// Gives the keeper away: nothing else of the row is used any more.
    pub(super) fn into_keeper(self) -> Keeper {
        self.keeper
    }
}
