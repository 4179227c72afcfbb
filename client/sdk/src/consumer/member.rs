//! A member of a group as the broker sees it. Pure: what to say next, and what an answer means.
//!
//! **Invariants**
//! * A member that was fenced, or is new, says that it reads nothing, and it reads nothing.
//! * What it says that it reads is what the consumer reported last.

use std::collections::BTreeSet;

use tidelog_model::TopicPartition;
use tidelog_proto::v1;

use crate::error::{Error, Result};

/// The epoch that joins.
pub(super) const JOIN: i32 = 0;
/// The epoch that leaves.
const LEAVE: i32 = -1;
/// The epoch of a static member that will be back.
const LEAVE_STATIC: i32 = -2;

/// What does not change over the life of a member.
#[derive(Debug, Clone)]
pub(super) struct MemberSettings {
    pub(super) group: String,
    pub(super) topics: Vec<String>,
    pub(super) instance_id: Option<String>,
    pub(super) assignor: Option<String>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) client_id: String,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    settings: MemberSettings,
    id: String,
    epoch: i32,
    owned: BTreeSet<TopicPartition>,
    /// What it reads was not told yet.
    untold: bool,
}

impl Member {
    pub(super) const fn new(settings: MemberSettings, id: String) -> Self {
        Self { settings, id, epoch: JOIN, owned: BTreeSet::new(), untold: false }
    }

    pub(super) const fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The next heartbeat.
    pub(super) fn heartbeat(&mut self) -> v1::HeartbeatRequest {
        let joins = self.epoch == JOIN;
        let subscription =
            v1::Subscription { topics: self.settings.topics.clone(), topic_regex: String::new() };
        let owned = (joins || self.untold).then(|| set_to_wire(&self.owned));
        v1::HeartbeatRequest {
            rebalance_timeout_ms: self.settings.rebalance_timeout_ms,
            subscription: joins.then_some(subscription),
            assignor: self.settings.assignor.clone().unwrap_or_default(),
            owned,
            ..self.bare(self.epoch)
        }
    }

    /// The last heartbeat.
    pub(super) fn leave(&self) -> v1::HeartbeatRequest {
        self.bare(if self.settings.instance_id.is_some() { LEAVE_STATIC } else { LEAVE })
    }

    fn bare(&self, member_epoch: i32) -> v1::HeartbeatRequest {
        v1::HeartbeatRequest {
            group: self.settings.group.clone(),
            member_id: self.id.clone(),
            member_epoch,
            instance_id: self.settings.instance_id.clone().unwrap_or_default(),
            client_id: self.settings.client_id.clone(),
            ..v1::HeartbeatRequest::default()
        }
    }

    /// Takes an answer in; returns what the member should read, if the broker says.
    pub(super) fn answered(
        &mut self,
        told: &v1::HeartbeatRequest,
        answer: v1::HeartbeatResponse,
    ) -> Result<Option<BTreeSet<TopicPartition>>> {
        self.epoch = answer.member_epoch;
        if told.owned.as_ref() == Some(&set_to_wire(&self.owned)) {
            self.untold = false;
        }
        answer.assignment.map(set_from_wire).transpose()
    }

    /// The consumer reads these now.
    pub(super) fn reads(&mut self, owned: BTreeSet<TopicPartition>) {
        // Told even when it is the same: it may be the answer to an assignment.
        self.untold = true;
        self.owned = owned;
    }

    /// The group has gone on without this member: it has to join again, and reads nothing until then.
    pub(super) fn fenced(&mut self) {
        self.epoch = JOIN;
        self.owned.clear();
        self.untold = false;
    }
}

fn set_to_wire(partitions: &BTreeSet<TopicPartition>) -> v1::PartitionSet {
    let mut topics: Vec<v1::TopicPartitions> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.last_mut().filter(|last| last.topic == topic.as_str()) {
            Some(last) => last.partitions.push(partition.get()),
            None => topics.push(v1::TopicPartitions {
                topic: topic.as_str().to_owned(),
                partitions: vec![partition.get()],
            }),
        }
    }
    v1::PartitionSet { topics }
}

fn set_from_wire(set: v1::PartitionSet) -> Result<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for topic in set.topics {
        let name = tidelog_model::TopicName::new(&topic.topic)?;
        for partition in topic.partitions {
            let index = tidelog_model::PartitionIndex::new(partition);
            let partition =
                index.ok_or_else(|| Error::protocol("the broker assigned a negative partition"))?;
            partitions.insert(TopicPartition { topic: name.clone(), partition });
        }
    }
    Ok(partitions)
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
