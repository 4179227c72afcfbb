//! How many retries a group may have: a share of what succeeds, and a few more so that it never stands still.
//!
//! Without a budget an outage of something behind the consumers doubles their load just when they can bear it least
//! (the retry budgets of Finagle and of linkerd do the same). A record that waits for its retry loses no attempt.
//!
//! **Invariant:** in any ten seconds there are at most as many retries as the share of the successes of twenty
//! seconds, plus the floor of twenty: tokens live for ten seconds.

use std::collections::VecDeque;

use tidelog_model::Timestamp;

/// How long a token lives, in slots.
const SLOTS: i64 = 10;
/// How long a slot is, in milliseconds.
const SLOT_MS: i64 = 1_000;
/// A token in hundredths.
const TOKEN: u64 = 100;

/// How large a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Retries for a hundred successes; `None` is no limit.
    pub percent: Option<u32>,
    /// Retries a second that need no success.
    pub floor_per_second: u32,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { percent: Some(20), floor_per_second: 10 }
    }
}

/// The retries that a group has left.
#[derive(Debug, Clone)]
pub struct Budget {
    limits: BudgetLimits,
    /// Hundredths of tokens by the slot in which they came, the oldest first.
    tokens: VecDeque<(i64, u64)>,
    /// The latest slot seen: time never goes back.
    slot: i64,
}

impl Budget {
    /// A budget that begins with one second's floor.
    #[must_use]
    pub const fn new(limits: BudgetLimits) -> Self {
        Self { limits, tokens: VecDeque::new(), slot: i64::MIN }
    }

    /// Another size from now on.
    pub const fn resize(&mut self, limits: BudgetLimits) {
        self.limits = limits;
    }

    /// Takes note of records that were acknowledged.
    pub fn succeeded(&mut self, now: Timestamp, records: u64) {
        self.pass(now);
        self.earn(records.saturating_mul(u64::from(self.limits.percent.unwrap_or(0))));
    }

    /// Takes a retry, if there is one.
    pub fn try_take(&mut self, now: Timestamp) -> bool {
        if self.limits.percent.is_none() {
            return true;
        }
        self.pass(now);
        if self.tokens.iter().map(|(_, tokens)| tokens).sum::<u64>() < TOKEN {
            return false;
        }
        let mut due = TOKEN;
        while let Some((_, tokens)) = self.tokens.front_mut() {
            let taken = due.min(*tokens);
            *tokens -= taken;
            due -= taken;
            if *tokens > 0 || due == 0 {
                break;
            }
            self.tokens.pop_front();
        }
        true
    }

    /// When there may be a retry again after there was none.
    #[must_use]
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        let slot = now.millis().div_euclid(SLOT_MS).max(self.slot);
        Timestamp::from_millis(slot.saturating_add(1).saturating_mul(SLOT_MS))
    }

    /// Lets time pass: a second brings its floor, and old tokens are lost.
    fn pass(&mut self, now: Timestamp) {
        let slot = now.millis().div_euclid(SLOT_MS);
        if slot <= self.slot {
            return;
        }
        // At the first look, and after a long silence, there is what a second brings.
        self.slot = slot;
        while self.tokens.front().is_some_and(|(came, _)| slot.saturating_sub(*came) >= SLOTS) {
            self.tokens.pop_front();
        }
        self.earn(u64::from(self.limits.floor_per_second).saturating_mul(TOKEN));
    }

    fn earn(&mut self, hundredths: u64) {
        match self.tokens.back_mut() {
            Some((slot, tokens)) if *slot == self.slot => *tokens = tokens.saturating_add(hundredths),
            _ => self.tokens.push_back((self.slot, hundredths)),
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
