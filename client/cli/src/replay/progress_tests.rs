use super::*;

#[test]
fn an_estimate_follows_from_what_was_done() {
    let pace = |done, left, seconds| Pace { done, left, in_: Duration::from_secs(seconds) }.to_string();
    assert_eq!(pace(500, 1_000, 5), "100/s  ETA 10s");
    assert_eq!(pace(500, 0, 5), "100/s  ETA 0s");
    // Nothing was done yet: there is nothing to say.
    assert_eq!(pace(0, 1_000, 5), "0/s");
}

#[test]
fn counts_are_told_with_the_time_of_the_last_record() {
    let counts = Counts { read: 5_000, matched: 1_234, written: 0, skipped: 3_766 };
    assert_eq!(told(counts, None), "matched 1,234");
    assert_eq!(told(counts, Some("2026-11-23T09:14:02Z")), "matched 1,234  at 2026-11-23T09:14:02Z");
}
