//! Lives that are told step by step, with a mistake of the one who asks for records and without.

use std::collections::BTreeSet;

use tidelog_core::delivery::{Acquire, Acquired, Cause, Lane, LanePolicy, Settle, Verb, WindowLimits};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex};

use super::world::{Partition, Schedule, at, id, index, offset};

struct Bench {
    lane: Lane<Schedule>,
    partition: Partition,
    now: i64,
}

impl Bench {
    fn new(policy: LanePolicy) -> Self {
        let lane = Lane::new(id(), policy, Schedule, Offset::ZERO, LeaderEpoch::new(1).unwrap());
        Self { lane, partition: Partition::default(), now: 0 }
    }

    fn produce(&mut self, count: usize) {
        let length = self.partition.keys.len();
        self.partition.keys.resize(length + count, 0);
    }

    fn take(&mut self, records_max: usize) -> Acquired {
        let ask = Acquire { member: 1, records_max, bytes_max: usize::MAX, lease_ms: None };
        self.lane.acquire(at(self.now), ask, &mut self.partition, &mut || true)
    }

    fn settle(&mut self, taken: &Acquired, verb: Verb) {
        let (first, last) = (taken.records[0].offset, taken.records[taken.records.len() - 1].offset);
        self.lane.settle(&Settle { lease: taken.lease, first, last, verb });
    }

    /// Writes what is dying to the dead letters; which, and why.
    fn bury(&mut self) -> Vec<(usize, Cause)> {
        let dying = self.lane.dying(usize::MAX);
        for one in &dying {
            let place = Offset::ZERO.plus(one.sequence);
            self.lane.died(one.sequence, one.sequence, PartitionIndex::ZERO, place);
        }
        dying.iter().map(|one| (index(one.offset), one.cause)).collect()
    }
}

/// Every record fails, 100 new ones a second for a minute: in how many seconds all new ones were handed out.
fn seconds_in_which_new_records_flow(parked_count: bool) -> usize {
    let window = WindowLimits { leased: 200, delayed: 10_000, ..WindowLimits::default() };
    let mut bench = Bench::new(LanePolicy { window, ..LanePolicy::default() });
    let mut seconds = 0;
    for second in 0..60 {
        bench.now = second * 1_000;
        bench.produce(100);
        loop {
            let counts = bench.lane.counts();
            let parked = if parked_count { counts.leased + counts.delayed } else { 0 };
            let taken = bench.take(50.min(200_usize.saturating_sub(parked)));
            if taken.records.is_empty() {
                break;
            }
            bench.settle(&taken, Verb::Nack { delay_ms: None, reason: None });
        }
        bench.bury();
        seconds += usize::from(index(bench.lane.end()) == bench.partition.keys.len());
    }
    seconds
}

#[test]
fn new_records_flow_while_everything_fails() {
    assert_eq!(seconds_in_which_new_records_flow(false), 60);
}

#[test]
fn delayed_records_that_count_as_handed_out_are_seen() {
    assert!(seconds_in_which_new_records_flow(true) < 10);
}

/// One record of 500 takes down whoever has it, with all that it has: which records die. `hoards` is a consumer that
/// takes everything it gets before it looks at the first.
fn dead_of_one_poison(hoards: bool) -> BTreeSet<usize> {
    let mut bench = Bench::new(LanePolicy::default());
    bench.produce(500);
    let mut dead = BTreeSet::new();
    for _ in 0..10_000 {
        let mut taken = vec![bench.take(500)];
        while hoards && taken.last().is_some_and(|batch| !batch.records.is_empty()) {
            taken.push(bench.take(500));
        }
        let is_poisoned = |batch: &Acquired| batch.records.iter().any(|record| record.offset == offset(137));
        if !taken.iter().any(is_poisoned) {
            let batches = taken.iter().filter(|batch| !batch.records.is_empty());
            batches.for_each(|batch| bench.settle(batch, Verb::Ack));
        }
        if taken.iter().all(|batch| batch.records.is_empty()) {
            let Some(next) = bench.lane.next_deadline() else { break };
            bench.now = next.millis();
            bench.lane.tick(at(bench.now));
        }
        dead.extend(bench.bury().into_iter().map(|(at, _)| at));
    }
    let counts = bench.lane.counts();
    assert_eq!((counts.start, counts.end), (offset(500), offset(500)), "{counts:?}");
    dead
}

#[test]
fn a_record_that_takes_its_consumer_down_dies_without_the_others_of_its_batch() {
    assert_eq!(dead_of_one_poison(false), BTreeSet::from([137]));
}

#[test]
fn records_that_die_with_the_poison_beside_them_are_seen() {
    assert!(dead_of_one_poison(true).len() > 1);
}

#[test]
fn a_lower_limit_of_attempts_kills_no_record_before_its_next_failure() {
    let mut bench = Bench::new(LanePolicy::default());
    bench.produce(3);
    for _ in 0..3 {
        let taken = bench.take(3);
        bench.settle(&taken, Verb::Nack { delay_ms: Some(1), reason: None });
        bench.now += 1;
    }
    let out = bench.take(1);
    bench.lane.reconfigure(LanePolicy { max_attempts: 2, ..LanePolicy::default() }, Schedule);
    bench.now += 10;
    bench.lane.tick(at(bench.now));
    assert_eq!(bench.bury(), []);
    bench.settle(&out, Verb::Ack);
    let taken = bench.take(3);
    assert_eq!(taken.records.iter().map(|record| record.attempt).collect::<Vec<_>>(), [4, 4]);
    bench.settle(&taken, Verb::Nack { delay_ms: None, reason: None });
    assert_eq!(bench.bury(), [(1, Cause::MaxAttempts), (2, Cause::MaxAttempts)]);
}
