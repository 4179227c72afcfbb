use proptest::prelude::*;
use tidelog_client::{Offset, PartitionIndex, TopicName};

use super::*;

fn record(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> ConsumerRecord {
    ConsumerRecord {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::new(3).unwrap(),
        offset: Offset::new(1201).unwrap(),
        timestamp: Timestamp::from_millis(timestamp),
        key: key.map(Bytes::copy_from_slice),
        value: value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
        leader_epoch: 0,
    }
}

fn line(record: &ConsumerRecord) -> String {
    let mut line = Vec::new();
    write(record, &mut line).unwrap();
    String::from_utf8(line).unwrap()
}

fn assert_round_trip(record: &ConsumerRecord) {
    let line = line(record);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let read = parse(line.as_bytes()).unwrap();
    assert_eq!(read.topic.as_deref(), Some(record.topic.as_str()));
    assert_eq!(read.partition, Some(record.partition.get()));
    assert_eq!(read.offset, Some(record.offset.get()));
    assert_eq!(read.timestamp, Some(record.timestamp));
    assert_eq!(read.key, record.key);
    assert_eq!(read.value, record.value);
    assert_eq!(read.headers, record.headers);
}

#[test]
fn a_record_is_one_line_that_people_can_read() {
    let mut record = record(1_764_000_000_123, Some(b"42"), Some(b"{\"id\":1}"));
    let header = |key: &'static str, value: Option<&'static [u8]>| (Bytes::from(key), value.map(Bytes::from));
    record.headers = vec![header("trace", Some(b"00")), header("raw", Some(&[0xff])), header("none", None)];
    assert_eq!(
        line(&record),
        concat!(
            r#"{"topic":"orders","partition":3,"offset":1201,"timestamp":"2025-11-24T16:00:00.123Z","#,
            r#""key":"42","value":"{\"id\":1}","headers":[["trace","00"],["raw",{"base64":"/w=="}],["none",null]]}"#,
            "\n"
        )
    );
}

#[test]
fn what_is_left_out_is_absent_but_a_value_must_stand_there() {
    let read = parse(br#"{"value":"v"}"#).unwrap();
    assert_eq!((read.key, read.value, read.timestamp), (None, Some(Bytes::from("v")), None));
    assert_eq!(parse(br#"{"value":null}"#).unwrap().value, None);
    for wrong in [
        r#"{"key":"k"}"#,
        r#"{"vlaue":"v","value":"v"}"#,
        r#"{"value":{"id":1}}"#,
        r#"{"value":{}}"#,
        r#"{"value":{"base64":"%%"}}"#,
        r#"{"value":{"base64":"","more":"x"}}"#,
        r#"{"value":7}"#,
        r#"{"value":"v","headers":[[null,"x"]]}"#,
        r#"{"value":"v","timestamp":"yesterday"}"#,
        r#"{"value":"v","timestamp":true}"#,
        r#"{"value":"v"} x"#,
        "plain",
        "",
    ] {
        let error = parse(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("not a record as JSON: ") && !error.contains('\n'), "{wrong}: {error}");
    }
}

#[test]
fn every_timestamp_comes_back() {
    for millis in [i64::MIN, -1, 0, 1_764_000_000_123, 253_402_300_800_000, i64::MAX] {
        assert_round_trip(&record(millis, None, None));
    }
}

#[test]
fn escaped_names_and_texts_are_read() {
    let read =
        parse(br#"{"value":{"base\u00364":"\u0059Q=="},"timestamp":"2025-11-24T16:00:00\u005a"}"#).unwrap();
    assert_eq!(read.value, Some(Bytes::from("a")));
    assert_eq!(read.timestamp, Some(Timestamp::from_millis(1_764_000_000_000)));
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)]
}

fn some_headers() -> impl Strategy<Value = Vec<(Bytes, Option<Bytes>)>> {
    let header = (some_bytes(), proptest::option::of(some_bytes()));
    proptest::collection::vec(header.prop_map(|(key, value)| (key.into(), value.map(Bytes::from))), 0..5)
}

proptest! {
    #[test]
    fn any_record_comes_back_with_the_same_bytes(
        timestamp: i64,
        key in proptest::option::of(some_bytes()),
        value in proptest::option::of(some_bytes()),
        headers in some_headers(),
    ) {
        let mut record = record(timestamp, key.as_deref(), value.as_deref());
        record.headers = headers;
        assert_round_trip(&record);
    }

    #[test]
    fn any_line_is_read_or_refused(line: Vec<u8>) {
        drop(parse(&line));
    }
}
