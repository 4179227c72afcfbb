//! All groups: their members, whatever protocol they speak, and their committed offsets.
//!
//! Unlike the machines of [`crate::machine`] this one changes at once: [`Groups::handle`] says by events how,
//! and what to answer. Rebalances live from what is not stored (parked requests, sessions, timers), which
//! decide-append-apply cannot express. The owner appends the events in their order and lets no answer of this
//! or a later call leave before they are durable; all that is read of groups goes the same way, so nobody
//! sees what could still be lost. When events cannot be made durable the owner drops the machine, answers
//! everything with a failure that can be tried again, and reads the groups again.
//!
//! Offsets are kept by topic *id*: a topic created again under a deleted one's name starts without them.
//!
//! **Invariants:** applying the events to an empty machine gives what is stored of this one, which is what
//! [`Groups::snapshot`] says; a group exists while it has members, offsets or a stored state; every request
//! is answered once, if not at once then when the group goes on.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{GroupId, PartitionIndex, Timestamp, TopicId};
use uuid::Uuid;

use super::api::{CommittedOffset, GroupReply, GroupRequest};
use super::classic::{ClassicGroup, Step};
use super::config::{GroupConfig, GroupLimits};
use super::consumer::{ConsumerGroup, ConsumerGroupEvent, TopicsView};
use super::error::GroupError;
use super::events::GroupEvent;
use super::queue::QueueDefinition;

/// A request that waits for its answer, by the number its owner knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// An answer.
pub type Answer = Result<GroupReply, GroupError>;

/// A request on its way in.
#[derive(Debug, Clone)]
pub struct Input {
    /// By what the answer is known.
    pub token: Token,
    /// A random id, for a member that has none.
    pub random: Uuid,
    /// The request.
    pub request: GroupRequest,
}

/// What a call leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// What has changed, to be made durable in this order.
    pub events: Vec<GroupEvent>,
    /// What to answer once they are durable, to whom.
    pub replies: Vec<(Token, Answer)>,
}

pub(super) type Offsets = BTreeMap<(TopicId, PartitionIndex), CommittedOffset>;

/// Who assigns.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
    Queue(Box<QueueDefinition>),
}

/// A group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) offsets: Offsets,
    /// Its place in the order of deadlines.
    deadline: Option<Timestamp>,
    /// What it was last counted with, in bytes.
    counted: usize,
}

impl Group {
    fn new(now: Timestamp) -> Self {
        let kind = Kind::Classic(Box::new(ClassicGroup::new(now)));
        Self { kind, offsets: Offsets::new(), deadline: None, counted: 0 }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::Classic(classic) => classic.next_deadline(),
            Kind::Consumer(consumer) => consumer.next_deadline(),
            Kind::Queue(_) => None,
        }
    }

    /// Whether nothing is lost when it is forgotten.
    fn is_void(&self) -> bool {
        self.offsets.is_empty()
            && match &self.kind {
                Kind::Classic(classic) => classic.is_void(),
                Kind::Consumer(consumer) => consumer.is_empty() && consumer.snapshot().is_empty(),
                Kind::Queue(_) => false,
            }
    }
}

/// The machine of all groups.
#[derive(Debug, Clone)]
pub struct Groups {
    pub(super) config: GroupConfig,
    pub(super) limits: GroupLimits,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// The offsets of all groups.
    pub(super) offsets: usize,
    /// What classic groups weigh, in bytes.
    bytes: usize,
    deadlines: BTreeSet<(Timestamp, GroupId)>,
    /// When offsets are looked at that may have expired.
    next_expiry: Option<Timestamp>,
}

impl Groups {
    /// A machine without groups.
    #[must_use]
    pub const fn new(config: GroupConfig, limits: GroupLimits) -> Self {
        Self {
            config,
            limits,
            groups: BTreeMap::new(),
            offsets: 0,
            bytes: 0,
            deadlines: BTreeSet::new(),
            next_expiry: None,
        }
    }

