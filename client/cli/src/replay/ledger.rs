//! What a replay has read, passed on and had confirmed, for every partition. Pure.
//!
//! **Invariants:** `start <= confirmed_to <= read_to <= end`; every record below `confirmed_to` that passed the
//! filter was confirmed by the sink, and none above it counts as written; `read = matched + skipped`. The sink
//! confirms the records of a partition in their order.

use std::collections::BTreeMap;

use serde::Serialize;
use tidelog_client::{Offset, TopicPartition};

/// A range of offsets to read, and how much of it was done by an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// The partition.
    pub(crate) id: TopicPartition,
    /// The first offset.
    pub(crate) start: Offset,
    /// The next offset to read; `start` in a new replay.
    pub(crate) next: Offset,
    /// Behind the last offset.
    pub(crate) end: Offset,
    /// Records below `next` that were written.
    pub(crate) written: u64,
}

/// Exact counts. `read` counts offsets that were gone through, those included that the broker left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Counts {
    /// Offsets gone through.
    pub(crate) read: u64,
    /// Records that passed the filter.
    pub(crate) matched: u64,
    /// Records that the sink has confirmed.
    pub(crate) written: u64,
    /// Offsets without a record that passed.
    pub(crate) skipped: u64,
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            matched: self.matched + other.matched,
            written: self.written + other.written,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// How many records are wanted at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// In all.
    pub(crate) total: Option<u64>,
    /// Of each partition.
    pub(crate) per_partition: Option<u64>,
}

#[derive(Debug)]
struct Account {
    share: Share,
    read_to: Offset,
    confirmed_to: Offset,
    matched: u64,
    written: u64,
}

impl Account {
    const fn new(share: Share) -> Self {
        let (next, written) = (share.next, share.written);
        // What was matched and not confirmed is read again.
        Self { share, read_to: next, confirmed_to: next, matched: written, written }
    }

    const fn read(&self) -> u64 {
        self.read_to.since(self.share.start)
    }

    const fn counts(&self) -> Counts {
        let read = self.read();
        Counts { read, matched: self.matched, written: self.written, skipped: read - self.matched }
    }

    fn go_to(&mut self, next: Offset) {
        self.read_to = self.read_to.max(next.min(self.share.end));
        if self.written == self.matched {
            self.confirmed_to = self.read_to;
        }
    }
}

/// The accounts of all partitions of a replay. Partitions are named by their slot: their place in the plan.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    slots: BTreeMap<TopicPartition, usize>,
    limits: Limits,
    matched: u64,
}

impl Ledger {
    /// Accounts for these ranges.
    pub(crate) fn new(shares: Vec<Share>, limits: Limits) -> Self {
        let slots = shares.iter().enumerate().map(|(slot, share)| (share.id.clone(), slot)).collect();
        let matched = shares.iter().map(|share| share.written).sum();
        Self { accounts: shares.into_iter().map(Account::new).collect(), slots, limits, matched }
    }

    /// The slot of a partition.
    pub(crate) fn slot(&self, id: &TopicPartition) -> Option<usize> {
        self.slots.get(id).copied()
    }

    /// A record was read that the filter left out.
    pub(crate) fn skip(&mut self, slot: usize, offset: Offset) {
        self.reach(slot, offset.next());
    }

    /// A record was read that the filter passed, and the sink has it.
    pub(crate) fn take(&mut self, slot: usize, offset: Offset) {
        let Some(account) = self.accounts.get_mut(slot) else { return };
        account.go_to(offset);
        account.matched += 1;
        self.matched += 1;
        account.go_to(offset.next());
    }

    /// The reader has come so far: nothing below was left to be taken or skipped. Where the limits allow no more,
    /// it does not count what it saw.
    pub(crate) fn reach(&mut self, slot: usize, next: Offset) {
        if self.wants(slot)
            && let Some(account) = self.accounts.get_mut(slot)
        {
            account.go_to(next);
        }
    }

    /// The sink keeps the record: it will not be lost.
    pub(crate) fn confirm(&mut self, slot: usize, offset: Offset) {
        let Some(account) = self.accounts.get_mut(slot) else { return };
        account.written += 1;
        account.confirmed_to = offset.next();
        account.go_to(offset.next());
    }

    /// The sink keeps everything it was given.
    pub(crate) fn confirm_all(&mut self) {
        for account in &mut self.accounts {
            account.written = account.matched;
            account.confirmed_to = account.read_to;
        }
    }

    /// Whether the limits allow another record of this partition.
    pub(crate) fn wants(&self, slot: usize) -> bool {
        let taken = self.accounts.get(slot).map_or(0, |account| account.matched);
        !self.is_full() && self.limits.per_partition.is_none_or(|limit| taken < limit)
    }

    /// Whether the limits allow no record at all.
    pub(crate) fn is_full(&self) -> bool {
        self.limits.total.is_some_and(|limit| self.matched >= limit)
    }

    /// Whether there are limits.
    pub(crate) const fn has_limits(&self) -> bool {
        self.limits.total.is_some() || self.limits.per_partition.is_some()
    }

    /// What is left to read in each partition of which more is wanted: the next offset, and the end.
    pub(crate) fn left(&self) -> Vec<(TopicPartition, Offset, Offset)> {
        let accounts = self.accounts.iter().enumerate();
        let left =
            accounts.filter(|(slot, account)| account.read_to < account.share.end && self.wants(*slot));
        left.map(|(_, account)| (account.share.id.clone(), account.read_to, account.share.end)).collect()
    }

    /// Where a resumed replay is to go on, and what counts as written then.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let share = |account: &Account| Share {
            next: account.confirmed_to,
            written: account.written,
            ..account.share.clone()
        };
        self.accounts.iter().map(share).collect()
    }

    /// The range and the counts of each partition.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Share, Counts)> {
        self.accounts.iter().map(|account| (&account.share, account.counts()))
    }

    /// The counts of all partitions together.
    pub(crate) fn total(&self) -> Counts {
        self.accounts.iter().map(Account::counts).fold(Counts::default(), Counts::add)
    }

    /// How many offsets the ranges hold.
    pub(crate) fn offsets(&self) -> u64 {
        self.accounts.iter().map(|account| account.share.end.since(account.share.start)).sum()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
