use std::io::Write as _;

use tidelog_client::TopicName;

use super::*;

fn id(partition: i32) -> TopicPartition {
    let topic = TopicName::new("orders").unwrap();
    TopicPartition { topic, partition: PartitionIndex::new(partition).unwrap() }
}

/// Looks `place` up in a partition that holds the offsets 100 to 199, for which 150 is noted.
fn lies_at(place: &Place) -> (i64, Option<i64>) {
    let offset = |offset| Offset::new(offset).unwrap();
    let bounds = Bounds { start: offset(100), end: offset(200) };
    let (found, moved_from) = bounds.place(place, offset(120), Some(150));
    (found.get(), moved_from)
}

#[test]
fn places_are_counted_from_the_ends_of_the_log() {
    assert_eq!(lies_at(&Place::Earliest), (100, None));
    assert_eq!(lies_at(&Place::Latest), (200, None));
    assert_eq!(lies_at(&Place::AfterStart(5)), (105, None));
    assert_eq!(lies_at(&Place::AfterStart(u64::MAX)), (200, None));
    assert_eq!(lies_at(&Place::BeforeEnd(5)), (195, None));
    assert_eq!(lies_at(&Place::Time(0)), (120, None));
    assert_eq!(lies_at(&Place::BeforeEnd(1_000)), (100, None));
    assert_eq!(lies_at(&Place::Group("g".to_owned())), (150, None));
}

#[test]
fn an_offset_outside_of_the_log_is_moved_and_says_so() {
    assert_eq!(lies_at(&Place::Offset(150)), (150, None));
    assert_eq!(lies_at(&Place::Offset(7)), (100, Some(7)));
    assert_eq!(lies_at(&Place::Offset(201)), (200, Some(201)));
}

#[test]
fn offsets_are_read_from_what_other_commands_write() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, r#"{{"topic":"orders","partition":0,"offset":5,"timestamp":null}}"#).unwrap();
    writeln!(file, r#"{{"topic":"orders","partition":1,"offset":7}}"#).unwrap();
    assert_eq!(from_file(file.path()).unwrap(), BTreeMap::from([(id(0), 5), (id(1), 7)]));
    let marks =
        r#"{"version":1,"partitions":[{"topic":"orders","partition":2,"start":1,"next":9,"end":20}]}"#;
    writeln!(file, "{marks}").unwrap();
    assert_eq!(from_file(file.path()).unwrap(), BTreeMap::from([(id(0), 5), (id(1), 7), (id(2), 9)]));
}

#[test]
fn a_file_of_something_else_is_refused_by_name() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "offsets").unwrap();
    for path in [file.path(), Path::new("/nowhere/at-all")] {
        let failure = from_file(path).unwrap_err();
        assert!(failure.to_string().contains(&path.display().to_string()), "{failure}");
    }
}
