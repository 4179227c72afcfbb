use proptest::prelude::*;
use tidelog_model::Timestamp;

use super::{Admission, Breaker, BreakerLimits, OpenCause};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn breaker() -> Breaker {
    Breaker::new(BreakerLimits::default())
}

fn open(until: i64) -> Admission {
    Admission::Open { until: at(until), cause: OpenCause::Failures }
}

#[test]
fn it_opens_when_nearly_everything_fails_and_not_before() {
    let mut few = breaker();
    few.outcome(at(0), 0, 49);
    assert_eq!(few.admit(at(0)), Admission::Yes);
    few.outcome(at(0), 0, 1);
    assert_eq!(few.admit(at(0)), open(5_000));
    let mut half = breaker();
    half.outcome(at(0), 11, 89);
    assert_eq!(half.admit(at(0)), Admission::Yes);
    half.outcome(at(10_000), 0, 50);
    assert_eq!(half.admit(at(10_000)), open(15_000), "what is ten seconds old does not count");
}

#[test]
fn it_asks_with_a_few_and_stays_open_longer_each_time_they_fail() {
    let mut breaker = breaker();
    breaker.outcome(at(0), 0, 50);
    let mut now = 0;
    for wait in [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] {
        assert_eq!(breaker.admit(at(now + wait - 1)), open(now + wait));
        now += wait;
        assert_eq!(breaker.admit(at(now)), Admission::Probe(10));
        breaker.outcome(at(now), 3, 0);
        assert_eq!(breaker.admit(at(now)), Admission::Probe(7));
        breaker.outcome(at(now), 0, 1);
    }
    now += 60_000;
    breaker.admit(at(now));
    breaker.outcome(at(now), 10, 0);
    assert_eq!(breaker.admit(at(now)), Admission::Yes);
    breaker.outcome(at(now), 0, 50);
    assert_eq!(breaker.admit(at(now)), open(now + 5_000), "a success makes it patient again");
}

#[test]
fn a_flood_of_dead_letters_opens_it() {
    let mut breaker = breaker();
    breaker.outcome(at(0), 90, 60);
    breaker.died(at(30_000), 100);
    assert_eq!(breaker.admit(at(30_000)), Admission::Yes);
    breaker.died(at(59_000), 1);
    let flood = Admission::Open { until: at(64_000), cause: OpenCause::DeadLetterFlood };
    assert_eq!(breaker.admit(at(59_000)), flood);
}

#[test]
fn one_that_is_switched_off_stays_closed() {
    let mut breaker = breaker();
    breaker.outcome(at(0), 0, 50);
    breaker.resize(BreakerLimits { failures_percent: None, ..BreakerLimits::default() });
    breaker.outcome(at(0), 0, 5_000);
    breaker.died(at(0), 5_000);
    assert_eq!(breaker.admit(at(0)), Admission::Yes);
}

proptest! {
    #[test]
    fn it_never_stays_open_for_more_than_a_minute_and_remembers_little(
        steps in prop::collection::vec((-5_000..20_000i64, 0..100u64, 0..100u64, 0..100u64), 1..200),
    ) {
        let (mut breaker, mut now, mut latest) = (breaker(), 0i64, 0i64);
        for (wait, succeeded, failed, died) in steps {
            now += wait;
            latest = latest.max(now);
            breaker.outcome(at(now), succeeded, failed);
            breaker.died(at(now), died);
            if let Admission::Open { until, .. } = breaker.admit(at(now)) {
                prop_assert!((latest + 1..=latest + 60_000).contains(&until.millis()));
            }
            prop_assert!(breaker.slots.len() <= 60);
        }
    }
}
