//! What a queue group is asked, and how it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_core::delivery::{DeadLetter, LaneId, Retry};
use tidelog_model::{ErrorCode, Offset, PartitionIndex, TopicName};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::api::{
    DeadLetterPage, DescribedLane, DescribedQueue, JoinQueue, JoinedQueue, LetterDone, LetterOrder,
    LetterPlace, QueueMember, QueuePage, QueuePlace, QueueScope, RetryPage, SettleRecords, SettledRecords,
};
use super::group::{Note, Served};
use super::load::new_rows;
use super::row::Row;
use super::worker::Service;
use crate::error::BrokerError;

/// The most members of a group.
const MEMBERS_MAX: usize = 10_000;
/// Batches on their way to a member.
const BATCHES: usize = 4;
/// How many gating records are told.
const GATING: usize = 10;
/// How many retries of a lane are let go between two looks at others.
const RETRIES_AT_ONCE: usize = 100_000;

/// Who waits for an answer.
pub(crate) type Asker<T> = oneshot::Sender<Result<T, BrokerError>>;

/// A question.
pub(crate) enum Ask {
    /// Somebody wants records.
    Join(JoinQueue, Asker<QueueMember>),
    /// A member can take more of them.
    Credit(u64, usize),
    /// Take records back.
    Settle(Vec<SettleRecords>, Asker<Vec<Result<SettledRecords, BrokerError>>>),
    /// How the group is.
    Describe(Asker<DescribedQueue>),
    /// Which records wait for their next attempt: from a place on, so many.
    Retries(QueueScope, Option<QueuePlace>, usize, Asker<RetryPage>),
    /// Let them go at once.
    RetryNow(QueueScope, Asker<u64>),
    /// Which dead letters there are: from a place on, so many.
    DeadLetters(QueueScope, Option<QueuePlace>, usize, Asker<DeadLetterPage>),
    /// Do something with dead letters.
    Letters(LetterOrder, Vec<LetterPlace>, Asker<Vec<LetterDone>>),
    /// Other topics or settings.
    Alter(Arc<Served>, Asker<()>),
    /// Topics came, went or grew.
    TopicsChanged,
    /// End.
    Close,
}

impl Ask {
    /// Answers with an error.
    pub(super) fn refuse(self, error: &BrokerError) {
        let error = error.clone();
        match self {
            Self::Join(_, asker) => drop(asker.send(Err(error))),
            Self::Settle(_, asker) => drop(asker.send(Err(error))),
            Self::Describe(asker) => drop(asker.send(Err(error))),
            Self::Retries(.., asker) => drop(asker.send(Err(error))),
            Self::RetryNow(_, asker) => drop(asker.send(Err(error))),
            Self::DeadLetters(.., asker) => drop(asker.send(Err(error))),
            Self::Letters(.., asker) => drop(asker.send(Err(error))),
            Self::Alter(_, asker) => drop(asker.send(Err(error))),
            Self::Credit(..) | Self::TopicsChanged | Self::Close => {}
        }
    }
}

