use std::time::Duration;

use super::Histogram;

#[test]
fn an_observation_falls_into_the_first_bucket_that_holds_it() {
    for (micros, bound_us) in [(0, 16), (16, 16), (17, 32), (32, 32), (33, 64), (1_000_000, 1_048_576)] {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(micros));
        let snapshot = histogram.snapshot();
        let first = snapshot.buckets.iter().find(|(_, count)| *count == 1).unwrap().0;
        assert_eq!(first, Duration::from_micros(bound_us).as_secs_f64(), "{micros} µs");
        assert_eq!(snapshot.count(), 1);
    }
}

#[test]
fn what_is_above_every_bound_is_counted() {
    let histogram = Histogram::default();
    histogram.observe_many(Duration::MAX, 3);
    let snapshot = histogram.snapshot();
    assert_eq!(snapshot.count(), 3);
    assert_eq!(snapshot.buckets.iter().rev().nth(1).unwrap().1, 0);
}
