//! One group of the classic protocol: members join, a leader among them assigns, all fetch their part.
//!
//! ```text
//!            first member               all joined, or time is up            the leader has assigned
//! Empty ──────────────────► Preparing ──────────────────────► Completing ──────────────────────► Stable
//!   ▲                        │    ▲                               │                                │
//!   └── nobody is left ──────┘    └── a member comes, goes, changes or does not sync in time ──────┘
//! ```
//!
//! Requests that wait (to join, to sync) are kept as [`Token`]s in their members. What waits and what is timed
//! is not stored: after a crash a group is as its last complete generation, its sessions begin anew, and a
//! rebalance that was under way begins again when a member is heard of.
//!
//! **Invariants:** an assignment is handed out only to members of the generation it was made for, and each
//! gets one; the group is stored when, and only when, it becomes stable or empty, a static member of a stable
//! group comes back under another id, or a seek begins a new generation; every parked request is answered once.

mod image;
mod join;
mod member;
mod rebalance;
mod seek;
mod serve;
mod subscription;
mod timers;

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{GroupId, Timestamp, TopicName};

pub(super) use image::ClassicRecord;
pub use image::{ClassicImage, MemberImage};
pub(super) use join::check as check_join;

use super::api::{DescribedGroup, DescribedMember, GroupState};
use super::config::{GroupConfig, GroupLimits};
use super::error::GroupError;
use super::events::GroupEvent;
use super::groups::{Answer, Output, Token};
use member::Member;
use timers::{Timer, Timers};

/// What a request is served with.
pub(super) struct Step<'a> {
    pub(super) now: Timestamp,
    pub(super) group: &'a GroupId,
    pub(super) config: &'a GroupConfig,
    pub(super) limits: &'a GroupLimits,
    /// Bytes that all groups may still take.
    pub(super) bytes_free: usize,
    pub(super) out: &'a mut Output,
}

impl Step<'_> {
    fn answer(&mut self, token: Token, answer: Answer) {
        self.out.replies.push((token, answer));
    }

    fn after(&self, ms: i32) -> Timestamp {
        self.now.plus_millis(i64::from(ms))
    }
}

/// The wait for more members of a group that was empty.
#[derive(Debug, Clone, Copy)]
struct InitialDelay {
    delay_ms: i32,
    remaining_ms: i32,
    new_member: bool,
}

/// A group of the classic protocol.
#[derive(Debug, Clone)]
pub(super) struct ClassicGroup {
    state: GroupState,
    since: Timestamp,
    generation: i32,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Static members' ids by their names.
    instances: BTreeMap<String, String>,
    /// Ids that were given out and not used yet.
    pending: BTreeSet<String>,
    /// Members that have not asked for their assignment.
    pending_sync: BTreeSet<String>,
    /// How many members offer each protocol.
    support: BTreeMap<String, usize>,
    /// How many members wait for the generation.
    joining: usize,
    bytes: usize,
    initial: Option<InitialDelay>,
    timers: Timers,
    /// Where the group is to go on when its members have joined again.
    seek: Option<seek::PendingSeek>,
    stored: Option<ClassicImage>,
}

