//! What members of a generation ask: their assignment, to be known alive, to leave, to commit.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::timers::Timer;
use super::{ClassicGroup, Step};
use crate::group::api::{
    GroupMember, GroupReply, GroupState, LeaveGroupReply, LeavingMember, MemberAssignment, SyncGroup,
    SyncGroupReply,
};
use crate::group::error::GroupError;
use crate::group::groups::Token;

impl ClassicGroup {
    /// Serves a request for an assignment. The answer may come later.
    ///
    /// # Errors
    /// The answer, when it is a refusal.
    pub(in crate::group) fn sync(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: SyncGroup,
    ) -> Result<(), GroupError> {
        let member_id = request.member.member_id;
        self.validate(&member_id, request.member.instance_id.as_deref())?;
        self.check_generation(request.member.generation)?;
        let differs = |said: Option<&String>, is: Option<&String>| said.is_some() && said != is;
        if differs(request.protocol_type.as_ref(), self.protocol_type.as_ref())
            || differs(request.protocol_name.as_ref(), self.protocol_name.as_ref())
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.state {
            GroupState::CompletingRebalance => {
                self.sync_completing(step, token, &member_id, request.assignments)
            }
            GroupState::Stable => {
                self.synced(&member_id);
                self.answer_sync(step, token, &member_id);
                Ok(())
            }
            GroupState::PreparingRebalance => Err(GroupError::Rebalancing),
            _ => Err(GroupError::UnknownMember { member_id }),
        }
    }

    fn sync_completing(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        member_id: &str,
        assignments: Vec<MemberAssignment>,
    ) -> Result<(), GroupError> {
        let leads = self.is_leader(member_id);
        if leads {
            self.check_assignments(step, &assignments)?;
        }
        if let Some(stale) = self.members.get_mut(member_id).and_then(|member| member.sync.replace(token)) {
            step.answer(stale, Err(GroupError::Rebalancing));
        }
        self.synced(member_id);
        if leads {
            self.assign(step, assignments);
        }
        Ok(())
    }

    fn check_assignments(&self, step: &Step<'_>, assignments: &[MemberAssignment]) -> Result<(), GroupError> {
        let new = assignments.iter().fold(0_usize, |sum, one| sum.saturating_add(one.assignment.len()));
        if self.bytes.saturating_add(new) > step.limits.group_bytes_max || new > step.bytes_free {
            return Err(GroupError::TooMuchMetadata { limit: step.limits.group_bytes_max });
        }
        Ok(())
    }

    /// The leader has assigned: everybody who waits gets its part.
    fn assign(&mut self, step: &mut Step<'_>, assignments: Vec<MemberAssignment>) {
        let mut parts: BTreeMap<String, Bytes> =
            assignments.into_iter().map(|one| (one.member_id, one.assignment)).collect();
        let mut bytes = 0_usize;
        let mut waiting = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = parts.remove(id).unwrap_or_default();
            bytes = bytes.saturating_add(member.bytes());
            waiting.extend(member.sync.take().map(|token| (id.clone(), token)));
        }
        self.bytes = bytes;
        self.state = GroupState::Stable;
        self.since = step.now;
        self.store(step);
        for (id, token) in waiting {
            self.answer_sync(step, token, &id);
        }
    }

    fn answer_sync(&mut self, step: &mut Step<'_>, token: Token, member_id: &str) {
        self.alive(step.now, member_id);
        let assignment =
            self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default();
        let reply = SyncGroupReply {
            protocol_type: self.protocol_type().to_owned(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            assignment,
        };
        step.answer(token, Ok(GroupReply::Sync(reply)));
    }

    /// A member is alive.
    ///
    /// # Errors
    /// What it is to do instead of going on.
    pub(in crate::group) fn heartbeat(
        &mut self,
        step: &Step<'_>,
        member: &GroupMember,
    ) -> Result<(), GroupError> {
        self.validate(&member.member_id, member.instance_id.as_deref())?;
        self.check_generation(member.generation)?;
        match self.state {
            GroupState::PreparingRebalance => {
                self.alive(step.now, &member.member_id);
                Err(GroupError::Rebalancing)
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.alive(step.now, &member.member_id);
                Ok(())
            }
            _ => Err(GroupError::UnknownMember { member_id: member.member_id.clone() }),
        }
    }

    /// Members leave.
    pub(in crate::group) fn leave(
        &mut self,
        step: &mut Step<'_>,
        leaving: &[LeavingMember],
    ) -> LeaveGroupReply {
        let before = self.members.len();
        let results = leaving.iter().map(|member| self.leave_one(step, member)).collect();
        if self.members.len() < before {
            self.removed(step);
        } else {
            // An id that was given out may have been all that was waited for.
            self.maybe_complete_join(step);
        }
        results
    }

    fn leave_one(&mut self, step: &mut Step<'_>, leaving: &LeavingMember) -> Result<(), GroupError> {
        let instance_id = leaving.instance_id.as_deref();
        if instance_id.is_none() && self.pending.remove(&leaving.member_id) {
            self.timers.cancel(&Timer::Member(leaving.member_id.clone()));
            return Ok(());
        }
        let by_name = instance_id.filter(|_| leaving.member_id.is_empty());
        let named = by_name.and_then(|name| self.instances.get(name)).cloned();
        let member_id = named.unwrap_or_else(|| leaving.member_id.clone());
        self.validate(&member_id, instance_id)?;
        self.remove(step, &member_id);
        Ok(())
    }

    /// Whether a commit of offsets may be taken from this member.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::group) fn check_commit(
        &mut self,
        step: &Step<'_>,
        member: &GroupMember,
    ) -> Result<(), GroupError> {
        let empty = self.state == GroupState::Empty;
        if member.generation < 0 && empty {
            return Ok(());
        }
        let named = !member.member_id.is_empty() || member.instance_id.is_some();
        if member.generation < 0 && !named {
            // Only members may commit while there are some.
            return Err(GroupError::UnknownMember { member_id: String::new() });
        }
        self.validate(&member.member_id, member.instance_id.as_deref())?;
        self.check_generation(member.generation)?;
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::Rebalancing);
        }
        self.alive(step.now, &member.member_id);
        Ok(())
    }
}
