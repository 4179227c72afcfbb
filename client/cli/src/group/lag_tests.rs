use super::*;

fn look(committed: i64, end: i64) -> Look {
    let offset = |value| Offset::new(value);
    let lag = u64::try_from(end - committed).ok();
    Look { committed: offset(committed), end: offset(end), lag, behind_ms: None, member: None }
}

#[test]
fn rates_and_the_time_to_catch_up_come_from_two_looks() {
    let rates = Rates::between(&look(100, 1_000), &look(300, 1_100), 2.0).unwrap();
    assert_eq!(rates, Rates { arriving: 50.0, read: 100.0 });
    assert_eq!(rates.catch_up(800), Some(Duration::from_secs(16)));
    assert_eq!(rates.catch_up(0), Some(Duration::ZERO));
    let slower = Rates { arriving: 10.0, read: 10.0 };
    assert_eq!(slower.catch_up(1), None, "it does not");
    assert_eq!(Rates::between(&look(300, 400), &look(100, 400), 1.0).unwrap().read, 0.0, "a seek is no rate");
    assert_eq!(Rates::between(&look(0, 0), &look(1, 1), 0.0), None);
}

#[test]
fn spans_are_short() {
    let cases = [(0, "0s"), (59, "59s"), (61, "1m1s"), (3_600, "1h0m"), (90_061, "1d1h")];
    for (seconds, text) in cases {
        assert_eq!(span(Duration::from_secs(seconds)), text);
    }
    assert_eq!(span(Duration::from_millis(20)), "20ms");
}

#[test]
fn intervals_are_checked() {
    assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
    for text in ["0", "-1", "x", "NaN", "1e9"] {
        assert!(parse_interval(text).is_err(), "{text}");
    }
}
