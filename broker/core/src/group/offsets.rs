//! Committed offsets: how far each group has read.
//!
//! Offsets are kept by topic *id*: a topic created again under a deleted one's name starts without them.
//! Whether a topic exists is the caller's business; so is dropping the offsets of a deleted one
//! ([`GroupCommand::ForgetTopic`]).
//!
//! **Invariant:** a group exists exactly while it has a committed offset.

use std::collections::BTreeMap;

use tidelog_model::{GroupId, PartitionIndex, Timestamp, TopicId, limits};

use super::api::{CommittedOffset, OffsetCommit};
use super::error::GroupError;
use super::events::GroupEvent;
use crate::machine::{Decision, Machine};

/// How much the machine may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// The most groups.
    pub groups_max: usize,
    /// The most offsets of all groups.
    pub offsets_max: usize,
    /// The longest metadata text, in bytes.
    pub metadata_bytes_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups_max: 100_000,
            offsets_max: 5_000_000,
            metadata_bytes_max: limits::OFFSET_METADATA_BYTES_MAX,
        }
    }
}

/// What the machine is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCommand {
    /// Remember offsets.
    Commit {
        /// The group.
        group: GroupId,
        /// Its offsets.
        offsets: Vec<OffsetCommit>,
    },
    /// Forget a group and its offsets.
    DeleteGroup {
        /// The group.
        group: GroupId,
    },
    /// Forget all groups' offsets of a topic.
    ForgetTopic {
        /// The topic.
        topic_id: TopicId,
    },
}

/// What the machine answers: one result for each offset of a commit, one for any other command.
pub type GroupReply = Vec<Result<(), GroupError>>;

type Offsets = BTreeMap<(TopicId, PartitionIndex), CommittedOffset>;

/// The machine of committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsets {
    limits: GroupLimits,
    groups: BTreeMap<GroupId, Offsets>,
    offsets: usize,
}

impl GroupOffsets {
    /// A machine that remembers nothing.
    #[must_use]
    pub const fn new(limits: GroupLimits) -> Self {
        Self { limits, groups: BTreeMap::new(), offsets: 0 }
    }

    /// The offsets of a group; none when there is no such group.
    pub fn offsets(
        &self,
        group: &GroupId,
    ) -> impl Iterator<Item = (TopicId, PartitionIndex, &CommittedOffset)> {
        let offsets = self.groups.get(group).into_iter().flatten();
        offsets.map(|((topic, partition), offset)| (*topic, *partition, offset))
    }

    /// All groups with the number of partitions each has an offset of.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, usize)> {
        self.groups.iter().map(|(group, offsets)| (group, offsets.len()))
    }

    /// The topics of which some group has an offset.
    #[must_use]
    pub fn topics(&self) -> std::collections::BTreeSet<TopicId> {
        self.groups.values().flat_map(|offsets| offsets.keys().map(|(topic, _)| *topic)).collect()
    }

    /// Decides a commit. The limits count what was there before the round of commands this one is part of,
    /// so they may be passed by what one round adds: they bound memory, they are no quota.
    fn commit(
        &self,
        now: Timestamp,
        group: &GroupId,
        offsets: Vec<OffsetCommit>,
    ) -> Decision<GroupEvent, GroupReply> {
        let known = self.groups.get(group);
        let mut events = Vec::with_capacity(offsets.len());
        let mut reply = Vec::with_capacity(offsets.len());
        for commit in offsets {
            let held = known.is_some_and(|known| known.contains_key(&(commit.topic_id, commit.partition)));
            let refused = self.refuse(&commit, known.is_some(), held, events.len());
            reply.push(refused.map_or(Ok(()), Err));
            if matches!(reply.last(), Some(Ok(()))) {
                let committed = CommittedOffset {
                    offset: commit.offset,
                    leader_epoch: commit.leader_epoch,
                    metadata: commit.metadata,
                    committed: now,
                };
                events.push(GroupEvent::OffsetCommitted {
                    group: group.clone(),
                    topic_id: commit.topic_id,
                    partition: commit.partition,
                    committed,
                });
            }
        }
        Decision::with_events(events, reply)
    }

    fn refuse(&self, commit: &OffsetCommit, group_known: bool, held: bool, new: usize) -> Option<GroupError> {
        let limits = self.limits;
        let actual = commit.metadata.len();
        if actual > limits.metadata_bytes_max {
            return Some(GroupError::MetadataTooLong { limit: limits.metadata_bytes_max, actual });
        }
        if !group_known && self.groups.len() >= limits.groups_max {
            return Some(GroupError::TooManyGroups { limit: limits.groups_max });
        }
        if !held && self.offsets.saturating_add(new) >= limits.offsets_max {
            return Some(GroupError::TooManyOffsets { limit: limits.offsets_max });
        }
        None
    }

    fn forget_topic(&mut self, topic_id: TopicId) {
        for offsets in self.groups.values_mut() {
            offsets.retain(|(topic, _), _| *topic != topic_id);
        }
        self.groups.retain(|_, offsets| !offsets.is_empty());
        self.offsets = self.groups.values().map(BTreeMap::len).sum();
    }
}

impl Machine for GroupOffsets {
    type Command = GroupCommand;
    type Event = GroupEvent;
    type Reply = GroupReply;
    type Effect = std::convert::Infallible;
    type Lane = GroupId;

    fn lane(&self, command: &GroupCommand) -> Option<GroupId> {
        match command {
            GroupCommand::Commit { group, .. } | GroupCommand::DeleteGroup { group } => Some(group.clone()),
            GroupCommand::ForgetTopic { .. } => None,
        }
    }

    fn decide(&self, now: Timestamp, command: GroupCommand) -> Decision<GroupEvent, GroupReply> {
        match command {
            GroupCommand::Commit { group, offsets } => self.commit(now, &group, offsets),
            GroupCommand::DeleteGroup { group } if !self.groups.contains_key(&group) => {
                Decision::reply(vec![Err(GroupError::UnknownGroup { group })])
            }
            GroupCommand::DeleteGroup { group } => {
                Decision::with_events(vec![GroupEvent::GroupDeleted { group }], vec![Ok(())])
            }
            GroupCommand::ForgetTopic { topic_id } => {
                let held = self.groups.values().flat_map(BTreeMap::keys).any(|(topic, _)| *topic == topic_id);
                let events = if held { vec![GroupEvent::TopicForgotten { topic_id }] } else { Vec::new() };
                Decision::with_events(events, vec![Ok(())])
            }
        }
    }

    fn apply(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::OffsetCommitted { group, topic_id, partition, committed } => {
                let offsets = self.groups.entry(group.clone()).or_default();
                if offsets.insert((*topic_id, *partition), committed.clone()).is_none() {
                    self.offsets = self.offsets.saturating_add(1);
                }
            }
            GroupEvent::GroupDeleted { group } => {
                let gone = self.groups.remove(group).map_or(0, |offsets| offsets.len());
                self.offsets = self.offsets.saturating_sub(gone);
            }
            GroupEvent::TopicForgotten { topic_id } => self.forget_topic(*topic_id),
        }
    }

    fn snapshot(&self) -> impl Iterator<Item = GroupEvent> + Send {
        self.groups.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(|((topic_id, partition), committed)| GroupEvent::OffsetCommitted {
                group: group.clone(),
                topic_id: *topic_id,
                partition: *partition,
                committed: committed.clone(),
            })
        })
    }
}

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod tests;
