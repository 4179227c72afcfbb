use super::super::testkit::{at, offset, unordered};
use super::super::{Settle, Verb};
use crate::delivery::policy::Reason;
use tidelog_model::Offset;

#[test]
fn records_that_wait_are_listed_with_why_and_until_when() {
    let mut bench = unordered(3);
    let (lease, _) = bench.take(1, 3);
    let reason = Some(Reason::new("DOWN", "no answer"));
    bench.now = 7;
    bench.settle(lease, 1, 2, Verb::Nack { delay_ms: None, reason: reason.clone() });
    let waiting: Vec<_> = bench.lane.retries(offset(2)).collect();
    assert_eq!(waiting.len(), 1);
    let one = &waiting[0];
    assert_eq!((one.offset, one.attempts, one.due), (offset(2), 1, at(1_007)));
    assert_eq!((one.first_failure, one.last_failure, &one.reason), (at(7), at(7), &reason));
    assert_eq!(bench.lane.retries(Offset::ZERO).count(), 2);
}

#[test]
fn retries_run_at_once_when_told_to_and_a_crash_does_not_take_that_back() {
    let mut bench = unordered(5);
    let (lease, _) = bench.take(1, 5);
    bench.settle(lease, 0, 4, Verb::Nack { delay_ms: Some(100_000), reason: None });
    bench.now = 50;
    assert_eq!(bench.lane.retry_now(at(50), offset(1), offset(4), 2), (2, Some(offset(3))));
    bench.keep();
    let before: Vec<_> = bench.lane.retries(Offset::ZERO).map(|one| one.offset.get()).collect();
    assert_eq!(before, [0, 3, 4]);
    bench.crash();
    assert_eq!(bench.take(1, 5).1, [(1, 2), (2, 2)]);
    assert_eq!(bench.lane.retry_now(at(50), offset(0), offset(9), 9), (3, None));
    bench.keep();
    assert_eq!(bench.take(1, 5).1, [(0, 2), (3, 2), (4, 2)]);
}

#[test]
fn the_log_is_kept_from_the_first_record_that_is_not_settled() {
    let mut bench = unordered(4);
    assert_eq!(bench.lane.first_unsettled(), offset(0));
    let (lease, _) = bench.take(1, 4);
    bench.ack(lease, 0, 1);
    assert_eq!(bench.lane.first_unsettled(), offset(2));
    bench.ack(lease, 2, 3);
    assert_eq!(bench.lane.first_unsettled(), offset(4));
    bench.now = 1;
    assert_eq!(bench.lane.next_sequence(), 0);
}

#[test]
fn a_redriven_record_keeps_the_log_below_the_window() {
    let mut bench = unordered(2);
    let (lease, _) = bench.take(1, 2);
    bench.settle(lease, 0, 0, Verb::Reject { reason: None });
    bench.ack(lease, 1, 1);
    bench.bury(0);
    assert_eq!(bench.lane.first_unsettled(), offset(2));
    assert_eq!(bench.lane.next_sequence(), 1);
    bench.lane.redrive(at(0), 9, offset(0));
    assert_eq!(bench.lane.first_unsettled(), offset(0));
}

#[test]
fn a_lane_read_back_in_the_same_run_does_not_give_out_a_lease_twice() {
    let mut bench = unordered(2);
    let (lease, _) = bench.take(1, 1);
    let given = bench.lane.leases_given();
    let mut again = unordered(2);
    again.lane.skip_leases(given);
    let (other, _) = again.take(1, 1);
    assert_ne!(lease, other);
    let stale = Settle { lease, first: offset(0), last: offset(0), verb: Verb::Ack };
    assert_eq!(again.lane.settle(&stale).acked, 0);
}
