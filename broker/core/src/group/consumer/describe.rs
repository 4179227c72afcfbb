//! What an operator sees of a group (`ConsumerGroupDescribe`).

use super::ConsumerGroup;
use super::member::{CurrentAssignment, MemberSubscription};
use super::seek::Positions;
use crate::group::assignor::{MemberId, Partitions};

/// What a group is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerGroupState {
    /// It has no members.
    Empty,
    /// Its target is older than its members, subscriptions or topics; the next heartbeat makes a new one.
    Assigning,
    /// Some member does not have yet what the target gives it.
    Reconciling,
    /// Every member has what the target gives it.
    Stable,
}

impl ConsumerGroupState {
    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// What an operator sees of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupDescription {
    /// What it is at.
    pub state: ConsumerGroupState,
    /// Raised when members, subscriptions or topics change.
    pub group_epoch: i32,
    /// The group epoch whose target the members have or strive for.
    pub assignment_epoch: i32,
    /// The name of the assignor that the members prefer.
    pub assignor: &'static str,
    /// Where the group will go on once its members have given these partitions up.
    pub pending_seek: Positions,
    /// The members, by id.
    pub members: Vec<MemberDescription>,
}

/// What an operator sees of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: MemberId,
    /// What it told about itself.
    pub subscription: MemberSubscription,
    /// What it has.
    pub current: CurrentAssignment,
    /// What it should have.
    pub target: Partitions,
}

impl ConsumerGroup {
    /// What the group is at.
    #[must_use]
    pub fn state(&self) -> ConsumerGroupState {
        let epoch = self.state.assignment_epoch;
        if self.state.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.state.group_epoch > epoch {
            ConsumerGroupState::Assigning
        } else if self.state.members.values().all(|member| member.current.is_reconciled_to(epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// What an operator sees of the group.
    #[must_use]
    pub fn describe(&self) -> ConsumerGroupDescription {
        let members = self.state.members.iter().map(|(member_id, member)| MemberDescription {
            member_id: member_id.clone(),
            subscription: member.subscription.clone(),
            current: member.current.clone(),
            target: member.target.clone(),
        });
        ConsumerGroupDescription {
            state: self.state(),
            group_epoch: self.state.group_epoch,
            assignment_epoch: self.state.assignment_epoch,
            assignor: self.assignor().name(),
            pending_seek: self.pending_seek().clone(),
            members: members.collect(),
        }
    }
}
