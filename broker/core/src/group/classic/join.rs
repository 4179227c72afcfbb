//! Joining: who may, under which id, and whether that needs a new generation.

use uuid::Uuid;

use super::member::{Member, protocol_bytes};
use super::{ClassicGroup, Step};
use crate::group::api::{
    GroupProtocol, GroupReply, GroupState, JoinGroup, JoinGroupReply, Joined, JoinedMember,
};
use crate::group::classic::timers::Timer;
use crate::group::config::{GroupConfig, GroupLimits};
use crate::group::error::GroupError;
use crate::group::groups::Token;

/// The most ids a group gives out that were not used yet.
const PENDING_MAX: usize = 10_000;

/// Checks what does not depend on the group.
pub(in crate::group) fn check(
    request: &JoinGroup,
    config: &GroupConfig,
    limits: &GroupLimits,
) -> Result<(), GroupError> {
    let (min, max) = (config.min_session_timeout_ms, config.max_session_timeout_ms);
    let actual = request.session_timeout_ms;
    if actual < min || actual > max {
        return Err(GroupError::SessionTimeout { min, max, actual });
    }
    if let Some(actual) = request.rebalance_timeout_ms.filter(|timeout| *timeout <= 0) {
        return Err(GroupError::RebalanceTimeout { actual });
    }
    let text = |field, text: &str| (field, "bytes", text.len(), limits.text_bytes_max);
    let longest = request.protocols.iter().map(|protocol| protocol.name.len()).max().unwrap_or(0);
    let lengths = [
        text("member_id", &request.member_id),
        text("instance_id", request.instance_id.as_deref().unwrap_or_default()),
        text("client_id", &request.client_id),
        text("client_host", &request.client_host),
        text("protocol_type", &request.protocol_type),
        ("protocol_name", "bytes", longest, limits.text_bytes_max),
        ("protocols", "entries", request.protocols.len(), limits.protocols_max),
        ("protocols", "bytes", protocol_bytes(&request.protocols), limits.member_bytes_max),
    ];
    match lengths.into_iter().find(|(_, _, actual, limit)| actual > limit) {
        Some((field, unit, actual, limit)) => Err(GroupError::TooLong { field, unit, limit, actual }),
        None => Ok(()),
    }
}

impl ClassicGroup {
    /// Serves a request to join. The answer may come later.
    ///
    /// # Errors
    /// The answer, when it is a refusal.
    pub(in crate::group) fn join(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
        random: Uuid,
    ) -> Result<(), GroupError> {
        if !self.has_room_for(&request.member_id, step.limits.members_max) {
            self.remove(step, &request.member_id);
            self.maybe_complete_join(step);
            return Err(GroupError::GroupFull { limit: step.limits.members_max });
        }
        if !self.supports(&request) {
            return Err(GroupError::InconsistentProtocol);
        }
        self.check_bytes(step, &request)?;
        if request.member_id.is_empty() {
            self.join_new(step, token, request, random)
        } else {
            self.join_known(step, token, request)
        }
    }

    fn has_room_for(&self, member_id: &str, limit: usize) -> bool {
        match self.state {
            GroupState::Empty => true,
            // Members that have not joined again may never do: only those that have are counted.
            GroupState::PreparingRebalance => {
                self.members.get(member_id).is_some_and(|member| member.join.is_some())
                    || self.joining < limit
            }
            _ => self.members.contains_key(member_id) || self.members.len() < limit,
        }
    }

