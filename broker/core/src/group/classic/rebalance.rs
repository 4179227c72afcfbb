//! From one generation to the next, and what happens when time passes.

use std::collections::BTreeMap;

use super::timers::Timer;
use super::{ClassicGroup, InitialDelay, Step};
use crate::group::api::{GroupReply, GroupState, JoinGroupReply};
use crate::group::error::GroupError;

impl ClassicGroup {
    /// Members have to join again; when they are doing so already, perhaps this was the last.
    pub(super) fn rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(step);
        } else {
            self.prepare(step);
        }
    }

    fn prepare(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(step);
        }
        self.pending_sync.clear();
        self.timers.cancel(&Timer::Sync);
        let was_empty = self.state == GroupState::Empty;
        self.enter(step, GroupState::PreparingRebalance);
        if was_empty {
            let delay_ms = step.config.initial_rebalance_delay_ms.max(0);
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms, new_member: false });
            self.timers.set(Timer::Rebalance, step.after(delay_ms));
        } else if self.all_joined() {
            self.complete_join(step);
        } else {
            self.timers.set(Timer::Rebalance, step.after(self.rebalance_timeout_ms()));
        }
    }

    fn enter(&mut self, step: &Step<'_>, state: GroupState) {
        self.state = state;
        self.since = step.now;
    }

    /// Those who wait for an assignment are to join again; nothing that was assigned stands.
    fn fail_syncs(&mut self, step: &mut Step<'_>) {
        let mut freed = 0_usize;
        for (id, member) in &mut self.members {
            freed = freed.saturating_add(member.assignment.len());
            member.assignment.clear();
            if let Some(token) = member.sync.take() {
                step.answer(token, Err(GroupError::Rebalancing));
                let deadline = step.after(member.session_timeout_ms);
                self.timers.set(Timer::Member(id.clone()), deadline);
            }
        }
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Completes the join when nobody is waited for.
    pub(super) fn maybe_complete_join(&mut self, step: &mut Step<'_>) {
        let preparing = self.state == GroupState::PreparingRebalance;
        if preparing && self.initial.is_none() && self.all_joined() {
            self.complete_join(step);
        }
    }

    fn complete_join(&mut self, step: &mut Step<'_>) {
        self.timers.cancel(&Timer::Rebalance);
        self.initial = None;
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().for_each(|id| self.remove(step, id));
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members that are away are left: their sessions decide.
            self.timers.set(Timer::Rebalance, step.after(self.rebalance_timeout_ms()));
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.enter(step, GroupState::Empty);
            self.protocol_name = None;
            self.leader = None;
            self.store(step);
            self.finish_seek(step);
            return;
        }
        self.finish_seek(step);
        self.enter(step, GroupState::CompletingRebalance);
        self.protocol_name = self.select_protocol();
        self.pending_sync = self.members.keys().cloned().collect();
        self.timers.set(Timer::Sync, step.after(self.rebalance_timeout_ms()));
        self.answer_joins(step);
    }

    fn answer_joins(&mut self, step: &mut Step<'_>) {
        let waiting: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.join.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            let joined = self.joined(&id, false);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
                if let Some(token) = member.join.take() {
                    step.answer(token, Ok(GroupReply::Join(JoinGroupReply::Joined(joined))));
                }
            }
            self.alive(step.now, &id);
        }
        self.joining = 0;
    }

    /// Lets the leader be one that has joined, if one has.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let first = self.members.iter().find(|(_, member)| member.join.is_some()).map(|(id, _)| id.clone());
        let found = first.is_some();
        if found {
            self.leader = first;
        }
        found
    }

    /// The protocol most members prefer of those that all know; of several the first by name.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let all = self.members.len();
        let common = |name: &str| self.support.get(name).copied() == Some(all);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let preferred = member.protocols.iter().find(|protocol| common(&protocol.name));
            if let Some(protocol) = preferred {
                let count = votes.entry(&protocol.name).or_default();
                *count = count.saturating_add(1);
            }
        }
        // The last of equal maxima wins, hence backwards.
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
    }

    /// Does what is due at `step.now`.
    pub(in crate::group) fn on_deadline(&mut self, step: &mut Step<'_>) {
        while let Some(timer) = self.timers.take_expired(step.now) {
            match timer {
                Timer::Rebalance => self.on_rebalance_timeout(step),
                Timer::Sync => self.on_sync_timeout(step),
                Timer::Member(id) => self.on_member_timeout(step, &id),
            }
        }
    }

    fn on_rebalance_timeout(&mut self, step: &mut Step<'_>) {
        match self.initial.as_mut() {
            Some(initial) if initial.new_member && initial.remaining_ms > 0 => {
                let delay_ms = initial.delay_ms.min(initial.remaining_ms);
                let remaining_ms = initial.remaining_ms.saturating_sub(delay_ms).max(0);
                *initial = InitialDelay { delay_ms, remaining_ms, new_member: false };
                // A delay of 0 would come back at once for ever.
                self.timers.set(Timer::Rebalance, step.after(delay_ms.max(1)));
            }
            _ => self.complete_join(step),
        }
    }

    fn on_sync_timeout(&mut self, step: &mut Step<'_>) {
        let silent = std::mem::take(&mut self.pending_sync);
        if silent.is_empty() {
            return;
        }
        silent.iter().for_each(|id| self.remove(step, id));
        self.prepare(step);
    }

    fn on_member_timeout(&mut self, step: &mut Step<'_>, member_id: &str) {
        if self.pending.remove(member_id) {
            self.maybe_complete_join(step);
            return;
        }
        let waits =
            |member: &super::Member| !member.is_new && (member.join.is_some() || member.sync.is_some());
        if self.members.get(member_id).is_some_and(waits) {
            // Its session begins when it is answered.
            return;
        }
        self.remove(step, member_id);
        self.removed(step);
    }

    /// What follows when members have been taken out.
    pub(super) fn removed(&mut self, step: &mut Step<'_>) {
        match self.state {
            GroupState::PreparingRebalance => self.maybe_complete_join(step),
            GroupState::CompletingRebalance | GroupState::Stable => self.prepare(step),
            _ => {}
        }
    }
}