impl ClassicGroup {
    /// A group that nobody has joined.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            state: GroupState::Empty,
            since: now,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            support: BTreeMap::new(),
            joining: 0,
            bytes: 0,
            initial: None,
            timers: Timers::default(),
            seek: None,
            stored: None,
        }
    }

    /// A group as it was stored; sessions begin with [`Self::loaded`].
    pub(super) fn from_image(image: &ClassicImage) -> Self {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let mut group = Self::new(image.since);
        group.generation = image.generation;
        group.protocol_type = some(&image.protocol_type);
        group.protocol_name = some(&image.protocol_name);
        for member in &image.members {
            group.insert(member.member_id.clone(), Member::from(member.clone()));
        }
        group.leader = some(&image.leader).filter(|leader| group.members.contains_key(leader));
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
            group.leader = group.leader.take().or_else(|| group.members.keys().next().cloned());
        }
        group.stored = Some(image.clone());
        group
    }

    /// Starts the sessions of the members that were read back.
    pub(super) fn loaded(&mut self, now: Timestamp) {
        for (id, member) in &self.members {
            let deadline = now.plus_millis(i64::from(member.session_timeout_ms));
            self.timers.set(Timer::Member(id.clone()), deadline);
        }
    }

    /// What is stored of it, if anything.
    pub(super) const fn stored(&self) -> Option<&ClassicImage> {
        self.stored.as_ref()
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_void(&self) -> bool {
        self.stored.is_none() && self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether it has no members and nobody is about to become one.
    pub(super) fn is_empty(&self) -> bool {
        self.state == GroupState::Empty && self.pending.is_empty()
    }

    /// What it weighs, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) const fn state(&self) -> GroupState {
        self.state
    }

    /// Since when it is as it is; commits of a group that never had members count by their own time.
    pub(super) fn empty_since(&self) -> Option<Timestamp> {
        (self.state == GroupState::Empty && self.protocol_type.is_some()).then_some(self.since)
    }

    pub(super) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What an operator sees.
    pub(super) fn describe(&self) -> DescribedGroup {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol_name.as_deref().filter(|_| stable);
        let member = |(id, member): (&String, &Member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: member.assignment.clone(),
        };
        DescribedGroup {
            state: self.state,
            protocol_type: self.protocol_type().to_owned(),
            protocol_name: protocol.unwrap_or_default().to_owned(),
            generation: self.generation,
            pending_seek: self.pending_seek(),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The topics its members subscribe to; `None` when the broker cannot know.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<TopicName>> {
        if self.state == GroupState::Empty {
            return Some(BTreeSet::new());
        }
        if self.protocol_type() != subscription::PROTOCOL_TYPE {
            return None;
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }

    /// Checks that a member is in the group, and is the one that has its name.
    fn validate(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        let unknown = || GroupError::UnknownMember { member_id: member_id.to_owned() };
        if let Some(instance_id) = instance_id {
            let owner = self.instances.get(instance_id).ok_or_else(unknown)?;
            if owner != member_id {
                return Err(GroupError::FencedInstance { instance_id: instance_id.to_owned() });
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(unknown()) }
    }

    fn check_generation(&self, received: i32) -> Result<(), GroupError> {
        let known = self.generation;
        if received == known { Ok(()) } else { Err(GroupError::IllegalGeneration { received, known }) }
    }

    /// Begins a member's session anew.
    fn alive(&mut self, now: Timestamp, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            let deadline = now.plus_millis(i64::from(member.session_timeout_ms));
            self.timers.set(Timer::Member(member_id.to_owned()), deadline);
        }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// How long members may take to join again: as long as the slowest.
    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(1)
    }

    fn insert(&mut self, member_id: String, member: Member) {
        self.bytes = self.bytes.saturating_add(member.bytes());
        self.count_support(&member, true);
        self.joining = self.joining.saturating_add(usize::from(member.join.is_some()));
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
    }

    /// Takes a member out; who called answers what it waits for.
    fn take(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.bytes = self.bytes.saturating_sub(member.bytes());
        self.count_support(&member, false);
        self.joining = self.joining.saturating_sub(usize::from(member.join.is_some()));
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        Some(member)
    }

    fn count_support(&mut self, member: &Member, add: bool) {
        let names: BTreeSet<&str> = member.protocols.iter().map(|protocol| protocol.name.as_str()).collect();
        for name in names {
            let count = self.support.entry(name.to_owned()).or_default();
            *count = if add { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
        self.support.retain(|_, count| *count > 0);
    }

    /// Takes a member out for good and tells it, if it waits.
    fn remove(&mut self, step: &mut Step<'_>, member_id: &str) {
        let Some(member) = self.take(member_id) else { return };
        self.timers.cancel(&Timer::Member(member_id.to_owned()));
        self.synced(member_id);
        for token in [member.join, member.sync].into_iter().flatten() {
            step.answer(token, Err(GroupError::UnknownMember { member_id: member_id.to_owned() }));
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// A member need not ask for its assignment any more.
    fn synced(&mut self, member_id: &str) {
        if self.pending_sync.remove(member_id) && self.pending_sync.is_empty() {
            self.timers.cancel(&Timer::Sync);
        }
    }

    /// It as it would be stored.
    pub(super) fn image(&self) -> ClassicImage {
        ClassicImage {
            generation: self.generation,
            protocol_type: self.protocol_type().to_owned(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            since: self.since,
            members: self.members.iter().map(|(id, member)| member.image(id)).collect(),
        }
    }

    fn store(&mut self, step: &mut Step<'_>) {
        let image = self.image();
        step.out.events.push(GroupEvent::ClassicStored { group: step.group.clone(), image: image.clone() });
        self.stored = Some(image);
    }
}
