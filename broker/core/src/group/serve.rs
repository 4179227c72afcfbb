//! Which request goes to which part of a group, and what there is in common for all groups.

use std::collections::BTreeSet;

use tidelog_model::{GroupId, Timestamp, TopicId};

use super::api::{
    DescribedGroup, GroupReply, GroupRequest, GroupState, GroupType, JoinGroup, LeaveGroup, ListGroups,
    ListedGroup,
};
use super::classic::{ClassicGroup, Step, check_join};
use super::consumer::{
    ConsumerGroup, ConsumerGroupDescription, ConsumerGroupEvent, ConsumerGroupState, Heartbeat,
    HeartbeatReply, TopicsView,
};
use super::error::GroupError;
use super::events::GroupEvent;
use super::groups::{Group, Groups, Input, Kind, Output};

impl Step<'_> {
    /// Keeps what happened in a group of the consumer protocol.
    pub(super) fn consumer_events(&mut self, events: Vec<ConsumerGroupEvent>) {
        let group = self.group;
        let wrap = |event| GroupEvent::Consumer { group: group.clone(), event };
        self.out.events.extend(events.into_iter().map(wrap));
    }
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Classic(classic) => classic.state() == GroupState::Empty,
            Kind::Consumer(consumer) => consumer.is_empty(),
            // Who reads is not known here: its members come to the queue itself.
            Kind::Queue(_) => true,
        }
    }

    fn listed(&self, name: &GroupId) -> ListedGroup {
        let (protocol_type, state, group_type) = match &self.kind {
            Kind::Classic(classic) => {
                (classic.protocol_type().to_owned(), classic.state(), GroupType::Classic)
            }
            Kind::Consumer(consumer) => {
                let state = match consumer.state() {
                    ConsumerGroupState::Empty => GroupState::Empty,
                    ConsumerGroupState::Assigning => GroupState::Assigning,
                    ConsumerGroupState::Reconciling => GroupState::Reconciling,
                    ConsumerGroupState::Stable => GroupState::Stable,
                };
                ("consumer".to_owned(), state, GroupType::Consumer)
            }
            Kind::Queue(_) => ("queue".to_owned(), GroupState::Empty, GroupType::Queue),
        };
        let members = match &self.kind {
            Kind::Classic(classic) => classic.member_count(),
            Kind::Consumer(consumer) => consumer.member_count(),
            Kind::Queue(_) => 0,
        };
        let partitions = self.offsets.len();
        ListedGroup { group: name.clone(), protocol_type, state, group_type, partitions, members }
    }
}

impl Groups {
    /// Serves a request; `None` when the answer comes later.
    pub(super) fn serve(
        &mut self,
        now: Timestamp,
        input: Input,
        topics: &dyn TopicsView,
        out: &mut Output,
    ) -> Result<Option<GroupReply>, GroupError> {
        let Input { token, random, request } = input;
        let reply = match request {
            GroupRequest::Join(request) => {
                self.make_classic(now, &request, out)?;
                let group = request.group.clone();
                return self
                    .classic(now, &group, out, |classic, step| classic.join(step, token, request, random));
            }
            GroupRequest::Sync(request) => {
                let group = request.group.clone();
                let member_id = request.member.member_id.clone();
                let served =
                    self.classic(now, &group, out, |classic, step| classic.sync(step, token, request));
                return unknown_member(served, &member_id);
            }
            GroupRequest::Heartbeat(request) => {
                let beat = self.classic(now, &request.group, out, |classic, step| {
                    classic.heartbeat(step, &request.member)
                });
                unknown_member(beat, &request.member.member_id)?;
                GroupReply::Done
            }
            GroupRequest::Leave(request) => self.leave(now, request, out)?,
            GroupRequest::Commit(request) => GroupReply::Commit(self.commit(now, request, out)?),
            GroupRequest::Fetch(request) => GroupReply::Fetch(self.fetch(&request)?),
            GroupRequest::DeleteOffsets(request) => {
                GroupReply::DeleteOffsets(self.delete_offsets(&request, topics, out)?)
            }
            GroupRequest::Seek(request) => return self.seek(now, token, request, topics, out),
            GroupRequest::List(request) => GroupReply::List(self.list(&request)),
            GroupRequest::Describe(group) => GroupReply::Describe(self.describe(&group)?),
            GroupRequest::Delete(group) => self.delete(group, out)?,
            GroupRequest::ConsumerHeartbeat(group, beat) => {
                GroupReply::ConsumerHeartbeat(self.consumer_heartbeat(now, &group, &beat, topics, out)?)
            }
            GroupRequest::ConsumerDescribe(group) => {
                GroupReply::ConsumerDescribe(self.consumer_describe(&group)?)
            }
            GroupRequest::ForgetTopic(topic_id) => {
                self.drop_topic(topic_id, out);
                GroupReply::Done
            }
            GroupRequest::TopicsChanged => {
                self.topics_changed(now, topics, out);
                GroupReply::Done
            }
            GroupRequest::Topics => GroupReply::Topics(self.topics()),
            GroupRequest::CreateQueue(group, definition) => self.create_queue(group, definition, out)?,
            GroupRequest::AlterQueue(group, definition) => self.alter_queue(group, definition, out)?,
            GroupRequest::Queue(group) => GroupReply::Queue(self.queue(&group)?),
            GroupRequest::Queues => GroupReply::Queues(self.queues()),
        };
        Ok(Some(reply))
    }

