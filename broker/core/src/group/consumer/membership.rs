//! How a heartbeat changes a group: who may join, stay and leave, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_model::{Timestamp, TopicId};

use super::error::ConsumerGroupError;
use super::events::ConsumerGroupEvent;
use super::member::{CurrentAssignment, MemberState, STATIC_LEAVE_EPOCH};
use super::partitions::{filter, is_subset};
use super::reconcile::Reconciliation;
use super::request::{Heartbeat, HeartbeatReply};
use super::timers::Timer;
use super::topics::{TopicsView, existing, fingerprint, identity};
use super::{ConsumerGroup, deadline};
use crate::group::assignor::{AssignmentSpec, MemberId, MemberSpec, Partitions};

/// How the sender of a heartbeat stands to the group.
enum Found {
    /// It is not in the group yet.
    New,
    /// It is in the group.
    Member,
    /// It takes the place of a static member that is away.
    Replaces(MemberId),
}

impl ConsumerGroup {
    /// A heartbeat that does not leave: the member is made or changed, the target follows, then the member.
    pub(super) fn join_or_stay(
        &mut self,
        now: Timestamp,
        heartbeat: &Heartbeat,
        topics: &dyn TopicsView,
        events: &mut Vec<ConsumerGroupEvent>,
    ) -> Result<HeartbeatReply, ConsumerGroupError> {
        let member_id = heartbeat.id();
        let found = self.find(&member_id, heartbeat)?;
        if matches!(found, Found::New) && self.state.members.len() >= self.config.members_max {
            return Err(ConsumerGroupError::GroupFull { limit: self.config.members_max });
        }
        self.check_regex(&member_id, heartbeat, topics)?;

        // From here on nothing is refused.
        let mut changed = matches!(found, Found::New);
        if let Found::Replaces(away) = found {
            changed |= self.replace(&away, &member_id, events);
        }
        let before = self.state.members.get(&member_id).map(|member| member.current.clone());
        let before = before.unwrap_or(CurrentAssignment::NEW);
        let resubscribed = self.subscribe(&member_id, heartbeat, events);
        changed |= resubscribed;
        if changed || self.unchecked {
            self.raise_epoch(changed, topics, events);
        }
        if self.state.group_epoch > self.state.assignment_epoch {
            self.assign(topics, events);
        }
        self.reconcile(now, &member_id, heartbeat, resubscribed.then_some(topics), events);
        self.finish_seek(now, topics, events);
        self.timers.set(&member_id, Timer::Session, deadline(now, self.config.session_timeout_ms));
        Ok(self.reply(member_id, heartbeat, &before))
    }

    fn find(&self, member_id: &MemberId, heartbeat: &Heartbeat) -> Result<Found, ConsumerGroupError> {
        if let Some(instance_id) = &heartbeat.instance_id {
            match self.state.instances.get(instance_id) {
                Some(owner) if owner != member_id => return self.take_over(owner, heartbeat, instance_id),
                None if !heartbeat.is_join() => {
                    return Err(ConsumerGroupError::UnknownInstance { instance_id: instance_id.clone() });
                }
                Some(_) | None => {}
            }
        }
        match self.state.members.get(member_id) {
            Some(member) => check_epoch(&member.current, heartbeat).map(|()| Found::Member),
            None if heartbeat.is_join() => Ok(Found::New),
            None => Err(ConsumerGroupError::UnknownMember { member_id: member_id.to_string() }),
        }
    }

    /// Whether the sender may have the instance id of `owner`: when it joins and the owner is away.
    fn take_over(
        &self,
        owner: &MemberId,
        heartbeat: &Heartbeat,
        instance_id: &str,
    ) -> Result<Found, ConsumerGroupError> {
        let (instance_id, owner_id) = (instance_id.to_owned(), owner.to_string());
        let epoch = self.state.members.get(owner).map(|member| member.current.member_epoch);
        if !heartbeat.is_join() {
            let member_id = heartbeat.member_id.clone();
            Err(ConsumerGroupError::FencedInstance { instance_id, member_id, owner: owner_id })
        } else if epoch.is_some_and(|epoch| epoch != STATIC_LEAVE_EPOCH) {
            Err(ConsumerGroupError::UnreleasedInstance { instance_id, owner: owner_id })
        } else {
            Ok(Found::Replaces(owner.clone()))
        }
    }

