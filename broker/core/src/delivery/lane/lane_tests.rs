use tidelog_model::Offset;

use super::testkit::{Bench, Schedule, at, id, offset, policy, unordered};
use super::*;
use crate::delivery::policy::{Cause, DelayedEdge, LeasePolicy, Reason, WindowLimits};

#[test]
fn a_record_that_fails_comes_again_when_it_is_due_and_others_go_on() {
    let mut bench = unordered(4);
    let (lease, taken) = bench.take(1, 2);
    assert_eq!(taken, [(0, 1), (1, 1)]);
    assert_eq!(bench.nack(lease, 0), SettleStatus::Done(Outcome::Delayed));
    bench.ack(lease, 1, 1);
    let (second, taken) = bench.take(1, 10);
    assert_eq!(taken, [(2, 1), (3, 1)]);
    bench.ack(second, 2, 3);
    assert_eq!(bench.state(), (0, 4, 0, 0, 1, 0, 0));
    bench.now = 999;
    assert_eq!(bench.take(1, 10).1, []);
    bench.now = 1_000;
    let (lease, taken) = bench.take(1, 10);
    assert_eq!(taken, [(0, 2)]);
    bench.ack(lease, 0, 0);
    assert_eq!(bench.state(), (4, 4, 0, 0, 0, 0, 0));
}

#[test]
fn the_last_attempt_that_fails_makes_a_dead_letter_and_due_times_and_attempts_survive_a_crash() {
    let mut bench = unordered(1);
    for (attempt, delay) in [(1, 1_000), (2, 5_000)] {
        let (lease, taken) = bench.take(1, 1);
        assert_eq!(taken, [(0, attempt)]);
        bench.nack(lease, 0);
        bench.crash();
        bench.now += delay - 1;
        assert_eq!(bench.take(1, 1).1, []);
        bench.now += 1;
    }
    let (lease, taken) = bench.take(1, 1);
    assert_eq!(taken, [(0, 3)]);
    assert_eq!(bench.nack(lease, 0), SettleStatus::Done(Outcome::Dead));
    bench.crash();
    assert_eq!(bench.state(), (0, 1, 0, 0, 0, 1, 0));
    assert_eq!(bench.bury(40), [(0, Cause::MaxAttempts)]);
    bench.crash();
    assert_eq!(bench.state(), (1, 1, 0, 0, 0, 0, 1));
    let dead: Vec<DeadLetter> = bench.lane.dead_letters(Offset::ZERO).collect();
    assert_eq!((dead[0].offset, dead[0].place, dead[0].sequence), (offset(0), offset(40), 0));
}

#[test]
fn only_the_lease_that_has_a_record_settles_it_and_only_once() {
    let mut bench = unordered(1);
    let (old, _) = bench.take(1, 1);
    bench.now = 30_000;
    // The same member gets it again: what it says of the first time is void.
    bench.take(1, 1);
    bench.now = 31_000;
    let (lease, taken) = bench.take(1, 1);
    assert_eq!(taken, [(0, 2)]);
    assert_eq!(bench.settle(old, 0, 0, Verb::Ack), [(0, 0, SettleStatus::StaleLease)]);
    assert_eq!(bench.state().3, 1);
    bench.ack(lease, 0, 0);
    let again = SettleStatus::AlreadySettled(Outcome::Acked);
    assert_eq!(bench.settle(lease, 0, 0, Verb::Ack), [(0, 0, again)]);
    assert_eq!(bench.nack(lease, 0), again);
    bench.crash();
    assert_eq!(bench.settle(lease, 0, 0, Verb::Ack), [(0, 0, SettleStatus::StaleLease)]);
}

