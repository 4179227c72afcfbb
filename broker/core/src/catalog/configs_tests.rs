use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    ConfigError, ConfigSource, Flush, KEPT_CONFIGS, RETIRED_CONFIGS, TOPIC_CONFIGS, TopicConfig, alter,
    describe, edit_distance, lookup,
};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn resolve(pairs: &[(&str, &str)]) -> Result<TopicConfig, ConfigError> {
    TopicConfig::resolve(&BTreeMap::new(), &map(pairs))
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_the_documented_ones() {
    assert!(TOPIC_CONFIGS.is_sorted_by_key(|row| row.key));
    assert_eq!(resolve(&[]), Ok(TopicConfig::default()));
    for row in TOPIC_CONFIGS {
        let explicit = resolve(&[(row.key, row.default)]);
        assert_eq!(explicit, Ok(TopicConfig::default()), "{}", row.key);
    }
}

#[test]
fn every_config_has_an_effect() {
    let changed = [
        ("cleanup.policy", "compact"),
        ("delete.retention.ms", "1"),
        ("file.delete.delay.ms", "1"),
        ("index.interval.bytes", "1"),
        ("max.compaction.lag.ms", "1"),
        ("max.message.bytes", "2000"),
        ("message.timestamp.after.max.ms", "1"),
        ("message.timestamp.before.max.ms", "1"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("min.compaction.lag.ms", "1"),
        ("retention.bytes", "1"),
        ("retention.ms", "-1"),
        ("segment.bytes", "5000"),
        ("segment.index.bytes", "5000"),
        ("segment.ms", "1"),
        ("tidelog.flush.policy", "os"),
    ];
    for (key, value) in changed {
        assert_ne!(resolve(&[(key, value)]).unwrap(), TopicConfig::default(), "{key}");
    }
    let interval = resolve(&[("tidelog.flush.policy", "interval"), ("tidelog.flush.interval.ms", "7")]);
    assert_eq!(interval.unwrap().flush, Flush::Interval { ms: 7 });
    // tidelog.flush.interval.ms has no effect by itself.
    assert_eq!(changed.len() + 1, TOPIC_CONFIGS.len());
}

#[test]
fn kept_and_retired_configs_are_accepted_described_and_change_nothing() {
    assert!(KEPT_CONFIGS.is_sorted_by_key(|row| row.key));
    let values = [
        ("compression.type", "zstd"),
        ("flush.messages", "1"),
        ("leader.replication.throttled.replicas", "0:1,1:1"),
        ("follower.replication.throttled.replicas", "*"),
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "TRUE"),
        ("remote.storage.enable", "false"),
        ("message.format.version", "2.8"),
    ];
    let entries = describe(&BTreeMap::new(), &map(&values));
    for (key, value) in values {
        assert_eq!(resolve(&[(key, value)]), Ok(TopicConfig::default()), "{key}");
        let entry = entries.iter().find(|entry| entry.key == key).unwrap();
        assert_eq!((entry.value.as_str(), entry.source), (value, ConfigSource::Topic), "{key}");
    }
    for row in KEPT_CONFIGS.iter().chain(RETIRED_CONFIGS) {
        assert_eq!(resolve(&[(row.key, row.default)]), Ok(TopicConfig::default()), "{}", row.key);
    }
    let unset = describe(&BTreeMap::new(), &BTreeMap::new());
    assert!(unset.is_sorted_by_key(|entry| entry.key));
    assert_eq!(unset.len(), TOPIC_CONFIGS.len() + KEPT_CONFIGS.len());
}

#[test]
fn a_refused_value_names_key_value_and_range() {
    let cases = [
        (
            "segment.bytes",
            "12",
            "segment.bytes=\"12\" is not allowed: it takes a whole number from 1024 to 2147483647",
        ),
        (
            "retention.ms",
            "soon",
            "retention.ms=\"soon\" is not allowed: it takes a whole number from -1 to 9223372036854775807",
        ),
        (
            "min.cleanable.dirty.ratio",
            "NaN",
            "min.cleanable.dirty.ratio=\"NaN\" is not allowed: it takes a number from 0.0 to 1.0",
        ),
        (
            "cleanup.policy",
            "compact,keep",
            "cleanup.policy=\"compact,keep\" is not allowed: it takes a comma-separated list of delete, compact",
        ),
        (
            "remote.storage.enable",
            "true",
            "remote.storage.enable=\"true\" is not allowed: it takes one of false",
        ),
        ("preallocate", "yes", "preallocate=\"yes\" is not allowed: it takes true or false"),
        (
            "leader.replication.throttled.replicas",
            "1",
            "leader.replication.throttled.replicas=\"1\" is not allowed: it takes a comma-separated list of \
             PARTITION:BROKER, or *",
        ),
    ];
    for (key, value, message) in cases {
        assert_eq!(resolve(&[(key, value)]).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let near = lookup("retention.msec").unwrap_err().to_string();
    assert_eq!(near, "there is no topic config \"retention.msec\", did you mean retention.ms?");
    let far = lookup("colour").unwrap_err().to_string();
    assert_eq!(far, "there is no topic config \"colour\"");
}

#[test]
fn contradictions_are_refused() {
    let error = resolve(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "min.compaction.lag.ms=10 is above max.compaction.lag.ms=9: it must not be"
    );
    let both = alter(&BTreeMap::new(), &map(&[("retention.ms", "1")]), &["retention.ms".to_owned()]);
    assert!(matches!(both, Err(ConfigError::SetAndReset { .. })));
}

#[test]
fn a_topics_value_wins_over_the_brokers_over_the_table() {
    let broker = map(&[("retention.ms", "5"), ("segment.ms", "6")]);
    let topic = map(&[("retention.ms", "7")]);
    let config = TopicConfig::resolve(&broker, &topic).unwrap();
    assert_eq!((config.retention_ms, config.segment_ms), (Some(7), 6));
    let entries = describe(&broker, &topic);
    let source = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.source);
    assert_eq!(source("retention.ms"), Some(ConfigSource::Topic));
    assert_eq!(source("segment.ms"), Some(ConfigSource::Broker));
    assert_eq!(source("segment.bytes"), Some(ConfigSource::Default));
}

#[test]
fn edit_distance_counts_slips() {
    for (left, right, distance) in
        [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("ac", "abc", 1), ("kitten", "sitting", 3)]
    {
        let left: Vec<char> = left.chars().collect();
        assert_eq!(edit_distance(&left, right), distance);
    }
}

proptest! {
    #[test]
    fn any_key_and_value_is_accepted_or_explained(key in "\\PC{0,80}", value in "\\PC{0,40}", pick in 0..40_usize) {
        let key = TOPIC_CONFIGS.get(pick).map_or(key, |row| row.key.to_owned());
        if let Err(error) = TopicConfig::resolve(&BTreeMap::new(), &BTreeMap::from([(key, value)])) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
