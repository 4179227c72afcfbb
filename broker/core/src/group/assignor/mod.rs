//! Server-side assignors (KIP-848): who should read which partition.
//!
//! An assignor is a pure function of the members, their subscriptions, the topics and the previous target.
//!
//! **Invariants** of what [`Assignor::assign`] gives:
//! * every partition of a subscribed topic has exactly one member, and that member subscribes to the topic;
//! * every member of the spec has an entry, perhaps an empty one;
//! * the same spec gives the same answer.

mod range;
mod uniform;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tidelog_model::{PartitionIndex, TopicId};

/// The id of a group's member, as the client (or for old clients the broker) made it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// Wraps an id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for MemberId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Partitions by topic. No topic has an empty set.
pub type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// The partitions of each member.
pub type GroupAssignment = BTreeMap<MemberId, Partitions>;

/// What an assignor knows of a member.
#[derive(Debug, Clone)]
pub struct MemberSpec<'a> {
    /// The name of a static member.
    pub instance_id: Option<&'a str>,
    /// The topics it subscribes to; those that [`AssignmentSpec::topics`] does not have are ignored.
    pub subscribed: Arc<BTreeSet<TopicId>>,
    /// The partitions the previous target gave it.
    pub previous: Option<&'a Partitions>,
}

/// What an assignor works from.
#[derive(Debug, Clone, Default)]
pub struct AssignmentSpec<'a> {
    /// The group's members.
    pub members: BTreeMap<MemberId, MemberSpec<'a>>,
    /// The topics that exist, with the number of their partitions.
    pub topics: BTreeMap<TopicId, u32>,
}

/// The assignors a member may ask for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Balanced over the members and sticky.
    Uniform,
    /// Each topic in contiguous ranges; topics with as many partitions fall to the same members.
    Range,
}

impl Assignor {
    /// The assignor named `name` in the protocol.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The target assignment for `spec`.
    #[must_use]
    pub fn assign(self, spec: &AssignmentSpec<'_>) -> GroupAssignment {
        match self {
            Self::Uniform => uniform::assign(spec),
            Self::Range => range::assign(spec),
        }
    }
}

/// The partitions `start..end` as indices; those above `i32::MAX` do not exist.
fn partitions(start: u32, end: u32) -> impl Iterator<Item = PartitionIndex> {
    (start..end).filter_map(|index| i32::try_from(index).ok().and_then(PartitionIndex::new))
}

/// The topics with their subscribers, as positions among `members`, in ascending order. Topics without any are
/// left out.
fn subscribers<'a>(
    topics: &BTreeMap<TopicId, u32>,
    members: impl Iterator<Item = &'a BTreeSet<TopicId>>,
) -> impl Iterator<Item = (TopicId, u32, Vec<usize>)> {
    let mut subscribers: Vec<(TopicId, u32, Vec<usize>)> =
        topics.iter().map(|(topic, count)| (*topic, *count, Vec::new())).collect();
    for (member, subscribed) in members.enumerate() {
        // Both are in the order of topic ids: walk them side by side.
        let mut subscribed = subscribed.iter().peekable();
        for (topic, _, members) in &mut subscribers {
            while subscribed.next_if(|next| *next < topic).is_some() {}
            if subscribed.peek() == Some(&&*topic) {
                members.push(member);
            }
        }
    }
    subscribers.into_iter().filter(|(_, _, members)| !members.is_empty())
}

#[cfg(test)]
#[path = "assignor_tests.rs"]
mod tests;
