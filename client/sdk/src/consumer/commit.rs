//! Storing a group's positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use tidelog_model::{ErrorCode, GroupId, Offset, TopicPartition};
use tokio::sync::Mutex;

use super::membership::Identity;
use crate::admin::{Admin, GroupOffset};
use crate::error::{Error, ErrorKind, Result};

/// How often a commit with an old epoch is tried again.
const STALE_TRIES: u32 = 50;
/// The pause between.
const STALE_PAUSE: Duration = Duration::from_millis(100);

/// Commits of one consumer, one at a time and never an older one after a newer one.
#[derive(Debug)]
pub(super) struct Committer {
    admin: Admin,
    group: GroupId,
    /// Who commits, for a member.
    identity: Option<Arc<Identity>>,
    /// Held while a commit is under way.
    committed: Mutex<Committed>,
    /// The number of the last commit when a partition was given up: it and those before it say nothing about
    /// the partition any more, even if this consumer has it again by now.
    given_up: SyncMutex<BTreeMap<TopicPartition, u64>>,
}

#[derive(Debug)]
struct Committed {
    /// The number of the last commit.
    number: u64,
    offsets: BTreeMap<TopicPartition, Offset>,
}

impl Committer {
    pub(super) fn new(
        admin: Admin,
        group: GroupId,
        identity: Option<Arc<Identity>>,
        offsets: BTreeMap<TopicPartition, Offset>,
    ) -> Arc<Self> {
        let committed = Mutex::new(Committed { number: 0, offsets });
        Arc::new(Self { admin, group, identity, committed, given_up: SyncMutex::default() })
    }

    /// Takes in what the broker says was committed for partitions that are read from now on.
    pub(super) async fn know(&self, read: &[TopicPartition], held: &BTreeMap<TopicPartition, Offset>) {
        let mut committed = self.committed.lock().await;
        for partition in read {
            match held.get(partition) {
                Some(offset) => committed.offsets.insert(partition.clone(), *offset),
                None => committed.offsets.remove(partition),
            };
        }
    }

    /// These were given up, or lost, after the commit of this number had begun.
    pub(super) fn give_up(&self, partitions: &BTreeSet<TopicPartition>, number: u64) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.extend(partitions.iter().map(|partition| (partition.clone(), number)));
    }

    fn is_given_up(&self, partition: &TopicPartition, number: u64) -> bool {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.get(partition).is_some_and(|last| number <= *last)
    }

    pub(super) const fn group(&self) -> &GroupId {
        &self.group
    }

    /// Commits what changed. `number` rises with each call made by the consumer; a call that comes too late
    /// does nothing.
    pub(super) async fn commit(&self, number: u64, offsets: Vec<GroupOffset>) -> Result<()> {
        let mut committed = self.committed.lock().await;
        if number < committed.number {
            return Ok(());
        }
        let changed = |commit: &GroupOffset| committed.offsets.get(&commit.partition) != Some(&commit.offset);
        let offsets: Vec<_> = offsets.into_iter().filter(changed).collect();
        if !offsets.is_empty() {
            self.send(number, &offsets).await?;
        }
        committed.number = number;
        committed.offsets.extend(offsets.into_iter().map(|commit| (commit.partition, commit.offset)));
        Ok(())
    }

    /// A member whose epoch has just been raised hears of it with its next heartbeat: until then the broker
    /// takes its commits for those of a member that was left behind. What was given up meanwhile is not sent
    /// again: the group may have been set to another position since.
    async fn send(&self, number: u64, offsets: &[GroupOffset]) -> Result<()> {
        let group = self.group.as_str();
        let Some(identity) = &self.identity else { return self.admin.commit_offsets(group, offsets).await };
        let mut tries = 0;
        loop {
            let (gone, left): (Vec<GroupOffset>, Vec<GroupOffset>) =
                offsets.iter().cloned().partition(|commit| self.is_given_up(&commit.partition, number));
            if left.is_empty() {
                return given_up(gone);
            }
            let member = (identity.member_id.as_str(), identity.epoch());
            let sent = self.admin.commit_as(group, member, &left).await;
            let stale =
                sent.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::StaleMemberEpoch.name()));
            tries += 1;
            if !stale || tries > STALE_TRIES {
                return sent.and_then(|()| given_up(gone));
            }
            tokio::time::sleep(STALE_PAUSE).await;
        }
    }
}

/// What to say of partitions that are not this member's any more.
fn given_up(gone: Vec<GroupOffset>) -> Result<()> {
    let Some(GroupOffset { partition, .. }) = gone.into_iter().next() else { return Ok(()) };
    let message = "the partition was given up before its position was committed";
    Err(Error::new(ErrorKind::Conflict, message).with_partition(partition))
}
