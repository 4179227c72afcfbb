//! A queue group at work: who reads, which lanes there are, what is handed out and taken back.
//!
//! Everything here happens at once and in memory; what takes time is a [`Job`], whose end comes back as a [`Note`].
//! What changed is taken from the rows by the worker, which makes it durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_core::delivery::{
    Acquire, Acquired, Admission, Blocked, Delivery, LaneId, QueueConfig, Settle, SettleStatus, Verb,
};
use tidelog_core::group::QueueDefinition;
use tidelog_model::record::Record;
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use tokio::task::JoinSet;

use super::api::{QueueBatch, SettleRecords, SettledRecords};
use super::governor::Governor;
use super::members::{Members, Place, Turn, until};
use super::mover::{Move, Moved};
use super::read::{Fed, feed, read_at};
use super::row::Row;
use crate::broker::WeakBroker;
use crate::error::BrokerError;

/// How long a partition is left alone that could not be read, in milliseconds.
const TROUBLE_MS: i64 = 1_000;

/// What a group is, and how it is set.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) group: GroupId,
    pub(crate) definition: QueueDefinition,
    pub(crate) config: QueueConfig,
}

/// What has come to its end.
pub(super) enum Note {
    /// New records were read.
    Fed(LaneId, Result<Fed, BrokerError>),
    /// Records that go out were read again.
    Read(Parcel, Result<BTreeMap<Offset, Record>, BrokerError>),
    /// Dead letters were copied.
    Moved(LaneId, Result<Moved, BrokerError>),
    /// A member is gone.
    Left(u64),
    /// The log before a snapshot is gone, or stays.
    Trimmed,
}

/// Records on their way to a member.
pub(super) struct Parcel {
    lane: LaneId,
    place: Place,
    acquired: Acquired,
    bodies: BTreeMap<Offset, Record>,
}

/// The group.
pub(super) struct Group {
    pub(super) served: Arc<Served>,
    pub(super) broker: WeakBroker,
    pub(super) rows: BTreeMap<LaneId, Row>,
    names: BTreeMap<TopicName, TopicId>,
    pub(super) members: Members,
    pub(super) governor: Governor,
    pub(super) jobs: JoinSet<Note>,
    /// Which lane is first the next time.
    cursor: Option<LaneId>,
    /// When to look again although nothing happens.
    pub(super) look_again: Option<Timestamp>,
}

impl Group {
    pub(super) fn new(served: Arc<Served>, broker: WeakBroker) -> Self {
        Self {
            governor: Governor::new(&served.config),
            served,
            broker,
            rows: BTreeMap::new(),
            names: BTreeMap::new(),
            members: Members::default(),
            jobs: JoinSet::new(),
            cursor: None,
            look_again: None,
        }
    }

    /// The lane of a partition.
    pub(super) fn lane_of(&self, topic: &TopicName, partition: PartitionIndex) -> Option<LaneId> {
        let topic_id = *self.names.get(topic)?;
        Some(LaneId { topic_id, partition })
    }

