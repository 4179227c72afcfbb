//! Storing a group's positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_model::{GroupId, Offset, TopicPartition};
use tokio::sync::Mutex;

use crate::admin::{Admin, GroupOffset};
use crate::error::Result;

/// Commits of one consumer, one at a time and never an older one after a newer one.
#[derive(Debug)]
pub(super) struct Committer {
    admin: Admin,
    group: GroupId,
    /// Held while a commit is under way.
    committed: Mutex<Committed>,
}

#[derive(Debug)]
struct Committed {
    /// The number of the last commit.
    number: u64,
    offsets: BTreeMap<TopicPartition, Offset>,
}

impl Committer {
    pub(super) fn new(admin: Admin, group: GroupId, offsets: BTreeMap<TopicPartition, Offset>) -> Arc<Self> {
        let committed = Mutex::new(Committed { number: 0, offsets });
        Arc::new(Self { admin, group, committed })
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
            self.admin.commit_offsets(self.group.as_str(), &offsets).await?;
        }
        committed.number = number;
        committed.offsets.extend(offsets.into_iter().map(|commit| (commit.partition, commit.offset)));
        Ok(())
    }
}