    /// Starts the sessions of the members that were read back; call it once, after the last event.
    pub fn loaded(&mut self, now: Timestamp) {
        self.next_expiry = Some(now.plus_millis(self.config.offsets_retention_check_interval_ms));
        for group in self.groups.values_mut() {
            match &mut group.kind {
                Kind::Classic(classic) => classic.loaded(now),
                Kind::Consumer(consumer) => consumer.loaded(now),
                Kind::Queue(_) => {}
            }
        }
        let names: Vec<GroupId> = self.groups.keys().cloned().collect();
        names.iter().for_each(|name| self.settle(name));
    }

    /// Serves a request.
    #[must_use = "the events must be stored and the answers sent"]
    pub fn handle(&mut self, now: Timestamp, input: Input, topics: &dyn TopicsView) -> Output {
        let mut out = Output::default();
        let token = input.token;
        match self.serve(now, input, topics, &mut out) {
            Ok(Some(reply)) => out.replies.push((token, Ok(reply))),
            Ok(None) => {}
            Err(error) => out.replies.push((token, Err(error))),
        }
        out
    }

    /// When [`Self::on_deadline`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let first = self.deadlines.first().map(|(deadline, _)| *deadline);
        first.into_iter().chain(self.next_expiry).min()
    }

    /// Does what is due.
    #[must_use = "the events must be stored and the answers sent"]
    pub fn on_deadline(&mut self, now: Timestamp, topics: &dyn TopicsView) -> Output {
        let mut out = Output::default();
        let due = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
        let due: Vec<GroupId> = due.map(|(_, name)| name.clone()).collect();
        for name in due {
            self.with_group(now, &name, &mut out, |kind, step| match kind {
                Kind::Classic(classic) => classic.on_deadline(step),
                Kind::Consumer(consumer) => {
                    let events = consumer.on_deadline(now, topics);
                    step.consumer_events(events);
                }
                Kind::Queue(_) => {}
            });
        }
        if self.next_expiry.is_some_and(|at| at <= now) {
            self.expire_offsets(now, topics, &mut out);
            self.next_expiry = Some(now.plus_millis(self.config.offsets_retention_check_interval_ms.max(1)));
        }
        out
    }

    /// Takes a stored event in. After the last one call [`Self::loaded`].
    pub fn apply(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::OffsetCommitted { group, topic_id, partition, committed } => {
                let held = self.entry(group, committed.committed);
                if held.offsets.insert((*topic_id, *partition), committed.clone()).is_none() {
                    self.offsets = self.offsets.saturating_add(1);
                }
            }
            GroupEvent::OffsetForgotten { group, topic_id, partition } => {
                let held = self.groups.get_mut(group);
                if held.and_then(|held| held.offsets.remove(&(*topic_id, *partition))).is_some() {
                    self.offsets = self.offsets.saturating_sub(1);
                }
                self.drop_if_void(group);
            }
            GroupEvent::GroupDeleted { group } => self.drop_group(group),
            GroupEvent::TopicForgotten { topic_id } => self.forget_topic(*topic_id),
            GroupEvent::ClassicStored { group, image } => {
                let kind = Kind::Classic(Box::new(ClassicGroup::from_image(image)));
                self.entry(group, image.since).kind = kind;
                self.settle(group);
            }
            GroupEvent::QueueStored { group, definition } => {
                let kind = Kind::Queue(Box::new(definition.clone()));
                self.entry(group, definition.created).kind = kind;
                self.settle(group);
            }
            GroupEvent::Consumer { group, event } => {
                let config = self.config.consumer.clone();
                let held = self.entry(group, Timestamp::NONE);
                if matches!(held.kind, Kind::Classic(_)) {
                    held.kind = Kind::Consumer(Box::new(ConsumerGroup::new(config)));
                }
                if let Kind::Consumer(consumer) = &mut held.kind {
                    consumer.apply(event);
                }
                if let ConsumerGroupEvent::SeekDone { positions, at } = event {
                    self.set_offsets(group, positions, *at);
                }
            }
        }
    }

    /// Events that rebuild what is stored of all groups from an empty machine.
    pub fn snapshot(&self) -> impl Iterator<Item = GroupEvent> + Send {
        self.groups.iter().flat_map(|(name, group)| {
            let members: Vec<GroupEvent> = match &group.kind {
                Kind::Classic(classic) => {
                    let stored = classic.stored().cloned();
                    let event = |image| GroupEvent::ClassicStored { group: name.clone(), image };
                    stored.map(event).into_iter().collect()
                }
                Kind::Consumer(consumer) => {
                    let event = |event| GroupEvent::Consumer { group: name.clone(), event };
                    consumer.snapshot().into_iter().map(event).collect()
                }
                Kind::Queue(definition) => {
                    let definition = (**definition).clone();
                    vec![GroupEvent::QueueStored { group: name.clone(), definition }]
                }
            };
            let offsets =
                group.offsets.iter().map(|((topic_id, partition), committed)| GroupEvent::OffsetCommitted {
                    group: name.clone(),
                    topic_id: *topic_id,
                    partition: *partition,
                    committed: committed.clone(),
                });
            members.into_iter().chain(offsets).collect::<Vec<_>>()
        })
    }

    /// Lets `work` change a group's members and takes the consequences in.
    pub(super) fn with_group<T>(
        &mut self,
        now: Timestamp,
        name: &GroupId,
        out: &mut Output,
        work: impl FnOnce(&mut Kind, &mut Step<'_>) -> T,
    ) -> Option<T> {
        let bytes_free = self.limits.bytes_max.saturating_sub(self.bytes);
        let before = out.events.len();
        let group = self.groups.get_mut(name)?;
        let mut step = Step { now, group: name, config: &self.config, limits: &self.limits, bytes_free, out };
        let result = work(&mut group.kind, &mut step);
        self.take_sought(out.events.get(before..).unwrap_or_default());
        self.settle(name);
        self.drop_if_void(name);
        Some(result)
    }

    /// A group, made when it is not there.
    pub(super) fn entry(&mut self, name: &GroupId, now: Timestamp) -> &mut Group {
        self.groups.entry(name.clone()).or_insert_with(|| Group::new(now))
    }

    /// Keeps an event and takes it in.
    pub(super) fn emit(&mut self, out: &mut Output, event: GroupEvent) {
        self.apply(&event);
        out.events.push(event);
    }

    /// Brings what is kept about a group outside of it up to date.
    pub(super) fn settle(&mut self, name: &GroupId) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let bytes = match &group.kind {
            Kind::Classic(classic) => classic.bytes(),
            Kind::Consumer(_) | Kind::Queue(_) => 0,
        };
        self.bytes = self.bytes.saturating_sub(group.counted).saturating_add(bytes);
        group.counted = bytes;
        let next = group.next_deadline();
        if next != group.deadline {
            if let Some(deadline) = group.deadline {
                self.deadlines.remove(&(deadline, name.clone()));
            }
            if let Some(deadline) = next {
                self.deadlines.insert((deadline, name.clone()));
            }
            group.deadline = next;
        }
    }

    fn drop_if_void(&mut self, name: &GroupId) {
        if self.groups.get(name).is_some_and(Group::is_void) {
            self.drop_group(name);
        }
    }

    fn drop_group(&mut self, name: &GroupId) {
        let Some(group) = self.groups.remove(name) else { return };
        self.offsets = self.offsets.saturating_sub(group.offsets.len());
        self.bytes = self.bytes.saturating_sub(group.counted);
        if let Some(deadline) = group.deadline {
            self.deadlines.remove(&(deadline, name.clone()));
        }
    }

    fn forget_topic(&mut self, topic_id: TopicId) {
        let mut touched = Vec::new();
        for (name, group) in &mut self.groups {
            let before = group.offsets.len();
            group.offsets.retain(|(topic, _), _| *topic != topic_id);
            if let Kind::Consumer(consumer) = &mut group.kind {
                consumer.forget_topic(topic_id);
            }
            let gone = before.saturating_sub(group.offsets.len());
            if gone > 0 {
                self.offsets = self.offsets.saturating_sub(gone);
                touched.push(name.clone());
            }
        }
        touched.iter().for_each(|name| self.drop_if_void(name));
    }
}

#[cfg(test)]
#[path = "groups_model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
