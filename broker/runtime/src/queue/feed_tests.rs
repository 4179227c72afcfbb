use bytes::Bytes;
use tidelog_model::Timestamp;

use super::*;

fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

fn record(at: i64, key: &'static str) -> Record {
    Record {
        offset: offset(at),
        timestamp: Timestamp::from_millis(0),
        key: Some(Bytes::from_static(key.as_bytes())),
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
    }
}

#[test]
fn gaps_at_the_end_are_told_as_no_records() {
    let mut feed = Feed::default();
    assert_eq!(feed.wants(offset(0)), Some(offset(0)));
    feed.fill(vec![record(1, "a"), record(3, "b")], offset(6));
    let first = feed.next(offset(0)).unwrap();
    assert_eq!((first.offset, first.kind), (offset(1), RecordKind::Data));
    assert_eq!(feed.next(offset(2)).unwrap().offset, offset(3));
    let last = feed.next(offset(4)).unwrap();
    assert_eq!((last.offset, last.kind), (offset(5), RecordKind::Gone));
    assert_eq!(feed.next(offset(6)), None);
    assert_eq!(feed.wants(offset(6)), Some(offset(6)));
}

#[test]
fn what_the_lane_has_passed_can_be_taken_until_it_is_settled() {
    let mut feed = Feed::default();
    feed.fill((0..4).map(|at| record(at, "k")).collect(), offset(4));
    feed.park(offset(3));
    assert_eq!(feed.take(offset(1)).unwrap().offset, offset(1));
    assert_eq!(feed.take(offset(1)), None);
    assert!(feed.bytes_of(offset(2)).is_some());
    feed.settle_down(offset(2));
    assert_eq!(feed.take(offset(0)), None);
    assert_eq!(feed.take(offset(2)).unwrap().value, Some(Bytes::from_static(b"value")));
    assert!(feed.has_more(offset(3)));
}

#[test]
fn what_is_parked_is_bounded() {
    let mut feed = Feed::default();
    let large = |at| Record { value: Some(Bytes::from(vec![0; 300_000])), ..record(at, "k") };
    feed.fill((0..10).map(large).collect(), offset(10));
    feed.park(offset(10));
    feed.settle_down(offset(0));
    assert!(feed.take(offset(0)).is_some() && feed.take(offset(9)).is_none());
    assert!(feed.parked_bytes <= PARKED_BYTES);
}

#[test]
fn a_key_has_a_number_and_no_key_has_none() {
    assert_eq!(key_of(&Record { key: None, ..record(0, "") }), 0);
    assert_ne!(key_of(&record(0, "")), 0);
    assert_eq!(key_of(&record(0, "a")), key_of(&record(9, "a")));
    assert_ne!(key_of(&record(0, "a")), key_of(&record(0, "b")));
}
