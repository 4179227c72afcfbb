use super::*;

fn offsets(text: &str) -> Option<Vec<(i64, i64)>> {
    let parsed = parse_offsets(text).ok()?;
    Some(parsed.0.into_iter().map(|(first, last)| (first.get(), last.get())).collect())
}

#[test]
fn offsets_are_single_ones_and_ranges_that_run_forwards() {
    assert_eq!(offsets("17"), Some(vec![(17, 17)]));
    assert_eq!(offsets("17, 20-30"), Some(vec![(17, 17), (20, 30)]));
    for wrong in ["", "x", "-1", "5-", "9-3", "1,,2", "9223372036854775808"] {
        assert_eq!(offsets(wrong), None, "{wrong:?}");
    }
}

#[test]
fn only_times_say_since_when() {
    let now = Zoned::now();
    let ago = now.timestamp().as_millisecond() - 3_600_000;
    assert_eq!(time("--since", "-1h", &now).unwrap(), Timestamp::from_millis(ago));
    for wrong in ["17", "start", "group:mail", "0=1", "+5"] {
        let failure = time("--since", wrong, &now).unwrap_err();
        assert!(failure.message().contains("--since"), "{}", failure.message());
    }
}
