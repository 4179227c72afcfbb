//! What is stored of a group, and nothing else: its events make it, whether they have just happened or are
//! read back.
//!
//! **Invariants:** `apply` is total; a partition has at most one owner, who has it assigned or pending
//! revocation; the snapshot's events rebuild an equal state, and change nothing in this one.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{PartitionIndex, TopicId};

use super::events::ConsumerGroupEvent;
use super::member::{CurrentAssignment, Member, MemberSubscription};
use super::partitions::flat;
use super::seek::Positions;
use super::topics::EMPTY_FINGERPRINT;
use crate::group::assignor::{MemberId, Partitions};

/// What is stored of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupState {
    pub(super) members: BTreeMap<MemberId, Member>,
    /// Raised when members, subscriptions or topics change.
    pub(super) group_epoch: i32,
    /// The group epoch whose target the members have or strive for.
    pub(super) assignment_epoch: i32,
    /// Of subscriptions and topics when the group epoch was raised last.
    pub(super) fingerprint: u64,
    /// Partitions that nobody is to read until nobody does, and where the group goes on then.
    pub(super) withheld: Positions,
    /// Partitions that were sought since the group was empty: only who has one may commit it.
    pub(super) fenced: BTreeSet<(TopicId, PartitionIndex)>,
    /// The static members, derived from `members`.
    pub(super) instances: BTreeMap<String, MemberId>,
    /// Who has each partition, derived from `members`.
    pub(super) owners: BTreeMap<(TopicId, PartitionIndex), MemberId>,
}

impl GroupState {
    pub(super) const fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            group_epoch: 0,
            assignment_epoch: 0,
            fingerprint: EMPTY_FINGERPRINT,
            withheld: Positions::new(),
            fenced: BTreeSet::new(),
            instances: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &MemberSubscription> {
        self.members.values().map(|member| &member.subscription)
    }

    /// Takes an event in. An event about a member that does not exist (any more) changes nothing.
    pub(super) fn apply(&mut self, event: &ConsumerGroupEvent) {
        match event {
            ConsumerGroupEvent::MemberSubscribed { member_id, subscription } => {
                self.subscribe(member_id, subscription.clone());
            }
            ConsumerGroupEvent::MemberRemoved { member_id } => self.remove(member_id),
            ConsumerGroupEvent::GroupEpochRaised { group_epoch, fingerprint } => {
                self.group_epoch = *group_epoch;
                self.fingerprint = *fingerprint;
            }
            ConsumerGroupEvent::TargetAssigned { member_id, target } => {
                if let Some(member) = self.members.get_mut(member_id) {
                    member.target.clone_from(target);
                }
            }
            ConsumerGroupEvent::TargetCompleted { assignment_epoch } => {
                self.assignment_epoch = *assignment_epoch;
            }
            ConsumerGroupEvent::MemberReconciled { member_id, current } => {
                self.reconcile(member_id, current);
            }
            ConsumerGroupEvent::CommitsFenced { partitions } => self.fenced.extend(flat(partitions)),
            ConsumerGroupEvent::SeekBegun { positions } => {
                self.withheld.extend(positions.iter().map(|(place, offset)| (*place, *offset)));
            }
            ConsumerGroupEvent::SeekDone { positions, .. } => {
                self.withheld.retain(|place, _| !positions.contains_key(place));
            }
        }
    }

    fn subscribe(&mut self, member_id: &MemberId, mut subscription: MemberSubscription) {
        // Most groups name the same topics in all members: keep them once.
        if let Some((_, first)) = self.members.first_key_value()
            && first.subscription.topic_names == subscription.topic_names
        {
            subscription.topic_names = first.subscription.topic_names.clone();
        }
        self.forget_instance(member_id);
        if let Some(instance_id) = &subscription.instance_id {
            self.instances.insert(instance_id.clone(), member_id.clone());
        }
        match self.members.get_mut(member_id) {
            Some(member) => member.subscription = subscription,
            None => {
                let (current, target) = (CurrentAssignment::NEW, Partitions::new());
                self.members.insert(member_id.clone(), Member { subscription, current, target });
            }
        }
    }

    fn remove(&mut self, member_id: &MemberId) {
        self.forget_instance(member_id);
        if let Some(member) = self.members.remove(member_id) {
            self.release(member_id, &member.current);
        }
        if self.members.is_empty() {
            // Nobody is left who could commit what was read before.
            self.fenced.clear();
        }
    }

    fn reconcile(&mut self, member_id: &MemberId, current: &CurrentAssignment) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.current, current.clone());
        self.release(member_id, &before);
        for partition in flat(&current.assigned).chain(flat(&current.pending_revocation)) {
            self.owners.insert(partition, member_id.clone());
        }
    }

    fn release(&mut self, member_id: &MemberId, current: &CurrentAssignment) {
        for partition in flat(&current.assigned).chain(flat(&current.pending_revocation)) {
            // It may be another's, when a snapshot of a later state is read over this one.
            if self.owners.get(&partition) == Some(member_id) {
                self.owners.remove(&partition);
            }
        }
    }

    fn forget_instance(&mut self, member_id: &MemberId) {
        let known = self.members.get(member_id).and_then(|member| member.subscription.instance_id.as_ref());
        if let Some(instance_id) = known
            && self.instances.get(instance_id) == Some(member_id)
        {
            self.instances.remove(instance_id);
        }
    }

    /// Events that rebuild this state from an empty one.
    pub(super) fn snapshot(&self) -> Vec<ConsumerGroupEvent> {
        let mut events = Vec::with_capacity(self.members.len().saturating_mul(3).saturating_add(2));
        let (group_epoch, fingerprint) = (self.group_epoch, self.fingerprint);
        events.push(ConsumerGroupEvent::GroupEpochRaised { group_epoch, fingerprint });
        for (id, member) in &self.members {
            let Member { subscription, current, target } = member.clone();
            events.push(ConsumerGroupEvent::MemberSubscribed { member_id: id.clone(), subscription });
            events.push(ConsumerGroupEvent::TargetAssigned { member_id: id.clone(), target });
            events.push(ConsumerGroupEvent::MemberReconciled { member_id: id.clone(), current });
        }
        let assignment_epoch = self.assignment_epoch;
        events.push(ConsumerGroupEvent::TargetCompleted { assignment_epoch });
        if !self.fenced.is_empty() {
            let mut partitions = Partitions::new();
            for (topic, partition) in &self.fenced {
                partitions.entry(*topic).or_default().insert(*partition);
            }
            events.push(ConsumerGroupEvent::CommitsFenced { partitions });
        }
        if !self.withheld.is_empty() {
            events.push(ConsumerGroupEvent::SeekBegun { positions: self.withheld.clone() });
        }
        events
    }
}
