//! What is shown can be read back, and what cannot be read says how to write it.

use std::time::Duration;

use super::{parse_duration, parse_size, show_duration, show_size};

#[test]
fn sizes_are_read_and_shown() {
    for (text, bytes, shown) in [
        ("64MiB", 64 << 20, "64MiB"),
        ("1024", 1024, "1KiB"),
        ("1_000", 1_000, "1000B"),
        ("3 gib", 3 << 30, "3GiB"),
        ("10MB", 10_000_000, "10000000B"),
        ("0", 0, "0B"),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
        assert_eq!(show_size(bytes), shown);
        assert_eq!(parse_size(shown), Ok(bytes));
    }
}

#[test]
fn durations_are_read_and_shown() {
    for (text, millis, shown) in [
        ("7d", 604_800_000, "7d"),
        ("90s", 90_000, "90s"),
        ("120 s", 120_000, "2m"),
        ("1500ms", 1_500, "1500ms"),
        ("0s", 0, "0ms"),
    ] {
        let duration = Duration::from_millis(millis);
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
        assert_eq!(show_duration(duration), shown);
        assert_eq!(parse_duration(shown), Ok(duration));
    }
}

#[test]
fn what_is_neither_says_how_to_write_it() {
    for text in ["", "MiB", "-1", "1.5MiB", "64 Parsec", "99999999999TiB"] {
        assert!(parse_size(text).unwrap_err().contains("64MiB"), "{text}");
    }
    for text in ["", "10", "s", "-1s", "1 week", "99999999999999999d"] {
        assert!(parse_duration(text).unwrap_err().contains("30s"), "{text}");
    }
}
