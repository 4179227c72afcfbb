use super::*;

fn partitions(text: &str) -> Vec<i32> {
    parse_partitions(text).unwrap().0.into_iter().map(PartitionIndex::get).collect()
}

#[test]
fn partitions_are_numbers_and_ranges() {
    assert_eq!(partitions("3"), [3]);
    assert_eq!(partitions("5,0,3-5"), [0, 3, 4, 5]);
    for wrong in ["", "a", "-1", "5-3", "1,,2", "0-2000000000", "1-"] {
        assert!(parse_partitions(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_pair_is_split_at_its_first_equals_sign() {
    assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    assert_eq!(parse_pair("a="), Ok(("a".to_owned(), String::new())));
    assert!(parse_pair("a").is_err());
    assert!(parse_pair("=b").is_err());
}

#[test]
fn sizes_are_written_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024 * 1024 - 1, "1023.9 KiB"),
        (1024 * 1024, "1.0 MiB"),
        (u64::MAX, "15.9 EiB"),
    ] {
        assert_eq!(bytes_for_people(bytes), text);
    }
}
