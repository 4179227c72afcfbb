//! The steps of one member from what it has to what the target gives it (KIP-848, "Member Reconciliation").
//!
//! ```text
//!            target without some of it           gave them up
//!   Stable ───────────────────────────► Unrevoked ───────────► Stable | Unreleased
//!      │                                (old epoch)                       (new epoch)
//!      └── target with more of it, others still have some ──► Unreleased ──► Stable
//! ```
//!
//! **Invariants:** a member moves to the target's epoch only when it has given up all that the target takes
//! from it; it is never given a partition that another member has, be it assigned or pending revocation.

use std::collections::BTreeSet;

use tidelog_model::{PartitionIndex, TopicId};

use super::member::{CurrentAssignment, MemberState};
use super::partitions::{difference, filter, intersect, intersection, union};
use crate::group::assignor::Partitions;

/// What the next step of a member depends on.
pub(super) struct Reconciliation<'a> {
    /// What it has.
    pub(super) current: &'a CurrentAssignment,
    /// The epoch of the target.
    pub(super) target_epoch: i32,
    /// Its target.
    pub(super) target: &'a Partitions,
    /// What it says it has; `None` when it says nothing.
    pub(super) owned: Option<&'a Partitions>,
    /// The topics it subscribes to by now, if that has just changed.
    pub(super) subscribed_now: Option<&'a BTreeSet<TopicId>>,
}

impl Reconciliation<'_> {
    /// What the member has after this step; equal to `current` when there is none to make.
    pub(super) fn step(
        &self,
        held_by_another: impl Fn(TopicId, PartitionIndex) -> bool,
    ) -> CurrentAssignment {
        let current = self.current;
        match current.state {
            MemberState::Stable if current.member_epoch == self.target_epoch => current.clone(),
            MemberState::UnrevokedPartitions if self.still_owns(&current.pending_revocation) => {
                self.revoke_unsubscribed()
            }
            MemberState::Stable | MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                self.approach_target(held_by_another)
            }
        }
    }

    /// Whether the member may still read one of `partitions`. A member that says nothing may.
    fn still_owns(&self, partitions: &Partitions) -> bool {
        self.owned.is_none_or(|owned| intersect(owned, partitions))
    }

    /// The member is still giving partitions up. What it does not subscribe to any more follows at once.
    fn revoke_unsubscribed(&self) -> CurrentAssignment {
        let Some(subscribed) = self.subscribed_now else { return self.current.clone() };
        let revoked = filter(&self.current.assigned, |topic, _| !subscribed.contains(&topic));
        if revoked.is_empty() {
            return self.current.clone();
        }
        CurrentAssignment {
            state: MemberState::UnrevokedPartitions,
            member_epoch: self.current.member_epoch,
            previous_member_epoch: self.current.member_epoch,
            assigned: difference(&self.current.assigned, &revoked),
            pending_revocation: union(self.current.pending_revocation.clone(), &revoked),
        }
    }

    fn approach_target(
        &self,
        held_by_another: impl Fn(TopicId, PartitionIndex) -> bool,
    ) -> CurrentAssignment {
        let kept = intersection(&self.current.assigned, self.target);
        let revoked = difference(&self.current.assigned, self.target);
        if !revoked.is_empty() && self.still_owns(&revoked) {
            return CurrentAssignment {
                state: MemberState::UnrevokedPartitions,
                member_epoch: self.current.member_epoch,
                previous_member_epoch: self.current.member_epoch,
                assigned: kept,
                pending_revocation: revoked,
            };
        }
        let missing = difference(self.target, &kept);
        let free = filter(&missing, |topic, partition| !held_by_another(topic, partition));
        let state = if free == missing { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        CurrentAssignment {
            state,
            member_epoch: self.target_epoch,
            previous_member_epoch: self.current.member_epoch,
            assigned: union(kept, &free),
            pending_revocation: Partitions::new(),
        }
    }
}
