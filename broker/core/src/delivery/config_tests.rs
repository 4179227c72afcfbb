use std::collections::BTreeMap;

use super::{QUEUE_CONFIGS, QueueConfig, QueueConfigError};
use crate::catalog::ConfigKind;
use crate::delivery::backoff::{Jitter, Schedule};
use crate::delivery::breaker::BreakerLimits;
use crate::delivery::budget::BudgetLimits;
use crate::delivery::policy::{DelayedEdge, LanePolicy, OnDead, OrderMode};

fn resolve(given: &[(&str, &str)]) -> Result<QueueConfig, QueueConfigError> {
    let given: BTreeMap<String, String> =
        given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    QueueConfig::resolve(&given)
}

#[test]
fn the_table_says_what_the_parts_have_for_defaults() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.lane, LanePolicy::default());
    assert_eq!((&*config.schedule, config.jitter), (&Schedule::default(), Jitter::default()));
    assert_eq!((config.budget, config.breaker), (BudgetLimits::default(), BreakerLimits::default()));
    assert!(config.read_committed && !config.from_earliest);
}

#[test]
fn the_table_is_sorted_and_its_defaults_and_bounds_can_be_used() {
    assert!(QUEUE_CONFIGS.is_sorted_by_key(|row| row.key));
    for row in QUEUE_CONFIGS {
        assert!(row.kind.accepts(row.default), "{}", row.key);
        let ends = match row.kind {
            ConfigKind::Int { min, max } => vec![min.to_string(), max.to_string()],
            ConfigKind::Word { allowed } => allowed.iter().map(|word| (*word).to_owned()).collect(),
            _ => vec![row.default.to_owned()],
        };
        for value in ends {
            // With what it needs beside it.
            let beside = [
                ("tidelog.queue.order", "key"),
                ("tidelog.queue.lock.total.ms", "86400000"),
                (
                    "tidelog.queue.lock.max.ms",
                    if row.key == "tidelog.queue.lock.total.ms" { "1000" } else { "86400000" },
                ),
                ("share.record.lock.duration.ms", "1000"),
            ];
            let mut given: BTreeMap<String, String> =
                beside.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            given.insert(row.key.to_owned(), value.clone());
            let config =
                QueueConfig::resolve(&given).unwrap_or_else(|error| panic!("{}={value}: {error}", row.key));
            // A number that does not fit its type would be 0.
            let zero = [
                config.lane.max_attempts == 0,
                config.lane.window.leased == 0,
                config.lane.window.delayed == 0,
            ];
            assert!(!zero.contains(&true) && config.lane.window.lookahead > 0, "{}={value}", row.key);
            if row.key == "tidelog.queue.max.releases" || row.key == "tidelog.queue.max.redrives" {
                let both = [config.lane.max_releases.to_string(), config.lane.max_redrives.to_string()];
                assert!(both.contains(&value), "{}={value}", row.key);
            }
        }
    }
}

#[test]
fn every_setting_arrives() {
    let config = resolve(&[
        ("share.auto.offset.reset", "earliest"),
        ("share.delivery.count.limit", "9"),
        ("share.isolation.level", "read_uncommitted"),
        ("tidelog.queue.backoff", "exponential(2s,3,1m)"),
        ("tidelog.queue.backoff.jitter", "none"),
        ("tidelog.queue.breaker.failures.percent", "0"),
        ("tidelog.queue.delayed.edge", "dead-letter"),
        ("tidelog.queue.on.dead", "follow"),
        ("tidelog.queue.order", "key"),
        ("tidelog.queue.retry.percent", "-1"),
    ])
    .unwrap();
    assert!(config.from_earliest && !config.read_committed);
    let lane = config.lane;
    assert_eq!((lane.max_attempts, lane.order, lane.on_dead), (9, OrderMode::Key, OnDead::Follow));
    assert_eq!((lane.delayed_edge, config.jitter), (DelayedEdge::EarlyDeadLetter, Jitter::None));
    assert_eq!((config.schedule.delay_ms(2), config.budget.percent), (6_000, None));
    assert_eq!(config.breaker.failures_percent, None);
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("share.delivery.count.limits", "3")], "did you mean share.delivery.count.limit?"),
        (&[("nothing.like.it.anywhere", "3")], "there is no queue setting \"nothing.like.it.anywhere\""),
        (&[("share.delivery.count.limit", "0")], "a whole number from 1 to 1000"),
        (&[("tidelog.queue.order", "fifo")], "one of unordered, key, partition"),
        (&[("tidelog.queue.backoff", "fixed(1)")], "tidelog.queue.backoff: \"fixed(1)\" is no backoff"),
        (&[("tidelog.queue.on.dead", "follow")], "needs tidelog.queue.order=key"),
        (
            &[("share.record.lock.duration.ms", "900001")],
            "share.record.lock.duration.ms is 900001, which is more than",
        ),
        (&[("tidelog.queue.lock.max.ms", "3600001")], "tidelog.queue.lock.total.ms, 3600000"),
    ];
    for (given, said) in cases {
        let refused = resolve(given).unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        assert!(!refused.key().is_empty());
    }
}