    /// Takes other lanes in.
    pub(super) fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            self.names.insert(row.topic.clone(), row.id().topic_id);
            self.rows.insert(row.id(), row);
        }
    }

    /// Forgets lanes.
    pub(super) fn drop_lanes(&mut self, is_gone: impl Fn(LaneId) -> bool) {
        self.rows.retain(|lane, _| !is_gone(*lane));
        let rows = &self.rows;
        self.names.retain(|_, topic_id| rows.keys().any(|lane| lane.topic_id == *topic_id));
    }

    /// Hands out what can be handed out.
    pub(super) fn dispatch(&mut self, now: Timestamp) {
        self.look_again = None;
        if self.served.config.paused || !self.members.want_more() {
            return;
        }
        let mut allowed = match self.governor.admit(now) {
            Admission::Yes => usize::MAX,
            Admission::Probe(probes) => {
                let leased: usize = self.rows.values().map(|row| row.lane.counts().leased).sum();
                usize::try_from(probes).unwrap_or(usize::MAX).saturating_sub(leased)
            }
            Admission::Open { until, .. } => return self.look_at(until),
        };
        let mut lanes: Vec<LaneId> = self.rows.keys().copied().collect();
        if let Some(cursor) = self.cursor {
            let first = lanes.partition_point(|lane| *lane <= cursor);
            lanes.rotate_left(first);
        }
        let mut served = true;
        while served && allowed > 0 {
            served = false;
            for lane in &lanes {
                match self.hand_out(now, *lane, allowed) {
                    Handed::Some(records) => {
                        allowed = allowed.saturating_sub(records);
                        (served, self.cursor) = (true, Some(*lane));
                    }
                    Handed::Nothing => {}
                    Handed::NobodyWaits => return,
                }
                if allowed == 0 {
                    break;
                }
            }
        }
        self.fill(now);
    }

    /// Hands one batch of a lane out.
    fn hand_out(&mut self, now: Timestamp, lane: LaneId, allowed: usize) -> Handed {
        let Some(row) = self.rows.get_mut(&lane).filter(|row| row.may_deliver(now)) else {
            return Handed::Nothing;
        };
        let Some(turn) = self.members.next_turn() else { return Handed::NobodyWaits };
        let Turn { member, records_max, bytes_max, lease_ms, place } = turn;
        let ask = Acquire { member, records_max: records_max.min(allowed), bytes_max, lease_ms };
        let governor = &mut self.governor;
        let acquired = row.lane.acquire(now, ask, &mut row.feed, &mut || governor.may_retry(now));
        (row.dirty, row.blocked) = (true, acquired.blocked);
        row.feed.park(row.lane.end());
        let budget = acquired.blocked == Some(Blocked::Budget);
        let taken = acquired.records.iter().filter_map(|one| Some((one.offset, row.feed.take(one.offset)?)));
        let bodies: BTreeMap<Offset, Record> = taken.collect();
        row.feed.settle_down(row.lane.first_unsettled());
        if budget {
            let next = self.governor.next_retry(now);
            self.look_at(next);
        }
        let count = acquired.records.len();
        if count == 0 {
            return Handed::Nothing;
        }
        self.members.took(member, count);
        self.send(now, Parcel { lane, place, acquired, bodies });
        Handed::Some(count)
    }

    /// Sends records to their member; those that are not here are read first.
    fn send(&mut self, now: Timestamp, parcel: Parcel) {
        let Some(row) = self.rows.get(&parcel.lane) else { return };
        let missing = parcel.acquired.records.iter().map(|record| record.offset);
        let missing: Vec<Offset> = missing.filter(|offset| !parcel.bodies.contains_key(offset)).collect();
        if missing.is_empty() {
            return self.deliver(now, parcel);
        }
        let partition = Arc::clone(&row.partition);
        self.jobs.spawn(async move {
            let mut records = BTreeMap::new();
            let found = |record: Record| drop(records.insert(record.offset, record));
            let read = read_at(&partition, &missing, found).await;
            Note::Read(parcel, read.map(|()| records))
        });
    }

    /// Takes in records that were read again.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        mut parcel: Parcel,
        read: Result<BTreeMap<Offset, Record>, BrokerError>,
    ) {
        let Some(row) = self.rows.get_mut(&parcel.lane) else { return };
        row.dirty = true;
        match read {
            Ok(records) => parcel.bodies.extend(records),
            Err(error) => {
                row.trouble = Some((error.message, now.plus_millis(TROUBLE_MS)));
                let offsets = parcel.acquired.records.iter().map(|record| record.offset);
                let (Some(first), Some(last)) = (offsets.clone().min(), offsets.max()) else { return };
                let lease = parcel.acquired.lease;
                row.lane.settle(&Settle { lease, first, last, verb: Verb::Release });
                return;
            }
        }
        for delivery in &parcel.acquired.records {
            if !parcel.bodies.contains_key(&delivery.offset) {
                row.lane.gone(delivery.offset);
            }
        }
        self.deliver(now, parcel);
    }

    fn deliver(&self, now: Timestamp, parcel: Parcel) {
        let Some(row) = self.rows.get(&parcel.lane) else { return };
        let Parcel { place, acquired, mut bodies, .. } = parcel;
        let body =
            |one: Delivery| Some((bodies.remove(&one.offset)?, one)).map(|(record, one)| (one, record));
        let records: Vec<(Delivery, Record)> = acquired.records.into_iter().filter_map(body).collect();
        if records.is_empty() {
            return;
        }
        let lease_ms = until(now, acquired.deadline).max(0);
        let partition = row.id().partition;
        // Whoever has left meanwhile has lost its leases.
        drop(place.send(QueueBatch {
            topic: row.topic.clone(),
            partition,
            lease: acquired.lease,
            lease_ms,
            records,
        }));
    }

    /// Looks for new records where there are none at hand.
    fn fill(&mut self, now: Timestamp) {
        let read_committed = self.served.config.read_committed;
        for row in self.rows.values_mut() {
            let Some(from) = row.wants_feed(now) else { continue };
            row.filling = true;
            let (lane, partition) = (row.id(), Arc::clone(&row.partition));
            self.jobs.spawn(async move { Note::Fed(lane, feed(partition, from, read_committed).await) });
        }
    }

    /// Takes in new records.
    pub(super) fn fed(&mut self, now: Timestamp, lane: LaneId, fed: Result<Fed, BrokerError>) {
        let Some(row) = self.rows.get_mut(&lane) else { return };
        row.filling = false;
        match fed {
            Ok(Fed::Records { records, next }) => {
                row.feed.fill(records, next);
                row.trouble = None;
            }
            Ok(Fed::StartsAt(start)) => {
                row.feed.clear();
                row.skip_to(now, start);
            }
            Err(error) => {
                row.trouble = Some((error.message, now.plus_millis(TROUBLE_MS)));
                self.look_at(now.plus_millis(TROUBLE_MS));
            }
        }
    }

    /// Takes records back.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        ask: &SettleRecords,
    ) -> Result<(SettledRecords, bool), BrokerError> {
        let lane = self.lane_of(&ask.topic, ask.partition);
        let row = lane.and_then(|lane| self.rows.get_mut(&lane)).ok_or_else(|| {
            let message = format!(
                "group {} reads no partition {}-{}",
                self.served.group.as_str(),
                ask.topic,
                ask.partition
            );
            BrokerError::new(ErrorCode::UnknownTopicOrPartition, message).field("topic")
        })?;
        row.lane.tick(now);
        row.dirty = true;
        let settled = row.lane.settle(&ask.settle);
        self.governor.heard(now, &ask.settle.verb, &settled);
        let renewed = settled.results.iter().any(|(_, _, status)| *status == SettleStatus::Renewed);
        let deadline = row.lane.lease_deadline(ask.settle.lease).filter(|_| renewed);
        let lease_ms = deadline.map(|deadline| until(now, deadline).max(0));
        Ok((SettledRecords { results: settled.results, lease_ms }, settled.must_wait))
    }

    /// A member is gone, and what it had counts as failed.
    pub(super) fn left(&mut self, now: Timestamp, member: u64) {
        if self.members.leave(member) {
            for row in self.rows.values_mut() {
                row.lane.member_left(now, member);
                row.dirty = true;
            }
        }
    }

    /// Starts copying dead letters where there are some.
    pub(super) fn start_moves(&mut self, now: Timestamp) {
        for row in self.rows.values_mut() {
            if row.lane.counts().dying == 0 {
                continue;
            }
            let lane = &row.lane;
            let Some((letters, sure)) = row.mover.take(now, |count| lane.dying(count)) else { continue };
            let id = row.id();
            let job = Move {
                broker: self.broker.clone(),
                group: self.served.group.clone(),
                group_id: self.served.definition.id,
                config: self.served.config.dead_letters.clone(),
                topic: row.topic.clone(),
                partition: Arc::clone(&row.partition),
                lane: id,
                letters,
                sure,
            };
            self.jobs.spawn(async move { Note::Moved(id, job.run().await) });
        }
    }

    /// Takes note of where dead letters are.
    pub(super) fn moved(&mut self, now: Timestamp, lane: LaneId, moved: Result<Moved, BrokerError>) {
        let Some(row) = self.rows.get_mut(&lane) else { return };
        match moved {
            Ok(Moved { first, last, partition, base }) => {
                row.lane.died(first, last, partition, base);
                row.mover.moved();
                row.dirty = true;
            }
            Err(error) => {
                let (group, topic) = (self.served.group.as_str(), &row.topic);
                tracing::warn!(group, %topic, partition = %row.id().partition, %error, "dead letters have to wait");
                row.mover.failed(now, &error);
            }
        }
    }

    /// Lets time pass where something is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        for row in self.rows.values_mut() {
            row.trouble = row.trouble.take().filter(|(_, until)| *until > now);
            if row.lane.next_deadline().is_some_and(|deadline| deadline <= now) {
                row.lane.tick(now);
                row.dirty = true;
            }
        }
    }

    /// Gives retention what it may have.
    pub(super) fn yield_to_retention(&mut self, now: Timestamp) {
        self.rows.values_mut().for_each(|row| row.yield_to_retention(now));
    }

    /// When there is something to do next, at the latest.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let rows = self.rows.values().flat_map(|row| {
            let trouble = row.trouble.as_ref().map(|(_, until)| *until);
            let letters = row.mover.next_try().filter(|_| row.lane.counts().dying > 0);
            [row.lane.next_deadline(), letters, trouble]
        });
        rows.flatten().chain(self.look_again).min()
    }

    fn look_at(&mut self, time: Timestamp) {
        self.look_again = Some(self.look_again.map_or(time, |other| other.min(time)));
    }
}

/// What has become of a try to hand out.
enum Handed {
    Some(usize),
    Nothing,
    NobodyWaits,
}