impl Service {
    pub(super) fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Join(join, asker) => drop(asker.send(self.join(join))),
            Ask::Credit(member, records) => self.group.members.credit(member, records),
            Ask::Settle(asks, asker) => self.settle(&asks, asker),
            Ask::Describe(asker) => drop(asker.send(Ok(self.describe()))),
            Ask::Retries(scope, from, limit, asker) => {
                let page = self.page(&scope, from.as_ref(), limit, |row, from| retries_of(row, from, limit));
                drop(asker.send(Ok(page)));
            }
            Ask::RetryNow(scope, asker) => {
                let retried = self.retry_now(&scope);
                self.when_stored(asker, retried);
            }
            Ask::DeadLetters(scope, from, limit, asker) => {
                let page = self.page(&scope, from.as_ref(), limit, |row, from| letters_of(row, from, limit));
                drop(asker.send(Ok(page)));
            }
            Ask::Letters(order, places, asker) => {
                let done = self.letters(order, &places);
                self.when_stored(asker, done);
            }
            Ask::Alter(served, asker) => {
                self.alter(served);
                self.when_stored(asker, ());
            }
            Ask::TopicsChanged => self.topics_changed(),
            Ask::Close => {}
        }
    }

    /// Answers when what has changed so far is durable.
    fn when_stored<T: Send + 'static>(&mut self, asker: Asker<T>, answer: T) {
        let tell = move |stored: Result<(), BrokerError>| drop(asker.send(stored.map(|()| answer)));
        self.answers.push(Box::new(tell));
    }

    fn join(&mut self, join: JoinQueue) -> Result<QueueMember, BrokerError> {
        if self.group.members.len() >= MEMBERS_MAX {
            let message = format!("the queue group has {MEMBERS_MAX} members, which is the limit");
            return Err(BrokerError::new(ErrorCode::GroupMaxSizeReached, message).field("group"));
        }
        let policy = self.group.served.config.lane;
        let lease = policy.lease;
        let (sender, batches) = mpsc::channel(BATCHES);
        let (member_id, wanted) = (Uuid::new_v4(), join.lease_ms.unwrap_or(lease.default_ms));
        let closed = sender.clone();
        let number = self.group.members.join(member_id, join, sender);
        self.group.jobs.spawn(async move {
            closed.closed().await;
            Note::Left(number)
        });
        let joined = JoinedQueue {
            number,
            member_id,
            lease_ms: wanted.clamp(lease.min_ms, lease.max_ms.max(lease.min_ms)),
            order: policy.order,
            max_attempts: policy.max_attempts,
        };
        Ok(QueueMember { joined, batches, room: Arc::clone(&self.room) })
    }

    fn settle(&mut self, asks: &[SettleRecords], asker: Asker<Vec<Result<SettledRecords, BrokerError>>>) {
        let now = self.clock.now();
        let mut must_wait = false;
        let settled = asks.iter().map(|ask| {
            let settled = self.group.settle(now, ask);
            settled.map(|(settled, waits)| {
                must_wait |= waits;
                settled
            })
        });
        let settled = settled.collect();
        if must_wait {
            self.when_stored(asker, settled);
        } else {
            drop(asker.send(Ok(settled)));
        }
    }

    fn describe(&mut self) -> DescribedQueue {
        let at = self.clock.now();
        let mut lanes: Vec<DescribedLane> = self.group.rows.values().map(describe_lane).collect();
        lanes.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
        let admission = self.group.governor.admit(at);
        let mut leased: BTreeMap<u64, usize> = BTreeMap::new();
        for (member, records) in self.group.rows.values().flat_map(|row| row.lane.leases()) {
            let leased = leased.entry(member).or_default();
            *leased = leased.saturating_add(records);
        }
        let members = self.group.members.describe(|member| leased.get(&member).copied().unwrap_or(0));
        DescribedQueue { at, admission, lanes, members }
    }

    /// A page of what `of` finds in the lanes, in the order of their names.
    fn page<T>(
        &self,
        scope: &QueueScope,
        from: Option<&QueuePlace>,
        limit: usize,
        of: impl Fn(&Row, Offset) -> Vec<(Offset, T)>,
    ) -> QueuePage<T> {
        let mut rows: Vec<(&TopicName, PartitionIndex, &Row)> =
            self.group.rows.values().map(|row| (&row.topic, row.id().partition, row)).collect();
        rows.sort_by_key(|(topic, partition, _)| (*topic, *partition));
        let (first, last) = (scope.first.unwrap_or(Offset::ZERO), scope.last.unwrap_or(Offset::MAX));
        let mut found = Vec::new();
        for (topic, partition, row) in rows {
            let begin = match from {
                Some(place) if (topic, partition) < (&place.topic, place.partition) => continue,
                Some(place) if (topic, partition) == (&place.topic, place.partition) => place.offset,
                _ => Offset::ZERO,
            };
            if !scope.has(topic, partition) {
                continue;
            }
            let begin = begin.max(first);
            for (offset, one) in of(row, begin).into_iter().take_while(|(offset, _)| *offset <= last) {
                if found.len() == limit {
                    let next = Some(QueuePlace { topic: topic.clone(), partition, offset });
                    return QueuePage { found, next };
                }
                found.push((topic.clone(), partition, one));
            }
        }
        QueuePage { found, next: None }
    }

    fn retry_now(&mut self, scope: &QueueScope) -> u64 {
        let now = self.clock.now();
        let last = scope.last.unwrap_or(Offset::MAX);
        let mut retried: usize = 0;
        for row in self.group.rows.values_mut().filter(|row| scope.has(&row.topic, row.id().partition)) {
            let mut first = scope.first.unwrap_or(Offset::ZERO);
            loop {
                let (some, next) = row.lane.retry_now(now, first, last, RETRIES_AT_ONCE);
                retried = retried.saturating_add(some);
                let Some(next) = next else { break };
                first = next;
            }
            row.dirty = true;
        }
        u64::try_from(retried).unwrap_or(u64::MAX)
    }

    fn letters(&mut self, order: LetterOrder, places: &[LetterPlace]) -> Vec<LetterDone> {
        let now = self.clock.now();
        let mut done = Vec::with_capacity(places.len());
        for (topic, partition, offset) in places {
            let lane = self.group.lane_of(topic, *partition);
            let row = lane.and_then(|lane| self.group.rows.get_mut(&lane));
            done.push(match (order, row) {
                (LetterOrder::Redrive(_), Some(row)) if row.served && !row.keep(*offset) => LetterDone::Gone,
                (LetterOrder::Redrive(id), Some(row)) if row.served => {
                    row.dirty = true;
                    LetterDone::Redrive(row.lane.redrive(now, id, *offset))
                }
                (LetterOrder::Redrive(_), _) => LetterDone::Redrive(tidelog_core::delivery::Redrive::NotDead),
                (LetterOrder::Resolve, Some(row)) => {
                    row.dirty = true;
                    LetterDone::Resolved(row.lane.resolve(*offset))
                }
                (LetterOrder::Resolve, None) => LetterDone::Resolved(false),
            });
        }
        done
    }

    fn alter(&mut self, served: Arc<Served>) {
        let config = &served.config;
        for row in self.group.rows.values_mut() {
            let backoff = config.backoff(&served.group, row.id());
            row.lane.reconfigure(config.lane, backoff);
            row.served = served.definition.topics.contains(&row.topic);
            row.dirty = true;
        }
        self.group.governor.reconfigure(config);
        self.group.served = served;
        self.topics_changed();
    }

    fn topics_changed(&mut self) {
        let Some(broker) = self.group.broker.upgrade() else { return };
        self.group.drop_lanes(|lane: LaneId| broker.topic_by_id(lane.topic_id).is_none());
        let epoch = self.store.partition.leader_epoch();
        let rows = &self.group.rows;
        let new = new_rows(&broker, &self.group.served, epoch, |lane| rows.contains_key(&lane));
        self.group.add(new);
    }
}

fn describe_lane(row: &Row) -> DescribedLane {
    let gating = row.lane.gating_keys(GATING);
    let trouble = row.trouble.as_ref().map(|(why, _)| why.as_str());
    let unread = (!row.served).then_some("the group does not read the topic any more");
    let problem = trouble.or_else(|| row.mover.problem()).or(unread);
    DescribedLane {
        topic: row.topic.clone(),
        partition: row.id().partition,
        counts: row.lane.counts(),
        high_watermark: row.partition.readable().high_watermark,
        blocked: row.blocked,
        gating: gating.into_iter().map(|(_, offset, waiting)| (offset, waiting)).collect(),
        problem: problem.map(str::to_owned),
    }
}

/// One more than fit in a page, so that it is known whether there are more.
fn retries_of(row: &Row, from: Offset, limit: usize) -> Vec<(Offset, Retry)> {
    row.lane.retries(from).take(limit.saturating_add(1)).map(|retry| (retry.offset, retry)).collect()
}

fn letters_of(row: &Row, from: Offset, limit: usize) -> Vec<(Offset, DeadLetter)> {
    row.lane.dead_letters(from).take(limit.saturating_add(1)).map(|letter| (letter.offset, letter)).collect()
}
