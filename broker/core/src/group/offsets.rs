//! Committed offsets: how far each group has read, who may say so, and when they are forgotten.
//!
//! Whether a topic exists is the caller's business; so is dropping the offsets of a deleted one
//! ([`super::GroupRequest::ForgetTopic`]).

use std::collections::BTreeSet;

use tidelog_model::{GroupId, PartitionIndex, Timestamp, TopicId};

use super::api::{
    CommitOffsets, CommitOffsetsReply, CommittedOffset, DeleteOffsets, DeleteOffsetsReply, FetchOffsets,
    FetchOffsetsReply, GroupMember, GroupState, OffsetCommit,
};
use super::consumer::TopicsView;
use super::error::GroupError;
use super::events::GroupEvent;
use super::groups::{Group, Groups, Kind, Output};

impl Group {
    /// The topics its members subscribe to; `None` when the broker cannot know.
    fn subscribed(&self, topics: &dyn TopicsView) -> Option<BTreeSet<TopicId>> {
        let names = match &self.kind {
            Kind::Classic(classic) => classic.subscribed_topics()?,
            Kind::Consumer(consumer) => consumer.subscribed_topics(),
            Kind::Queue(queue) => queue.topics.clone(),
        };
        Some(names.iter().filter_map(|name| topics.topic(name)).map(|topic| topic.topic_id).collect())
    }

    /// Whether no member may come back to what the group has read.
    fn is_abandoned(&self) -> bool {
        match &self.kind {
            Kind::Classic(classic) => classic.is_empty(),
            Kind::Consumer(consumer) => consumer.is_empty(),
            Kind::Queue(_) => false,
        }
    }

    /// The offsets that were kept for long enough.
    fn expired(
        &self,
        now: Timestamp,
        retention_ms: i64,
        topics: &dyn TopicsView,
    ) -> Vec<(TopicId, PartitionIndex)> {
        let (since, subscribed) = if self.is_abandoned() {
            let since = match &self.kind {
                Kind::Classic(classic) => classic.empty_since(),
                Kind::Consumer(_) | Kind::Queue(_) => None,
            };
            (since.unwrap_or(Timestamp::NONE), BTreeSet::new())
        } else {
            // Only a stable classic group has said what it subscribes to from now on.
            let settled = match &self.kind {
                Kind::Classic(classic) => classic.state() == GroupState::Stable,
                Kind::Consumer(_) | Kind::Queue(_) => true,
            };
            match self.subscribed(topics).filter(|_| settled) {
                Some(subscribed) => (Timestamp::NONE, subscribed),
                None => return Vec::new(),
            }
        };
        let old =
            |committed: &CommittedOffset| committed.committed.max(since).plus_millis(retention_ms) <= now;
        let offsets = self.offsets.iter();
        offsets
            .filter(|((topic, _), committed)| !subscribed.contains(topic) && old(committed))
            .map(|(place, _)| *place)
            .collect()
    }
}

impl Groups {
    /// Remembers offsets.
    pub(super) fn commit(
        &mut self,
        now: Timestamp,
        request: CommitOffsets,
        out: &mut Output,
    ) -> Result<CommitOffsetsReply, GroupError> {
        self.check_commit(now, &request.group, &request.member, out)?;
        let mut results = Vec::with_capacity(request.offsets.len());
        for commit in request.offsets {
            if let Some(refused) = self.refuse(&request.group, &commit) {
                results.push(Err(refused));
                continue;
            }
            if let Err(refused) = self.check_place(&request.group, &request.member.member_id, &commit) {
                results.push(Err(refused));
                continue;
            }
            let OffsetCommit { topic_id, partition, offset, leader_epoch, metadata } = commit;
            let committed = CommittedOffset { offset, leader_epoch, metadata, committed: now };
            let group = request.group.clone();
            self.emit(out, GroupEvent::OffsetCommitted { group, topic_id, partition, committed });
            results.push(Ok(()));
        }
        Ok(results)
    }

