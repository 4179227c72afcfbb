use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// When each of these records passes, if the caller waits as told.
fn passes(mut pace: Pace, records: &[(i64, usize)]) -> Vec<Duration> {
    let mut elapsed = Duration::ZERO;
    records
        .iter()
        .map(|(timestamp, bytes)| {
            elapsed += pace.wait(elapsed, *timestamp, *bytes);
            elapsed
        })
        .collect()
}

#[test]
fn rates_and_speeds_are_read() {
    assert_eq!(parse_rate("500/s"), Ok(Rate::Records(500.0)));
    assert_eq!(parse_rate("0.5"), Ok(Rate::Records(0.5)));
    assert_eq!(parse_rate("10MB/s"), Ok(Rate::Bytes(1e7)));
    assert_eq!(parse_rate("64 KiB/s"), Ok(Rate::Bytes(65_536.0)));
    assert_eq!(parse_speed("max"), Ok(None));
    assert_eq!(parse_speed("0.5x"), Ok(Some(0.5)));
    for text in ["", "fast", "0/s", "-1/s", "5 parsecs", "NaN", "inf"] {
        assert!(parse_rate(text).is_err(), "{text}");
    }
    for text in ["", "10", "0x", "-1x", "x", "NaNx"] {
        assert!(parse_speed(text).is_err(), "{text}");
    }
}

#[test]
fn a_rate_of_records_spaces_them_evenly() {
    let pace = Pace::new(Some(Rate::Records(2.0)), None, None);
    assert_eq!(passes(pace, &[(0, 1); 4]), [0.0, 0.5, 1.0, 1.5].map(seconds));
}

#[test]
fn a_rate_of_bytes_charges_each_record_for_its_size() {
    let pace = Pace::new(Some(Rate::Bytes(100.0)), None, None);
    assert_eq!(passes(pace, &[(0, 50), (0, 200), (0, 1)]), [0.0, 0.5, 2.5].map(seconds));
}

#[test]
fn speed_follows_the_original_gaps() {
    let pace = Pace::new(None, Some(10.0), None);
    assert_eq!(passes(pace, &[(1_000, 1), (2_000, 1), (12_000, 1)]), [0.0, 0.1, 1.1].map(seconds));
}

#[test]
fn long_gaps_are_cut_and_older_records_do_not_wait() {
    let pace = Pace::new(None, Some(1.0), Some(seconds(5.0)));
    let records = [(0, 1), (1_000_000, 1), (500_000, 1), (1_001_000, 1)];
    assert_eq!(passes(pace, &records), [0.0, 5.0, 5.0, 6.0].map(seconds));
}

#[test]
fn a_late_reader_is_not_held_up() {
    let mut pace = Pace::new(Some(Rate::Records(1.0)), Some(1.0), None);
    assert_eq!(pace.wait(Duration::ZERO, 0, 1), Duration::ZERO);
    assert_eq!(pace.wait(seconds(60.0), 1_000, 1), Duration::ZERO);
    assert_eq!(pace.wait(seconds(60.0), 1_000, 1), seconds(1.0));
}

#[test]
fn without_bounds_nothing_waits() {
    let pace = Pace::new(None, None, None);
    assert!(pace.is_unbounded());
    assert_eq!(passes(pace, &[(0, 1), (1_000_000, 1)]), [Duration::ZERO; 2]);
}
