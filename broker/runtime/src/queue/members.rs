//! Who reads a queue group: each has credit, and gets its turn.

use std::collections::{BTreeMap, VecDeque};

use tidelog_model::Timestamp;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::api::{DescribedQueueMember, JoinQueue, QueueBatch};

/// The most records of one batch.
const BATCH_RECORDS: usize = 500;
/// The most credit that a member may have.
const CREDIT_MAX: usize = 100_000;

/// Room for a batch on its way to a member.
pub(super) type Place = mpsc::OwnedPermit<QueueBatch>;

#[derive(Debug)]
struct Member {
    id: Uuid,
    ask: JoinQueue,
    batches: mpsc::Sender<QueueBatch>,
}

/// A member whose turn it is.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) member: u64,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
    pub(super) lease_ms: Option<i64>,
    pub(super) place: Place,
}

/// The members of a group.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_number: BTreeMap<u64, Member>,
    turns: VecDeque<u64>,
    next: u64,
}

impl Members {
    /// Takes a member in; its number.
    pub(super) fn join(&mut self, id: Uuid, ask: JoinQueue, batches: mpsc::Sender<QueueBatch>) -> u64 {
        self.next = self.next.saturating_add(1);
        let ask = JoinQueue { credit: ask.credit.min(CREDIT_MAX), ..ask };
        self.by_number.insert(self.next, Member { id, ask, batches });
        self.turns.push_back(self.next);
        self.next
    }

    /// A member goes; whether its leases end with it.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        self.turns.retain(|turn| *turn != number);
        self.by_number.remove(&number).is_some_and(|member| !member.ask.once)
    }

    /// A member can take more records.
    pub(super) fn credit(&mut self, number: u64, records: usize) {
        if let Some(member) = self.by_number.get_mut(&number) {
            member.ask.credit = member.ask.credit.saturating_add(records).min(CREDIT_MAX);
        }
    }

    /// Whether somebody waits for records.
    pub(super) fn want_more(&self) -> bool {
        self.by_number.values().any(|member| member.ask.credit > 0)
    }

    /// The next member that can take records.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        for _ in 0..self.turns.len() {
            let number = self.turns.pop_front()?;
            self.turns.push_back(number);
            let Some(member) = self.by_number.get(&number) else { continue };
            if member.ask.credit == 0 {
                continue;
            }
            let Ok(place) = member.batches.clone().try_reserve_owned() else { continue };
            return Some(Turn {
                member: number,
                records_max: member.ask.credit.min(BATCH_RECORDS),
                bytes_max: member.ask.bytes_max,
                lease_ms: member.ask.lease_ms,
                place,
            });
        }
        None
    }

    /// A member has got so many records.
    pub(super) fn took(&mut self, number: u64, records: usize) {
        if let Some(member) = self.by_number.get_mut(&number) {
            let left = member.ask.credit.saturating_sub(records);
            member.ask.credit = if member.ask.once { 0 } else { left };
        }
    }

    /// Who there is.
    pub(super) fn describe(&self, leased: impl Fn(u64) -> usize) -> Vec<DescribedQueueMember> {
        let members = self.by_number.iter().map(|(number, member)| DescribedQueueMember {
            member_id: member.id,
            client_id: member.ask.client_id.clone(),
            client_host: member.ask.client_host.clone(),
            leased: leased(*number),
        });
        members.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}

/// How long it is until then, in milliseconds.
pub(super) fn until(now: Timestamp, then: Timestamp) -> i64 {
    then.millis().saturating_sub(now.millis())
}