#[test]
fn a_lease_lives_as_long_as_it_is_renewed_within_its_limit() {
    let lease = LeasePolicy { total_ms: 50_000, ..LeasePolicy::default() };
    let mut bench = Bench::new(LanePolicy { lease, ..policy(OrderMode::Unordered) }, &[0]);
    let (lease, _) = bench.take(1, 1);
    bench.now = 29_999;
    let renew = Verb::Renew { lease_ms: None };
    assert_eq!(bench.settle(lease, 0, 0, renew.clone()), [(0, 0, SettleStatus::Renewed)]);
    assert_eq!(bench.lane.lease_deadline(lease), Some(at(50_000)));
    bench.now = 50_000;
    assert_eq!(bench.settle(lease, 0, 0, renew), [(0, 0, SettleStatus::StaleLease)]);
    assert_eq!(bench.state().4, 1, "a lease that ends is a failed attempt");
}

#[test]
fn releasing_costs_no_attempt_until_it_was_done_too_often() {
    let policy = LanePolicy { max_releases: 2, ..policy(OrderMode::Unordered) };
    let mut bench = Bench::new(policy, &[0]);
    for _ in 0..2 {
        let (lease, taken) = bench.take(1, 1);
        assert_eq!(taken, [(0, 1)]);
        assert_eq!(bench.settle(lease, 0, 0, Verb::Release)[0].2, SettleStatus::Done(Outcome::Released));
        bench.crash();
    }
    let (lease, _) = bench.take(1, 1);
    assert_eq!(bench.settle(lease, 0, 0, Verb::Release)[0].2, SettleStatus::Done(Outcome::Delayed));
}

#[test]
fn a_key_waits_for_its_own_records_only_also_after_a_crash() {
    let mut bench = Bench::new(policy(OrderMode::Key), &[1, 2, 1, 0, 2, 1, 0]);
    let (lease, taken) = bench.take(1, 10);
    assert_eq!(taken, [(0, 1), (1, 1), (3, 1), (6, 1)]);
    bench.nack(lease, 0);
    bench.ack(lease, 1, 1);
    bench.ack(lease, 3, 6);
    assert_eq!(bench.take(1, 10).1, [(4, 1)]);
    bench.crash();
    // The lease of record 4 is gone; records 2 and 5 still wait for record 0.
    assert_eq!(bench.take(1, 10).1, [(4, 1)]);
    bench.now = 1_000;
    let (lease, taken) = bench.take(1, 10);
    assert_eq!(taken, [(0, 2)]);
    bench.ack(lease, 0, 0);
    assert_eq!(bench.take(1, 10).1, [(2, 1)]);
    assert_eq!(bench.lane.gating_keys(9), [(1, offset(2), 1)]);
}

#[test]
fn records_of_a_key_follow_a_dead_one_until_it_is_redriven() {
    let policy = LanePolicy { on_dead: OnDead::Follow, max_attempts: 1, ..policy(OrderMode::Key) };
    let mut bench = Bench::new(policy, &[1, 1, 2, 1]);
    let (lease, taken) = bench.take(1, 10);
    assert_eq!(taken, [(0, 1), (2, 1)]);
    bench.ack(lease, 2, 2);
    bench.nack(lease, 0);
    assert_eq!(bench.bury(0), [(0, Cause::MaxAttempts)]);
    assert_eq!(bench.bury(1), [(1, Cause::KeyFollow)]);
    bench.crash();
    assert_eq!(bench.bury(2), [(3, Cause::KeyFollow)]);
    bench.source.0.push(1);
    assert_eq!(bench.take(1, 10).1, []);
    assert_eq!(bench.bury(3), [(4, Cause::KeyFollow)]);
    for dead in [0, 1, 3, 4] {
        assert_eq!(bench.lane.redrive(at(bench.now), 9, offset(dead)), Redrive::Done);
    }
    // In their order, one after the other, and then the key is free.
    for expected in [0, 1, 3, 4] {
        let (lease, taken) = bench.take(1, 10);
        assert_eq!(taken, [(expected, 1)]);
        bench.ack(lease, expected, expected);
    }
    bench.source.0.push(1);
    assert_eq!(bench.take(1, 10).1, [(5, 1)]);
}

