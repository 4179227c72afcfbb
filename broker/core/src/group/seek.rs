//! Where a group goes on, set by somebody who is no member of it.
//!
//! Offsets of a group without members are written at once. Members that read are moved as their protocol allows:
//! `consumer/seek.rs` and `classic/seek.rs` say how.

use std::collections::BTreeSet;

use tidelog_model::{GroupId, Timestamp};

use super::api::{CommittedOffset, GroupReply, OffsetCommit, SeekOffsets, Sought, WhenActive};
use super::consumer::{ConsumerGroupEvent, Positions, TopicsView};
use super::error::GroupError;
use super::events::GroupEvent;
use super::groups::{Groups, Kind, Output, Token};

impl Groups {
    /// Sets where the group goes on; `None` when the answer comes later. All of it or nothing.
    pub(super) fn seek(
        &mut self,
        now: Timestamp,
        token: Token,
        request: SeekOffsets,
        topics: &dyn TopicsView,
        out: &mut Output,
    ) -> Result<Option<GroupReply>, GroupError> {
        let SeekOffsets { group: name, positions, when_active } = request;
        self.check_room(&name, &positions)?;
        let known = self.groups.get(&name);
        let active = known.is_some_and(|group| !group.is_empty());
        if active && when_active == WhenActive::Refuse {
            return Err(GroupError::Active { group: name });
        }
        match known.map(|group| &group.kind) {
            Some(Kind::Classic(_)) if active => {
                let sought = self.with_group(now, &name, out, |kind, step| match kind {
                    Kind::Classic(classic) => classic.seek(step, token, positions),
                    Kind::Consumer(_) | Kind::Queue(_) => {
                        Err(GroupError::CannotFollow { group: step.group.clone() })
                    }
                });
                sought.unwrap_or(Ok(()))?;
                return Ok(None);
            }
            Some(Kind::Consumer(_)) => {
                self.with_group(now, &name, out, |kind, step| {
                    if let Kind::Consumer(consumer) = kind {
                        let events = consumer.seek(now, &positions, topics);
                        step.consumer_events(events);
                    }
                });
            }
            Some(Kind::Queue(_)) => {
                return Err(GroupError::OtherType { group: name, wanted: "classic or consumer" });
            }
            Some(Kind::Classic(_)) | None => {
                for ((topic_id, partition), offset) in positions {
                    let (group, committed) = (name.clone(), CommittedOffset::sought(offset, now));
                    self.emit(out, GroupEvent::OffsetCommitted { group, topic_id, partition, committed });
                }
            }
        }
        let waits = self.groups.get(&name).is_some_and(
            |group| matches!(&group.kind, Kind::Consumer(consumer) if !consumer.pending_seek().is_empty()),
        );
        Ok(Some(GroupReply::Seek(if waits { Sought::Pending } else { Sought::Done })))
    }

    /// Whether there is room for so many offsets.
    fn check_room(&self, name: &GroupId, positions: &Positions) -> Result<(), GroupError> {
        let known = self.groups.get(name);
        if known.is_none() && self.groups.len() >= self.limits.groups_max {
            return Err(GroupError::TooManyGroups { limit: self.limits.groups_max });
        }
        let held = |place| known.is_some_and(|group| group.offsets.contains_key(place));
        let new = positions.keys().filter(|place| !held(place)).count();
        if self.offsets.saturating_add(new) > self.limits.offsets_max {
            return Err(GroupError::TooManyOffsets { limit: self.limits.offsets_max });
        }
        Ok(())
    }

    /// Takes in what events of a group's members mean for its offsets.
    pub(super) fn take_sought(&mut self, events: &[GroupEvent]) {
        for event in events {
            match event {
                GroupEvent::OffsetCommitted { .. } => self.apply(event),
                GroupEvent::Consumer { group, event: ConsumerGroupEvent::SeekDone { positions, at } } => {
                    self.set_offsets(group, positions, *at);
                }
                _ => {}
            }
        }
    }

    /// The group goes on at these positions.
    pub(super) fn set_offsets(&mut self, name: &GroupId, positions: &Positions, at: Timestamp) {
        let Some(group) = self.groups.get_mut(name) else { return };
        for (place, offset) in positions {
            if group.offsets.insert(*place, CommittedOffset::sought(*offset, at)).is_none() {
                self.offsets = self.offsets.saturating_add(1);
            }
        }
    }

    /// Whether this member may commit this partition, now that it may commit.
    pub(super) fn check_place(
        &self,
        name: &GroupId,
        member_id: &str,
        commit: &OffsetCommit,
    ) -> Result<(), GroupError> {
        match self.groups.get(name).map(|group| &group.kind) {
            Some(Kind::Consumer(consumer)) => {
                Ok(consumer.check_place(member_id, (commit.topic_id, commit.partition))?)
            }
            Some(Kind::Classic(_) | Kind::Queue(_)) | None => Ok(()),
        }
    }

    /// The topics of which some group has an offset, or is about to.
    pub(super) fn topics(&self) -> BTreeSet<tidelog_model::TopicId> {
        let mut topics = BTreeSet::new();
        for group in self.groups.values() {
            topics.extend(group.offsets.keys().map(|(topic, _)| *topic));
            if let Kind::Consumer(consumer) = &group.kind {
                topics.extend(consumer.pending_seek().keys().map(|(topic, _)| *topic));
            }
        }
        topics
    }
}

#[cfg(test)]
#[path = "seek_tests.rs"]
mod tests;