    fn check_commit(
        &mut self,
        now: Timestamp,
        name: &GroupId,
        member: &GroupMember,
        out: &mut Output,
    ) -> Result<(), GroupError> {
        if !self.groups.contains_key(name) {
            let received = member.generation;
            let stranger = received < 0;
            return if stranger {
                Ok(())
            } else {
                Err(GroupError::IllegalGeneration { received, known: -1 })
            };
        }
        let checked = self.with_group(now, name, out, |kind, step| match kind {
            Kind::Classic(classic) => classic.check_commit(step, member),
            Kind::Consumer(consumer) => {
                consumer.check_commit(&member.member_id, member.generation).map_err(GroupError::from)
            }
            Kind::Queue(_) => Err(GroupError::OtherType { group: name.clone(), wanted: "classic" }),
        });
        checked.unwrap_or(Ok(()))
    }

    fn refuse(&self, name: &GroupId, commit: &OffsetCommit) -> Option<GroupError> {
        let limits = self.limits;
        let actual = commit.metadata.len();
        if actual > limits.metadata_bytes_max {
            return Some(GroupError::MetadataTooLong { limit: limits.metadata_bytes_max, actual });
        }
        let known = self.groups.get(name);
        if known.is_none() && self.groups.len() >= limits.groups_max {
            return Some(GroupError::TooManyGroups { limit: limits.groups_max });
        }
        let place = (commit.topic_id, commit.partition);
        let held = known.is_some_and(|group| group.offsets.contains_key(&place));
        if !held && self.offsets >= limits.offsets_max {
            return Some(GroupError::TooManyOffsets { limit: limits.offsets_max });
        }
        None
    }

    /// What is remembered.
    pub(super) fn fetch(&self, request: &FetchOffsets) -> Result<FetchOffsetsReply, GroupError> {
        let Some(group) = self.groups.get(&request.group) else { return Ok(Vec::new()) };
        if let Kind::Consumer(consumer) = &group.kind {
            consumer.check_fetch(request.member_id.as_deref(), request.member_epoch)?;
        }
        let found = |(topic_id, partition): (TopicId, PartitionIndex), offset: &CommittedOffset| {
            (topic_id, partition, offset.clone())
        };
        let offsets = &group.offsets;
        Ok(match &request.partitions {
            None => offsets.iter().map(|(place, offset)| found(*place, offset)).collect(),
            Some(wanted) => wanted
                .iter()
                .filter_map(|place| offsets.get(place).map(|offset| found(*place, offset)))
                .collect(),
        })
    }

    /// Forgets offsets of topics that nobody in the group subscribes to.
    pub(super) fn delete_offsets(
        &mut self,
        request: &DeleteOffsets,
        topics: &dyn TopicsView,
        out: &mut Output,
    ) -> Result<DeleteOffsetsReply, GroupError> {
        let name = &request.group;
        let unknown = || GroupError::UnknownGroup { group: name.clone() };
        let group = self.groups.get(name).ok_or_else(unknown)?;
        let not_empty = || GroupError::NotEmpty { group: name.clone() };
        let subscribed = group.subscribed(topics).ok_or_else(not_empty)?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for (topic_id, partition) in &request.partitions {
            if subscribed.contains(topic_id) {
                results.push(Err(GroupError::Subscribed));
                continue;
            }
            self.forget(name, *topic_id, *partition, out);
            results.push(Ok(()));
        }
        Ok(results)
    }

    fn forget(&mut self, name: &GroupId, topic_id: TopicId, partition: PartitionIndex, out: &mut Output) {
        let held =
            self.groups.get(name).is_some_and(|group| group.offsets.contains_key(&(topic_id, partition)));
        if held {
            self.emit(out, GroupEvent::OffsetForgotten { group: name.clone(), topic_id, partition });
        }
    }

    /// Forgets offsets that were kept for long enough, and groups of which nothing is left.
    pub(super) fn expire_offsets(&mut self, now: Timestamp, topics: &dyn TopicsView, out: &mut Output) {
        let retention_ms = self.config.offsets_retention_ms;
        let names: Vec<GroupId> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get(&name) else { continue };
            let expired = group.expired(now, retention_ms, topics);
            if group.is_abandoned() && expired.len() == group.offsets.len() {
                self.emit(out, GroupEvent::GroupDeleted { group: name });
                continue;
            }
            for (topic_id, partition) in expired {
                self.forget(&name, topic_id, partition, out);
            }
        }
    }
}
