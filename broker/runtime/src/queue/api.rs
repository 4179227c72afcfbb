//! What front ends ask queue groups, and what they get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_core::delivery::{
    Admission, Blocked, DeadLetter, Delivery, LaneCounts, OrderMode, Redrive, Retry, Settle, SettleStatus,
};
use tidelog_model::record::Record;
use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// Makes a queue group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateQueue {
    /// Its name.
    pub group: GroupId,
    /// What it reads.
    pub topics: BTreeSet<TopicName>,
    /// The settings that are not at their defaults.
    pub configs: BTreeMap<String, String>,
    /// Check only.
    pub validate_only: bool,
}

/// Changes a queue group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterQueue {
    /// Its name.
    pub group: GroupId,
    /// Topics to read too.
    pub add_topics: BTreeSet<TopicName>,
    /// Topics to read no more.
    pub remove_topics: BTreeSet<TopicName>,
    /// Settings to set.
    pub set: BTreeMap<String, String>,
    /// Settings to return to their defaults.
    pub reset: Vec<String>,
    /// Check only.
    pub validate_only: bool,
}

/// Somebody who wants records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinQueue {
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// How many records it can take.
    pub credit: usize,
    /// About the most bytes of one batch.
    pub bytes_max: usize,
    /// How long its leases last, in milliseconds; as the group is set when `None`.
    pub lease_ms: Option<i64>,
    /// It gets one batch, and keeps it when it goes.
    pub once: bool,
}

/// What a member learns when it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedQueue {
    /// Its number.
    pub(crate) number: u64,
    /// Its name.
    pub member_id: Uuid,
    /// How long its leases last, in milliseconds.
    pub lease_ms: i64,
    /// Which records wait for which.
    pub order: OrderMode,
    /// How often a record is handed out before it dies.
    pub max_attempts: u16,
}

/// Records of one partition under one lease.
#[derive(Debug, Clone)]
pub struct QueueBatch {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// What the member names when it settles them.
    pub lease: u64,
    /// How long the lease goes on, in milliseconds.
    pub lease_ms: i64,
    /// The records.
    pub records: Vec<(Delivery, Record)>,
}

/// The records of a member. When it is dropped the member has left, and what it still has counts as failed.
#[derive(Debug)]
pub struct QueueMember {
    /// What it learned when it joined.
    pub joined: JoinedQueue,
    pub(super) batches: mpsc::Receiver<QueueBatch>,
    /// Tells the group that there is room for more.
    pub(super) room: Arc<Notify>,
}

impl QueueMember {
    /// The next records; `None` when the group does not serve the member any more.
    pub async fn next(&mut self) -> Option<QueueBatch> {
        let batch = self.batches.recv().await;
        self.room.notify_one();
        batch
    }

    /// Takes no more records, and waits for those that are on their way already.
    pub async fn last(&mut self) -> Option<QueueBatch> {
        self.batches.close();
        self.batches.recv().await
    }
}

/// Settles records of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRecords {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// What of which.
    pub settle: Settle,
}

/// The answer to [`SettleRecords`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettledRecords {
    /// The answers, by first and last offset.
    pub results: Vec<(Offset, Offset, SettleStatus)>,
    /// How long the lease goes on, in milliseconds, if it does.
    pub lease_ms: Option<i64>,
}

/// A member as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedQueueMember {
    /// Its name.
    pub member_id: Uuid,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// How many records it has.
    pub leased: usize,
}

/// Where a queue group stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedLane {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// How many records are where.
    pub counts: LaneCounts,
    /// The end of what can be read.
    pub high_watermark: Offset,
    /// Why nothing more is handed out, when it was tried last.
    pub blocked: Option<Blocked>,
    /// The records that most others wait for, with their number.
    pub gating: Vec<(Offset, usize)>,
    /// Why the lane is not served, or its dead letters are not copied.
    pub problem: Option<String>,
}

/// A queue group as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedQueue {
    /// When this was so.
    pub at: Timestamp,
    /// Whether records are handed out.
    pub admission: Admission,
    /// Where it stands.
    pub lanes: Vec<DescribedLane>,
    /// Who reads.
    pub members: Vec<DescribedQueueMember>,
}

/// A place in a queue group's partitions, to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlace {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: Offset,
}

/// Records of a queue group, and where to go on when there may be more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePage<T> {
    /// Those records, with their topics and partitions.
    pub found: Vec<(TopicName, PartitionIndex, T)>,
    /// Where to go on.
    pub next: Option<QueuePlace>,
}

/// Records that wait for their next attempt.
pub type RetryPage = QueuePage<Retry>;
/// Dead letters that are not resolved.
pub type DeadLetterPage = QueuePage<DeadLetter>;

/// Records of a queue group to do something with: all of them, of a topic, of a partition, or some of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueScope {
    /// Of this topic.
    pub topic: Option<TopicName>,
    /// Of this partition.
    pub partition: Option<PartitionIndex>,
    /// From this offset, which is included.
    pub first: Option<Offset>,
    /// To this offset, which is included.
    pub last: Option<Offset>,
}

impl QueueScope {
    /// Whether records of a partition are meant.
    pub(super) fn has(&self, topic: &TopicName, partition: PartitionIndex) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted == topic)
            && self.partition.is_none_or(|wanted| wanted == partition)
    }
}

/// What to do with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LetterOrder {
    /// Hand it out again, as part of this redrive.
    Redrive(u64),
    /// It is done with.
    Resolve,
}

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LetterDone {
    Redrive(Redrive),
    /// It is left as it is: retention has deleted the record from its topic.
    Gone,
    Resolved(bool),
}

/// A dead letter by its place.
pub(crate) type LetterPlace = (TopicName, PartitionIndex, Offset);
