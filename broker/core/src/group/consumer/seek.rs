//! A seek while members read: the group's positions change under nobody's feet.
//!
//! ```text
//! seek ──► withheld from all targets ──members give up──► nobody reads them: positions set ──► assigned anew
//! ```
//!
//! Members need not know of it: they give partitions up and get them again, and whoever gets a partition begins
//! at the group's position. So it works for each client that speaks the protocol, and is a rebalance of the
//! partitions concerned only.
//!
//! **Invariants:** positions are set in one event, while nobody reads any of the partitions; from the
//! beginning of a seek on, a partition's offset may be committed by the member that has it and by nobody else,
//! so what was read before the seek cannot be committed after it.

use std::collections::BTreeMap;

use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId};

use super::error::ConsumerGroupError;
use super::events::ConsumerGroupEvent;
use super::member::STATIC_LEAVE_EPOCH;
use super::topics::TopicsView;
use super::{ConsumerGroup, Partitions};

/// Where a group is to go on, by partition.
pub type Positions = BTreeMap<(TopicId, PartitionIndex), Offset>;

/// How soon members are asked to say something again while a seek waits for them, in milliseconds: their
/// partitions are read by nobody meanwhile.
const HEARTBEAT_INTERVAL_MS: i32 = 500;

impl ConsumerGroup {
    /// Sets where the group goes on, once nobody reads the partitions: at once if nobody does, else when the
    /// members have given them up. A later seek of the same partition takes the place of one that waits.
    #[must_use = "the events must be stored"]
    pub fn seek(
        &mut self,
        now: Timestamp,
        positions: &Positions,
        topics: &dyn TopicsView,
    ) -> Vec<ConsumerGroupEvent> {
        let mut events = Vec::new();
        if !self.is_empty() {
            let mut partitions = Partitions::new();
            for (topic, partition) in positions.keys() {
                partitions.entry(*topic).or_default().insert(*partition);
            }
            self.emit(&mut events, ConsumerGroupEvent::CommitsFenced { partitions });
        }
        self.emit(&mut events, ConsumerGroupEvent::SeekBegun { positions: positions.clone() });
        self.finish_seek(now, topics, &mut events);
        if !self.state.withheld.is_empty() {
            self.raise_epoch(false, topics, &mut events);
        }
        events
    }

    /// Where the group will go on when nobody reads these partitions any more.
    #[must_use]
    pub const fn pending_seek(&self) -> &Positions {
        &self.state.withheld
    }

    /// Sets the positions if nobody reads the partitions; the members' next heartbeats assign them anew.
    pub(super) fn finish_seek(
        &mut self,
        now: Timestamp,
        topics: &dyn TopicsView,
        events: &mut Vec<ConsumerGroupEvent>,
    ) {
        let withheld = &self.state.withheld;
        if withheld.is_empty() || withheld.keys().any(|place| self.is_read(place)) {
            return;
        }
        let positions = withheld.clone();
        self.emit(events, ConsumerGroupEvent::SeekDone { positions, at: now });
        if !self.is_empty() {
            self.raise_epoch(false, topics, events);
        }
    }

    /// Whether a member may be reading it. A static member that is away does not, and begins anew at the
    /// group's position when it is back.
    fn is_read(&self, place: &(TopicId, PartitionIndex)) -> bool {
        let owner = self.state.owners.get(place).and_then(|owner| self.state.members.get(owner));
        owner.is_some_and(|owner| owner.current.member_epoch != STATIC_LEAVE_EPOCH)
    }

    /// Whether this member, which may commit, may commit this partition.
    ///
    /// # Errors
    /// [`ConsumerGroupError::Sought`] when the partition was sought and the member does not have it.
    pub fn check_place(
        &self,
        member_id: &str,
        place: (TopicId, PartitionIndex),
    ) -> Result<(), ConsumerGroupError> {
        let has = || self.state.owners.get(&place).is_some_and(|owner| owner.as_str() == member_id);
        if !self.state.fenced.contains(&place) || self.is_empty() || has() {
            Ok(())
        } else {
            Err(ConsumerGroupError::Sought { partition: place.1 })
        }
    }

    /// Forgets what is withheld of a topic that is gone.
    pub fn forget_topic(&mut self, topic_id: TopicId) {
        self.state.withheld.retain(|(topic, _), _| *topic != topic_id);
        self.state.fenced.retain(|(topic, _)| *topic != topic_id);
    }

    /// When a member in this epoch should be heard of next.
    pub(super) fn heartbeat_interval_ms(&self, member_epoch: i32) -> i32 {
        let state = &self.state;
        let moves = !state.fenced.is_empty() && member_epoch < state.group_epoch;
        let usual = self.config.heartbeat_interval_ms;
        if !state.withheld.is_empty() || moves { usual.min(HEARTBEAT_INTERVAL_MS) } else { usual }
    }
}

#[cfg(test)]
#[path = "seek_tests.rs"]
mod tests;