    /// Refuses a regular expression that cannot be read, once: it is not read again in every heartbeat.
    fn check_regex(
        &self,
        member_id: &MemberId,
        heartbeat: &Heartbeat,
        topics: &dyn TopicsView,
    ) -> Result<(), ConsumerGroupError> {
        let known =
            self.state.members.get(member_id).and_then(|member| member.subscription.topic_regex.as_ref());
        match &heartbeat.subscribed_topic_regex {
            Some(regex) if !regex.is_empty() && Some(regex) != known => {
                let refused = |reason| ConsumerGroupError::InvalidRegex { reason };
                topics.matching(regex).map(drop).map_err(refused)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Gives all that the static member `away` had to `member_id`. Whether the group has lost a member by it:
    /// the new id may have been another member's.
    fn replace(
        &mut self,
        away: &MemberId,
        member_id: &MemberId,
        events: &mut Vec<ConsumerGroupEvent>,
    ) -> bool {
        let Some(member) = self.state.members.get(away).cloned() else { return true };
        let lost = self.state.members.contains_key(member_id);
        for gone in [away, member_id] {
            self.timers.forget(gone);
            if self.state.members.contains_key(gone) {
                self.emit(events, ConsumerGroupEvent::MemberRemoved { member_id: gone.clone() });
            }
        }
        let (member_id, subscription) = (member_id.clone(), member.subscription);
        self.emit(
            events,
            ConsumerGroupEvent::MemberSubscribed { member_id: member_id.clone(), subscription },
        );
        let (id, target) = (member_id.clone(), member.target);
        self.emit(events, ConsumerGroupEvent::TargetAssigned { member_id: id, target });
        let current = CurrentAssignment { member_epoch: 0, previous_member_epoch: 0, ..member.current };
        self.emit(events, ConsumerGroupEvent::MemberReconciled { member_id, current });
        lost
    }

    /// Remembers what the member tells about itself. Whether it subscribes to something else now.
    fn subscribe(
        &mut self,
        member_id: &MemberId,
        heartbeat: &Heartbeat,
        events: &mut Vec<ConsumerGroupEvent>,
    ) -> bool {
        let known = self.state.members.get(member_id).map(|member| member.subscription.clone());
        let subscription = heartbeat.update(known.as_ref());
        if known.as_ref() == Some(&subscription) {
            return false;
        }
        let known = known.unwrap_or_default();
        let resubscribed =
            known.topic_names != subscription.topic_names || known.topic_regex != subscription.topic_regex;
        let member_id = member_id.clone();
        self.emit(events, ConsumerGroupEvent::MemberSubscribed { member_id, subscription });
        resubscribed
    }

    /// Raises the group's epoch when something `changed`, else when the fingerprint says that something has.
    pub(super) fn raise_epoch(
        &mut self,
        changed: bool,
        topics: &dyn TopicsView,
        events: &mut Vec<ConsumerGroupEvent>,
    ) {
        self.regexes.resolve(self.state.subscriptions(), topics);
        self.unchecked = false;
        let members = self.state.members.iter().map(|(id, member)| (id, &member.subscription));
        let existing = existing(self.subscribed_names(), topics);
        let fingerprint = fingerprint(&existing, members, self.state.withheld.keys());
        if changed || fingerprint != self.state.fingerprint {
            let group_epoch = self.state.group_epoch.saturating_add(1);
            self.emit(events, ConsumerGroupEvent::GroupEpochRaised { group_epoch, fingerprint });
        }
    }

    /// Makes the target of the group's epoch.
    fn assign(&mut self, topics: &dyn TopicsView, events: &mut Vec<ConsumerGroupEvent>) {
        self.regexes.resolve(self.state.subscriptions(), topics);
        let shapes = existing(self.subscribed_names(), topics).into_values();
        let counts = shapes.map(|shape| (shape.topic_id, shape.partition_count)).collect();
        let mut spec = AssignmentSpec { members: BTreeMap::new(), topics: counts };
        let mut resolved = BTreeMap::new();
        for (member_id, member) in &self.state.members {
            let subscription = &member.subscription;
            let subscribed = resolved
                .entry(identity(subscription))
                .or_insert_with(|| Arc::new(self.regexes.ids(subscription, topics)));
            let member_spec = MemberSpec {
                instance_id: subscription.instance_id.as_deref(),
                subscribed: subscribed.clone(),
                previous: Some(&member.target),
            };
            spec.members.insert(member_id.clone(), member_spec);
        }
        for (member_id, mut target) in self.assignor().assign(&spec) {
            if !self.state.withheld.is_empty() {
                target = filter(&target, |topic, index| !self.state.withheld.contains_key(&(topic, index)));
            }
            if self.state.members.get(&member_id).is_some_and(|member| member.target != target) {
                self.emit(events, ConsumerGroupEvent::TargetAssigned { member_id, target });
            }
        }
        let assignment_epoch = self.state.group_epoch;
        self.emit(events, ConsumerGroupEvent::TargetCompleted { assignment_epoch });
    }

    /// Takes the member's next step to its target. `resubscribed` has the topics if it subscribes to others now.
    fn reconcile(
        &mut self,
        now: Timestamp,
        member_id: &MemberId,
        heartbeat: &Heartbeat,
        resubscribed: Option<&dyn TopicsView>,
        events: &mut Vec<ConsumerGroupEvent>,
    ) {
        let Some(member) = self.state.members.get(member_id) else { return };
        if member.current.is_reconciled_to(self.state.assignment_epoch) {
            return;
        }
        let subscribed = resubscribed.map(|topics| self.regexes.ids(&member.subscription, topics));
        let reconciliation = Reconciliation {
            current: &member.current,
            target_epoch: self.state.assignment_epoch,
            target: &member.target,
            owned: heartbeat.owned.as_ref(),
            subscribed_now: subscribed.as_ref(),
        };
        let held_by_another = |topic: TopicId, partition| {
            self.state.owners.get(&(topic, partition)).is_some_and(|owner| owner != member_id)
        };
        let current = reconciliation.step(held_by_another);
        if current == member.current {
            return;
        }
        if current.state == MemberState::UnrevokedPartitions {
            let timeout_ms = member.subscription.rebalance_timeout_ms;
            self.timers.set(member_id, Timer::Rebalance, deadline(now, timeout_ms));
        } else {
            self.timers.cancel(member_id, Timer::Rebalance);
        }
        let member_id = member_id.clone();
        self.emit(events, ConsumerGroupEvent::MemberReconciled { member_id, current });
    }

    /// The answer to a member that was at `before`. It hears its partitions when they changed, when it told
    /// everything, and when it missed the answer that told its epoch.
    fn reply(
        &self,
        member_id: MemberId,
        heartbeat: &Heartbeat,
        before: &CurrentAssignment,
    ) -> HeartbeatReply {
        let member = self.state.members.get(&member_id);
        let (member_epoch, assigned) = member.map_or((0, Partitions::new()), |member| {
            (member.current.member_epoch, member.current.assigned.clone())
        });
        let missed = heartbeat.member_epoch != before.member_epoch;
        let told = heartbeat.is_full() || missed || assigned != before.assigned;
        HeartbeatReply {
            member_id,
            member_epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(member_epoch),
            assignment: told.then_some(assigned),
        }
    }

    /// A heartbeat that leaves, for good or, as a static member may, for a while.
    pub(super) fn leave(
        &mut self,
        now: Timestamp,
        heartbeat: &Heartbeat,
        topics: &dyn TopicsView,
        events: &mut Vec<ConsumerGroupEvent>,
    ) -> Result<HeartbeatReply, ConsumerGroupError> {
        let member_id = heartbeat.id();
        if let Some(instance_id) = &heartbeat.instance_id {
            let unknown = || ConsumerGroupError::UnknownInstance { instance_id: instance_id.clone() };
            let owner = self.state.instances.get(instance_id).ok_or_else(unknown)?;
            if *owner != member_id {
                let (instance_id, owner) = (instance_id.clone(), owner.to_string());
                let member_id = member_id.to_string();
                return Err(ConsumerGroupError::FencedInstance { instance_id, member_id, owner });
            }
        }
        let Some(member) = self.state.members.get(&member_id) else {
            return Err(ConsumerGroupError::UnknownMember { member_id: member_id.to_string() });
        };
        if heartbeat.member_epoch == STATIC_LEAVE_EPOCH {
            let current = CurrentAssignment {
                member_epoch: STATIC_LEAVE_EPOCH,
                pending_revocation: Partitions::new(),
                ..member.current.clone()
            };
            self.timers.cancel(&member_id, Timer::Rebalance);
            if current != member.current {
                let member_id = member_id.clone();
                self.emit(events, ConsumerGroupEvent::MemberReconciled { member_id, current });
            }
            self.finish_seek(now, topics, events);
        } else {
            self.fence(now, &member_id, topics, events);
        }
        Ok(left(member_id, heartbeat))
    }

    /// Removes a member. The next heartbeat of another one makes the new target; when there is no other, the
    /// target of nobody is complete at once.
    pub(super) fn fence(
        &mut self,
        now: Timestamp,
        member_id: &MemberId,
        topics: &dyn TopicsView,
        events: &mut Vec<ConsumerGroupEvent>,
    ) {
        self.timers.forget(member_id);
        self.emit(events, ConsumerGroupEvent::MemberRemoved { member_id: member_id.clone() });
        self.raise_epoch(true, topics, events);
        if self.is_empty() {
            let assignment_epoch = self.state.group_epoch;
            self.emit(events, ConsumerGroupEvent::TargetCompleted { assignment_epoch });
        }
        self.finish_seek(now, topics, events);
    }
}

/// Whether the heartbeat has the member's epoch. Joining again is always right: the member has given up
/// everything. The epoch before is right when the answer with the new one may have been lost, which the
/// member shows by having nothing that it should not have.
fn check_epoch(current: &CurrentAssignment, heartbeat: &Heartbeat) -> Result<(), ConsumerGroupError> {
    let (received, known) = (heartbeat.member_epoch, current.member_epoch);
    let owns_no_more = || heartbeat.owned.as_ref().is_some_and(|owned| is_subset(owned, &current.assigned));
    let missed_answer = || received < known && received == current.previous_member_epoch && owns_no_more();
    if heartbeat.is_join() || received == known || missed_answer() {
        Ok(())
    } else {
        Err(ConsumerGroupError::FencedMemberEpoch { received, known })
    }
}

/// The answer to a member that leaves.
const fn left(member_id: MemberId, heartbeat: &Heartbeat) -> HeartbeatReply {
    let member_epoch = heartbeat.member_epoch;
    HeartbeatReply { member_id, member_epoch, heartbeat_interval_ms: 0, assignment: None }
}
