//! One group of the consumer rebalance protocol (KIP-848): members send heartbeats, the broker assigns.
//!
//! ```text
//! member, subscription or topic changes ──► group epoch + 1 ──assignor──► target ──steps──► each member
//! ```
//!
//! The group's epoch counts changes, a target belongs to a group epoch, and each member goes to the target's
//! epoch on its own: first it gives up what the target takes from it, then it gets what others have given up.
//! A member's heartbeat does all of it at once: it changes the member, makes a new target when the epoch
//! demands one, and takes the member's next step.
//!
//! [`ConsumerGroup`] differs from the other machines of this crate in that it changes at once and says by
//! events how. The caller appends the events in their order and lets the answer leave when they are durable;
//! when they cannot be made durable it drops the group and reads it again. A crash may keep any first part of
//! a call's events: the first heartbeat after it makes up for the rest.
//!
//! **Invariants:** a partition is assigned to a member only when no other member has it; commits are taken
//! only in a member's current epoch; all that is stored changes only by events, so replay gives the same.
//! Sessions are not stored: they start anew when a group is loaded.

mod describe;
mod error;
mod events;
mod member;
mod membership;
mod partitions;
mod reconcile;
mod request;
mod seek;
mod state;
mod timers;
mod topics;

use std::collections::BTreeSet;

use tidelog_model::{Timestamp, TopicName};

pub use super::assignor::{Assignor, MemberId, Partitions};
pub use describe::{ConsumerGroupDescription, ConsumerGroupState, MemberDescription};
pub use error::ConsumerGroupError;
pub use events::{ConsumerGroupEvent, ConsumerGroupRecord};
pub use member::{
    CurrentAssignment, JOIN_EPOCH, LEAVE_EPOCH, MemberState, MemberSubscription, STATIC_LEAVE_EPOCH,
};
pub use request::{ConsumerGroupConfig, Heartbeat, HeartbeatReply};
pub use seek::Positions;
pub use topics::{TopicShape, TopicsView};

use state::GroupState;
use timers::{Timer, Timers};
use topics::ResolvedRegexes;

/// A consumer group.
#[derive(Debug, Clone)]
pub struct ConsumerGroup {
    config: ConsumerGroupConfig,
    state: GroupState,
    timers: Timers,
    regexes: ResolvedRegexes,
    /// Whether something may have changed unnoticed: topics while the broker was down, or members in a call
    /// of which a crash kept only the first events.
    unchecked: bool,
}

impl ConsumerGroup {
    /// A group that nobody has joined.
    #[must_use]
    pub const fn new(config: ConsumerGroupConfig) -> Self {
        Self {
            config,
            state: GroupState::new(),
            timers: Timers::new(),
            regexes: ResolvedRegexes::new(),
            unchecked: false,
        }
    }

    /// Takes a stored event in. After the last one call [`Self::loaded`].
    pub fn apply(&mut self, event: &ConsumerGroupEvent) {
        self.state.apply(event);
    }

    /// Starts the sessions of the members that were read back.
    pub fn loaded(&mut self, now: Timestamp) {
        self.timers = Timers::new();
        self.regexes.clear();
        self.unchecked = true;
        for (id, member) in &self.state.members {
            self.timers.set(id, Timer::Session, deadline(now, self.config.session_timeout_ms));
            if member.current.state == MemberState::UnrevokedPartitions
                && member.current.member_epoch != STATIC_LEAVE_EPOCH
            {
                let timeout = member.subscription.rebalance_timeout_ms;
                self.timers.set(id, Timer::Rebalance, deadline(now, timeout));
            }
        }
    }

