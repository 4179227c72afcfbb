//! What a group remembers of a member.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::TopicName;

use crate::group::assignor::Partitions;

/// The epoch a member joins with, and has until its first answer.
pub const JOIN_EPOCH: i32 = 0;
/// The epoch a member leaves with.
pub const LEAVE_EPOCH: i32 = -1;
/// The epoch a static member leaves with when it will come back, and has until it does.
pub const STATIC_LEAVE_EPOCH: i32 = -2;

/// How far a member is on its way to its target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has what the target of its epoch gives it.
    Stable,
    /// It must give up partitions and has not said yet that it did.
    UnrevokedPartitions,
    /// It waits for partitions that another member has not given up yet.
    UnreleasedPartitions,
}

/// What a member told about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberSubscription {
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The topics it named. Members that name the same ones share the set.
    pub topic_names: Arc<BTreeSet<TopicName>>,
    /// The regular expression it subscribes to beside the names; none when it is empty.
    pub topic_regex: Option<String>,
    /// The assignor it prefers.
    pub server_assignor: Option<String>,
}

/// What a member has, as far as the group knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// How far it is.
    pub state: MemberState,
    /// The epoch it must use; [`STATIC_LEAVE_EPOCH`] for a static member that is away.
    pub member_epoch: i32,
    /// The epoch it had before: an answer with the new one may have been lost.
    pub previous_member_epoch: i32,
    /// What it may read, or was told to read.
    pub assigned: Partitions,
    /// What it was told to give up and may still read.
    pub pending_revocation: Partitions,
}

impl CurrentAssignment {
    /// What a member has that has just been heard of.
    pub(super) const NEW: Self = Self {
        state: MemberState::Stable,
        member_epoch: JOIN_EPOCH,
        previous_member_epoch: -1,
        assigned: Partitions::new(),
        pending_revocation: Partitions::new(),
    };

    /// Whether it has all that the target of `epoch` gives it.
    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == epoch
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) subscription: MemberSubscription,
    pub(super) current: CurrentAssignment,
    pub(super) target: Partitions,
}
