use proptest::prelude::*;
use tidelog_client::{Offset, PartitionIndex, Timestamp, TopicName};

use super::*;

fn record(key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> ConsumerRecord {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    ConsumerRecord {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::ZERO,
        offset: Offset::ZERO,
        timestamp: Timestamp::from_millis(0),
        key: key.map(bytes),
        value: value.map(bytes),
        headers: headers.iter().map(|(name, value)| (bytes(name), value.map(bytes))).collect(),
        leader_epoch: 0,
    }
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn passes(spec: &FilterSpec, record: &ConsumerRecord) -> bool {
    Filter::new(spec).unwrap().passes(record)
}

#[test]
fn without_tests_everything_passes() {
    let filter = Filter::new(&FilterSpec::default()).unwrap();
    assert!(filter.is_empty() && filter.pushed().is_empty());
    assert!(filter.passes(&record(None, None, &[])));
}

#[test]
fn any_of_the_keys_passes_and_a_missing_key_is_not_an_empty_one() {
    let spec = FilterSpec { keys: list(&["a", ""]), ..FilterSpec::default() };
    assert!(passes(&spec, &record(Some("a"), None, &[])));
    assert!(passes(&spec, &record(Some(""), None, &[])));
    assert!(!passes(&spec, &record(Some("b"), None, &[])));
    assert!(!passes(&spec, &record(None, None, &[])));
}

#[test]
fn keys_are_tested_by_start_and_by_expression() {
    let spec = FilterSpec { key_prefix: Some("eu-".to_owned()), ..FilterSpec::default() };
    assert!(passes(&spec, &record(Some("eu-1"), None, &[])));
    assert!(!passes(&spec, &record(Some("us-eu-1"), None, &[])));
    let spec = FilterSpec { key_regexes: list(&["^eu-", "7$"]), ..FilterSpec::default() };
    assert!(passes(&spec, &record(Some("eu-17"), None, &[])));
    assert!(!passes(&spec, &record(Some("eu-18"), None, &[])));
}

#[test]
fn headers_are_tested_by_name_value_and_expression() {
    let with = |test: &str| FilterSpec { headers: list(&[test]), ..FilterSpec::default() };
    let found = record(None, None, &[("trace", Some("a=b")), ("trace", None), ("empty", None)]);
    for test in ["trace", "trace=a=b", "trace~^a.b$", "empty"] {
        assert!(passes(&with(test), &found), "{test}");
    }
    for test in ["Trace", "trace=a", "trace~c", "empty=", "empty~."] {
        assert!(!passes(&with(test), &found), "{test}");
    }
}

#[test]
fn values_are_tested_by_part_expression_and_json() {
    let json = record(None, Some(r#"{"id":7,"state":"paid"}"#), &[]);
    let spec = |contains: &str, regex: &str, json: &str| FilterSpec {
        contains: list(&[contains]),
        value_regexes: list(&[regex]),
        json: list(&[json]),
        ..FilterSpec::default()
    };
    assert!(passes(&spec("paid", r#""id":\d"#, ".id=7"), &json));
    assert!(!passes(&spec("sent", r#""id":\d"#, ".id=7"), &json));
    assert!(!passes(&spec("paid", r#""id":\D"#, ".id=7"), &json));
    assert!(!passes(&spec("paid", r#""id":\d"#, ".id=8"), &json));
    assert!(!passes(&spec("paid", "", "."), &record(None, None, &[])));
}

#[test]
fn tombstones_are_kept_dropped_or_wanted_alone() {
    let (value, tombstone) = (record(None, Some(""), &[]), record(None, None, &[]));
    for (tombstones, expected) in [
        (Tombstones::Keep, (true, true)),
        (Tombstones::Drop, (true, false)),
        (Tombstones::Only, (false, true)),
    ] {
        let spec = FilterSpec { tombstones, ..FilterSpec::default() };
        assert_eq!((passes(&spec, &value), passes(&spec, &tombstone)), expected, "{tombstones:?}");
    }
}

#[test]
fn a_sample_takes_about_its_share_and_the_same_records_each_time() {
    let spec = FilterSpec { sample: Some("1/10".parse().unwrap()), ..FilterSpec::default() };
    let filter = Filter::new(&spec).unwrap();
    let taken = |filter: &Filter| -> Vec<u64> {
        let at = |offset: &u64| {
            filter.passes(&ConsumerRecord { offset: Offset::ZERO.plus(*offset), ..record(None, None, &[]) })
        };
        (0..10_000).filter(at).collect()
    };
    let first = taken(&filter);
    assert!((800..1_200).contains(&first.len()), "{}", first.len());
    assert_eq!(first, taken(&Filter::new(&spec).unwrap()));
    for text in ["", "1", "0/10", "2/1", "1/0", "a/b"] {
        assert!(text.parse::<Sample>().is_err(), "{text}");
    }
}

#[test]
fn cheap_tests_come_first() {
    let spec = FilterSpec {
        json: list(&[".a"]),
        value_regexes: list(&["x"]),
        contains: list(&["x"]),
        headers: list(&["h~x", "h=x", "h"]),
        key_regexes: list(&["x"]),
        key_prefix: Some("x".to_owned()),
        keys: list(&["x"]),
        tombstones: Tombstones::Drop,
        ..FilterSpec::default()
    };
    let filter = Filter::new(&spec).unwrap();
    let costs: Vec<u8> = filter.tests.iter().map(Test::cost).collect();
    assert_eq!(costs, (0..10).collect::<Vec<u8>>());
}

#[test]
fn what_the_broker_can_judge_is_pushed_to_it() {
    let pushed = |spec: FilterSpec| Filter::new(&spec).unwrap().pushed().clone();
    assert_eq!(
        pushed(FilterSpec { keys: list(&["a"]), ..FilterSpec::default() }),
        ReadFilter::new().key_equals("a")
    );
    assert_eq!(
        pushed(FilterSpec { key_prefix: Some("eu-".to_owned()), ..FilterSpec::default() }),
        ReadFilter::new().key_contains("eu-")
    );
    assert_eq!(
        pushed(FilterSpec {
            headers: list(&["a", "b=c"]),
            value_regexes: list(&["^x", "paid"]),
            ..FilterSpec::default()
        }),
        ReadFilter::new().header_equals("b", "c").value_contains("paid")
    );
    // One of two keys, or the opposite of a test, is more than the broker can be asked.
    assert!(pushed(FilterSpec { keys: list(&["a", "b"]), ..FilterSpec::default() }).is_empty());
    assert!(pushed(FilterSpec { keys: list(&["a"]), invert: true, ..FilterSpec::default() }).is_empty());
}

#[test]
fn broken_expressions_are_named_with_their_flag() {
    let error = Filter::new(&FilterSpec { key_regexes: list(&["a("]), ..FilterSpec::default() }).unwrap_err();
    assert_eq!(error.to_string(), r#"--key-regex "a(": unclosed group"#);
    for header in ["", "=v", "~r", "h~("] {
        assert!(Filter::new(&FilterSpec { headers: list(&[header]), ..FilterSpec::default() }).is_err());
    }
}

fn text() -> impl Strategy<Value = String> {
    "[ab.]{0,3}"
}

prop_compose! {
    fn spec()(
        keys in prop::collection::vec(text(), 0..3),
        key_prefix in prop::option::of(text()),
        key_regexes in prop::collection::vec(text(), 0..2),
        headers in prop::collection::vec("[ab]([=~][ab]?)?", 0..3),
        contains in prop::collection::vec(text(), 0..2),
        value_regexes in prop::collection::vec(text(), 0..2),
        drop in prop::bool::ANY,
        invert in prop::bool::ANY,
    ) -> FilterSpec {
        let tombstones = if drop { Tombstones::Drop } else { Tombstones::Keep };
        FilterSpec { keys, key_prefix, key_regexes, headers, contains, value_regexes, tombstones, invert,
            ..FilterSpec::default() }
    }
}

prop_compose! {
    fn some_record()(
        key in prop::option::of(text()),
        value in prop::option::of(text()),
        headers in prop::collection::vec(("[ab]", prop::option::of("[ab]?")), 0..3),
    ) -> ConsumerRecord {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        record(key.as_deref(), value.as_deref(), &headers)
    }
}

proptest! {
    /// Otherwise the broker would keep back records that are wanted.
    #[test]
    fn what_passes_passes_the_broker_too(spec in spec(), record in some_record()) {
        let filter = Filter::new(&spec).unwrap();
        let pushed = filter.pushed().passes(record.key.as_deref(), record.value.as_deref(), &record.headers);
        prop_assert!(pushed || !filter.passes(&record));
    }

    #[test]
    fn inverting_passes_exactly_the_others(spec in spec(), record in some_record()) {
        let inverted = FilterSpec { invert: !spec.invert, ..spec.clone() };
        prop_assert_ne!(passes(&spec, &record), passes(&inverted, &record));
    }
}