    /// Events that rebuild what is stored of the group.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ConsumerGroupEvent> {
        self.state.snapshot()
    }

    /// Takes other limits and timeouts; running sessions keep theirs until the member's next heartbeat.
    pub fn set_config(&mut self, config: ConsumerGroupConfig) {
        self.config = config;
    }

    /// Answers a member's heartbeat. When the answer is an error there are no events.
    #[must_use = "the events must be stored and the reply sent"]
    pub fn heartbeat(
        &mut self,
        now: Timestamp,
        heartbeat: &Heartbeat,
        topics: &dyn TopicsView,
    ) -> (Vec<ConsumerGroupEvent>, Result<HeartbeatReply, ConsumerGroupError>) {
        let mut events = Vec::new();
        let reply = heartbeat.validate(&self.config).and_then(|()| {
            if heartbeat.is_leave() {
                self.leave(now, heartbeat, topics, &mut events)
            } else {
                self.join_or_stay(now, heartbeat, topics, &mut events)
            }
        });
        (events, reply)
    }

    /// When [`Self::on_deadline`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Removes the members that were silent or did not give up partitions for too long.
    #[must_use = "the events must be stored"]
    pub fn on_deadline(&mut self, now: Timestamp, topics: &dyn TopicsView) -> Vec<ConsumerGroupEvent> {
        let mut events = Vec::new();
        while let Some(member_id) = self.timers.expired(now) {
            self.fence(now, &member_id, topics, &mut events);
        }
        events
    }

    /// Raises the group's epoch if a topic its members subscribe to was created, deleted or grew.
    #[must_use = "the events must be stored"]
    pub fn metadata_changed(&mut self, topics: &dyn TopicsView) -> Vec<ConsumerGroupEvent> {
        let mut events = Vec::new();
        self.regexes.clear();
        if !self.is_empty() {
            self.raise_epoch(false, topics, &mut events);
        }
        events
    }

    /// Whether the group has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.members.is_empty()
    }

    /// How many members the group has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.state.members.len()
    }

    /// Whether this member is in the group.
    #[must_use]
    pub fn has_member(&self, member_id: &str) -> bool {
        self.state.members.contains_key(member_id)
    }

    /// The names of the topics that members subscribe to, whether they exist or not. Regular expressions
    /// count with what they matched when topics changed last, and with nothing between
    /// [`Self::loaded`] and the first heartbeat.
    #[must_use]
    pub fn subscribed_topics(&self) -> BTreeSet<TopicName> {
        self.subscribed_names().cloned().collect()
    }

    /// Whether a commit of offsets may be taken from this member. Epochs below 0 are those of clients that
    /// are in no group: they may commit while the group is empty.
    ///
    /// # Errors
    /// [`ConsumerGroupError::UnknownMember`] and [`ConsumerGroupError::StaleMemberEpoch`].
    pub fn check_commit(&self, member_id: &str, member_epoch: i32) -> Result<(), ConsumerGroupError> {
        if member_epoch < 0 && self.is_empty() { Ok(()) } else { self.check_member(member_id, member_epoch) }
    }

    /// Whether this member may fetch committed offsets. Those who say neither id nor epoch always may.
    ///
    /// # Errors
    /// [`ConsumerGroupError::UnknownMember`] and [`ConsumerGroupError::StaleMemberEpoch`].
    pub fn check_fetch(&self, member_id: Option<&str>, member_epoch: i32) -> Result<(), ConsumerGroupError> {
        match member_id {
            None if member_epoch < 0 => Ok(()),
            member_id => self.check_member(member_id.unwrap_or_default(), member_epoch),
        }
    }

    fn check_member(&self, member_id: &str, received: i32) -> Result<(), ConsumerGroupError> {
        let Some(member) = self.state.members.get(member_id) else {
            return Err(ConsumerGroupError::UnknownMember { member_id: member_id.to_owned() });
        };
        let known = member.current.member_epoch;
        // A static member that is away has a negative epoch: nobody may use it.
        if received == known && known >= 0 {
            Ok(())
        } else {
            Err(ConsumerGroupError::StaleMemberEpoch { received, known })
        }
    }

    fn emit(&mut self, events: &mut Vec<ConsumerGroupEvent>, event: ConsumerGroupEvent) {
        self.state.apply(&event);
        events.push(event);
    }

    fn subscribed_names(&self) -> impl Iterator<Item = &TopicName> {
        let mut seen = BTreeSet::new();
        let members = self.state.subscriptions();
        let distinct = members.filter(move |member| seen.insert(topics::identity(member)));
        distinct.flat_map(|member| self.regexes.names(member))
    }

    /// The assignor that most members prefer; of several the one that is configured first.
    fn assignor(&self) -> Assignor {
        let votes = |assignor: &Assignor| {
            let preferred = self.state.subscriptions().filter_map(|member| member.server_assignor.as_deref());
            preferred.filter(|name| *name == assignor.name()).count()
        };
        // The last of equal maxima wins, hence backwards.
        self.config.assignors.iter().rev().copied().max_by_key(votes).unwrap_or(Assignor::Uniform)
    }
}

fn deadline(now: Timestamp, timeout_ms: i32) -> Timestamp {
    now.plus_millis(i64::from(timeout_ms))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model_tests;
#[cfg(test)]
mod testkit;
#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
