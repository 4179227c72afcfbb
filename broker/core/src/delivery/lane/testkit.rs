//! A lane on a bench: its source is a list of keys, and a crash keeps its log alone.

use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use uuid::Uuid;

use super::*;
use crate::codec::Event;
use crate::delivery::policy::Cause;

#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule;

impl Backoff for Schedule {
    fn delay_ms(&self, _offset: Offset, attempt: u32) -> i64 {
        [1_000, 5_000, 30_000][usize::try_from(attempt - 1).unwrap().min(2)]
    }
}

/// Records with these keys, the first at offset 0; a key of -1 is no record.
pub(super) struct Records(pub(super) Vec<i64>);

impl RecordSource for Records {
    fn next(&mut self, from: Offset) -> Option<SourceRecord> {
        let at = usize::try_from(from.get()).unwrap();
        let key = *self.0.get(at)?;
        let kind = if key < 0 { RecordKind::Gone } else { RecordKind::Data };
        Some(SourceRecord { offset: from, key: u32::try_from(key.max(0)).unwrap(), bytes: 10, kind })
    }
}

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

pub(super) fn id() -> LaneId {
    LaneId { topic_id: TopicId::from_uuid(Uuid::from_u128(7)), partition: PartitionIndex::ZERO }
}

pub(super) fn run(number: i32) -> LeaderEpoch {
    LeaderEpoch::new(number).unwrap()
}

/// A lane with its source and its log.
pub(super) struct Bench {
    pub(super) lane: Lane<Schedule>,
    pub(super) source: Records,
    pub(super) log: Vec<LaneEvent>,
    pub(super) policy: LanePolicy,
    pub(super) now: i64,
    run: i32,
}

impl Bench {
    pub(super) fn new(policy: LanePolicy, keys: &[i64]) -> Self {
        let lane = Lane::new(id(), policy, Schedule, Offset::ZERO, run(1));
        Self { lane, source: Records(keys.to_vec()), log: Vec::new(), policy, now: 0, run: 1 }
    }

    pub(super) fn keep(&mut self) {
        let event = self.lane.take_event();
        self.log.extend(event.map(|event| LaneEvent::decode(&event.encode()).unwrap()));
    }

    /// Offsets and attempts, and the lease.
    pub(super) fn take(&mut self, member: u64, count: usize) -> (u64, Vec<(i64, u16)>) {
        let acquired = self.ask(member, count, true);
        (acquired.lease, acquired.records.iter().map(|one| (one.offset.get(), one.attempt)).collect())
    }

    pub(super) fn ask(&mut self, member: u64, count: usize, may_retry: bool) -> Acquired {
        let ask = Acquire { member, records_max: count, bytes_max: 1_000_000, lease_ms: None };
        let acquired = self.lane.acquire(at(self.now), ask, &mut self.source, &mut || may_retry);
        self.keep();
        acquired
    }

    pub(super) fn settle(
        &mut self,
        lease: u64,
        first: i64,
        last: i64,
        verb: Verb,
    ) -> Vec<(i64, i64, SettleStatus)> {
        self.lane.tick(at(self.now));
        let settle = Settle { lease, first: offset(first), last: offset(last), verb };
        let settled = self.lane.settle(&settle);
        self.keep();
        settled.results.iter().map(|(first, last, status)| (first.get(), last.get(), *status)).collect()
    }

    pub(super) fn nack(&mut self, lease: u64, at: i64) -> SettleStatus {
        self.settle(lease, at, at, Verb::Nack { delay_ms: None, reason: None })[0].2
    }

    pub(super) fn ack(&mut self, lease: u64, first: i64, last: i64) {
        let done = SettleStatus::Done(Outcome::Acked);
        let results = self.settle(lease, first, last, Verb::Ack);
        assert!(results.iter().all(|(_, _, status)| *status == done), "{results:?}");
    }

    /// What a crash leaves, read back.
    pub(super) fn crash(&mut self) {
        self.run += 1;
        let mut lane = Lane::replay(id(), self.policy, Schedule, run(self.run));
        self.log.iter().for_each(|event| lane.apply(event).unwrap());
        let keys = self.source.0.clone();
        lane.loaded(at(self.now), |offset| {
            let key = keys.get(usize::try_from(offset.get()).unwrap()).copied()?;
            u32::try_from(key).ok()
        });
        self.lane = lane;
        self.keep();
    }

    /// Reads a snapshot back in place of the log.
    pub(super) fn compact(&mut self) {
        self.log = self.lane.snapshot();
    }

    /// Copies what is dying to the dead letters, the first of them to this place.
    pub(super) fn bury(&mut self, place: i64) -> Vec<(i64, Cause)> {
        let dying = self.lane.dying(100);
        if let (Some(first), Some(last)) = (dying.first(), dying.last()) {
            self.lane.died(first.sequence, last.sequence, PartitionIndex::ZERO, offset(place));
        }
        self.keep();
        dying.iter().map(|one| (one.offset.get(), one.cause)).collect()
    }

    pub(super) fn state(&self) -> (i64, i64, usize, usize, usize, usize, usize) {
        let counts = self.lane.counts();
        let LaneCounts { start, end, available, leased, delayed, dying, dead, .. } = counts;
        (start.get(), end.get(), available, leased, delayed, dying, dead)
    }
}

pub(super) fn policy(order: OrderMode) -> LanePolicy {
    LanePolicy { order, max_attempts: 3, ..LanePolicy::default() }
}

pub(super) fn unordered(count: usize) -> Bench {
    Bench::new(policy(OrderMode::Unordered), &vec![0; count])
}