    /// Lets a classic group answer; it does so itself, now or later, unless it refuses.
    fn classic(
        &mut self,
        now: Timestamp,
        name: &GroupId,
        out: &mut Output,
        work: impl FnOnce(&mut ClassicGroup, &mut Step<'_>) -> Result<(), GroupError>,
    ) -> Result<Option<GroupReply>, GroupError> {
        let unknown = || GroupError::UnknownGroup { group: name.clone() };
        let served = self.with_group(now, name, out, |kind, step| match kind {
            Kind::Classic(classic) => work(classic, step),
            Kind::Consumer(_) | Kind::Queue(_) => {
                Err(GroupError::OtherType { group: name.clone(), wanted: "classic" })
            }
        });
        served.ok_or_else(unknown)?.map(|()| None)
    }

    /// Makes the group that a member is about to join, if it may.
    fn make_classic(
        &mut self,
        now: Timestamp,
        request: &JoinGroup,
        out: &mut Output,
    ) -> Result<(), GroupError> {
        check_join(request, &self.config, &self.limits)?;
        match self.groups.get(&request.group).map(|group| &group.kind) {
            Some(Kind::Classic(_)) => Ok(()),
            Some(Kind::Consumer(consumer)) if !consumer.is_empty() => Err(GroupError::InconsistentProtocol),
            Some(Kind::Queue(_)) => Err(GroupError::InconsistentProtocol),
            _ if !request.member_id.is_empty() => {
                Err(GroupError::UnknownMember { member_id: request.member_id.clone() })
            }
            Some(Kind::Consumer(_)) => {
                self.become_classic(now, &request.group, out);
                Ok(())
            }
            None if self.groups.len() >= self.limits.groups_max => {
                Err(GroupError::TooManyGroups { limit: self.limits.groups_max })
            }
            None => {
                self.entry(&request.group, now);
                Ok(())
            }
        }
    }

    /// An empty group of the consumer protocol begins anew as a classic one, with its offsets.
    fn become_classic(&mut self, now: Timestamp, name: &GroupId, out: &mut Output) {
        let image = ClassicGroup::new(now).image();
        self.emit(out, GroupEvent::ClassicStored { group: name.clone(), image });
    }

    fn leave(
        &mut self,
        now: Timestamp,
        request: LeaveGroup,
        out: &mut Output,
    ) -> Result<GroupReply, GroupError> {
        let first = request.members.first().map(|member| member.member_id.clone()).unwrap_or_default();
        let mut results = Vec::new();
        let left = self.classic(now, &request.group, out, |classic, step| {
            results = classic.leave(step, &request.members);
            Ok(())
        });
        unknown_member(left, &first)?;
        Ok(GroupReply::Leave(results))
    }

    fn list(&self, request: &ListGroups) -> Vec<ListedGroup> {
        let matches = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = self.groups.iter().map(|(name, group)| group.listed(name));
        listed
            .filter(|group| {
                matches(&request.states, group.state.name())
                    && matches(&request.types, group.group_type.name())
            })
            .collect()
    }

    fn describe(&self, name: &GroupId) -> Result<DescribedGroup, GroupError> {
        match self.groups.get(name).map(|group| &group.kind) {
            Some(Kind::Classic(classic)) => Ok(classic.describe()),
            Some(Kind::Consumer(_) | Kind::Queue(_)) => {
                Err(GroupError::OtherType { group: name.clone(), wanted: "classic" })
            }
            None => Err(GroupError::UnknownGroup { group: name.clone() }),
        }
    }

    fn delete(&mut self, name: GroupId, out: &mut Output) -> Result<GroupReply, GroupError> {
        match self.groups.get(&name) {
            None => Err(GroupError::UnknownGroup { group: name }),
            Some(group) if !group.is_empty() => Err(GroupError::NotEmpty { group: name }),
            Some(_) => {
                self.emit(out, GroupEvent::GroupDeleted { group: name });
                Ok(GroupReply::Done)
            }
        }
    }

    fn drop_topic(&mut self, topic_id: TopicId, out: &mut Output) {
        if self.topics().contains(&topic_id) {
            self.emit(out, GroupEvent::TopicForgotten { topic_id });
        }
    }

    fn consumer_heartbeat(
        &mut self,
        now: Timestamp,
        name: &GroupId,
        beat: &Heartbeat,
        topics: &dyn TopicsView,
        out: &mut Output,
    ) -> Result<HeartbeatReply, GroupError> {
        self.make_consumer(now, name, beat)?;
        let served = self.with_group(now, name, out, |kind, step| {
            let config = &step.config.consumer;
            let fresh = matches!(kind, Kind::Classic(_));
            let mut fresh = fresh.then(|| Box::new(ConsumerGroup::new(config.clone())));
            let consumer = match (&mut fresh, &mut *kind) {
                (Some(fresh), _) => fresh,
                (None, Kind::Consumer(consumer)) => consumer,
                (None, Kind::Classic(_) | Kind::Queue(_)) => return Err(GroupError::InconsistentProtocol),
            };
            let (events, reply) = consumer.heartbeat(now, beat, topics);
            // A classic group stays one until a member has joined.
            if let Some(fresh) = fresh.filter(|_| reply.is_ok()) {
                *kind = Kind::Consumer(fresh);
            }
            step.consumer_events(events);
            reply.map_err(GroupError::from)
        });
        served.unwrap_or_else(|| Err(GroupError::UnknownGroup { group: name.clone() }))
    }

    /// Makes the group that a member is about to join, if it may.
    fn make_consumer(&mut self, now: Timestamp, name: &GroupId, beat: &Heartbeat) -> Result<(), GroupError> {
        let joins = beat.member_epoch == super::consumer::JOIN_EPOCH;
        let other = || GroupError::OtherType { group: name.clone(), wanted: "consumer" };
        match self.groups.get(name).map(|group| &group.kind) {
            Some(Kind::Consumer(_)) => Ok(()),
            Some(Kind::Classic(classic)) if joins && classic.is_empty() => Ok(()),
            Some(Kind::Classic(_) | Kind::Queue(_)) => Err(other()),
            // What makes no sense in any group is said first, as Kafka does.
            None if !joins => {
                beat.validate(&self.config.consumer)?;
                Err(GroupError::UnknownGroup { group: name.clone() })
            }
            None if self.groups.len() >= self.limits.groups_max => {
                Err(GroupError::TooManyGroups { limit: self.limits.groups_max })
            }
            None => {
                self.entry(name, now);
                Ok(())
            }
        }
    }

    fn consumer_describe(&self, name: &GroupId) -> Result<ConsumerGroupDescription, GroupError> {
        match self.groups.get(name).map(|group| &group.kind) {
            Some(Kind::Consumer(consumer)) => Ok(consumer.describe()),
            Some(Kind::Classic(_) | Kind::Queue(_)) => {
                Err(GroupError::OtherType { group: name.clone(), wanted: "consumer" })
            }
            None => Err(GroupError::UnknownGroup { group: name.clone() }),
        }
    }

    fn topics_changed(&mut self, now: Timestamp, topics: &dyn TopicsView, out: &mut Output) {
        let consumers = self.groups.iter().filter(|(_, group)| matches!(group.kind, Kind::Consumer(_)));
        let names: BTreeSet<GroupId> = consumers.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.with_group(now, &name, out, |kind, step| {
                if let Kind::Consumer(consumer) = kind {
                    let events = consumer.metadata_changed(topics);
                    step.consumer_events(events);
                }
            });
        }
    }
}

/// To a member, a group that does not exist is one that it is not in.
fn unknown_member(
    served: Result<Option<GroupReply>, GroupError>,
    member_id: &str,
) -> Result<Option<GroupReply>, GroupError> {
    served.map_err(|error| match error {
        GroupError::UnknownGroup { .. } | GroupError::OtherType { .. } => {
            GroupError::UnknownMember { member_id: member_id.to_owned() }
        }
        error => error,
    })
}
