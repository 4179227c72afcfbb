use std::sync::Arc;

use proptest::prelude::*;
use tidelog_model::{GroupId, Offset, PartitionIndex, TopicId};
use uuid::Uuid;

use super::{Jitter, LaneBackoff, Schedule};
use crate::delivery::LaneId;
use crate::delivery::policy::Backoff;

fn backoff(text: &str, jitter: Jitter) -> LaneBackoff {
    let lane = LaneId { topic_id: TopicId::from_uuid(Uuid::from_u128(7)), partition: PartitionIndex::ZERO };
    LaneBackoff::new(Arc::new(text.parse().unwrap()), jitter, &GroupId::new("payments").unwrap(), lane)
}

fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

#[test]
fn the_default_is_five_attempts_in_336_seconds() {
    let schedule = Schedule::default();
    assert_eq!((1..=4).map(|attempt| schedule.delay_ms(attempt)).sum::<i64>(), 336_000);
    assert_eq!(schedule.delay_ms(99), 300_000);
    assert_eq!(schedule.to_string(), "fixed(1s,5s,30s,5m)");
}

#[test]
fn exponential_delays_grow_to_their_cap() {
    let schedule: Schedule = "exponential( 100ms, 2.5, 2s )".parse().unwrap();
    let delays: Vec<i64> = (1..=6).map(|attempt| schedule.delay_ms(attempt)).collect();
    assert_eq!(delays, [100, 250, 625, 1_562, 2_000, 2_000]);
    assert_eq!("exponential(1s,1,5m)".parse::<Schedule>().unwrap().delay_ms(u32::MAX), 1_000);
    assert_eq!("exponential(0s,2,5m)".parse::<Schedule>().unwrap().delay_ms(u32::MAX), 0);
}

#[test]
fn what_is_no_schedule_is_refused_with_an_example() {
    let texts = [
        "",
        "fixed",
        "fixed()",
        "fixed(1)",
        "fixed(1s",
        "fixed(1s,)",
        "fixed(-1s)",
        "fixed(8d)",
        "linear(1s)",
        "exponential(1s,2)",
        "exponential(2s,2,1s)",
        "exponential(1s,0.5,2s)",
        "exponential(1s,nan,2s)",
        "exponential(1s,101,2s)",
        "fixed(99999999999999999999s)",
        "fixed(1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s)",
    ];
    for text in texts {
        let refused = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(refused.contains("fixed(1s,5s,30s,5m)"), "{text}: {refused}");
    }
}

#[test]
fn delays_are_the_same_on_every_machine() {
    let backoff = backoff("fixed(1s,5s,30s,5m)", Jitter::Auto);
    let delays: Vec<i64> = (1..=4).map(|attempt| backoff.delay_ms(offset(42), attempt)).collect();
    assert_eq!(delays, GOLDEN);
}

/// What the first build gave.
const GOLDEN: [i64; 4] = [1_189, 5_668, 33_190, 338_031];

proptest! {
    #[test]
    fn a_schedule_is_read_back_as_it_is_written(
        delays in prop::collection::vec(0..604_800_000i64, 1..16),
        factor in 1.0..100.0f64,
    ) {
        let exponential = Schedule::Exponential { initial_ms: delays[0] / 2, factor, cap_ms: delays[0] };
        for schedule in [Schedule::Fixed(delays), exponential] {
            prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
    }

    #[test]
    fn jitter_stays_in_its_range(at in 0..i64::MAX, attempt in 1..20u32) {
        for text in ["fixed(1s,5s,30s,5m)", "exponential(100ms,3,1m)", "fixed(0ms)"] {
            let plain = text.parse::<Schedule>().unwrap().delay_ms(attempt);
            let first = text.parse::<Schedule>().unwrap().delay_ms(1);
            let ranges = [
                (Jitter::None, plain, plain),
                (Jitter::Equal, plain / 2, plain),
                (Jitter::Full, first.min(plain), plain),
                (Jitter::Plus, plain, plain + plain / 5),
            ];
            for (jitter, from, to) in ranges {
                let delay = backoff(text, jitter).delay_ms(offset(at), attempt);
                prop_assert!((from..=to).contains(&delay), "{text} {jitter:?}: {delay} is not in {from}..={to}");
            }
        }
    }
}

#[test]
fn records_that_fail_together_do_not_come_back_together() {
    let backoff = backoff("fixed(1s)", Jitter::Auto);
    let delays: std::collections::BTreeSet<i64> =
        (0..1_000).map(|at| backoff.delay_ms(offset(at), 1)).collect();
    assert!(delays.len() > 190, "{} different delays of 201", delays.len());
}
