use std::collections::VecDeque;

use proptest::prelude::*;
use tidelog_client::{PartitionIndex, TopicName};

use super::*;

fn offset(value: u64) -> Offset {
    Offset::ZERO.plus(value)
}

fn share(partition: i32, start: u64, end: u64) -> Share {
    let topic = TopicName::new("orders").unwrap();
    let id = TopicPartition { topic, partition: PartitionIndex::new(partition).unwrap() };
    Share { id, start: offset(start), next: offset(start), end: offset(end), written: 0 }
}

fn next_offsets(ledger: &Ledger) -> Vec<u64> {
    ledger.shares().iter().map(|share| share.next.unsigned()).collect()
}

#[test]
fn a_checkpoint_stands_before_the_first_record_that_is_not_confirmed() {
    let mut ledger = Ledger::new(vec![share(0, 10, 20)], Limits::default());
    ledger.skip(0, offset(10));
    assert_eq!(next_offsets(&ledger), [11]);
    ledger.take(0, offset(11));
    ledger.skip(0, offset(12));
    ledger.take(0, offset(15));
    // 11 is on its way.
    assert_eq!(next_offsets(&ledger), [11]);
    ledger.confirm(0, offset(11));
    assert_eq!(next_offsets(&ledger), [12]);
    ledger.confirm(0, offset(15));
    ledger.reach(0, offset(18));
    assert_eq!(next_offsets(&ledger), [18]);
    assert_eq!(ledger.total(), Counts { read: 8, matched: 2, written: 2, skipped: 6 });
}

#[test]
fn a_reader_that_overshoots_counts_to_the_end_only() {
    let mut ledger = Ledger::new(vec![share(0, 0, 5), share(1, 3, 3)], Limits::default());
    ledger.reach(0, offset(9));
    assert_eq!(ledger.total(), Counts { read: 5, skipped: 5, ..Counts::default() });
    assert!(ledger.left().is_empty());
    assert_eq!(ledger.offsets(), 5);
}

#[test]
fn limits_count_what_earlier_runs_wrote() {
    let done = Share { next: offset(4), written: 2, ..share(0, 0, 10) };
    let limits = Limits { total: Some(4), per_partition: Some(3) };
    let mut ledger = Ledger::new(vec![done, share(1, 0, 10)], limits);
    assert!(ledger.wants(0) && ledger.wants(1));
    ledger.take(0, offset(4));
    assert!(!ledger.wants(0) && ledger.wants(1) && !ledger.is_full());
    ledger.take(1, offset(0));
    assert!(ledger.is_full() && ledger.left().is_empty());
}

/// Reads one partition to its end; the sink confirms late, and the run is cut off after `steps`.
fn run(ledger: &mut Ledger, matches: &[bool], late: usize, steps: usize) -> Vec<u64> {
    let mut on_the_way = VecDeque::new();
    let mut written = Vec::new();
    let from = ledger.shares()[0].next.unsigned();
    for at in (from..matches.len() as u64).take(steps) {
        if matches[usize::try_from(at).unwrap()] {
            if !ledger.wants(0) {
                break;
            }
            ledger.take(0, offset(at));
            on_the_way.push_back(at);
        } else {
            ledger.skip(0, offset(at));
        }
        while on_the_way.len() > late {
            let at = on_the_way.pop_front().unwrap();
            ledger.confirm(0, offset(at));
            written.push(at);
        }
    }
    written
}

proptest! {
    /// However often a replay is cut off, the runs together write each record that matches exactly once.
    #[test]
    fn runs_from_checkpoints_write_everything_once(
        matches in prop::collection::vec(prop::bool::ANY, 0..60),
        cuts in prop::collection::vec((0usize..10, 0usize..4), 0..8),
        limit in prop::option::of(0u64..40),
    ) {
        let limits = Limits { per_partition: limit, total: None };
        let end = matches.len() as u64;
        let mut ledger = Ledger::new(vec![share(0, 0, end)], limits);
        let mut written = Vec::new();
        for (steps, late) in cuts {
            written.extend(run(&mut ledger, &matches, late, steps));
            let counts = ledger.total();
            prop_assert_eq!(counts.read, counts.matched + counts.skipped);
            prop_assert!(counts.written <= counts.matched);
            // What was on its way is forgotten, as by a crash of a sink that then cuts itself back.
            ledger = Ledger::new(ledger.shares(), limits);
            prop_assert_eq!(ledger.total().written, written.len() as u64);
        }
        written.extend(run(&mut ledger, &matches, 0, usize::MAX));
        let expected: Vec<u64> = (0..end).filter(|at| matches[usize::try_from(*at).unwrap()]).collect();
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        prop_assert_eq!(&written[..], &expected[..expected.len().min(limit)]);
        prop_assert_eq!(ledger.total().written, written.len() as u64);
    }
}
