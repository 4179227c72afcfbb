use bytes::Bytes;
use tidelog_model::GroupId;

use super::*;

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

fn letter() -> (DeadLetterFacts, Record) {
    let facts = DeadLetterFacts {
        topic: topic("orders"),
        partition: PartitionIndex::ZERO,
        offset: offset(7),
        group: GroupId::new("billing").unwrap(),
        attempts: 5,
        cause: Cause::Rejected,
        reason: ("DOWN".to_owned(), String::new()),
        first_failure: Timestamp::from_millis(1),
        last_failure: Timestamp::from_millis(10),
        original_timestamp: Timestamp::from_millis(3),
        redrives: 0,
        sequence: 0,
        truncated: false,
    };
    let record = Record {
        offset: offset(0),
        timestamp: Timestamp::from_millis(3),
        key: Some(Bytes::from_static(b"k")),
        value: None,
        headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")))],
    };
    (facts, record)
}

/// Selectors of one condition each, first one that holds for the letter, then one that does not.
fn conditions() -> Vec<(Selector, Selector)> {
    let all = Selector::default;
    let time = |millis| Some(Timestamp::from_millis(millis));
    vec![
        (
            Selector { topic: Some(topic("orders")), ..all() },
            Selector { topic: Some(topic("other")), ..all() },
        ),
        (
            Selector { partition: Some(PartitionIndex::ZERO), ..all() },
            Selector { partition: PartitionIndex::new(1), ..all() },
        ),
        (
            Selector { offsets: vec![(offset(0), offset(1)), (offset(7), offset(7))], ..all() },
            Selector { offsets: vec![(offset(8), offset(9)), (offset(0), offset(6))], ..all() },
        ),
        (Selector { failed_from: time(10), ..all() }, Selector { failed_from: time(11), ..all() }),
        (Selector { failed_to: time(11), ..all() }, Selector { failed_to: time(10), ..all() }),
        (
            Selector { cause: Some(Cause::Rejected), ..all() },
            Selector { cause: Some(Cause::MaxAttempts), ..all() },
        ),
        (
            Selector { reason_code: Some("DOWN".to_owned()), ..all() },
            Selector { reason_code: Some("down".to_owned()), ..all() },
        ),
        (Selector { key: Some(b"k".to_vec()), ..all() }, Selector { key: Some(Vec::new()), ..all() }),
        (
            Selector { header: Some((b"h".to_vec(), b"v".to_vec())), ..all() },
            Selector { header: Some((b"h".to_vec(), b"w".to_vec())), ..all() },
        ),
    ]
}

#[test]
fn each_condition_counts_for_itself() {
    let (facts, record) = letter();
    assert!(Selector::default().has(&facts, &record));
    for (holds, fails) in conditions() {
        assert!(holds.has(&facts, &record), "{holds:?}");
        assert!(!fails.has(&facts, &record), "{fails:?}");
    }
}

#[test]
fn all_conditions_have_to_hold() {
    let (facts, record) = letter();
    let holding = Selector {
        topic: Some(facts.topic.clone()),
        cause: Some(Cause::Rejected),
        key: Some(b"k".to_vec()),
        ..Selector::default()
    };
    assert!(holding.has(&facts, &record));
    assert!(!Selector { cause: Some(Cause::Retention), ..holding }.has(&facts, &record));
}

#[test]
fn what_the_place_tells_is_told_without_the_copy() {
    let (facts, _) = letter();
    for (index, (holds, fails)) in conditions().into_iter().enumerate() {
        let by_place = index < 3;
        assert_eq!(holds.is_place_only(), by_place, "{holds:?}");
        assert!(holds.has_place(&facts.topic, facts.partition, facts.offset));
        assert_eq!(fails.has_place(&facts.topic, facts.partition, facts.offset), !by_place, "{fails:?}");
    }
}
