use proptest::prelude::*;

use super::*;

fn now() -> Zoned {
    "2026-11-23T10:30:00+01:00[Europe/Paris]".parse().expect("a zoned time")
}

fn one(text: &str) -> Place {
    parse(text, &now()).unwrap().default.unwrap()
}

fn millis(text: &str) -> Place {
    Place::Time(text.parse::<Timestamp>().unwrap().as_millisecond())
}

#[test]
fn every_form_of_the_grammar_is_read() {
    assert_eq!(one("start"), Place::Earliest);
    assert_eq!(one("earliest"), Place::Earliest);
    assert_eq!(one("end"), Place::Latest);
    assert_eq!(one("latest"), Place::Latest);
    assert_eq!(one("1201"), Place::Offset(1201));
    assert_eq!(one("+5"), Place::AfterStart(5));
    assert_eq!(one("-5"), Place::BeforeEnd(5));
    assert_eq!(one("group:billing"), Place::Group("billing".to_owned()));
    assert_eq!(one("file:a/b.json"), Place::File("a/b.json".into()));
}

#[test]
fn times_are_read_in_every_form() {
    for (text, expected) in [
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("2026-11-23T10:00:00.123+02:00", "2026-11-23T08:00:00.123Z"),
        ("@2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("2026-11-22", "2026-11-21T23:00:00Z"),
        ("today", "2026-11-22T23:00:00Z"),
        ("yesterday", "2026-11-21T23:00:00Z"),
        ("09:15", "2026-11-23T08:15:00Z"),
        ("-1h30m", "2026-11-23T08:00:00Z"),
        ("1h30m ago", "2026-11-23T08:00:00Z"),
        ("-2d", "2026-11-21T09:30:00Z"),
        // The clocks were put back since.
        ("-5w", "2026-10-19T08:30:00Z"),
        ("@1764000000", "2025-11-24T16:00:00Z"),
        ("@1764000000123", "2025-11-24T16:00:00.123Z"),
        ("@1764000000123456", "2025-11-24T16:00:00.123Z"),
        ("@1764000000123456789", "2025-11-24T16:00:00.123Z"),
    ] {
        assert_eq!(one(text), millis(expected), "{text}");
    }
}

#[test]
fn partitions_have_places_of_their_own() {
    let spec = parse("0=12,3=@2026-11-23T10:00:00Z", &now()).unwrap();
    assert_eq!(spec.of(0), Some(&Place::Offset(12)));
    assert_eq!(spec.of(3), Some(&millis("2026-11-23T10:00:00Z")));
    assert_eq!(spec.of(1), None);
}

#[test]
fn what_is_no_position_is_refused_with_the_forms_there_are() {
    for text in ["", "beginning", "@", "group:", "file:", "1x", "-", "@tomorrow", "2026-13-01", "0=1,x=2"] {
        assert!(parse(text, &now()).is_err(), "{text}");
    }
    assert_eq!(
        parse("@12345", &now()).unwrap_err(),
        PositionError::Digits { text: "12345".to_owned(), digits: 5 }
    );
    assert!(matches!(parse("99999999999999999999", &now()), Err(PositionError::Large { .. })));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        drop(parse(&text, &now()));
    }
}