    fn supports(&self, request: &JoinGroup) -> bool {
        if self.state == GroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let all = self.members.len();
        let by_all = |protocol: &GroupProtocol| self.support.get(&protocol.name).copied().unwrap_or(0) == all;
        // A group of which only ids were given out has no members yet.
        if all == 0 {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type() == request.protocol_type && request.protocols.iter().any(by_all)
    }

    fn check_bytes(&self, step: &Step<'_>, request: &JoinGroup) -> Result<(), GroupError> {
        let new = Member::new(request.clone()).bytes();
        let known = self.members.get(&request.member_id).map_or(0, Member::bytes);
        let more = new.saturating_sub(known);
        if self.bytes.saturating_add(more) > step.limits.group_bytes_max {
            return Err(GroupError::TooMuchMetadata { limit: step.limits.group_bytes_max });
        }
        if more > step.bytes_free {
            return Err(GroupError::TooMuchMetadata { limit: step.limits.bytes_max });
        }
        Ok(())
    }

    fn join_new(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
        random: Uuid,
    ) -> Result<(), GroupError> {
        let prefix = request.instance_id.as_deref().unwrap_or(&request.client_id);
        let member_id = format!("{prefix}-{random}");
        if let Some(known) = request.instance_id.as_ref().and_then(|id| self.instances.get(id)).cloned() {
            self.replace_static(step, token, request, &known, member_id);
            return Ok(());
        }
        if request.instance_id.is_none() && request.require_known_member_id {
            if self.pending.len() >= PENDING_MAX {
                return Err(GroupError::GroupFull { limit: PENDING_MAX });
            }
            self.timers.set(Timer::Member(member_id.clone()), step.after(request.session_timeout_ms));
            self.pending.insert(member_id.clone());
            step.answer(token, Ok(GroupReply::Join(JoinGroupReply::MemberIdRequired { member_id })));
            return Ok(());
        }
        self.add(step, token, request, member_id);
        Ok(())
    }

    fn join_known(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
    ) -> Result<(), GroupError> {
        let member_id = request.member_id.clone();
        if request.instance_id.is_none() && self.pending.remove(&member_id) {
            self.add(step, token, request, member_id);
            return Ok(());
        }
        self.validate(&member_id, request.instance_id.as_deref())?;
        let same = self.members.get(&member_id).is_some_and(|member| member.protocols == request.protocols);
        let stands = match self.state {
            // It did not get the answer to its request.
            GroupState::CompletingRebalance => same,
            // A leader that joins again wants to assign anew.
            GroupState::Stable => same && !self.is_leader(&member_id),
            _ => false,
        };
        if stands {
            let joined = self.joined(&member_id, false);
            step.answer(token, Ok(GroupReply::Join(JoinGroupReply::Joined(joined))));
            return Ok(());
        }
        self.update(step, token, &member_id, request);
        self.rebalance(step);
        Ok(())
    }

    fn add(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup, member_id: String) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
            self.leader = Some(member_id.clone());
        }
        if let Some(initial) = &mut self.initial {
            initial.new_member = true;
        }
        // It does not know its id, so it cannot send heartbeats; its client may be gone.
        let timeout = step.config.new_member_join_timeout_ms;
        self.timers.set(Timer::Member(member_id.clone()), step.after(timeout));
        let member = Member { join: Some(token), ..Member::new(request) };
        self.insert(member_id, member);
        self.rebalance(step);
    }

    /// Parks the request in its member, in place of one that waits already.
    fn update(&mut self, step: &mut Step<'_>, token: Token, member_id: &str, request: JoinGroup) {
        let Some(mut member) = self.take(member_id) else { return };
        member.update(request);
        for stale in [member.join.replace(token), member.sync.take()].into_iter().flatten() {
            step.answer(stale, Err(GroupError::Rebalancing));
        }
        self.insert(member_id.to_owned(), member);
    }

    /// A static member comes back under a new id.
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinGroup,
        old_id: &str,
        member_id: String,
    ) {
        let Some(mut member) = self.take(old_id) else { return };
        let instance_id = member.instance_id.clone().unwrap_or_default();
        for stale in [member.join.take(), member.sync.take()].into_iter().flatten() {
            step.answer(stale, Err(GroupError::FencedInstance { instance_id: instance_id.clone() }));
        }
        self.timers.cancel(&Timer::Member(old_id.to_owned()));
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(member_id.clone());
        }
        let old_leader = self.leader.clone();
        if self.is_leader(old_id) {
            self.leader = Some(member_id.clone());
        }
        let can_skip = request.can_skip_assignment;
        member.update(request);
        self.insert(member_id.clone(), member);
        self.alive(step.now, &member_id);
        if self.state == GroupState::Stable && self.select_protocol() == self.protocol_name {
            self.store(step);
            let mut joined = self.joined(&member_id, can_skip);
            if !can_skip {
                // Were it told that it leads it would assign, and nobody would join for that.
                joined.members = Vec::new();
                joined.leader = old_leader.unwrap_or_default();
            }
            step.answer(token, Ok(GroupReply::Join(JoinGroupReply::Joined(joined))));
            return;
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.join = Some(token);
            self.joining = self.joining.saturating_add(1);
        }
        self.rebalance(step);
    }

    /// The generation as a member sees it.
    pub(super) fn joined(&self, member_id: &str, skip_assignment: bool) -> Joined {
        let leads = self.is_leader(member_id);
        let protocol = self.protocol_name.as_deref();
        let seen = |(id, member): (&String, &Member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type().to_owned(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: skip_assignment && leads,
            member_id: member_id.to_owned(),
            members: if leads { self.members.iter().map(seen).collect() } else { Vec::new() },
        }
    }
}
