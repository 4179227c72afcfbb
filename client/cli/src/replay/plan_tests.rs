use proptest::prelude::*;
use tidelog_client::{PartitionIndex, TopicName};

use super::*;

fn at(value: u64) -> Offset {
    Offset::ZERO.plus(value)
}

fn id(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

/// A place in a log from 100 to 200.
fn found(offset: u64) -> Found {
    Found {
        offset: at(offset),
        timestamp: None,
        log_start: at(100),
        high_watermark: at(200),
        moved_from: None,
    }
}

fn places(places: &[(i32, Found)]) -> Places {
    places.iter().map(|(partition, found)| (id(*partition), found.clone())).collect()
}

fn plan(from: &[(i32, Found)], until: &[(i32, Found)]) -> Plan {
    let mut plan = Plan::default();
    let sizes = (0..3).map(|partition| (id(partition), 1_000)).collect();
    plan.add(&places(from), &places(until), &sizes);
    plan
}

fn ranges(plan: &Plan) -> Vec<(i32, i64, i64)> {
    plan.ranges.iter().map(|range| (range.id.partition.get(), range.start.get(), range.end.get())).collect()
}

#[test]
fn a_range_ends_before_the_second_position() {
    let plan = plan(&[(0, found(110)), (1, found(100))], &[(0, found(150)), (1, found(200))]);
    assert_eq!(ranges(&plan), [(0, 110, 150), (1, 100, 200)]);
    assert_eq!((plan.records_max(), plan.bytes()), (140, 1_400));
}

#[test]
fn partitions_that_from_does_not_name_are_not_read_and_others_to_their_end() {
    assert_eq!(ranges(&plan(&[(1, found(110))], &[(0, found(150))])), [(1, 110, 200)]);
}

#[test]
fn an_end_before_the_start_is_an_empty_range() {
    assert_eq!(ranges(&plan(&[(0, found(150))], &[(0, found(120))])), [(0, 150, 150)]);
}

#[test]
fn what_is_not_in_the_log_is_said() {
    let from = Found { moved_from: Some(3), ..found(100) };
    let until = Found { moved_from: Some(900), ..found(200) };
    let said: Vec<String> = plan(&[(0, from)], &[(0, until)]).moved.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["orders-0 has no offset 3: using 100", "orders-0 has no offset 900: using 200"]);
}

#[test]
fn an_empty_log_has_no_bytes_to_share() {
    let empty = Found { high_watermark: at(100), ..found(100) };
    assert_eq!(plan(&[(0, empty.clone())], &[(0, empty)]).bytes(), 0);
}

#[test]
fn the_slower_of_rate_and_speed_says_how_long_it_takes() {
    let mut plan = plan(&[(0, found(100)), (1, found(100))], &[]);
    assert_eq!(plan.duration(None, Some(1.0)), None, "no timestamps are known");
    plan.ranges[0].first_timestamp = Some(Timestamp::from_millis(5_000));
    plan.ranges[1].last_timestamp = Some(Timestamp::from_millis(65_000));
    let seconds = |rate, speed| plan.duration(rate, speed).map(|duration| duration.as_secs());
    assert_eq!(seconds(None, None), None);
    assert_eq!(seconds(None, Some(10.0)), Some(6));
    assert_eq!(seconds(Some(Rate::Records(10.0)), Some(10.0)), Some(20));
    assert_eq!(seconds(Some(Rate::Bytes(1_000.0)), None), Some(2));
}

proptest! {
    #[test]
    fn every_range_lies_in_the_log(offsets in prop::collection::vec((100u64..=200, 100u64..=200), 1..4)) {
        let place = |(partition, offset): (i32, u64)| (partition, found(offset));
        let from: Vec<_> = (0..).zip(offsets.iter().map(|pair| pair.0)).map(place).collect();
        let until: Vec<_> = (0..).zip(offsets.iter().map(|pair| pair.1)).map(place).collect();
        let plan = plan(&from, &until);
        prop_assert_eq!(plan.ranges.len(), offsets.len());
        for (range, (start, end)) in plan.ranges.iter().zip(&offsets) {
            prop_assert_eq!(range.start, at(*start));
            prop_assert_eq!(range.end, at(*end.max(start)));
            prop_assert!(range.bytes <= 1_000);
        }
    }
}

#[test]
fn a_range_that_ends_before_it_begins_is_noticed_where_it_was_asked_for() {
    assert_eq!(plan(&[(0, found(150))], &[(0, found(150))]).reversed, None);
    let reversed = plan(&[(0, found(120)), (1, found(150))], &[(0, found(130)), (1, found(140))]).reversed;
    assert_eq!(reversed.as_deref(), Some("orders-1 from 150 until 140"));
    // Both lie outside of the log, where they meet.
    let outside = |asked| Found { moved_from: Some(asked), ..found(200) };
    let reversed = plan(&[(0, outside(900))], &[(0, outside(800))]).reversed;
    assert_eq!(reversed.as_deref(), Some("orders-0 from 900 until 800"));
    let reversed = plan(&[(0, outside(900))], &[(0, found(150))]).reversed;
    assert_eq!(reversed.as_deref(), Some("orders-0 from 900 until 150"));
    // The end that nobody named is no place to be behind of.
    assert_eq!(plan(&[(0, outside(900))], &[(0, found(200))]).reversed, None);
}