#[test]
fn a_partition_in_order_has_one_batch_out_and_goes_back_to_what_failed() {
    let mut bench = Bench::new(policy(OrderMode::Partition), &[0; 6]);
    let (lease, taken) = bench.take(1, 3);
    assert_eq!(taken, [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(bench.take(2, 3).1, []);
    bench.ack(lease, 0, 0);
    bench.nack(lease, 1);
    assert_eq!(bench.settle(lease, 2, 2, Verb::Ack), [(2, 2, SettleStatus::StaleLease)]);
    assert_eq!(bench.take(1, 3).1, []);
    bench.now = 1_000;
    assert_eq!(bench.take(1, 3).1, [(1, 2), (2, 1), (3, 1)]);
}

#[test]
fn a_record_that_silences_its_consumer_late_goes_alone() {
    let mut bench = unordered(3);
    for wait in [1_000, 5_000] {
        bench.take(1, 1);
        bench.now += 30_000;
        bench.lane.tick(at(bench.now));
        bench.now += wait;
    }
    // Its third attempt comes after two that ended without a word.
    assert_eq!(bench.take(1, 10).1, [(0, 3)]);
    assert_eq!(bench.take(1, 10).1, [(1, 1), (2, 1)]);
}

#[test]
fn retries_are_at_most_half_of_a_batch_while_there_are_new_records() {
    let mut bench = unordered(100);
    let (lease, _) = bench.take(1, 10);
    (0..10).for_each(|failed| assert_eq!(bench.nack(lease, failed), SettleStatus::Done(Outcome::Delayed)));
    bench.now = 1_000;
    let (_, taken) = bench.take(1, 6);
    assert_eq!(taken.iter().filter(|(_, attempt)| *attempt == 2).count(), 3);
    // Without a retry left only new records come, and it is said why.
    let acquired = bench.ask(1, 6, false);
    assert_eq!((acquired.records.len(), acquired.blocked), (6, Some(Blocked::Budget)));
    assert!(acquired.records.iter().all(|record| record.attempt == 1));
}

#[test]
fn each_state_has_its_own_limit_and_parked_records_do_not_block() {
    let window = WindowLimits { leased: 3, delayed: 5, dying: 1, lookahead: 20 };
    let mut bench =
        Bench::new(LanePolicy { window, max_attempts: 1, ..policy(OrderMode::Unordered) }, &[0; 50]);
    let acquired = bench.ask(1, 10, true);
    assert_eq!((acquired.records.len(), acquired.blocked), (3, None));
    assert_eq!(bench.ask(1, 10, true).blocked, Some(Blocked::Leased));
    assert_eq!(bench.nack(acquired.lease, 0), SettleStatus::Done(Outcome::Dead));
    assert_eq!(bench.nack(acquired.lease, 1), SettleStatus::RetryLater);
    bench.ack(acquired.lease, 2, 2);
    bench.bury(0);
    assert_eq!(bench.nack(acquired.lease, 1), SettleStatus::Done(Outcome::Dead));
    bench.policy.max_attempts = 9;
    bench.lane.reconfigure(bench.policy, Schedule);
    for _ in 0..5 {
        let (lease, taken) = bench.take(1, 1);
        bench.nack(lease, taken[0].0);
    }
    let stalled = bench.ask(1, 10, true);
    assert_eq!((stalled.records.len(), stalled.blocked), (0, Some(Blocked::Delayed)));
    assert_eq!(bench.lane.counts().delayed, 5);
    let edge = LanePolicy { delayed_edge: DelayedEdge::EarlyDeadLetter, ..bench.policy };
    bench.bury(1);
    bench.lane.reconfigure(edge, Schedule);
    let (lease, taken) = bench.take(1, 1);
    assert_eq!(bench.nack(lease, taken[0].0), SettleStatus::Done(Outcome::Dead));
}

#[test]
fn the_window_is_not_longer_than_the_lookahead() {
    let window = WindowLimits { lookahead: 4, ..WindowLimits::default() };
    let mut bench = Bench::new(LanePolicy { window, ..policy(OrderMode::Unordered) }, &[0; 50]);
    let (lease, _) = bench.take(1, 4);
    bench.ack(lease, 1, 3);
    let acquired = bench.ask(1, 4, true);
    assert_eq!((acquired.records.len(), acquired.blocked), (0, Some(Blocked::Lookahead)));
    bench.ack(lease, 0, 0);
    assert_eq!(bench.take(1, 4).1.len(), 4);
}

#[test]
fn a_dead_letter_is_redriven_once_each_time_and_not_for_ever() {
    let mut bench =
        Bench::new(LanePolicy { max_attempts: 1, max_redrives: 2, ..policy(OrderMode::Unordered) }, &[0; 3]);
    let (lease, _) = bench.take(1, 3);
    bench.ack(lease, 1, 2);
    bench.nack(lease, 0);
    bench.bury(0);
    assert_eq!(bench.state(), (3, 3, 0, 0, 0, 0, 1));
    for round in 1..=2 {
        assert_eq!(bench.lane.redrive(at(bench.now), round, offset(0)), Redrive::Done);
        assert_eq!(bench.lane.redrive(at(bench.now), round, offset(0)), Redrive::HadIt);
        bench.keep();
        bench.crash();
        let (lease, taken) = bench.take(1, 3);
        assert_eq!((taken, bench.state().0), (vec![(0, 1)], 3), "the start does not go back");
        bench.nack(lease, 0);
        bench.bury(round.cast_signed());
        assert_eq!(bench.lane.redrive(at(bench.now), round, offset(0)), Redrive::HadIt);
        bench.compact();
        bench.crash();
        assert_eq!(bench.lane.redrive(at(bench.now), round, offset(0)), Redrive::HadIt);
    }
    assert_eq!(bench.lane.redrive(at(bench.now), 3, offset(0)), Redrive::TooOften { limit: 2 });
    assert_eq!(bench.lane.redrive(at(bench.now), 3, offset(1)), Redrive::NotDead);
    assert!(bench.lane.resolve(offset(0)) && !bench.lane.resolve(offset(0)));
    assert_eq!(bench.state().6, 0);
}

#[test]
fn retention_waits_for_records_that_failed_and_skips_those_nobody_had() {
    let mut bench = unordered(10);
    let (lease, _) = bench.take(1, 4);
    bench.nack(lease, 1);
    bench.settle(lease, 2, 2, Verb::Release);
    bench.ack(lease, 3, 3);
    assert_eq!(bench.lane.held_from(), offset(0));
    bench.lane.retention(at(bench.now), offset(8));
    bench.keep();
    // Record 0 is still out, 1 has failed, 2 has not, 4 to 7 nobody had.
    assert_eq!((bench.lane.held_from(), bench.lane.counts().skipped), (offset(0), 5));
    assert_eq!(bench.bury(0), [(1, Cause::Retention)]);
    bench.ack(lease, 0, 0);
    assert_eq!((bench.lane.held_from(), bench.state().0), (Offset::MAX, 8));
    bench.crash();
    assert_eq!((bench.state().0, bench.state().1), (8, 8));
    assert_eq!(bench.take(1, 10).1, [(8, 1), (9, 1)]);
}

#[test]
fn a_member_that_leaves_has_failed_what_it_had() {
    let mut bench = unordered(4);
    bench.take(1, 2);
    let (lease, _) = bench.take(2, 2);
    bench.lane.member_left(at(5), 1);
    assert_eq!(bench.state(), (0, 4, 0, 2, 2, 0, 0));
    bench.ack(lease, 2, 3);
}

#[test]
fn a_record_that_takes_the_broker_along_comes_to_an_end() {
    let mut bench = unordered(1);
    let (lease, _) = bench.take(1, 1);
    bench.nack(lease, 0);
    bench.now = 10_000;
    for attempt in [2, 3] {
        assert_eq!(bench.take(1, 1).1, [(0, attempt)]);
        bench.crash();
    }
    assert_eq!(bench.bury(0), [(0, Cause::LeaseExpired)]);
}

#[test]
fn what_is_no_record_is_passed_over_for_good() {
    let mut bench = Bench::new(policy(OrderMode::Unordered), &[-1, 0, -1, -1, 0, -1]);
    let (lease, taken) = bench.take(1, 10);
    assert_eq!(taken, [(1, 1), (4, 1)]);
    bench.ack(lease, 4, 4);
    bench.ack(lease, 1, 1);
    assert_eq!(bench.state(), (6, 6, 0, 0, 0, 0, 0));
    bench.crash();
    assert_eq!(bench.state(), (6, 6, 0, 0, 0, 0, 0));
    // A record that was compacted away since it was looked at.
    bench.source.0.extend([0, 0]);
    bench.take(1, 10);
    bench.lane.gone(offset(6));
    assert_eq!(bench.state().0, 7);
}

#[test]
fn half_a_snapshot_behind_the_events_changes_nothing() {
    let mut bench = Bench::new(LanePolicy { max_attempts: 1, ..policy(OrderMode::Key) }, &[1, 2, 3, 1, 2, 3]);
    let (lease, _) = bench.take(1, 10);
    bench.nack(lease, 0);
    bench.ack(lease, 1, 1);
    bench.bury(0);
    bench.nack(lease, 2);
    let snapshot = bench.lane.snapshot();
    let ops = snapshot[0].ops.clone();
    let whole = bench.log.clone();
    bench.crash();
    // What was handed out and not spoken of may be in the window or behind its end.
    let stored = |bench: &Bench| {
        let (start, _, _, _, delayed, dying, dead) = bench.state();
        ((start, delayed, dying, dead), bench.lane.dying(9))
    };
    let before = stored(&bench);
    for count in 0..=ops.len() {
        bench.log = whole.clone();
        bench.log.push(LaneEvent { lane: id(), ops: ops[..count].to_vec() });
        bench.crash();
        assert_eq!(stored(&bench), before, "{count} of {ops:?}");
    }
    bench.log = snapshot;
    bench.crash();
    assert_eq!(stored(&bench), before);
}

#[test]
fn a_reset_waits_for_the_dead_letters_on_their_way() {
    let mut bench = Bench::new(LanePolicy { max_attempts: 1, ..policy(OrderMode::Unordered) }, &[0; 4]);
    let (lease, _) = bench.take(1, 4);
    bench.nack(lease, 2);
    assert!(!bench.lane.reset(Offset::ZERO));
    bench.bury(0);
    assert!(bench.lane.reset(Offset::ZERO));
    bench.keep();
    assert_eq!(bench.settle(lease, 0, 3, Verb::Ack), [(0, 3, SettleStatus::StaleLease)]);
    bench.crash();
    assert_eq!(bench.take(1, 4).1.len(), 4);
}

#[test]
fn reasons_are_kept_as_long_as_they_may_be() {
    let reason = Reason::new(&"C".repeat(99), &"ä".repeat(99));
    assert_eq!((reason.code().len(), reason.text().chars().count()), (32, 32));
    let mut bench = Bench::new(LanePolicy { max_attempts: 1, ..policy(OrderMode::Unordered) }, &[0]);
    let (lease, _) = bench.take(1, 1);
    bench.settle(lease, 0, 0, Verb::Reject { reason: Some(reason.clone()) });
    bench.crash();
    let dying = bench.lane.dying(1);
    assert_eq!((dying[0].reason.as_ref(), dying[0].cause), (Some(&reason), Cause::Rejected));
}

#[test]
fn a_dying_record_that_is_compacted_away_keeps_its_number() {
    let mut bench = Bench::new(LanePolicy { max_attempts: 1, ..policy(OrderMode::Unordered) }, &[0; 2]);
    let (lease, _) = bench.take(1, 2);
    bench.nack(lease, 0);
    bench.nack(lease, 1);
    bench.lane.gone(offset(0));
    bench.keep();
    bench.crash();
    assert_eq!(bench.bury(0), [(0, Cause::MaxAttempts), (1, Cause::MaxAttempts)]);
    assert_eq!(bench.state(), (2, 2, 0, 0, 0, 0, 2));
}

#[test]
fn what_is_remembered_of_settled_leases_is_bounded() {
    let count = 400;
    let mut bench = unordered(count);
    let mut first = None;
    // Each lease has every other of its records released, so that nothing can be joined.
    for _ in 0..400 {
        let (lease, taken) = bench.take(1, count);
        first.get_or_insert(lease);
        for (at, _) in taken {
            if at % 2 == 0 {
                bench.settle(lease, at, at, Verb::Release);
            } else {
                bench.settle(lease, at, at, Verb::Nack { delay_ms: Some(0), reason: None });
            }
        }
        bench.lane.reconfigure(LanePolicy { max_attempts: u16::MAX, ..bench.policy }, Schedule);
        bench.log.clear();
    }
    let first = first.unwrap();
    assert_eq!(bench.settle(first, 0, 0, Verb::Ack), [(0, 0, SettleStatus::StaleLease)]);
}

#[test]
fn a_clock_that_is_set_back_stops_neither_leases_nor_delays() {
    let mut bench = unordered(2);
    bench.now = 10_000_000;
    let (lease, _) = bench.take(1, 1);
    bench.now -= 3_600_000;
    bench.lane.tick(at(bench.now));
    // By the clock that is told, the lease has its 30 s still.
    assert_eq!(bench.lane.lease_deadline(lease), Some(at(bench.now + 30_000)));
    assert_eq!(bench.lane.next_deadline(), Some(at(bench.now + 30_000)));
    bench.now += 30_000;
    bench.lane.tick(at(bench.now));
    bench.keep();
    assert_eq!(bench.lane.next_deadline(), Some(at(bench.now + 1_000)));
    bench.crash();
    bench.now += 999;
    assert_eq!(bench.take(1, 1).1, [(1, 1)]);
    bench.now += 1;
    assert_eq!(bench.take(1, 1).1, [(0, 2)]);
}

#[test]
fn a_redriven_record_that_waited_for_a_dead_one_is_not_early_after_a_crash() {
    let mut bench = Bench::new(LanePolicy { max_attempts: 2, ..policy(OrderMode::Key) }, &[1, 1]);
    let reject = Verb::Reject { reason: None };
    for dead in [0, 1] {
        let (lease, taken) = bench.take(1, 1);
        assert_eq!(taken, [(dead, 1)]);
        bench.settle(lease, dead, dead, reject.clone());
        bench.bury(dead);
    }
    for dead in [0, 1] {
        assert_eq!(bench.lane.redrive(at(bench.now), 1, offset(dead)), Redrive::Done);
    }
    let (lease, _) = bench.take(1, 1);
    bench.settle(lease, 0, 0, reject);
    bench.bury(2);
    let (lease, taken) = bench.take(1, 1);
    assert_eq!(taken, [(1, 1)]);
    bench.nack(lease, 1);
    bench.crash();
    assert_eq!(bench.take(1, 1).1, []);
    bench.now += 1_000;
    assert_eq!(bench.take(1, 1).1, [(1, 2)]);
}

#[test]
fn each_offset_of_a_settle_has_its_own_answer() {
    let mut bench = unordered(5);
    let (lease, _) = bench.take(1, 4);
    bench.ack(lease, 0, 0);
    bench.ack(lease, 3, 3);
    let acked = SettleStatus::AlreadySettled(Outcome::Acked);
    let done = SettleStatus::Done(Outcome::Acked);
    bench.nack(lease, 1);
    let nacked = SettleStatus::AlreadySettled(Outcome::Delayed);
    let answers =
        [(0, 0, acked), (1, 1, nacked), (2, 2, done), (3, 3, acked), (4, 4, SettleStatus::StaleLease)];
    assert_eq!(bench.settle(lease, 0, 4, Verb::Ack), answers);
    // What was lost is not said to be settled because its neighbours are.
    let (lease, _) = bench.take(1, 1);
    bench.now = 30_000;
    assert_eq!(bench.settle(lease, 4, 4, Verb::Ack), [(4, 4, SettleStatus::StaleLease)]);
}
