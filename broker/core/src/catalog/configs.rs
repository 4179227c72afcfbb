//! The configs of a topic: their names, types, ranges, defaults and what they do.
//!
//! Names and meanings are Kafka's; the ones that Kafka lacks start with `tidelog.`. A key is in the first table
//! only when it has an effect; Kafka's keys without one here are in tables of their own.
//!
//! A value comes from the topic, else from the broker's topic defaults, else from the table.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use tidelog_model::limits;

use super::config_kept::{KEPT_CONFIGS, RETIRED_CONFIGS};
use super::config_kind::ConfigKind;
use super::config_table::TOPIC_CONFIGS;
use crate::partition::TimestampType;

/// A row of the table of configs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigKey {
    /// Its name.
    pub key: &'static str,
    /// Its type and range.
    pub kind: ConfigKind,
    /// Its value where nobody set one.
    pub default: &'static str,
    /// What it does, in one line.
    pub documentation: &'static str,
}

/// Where a config's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// The table.
    Default,
    /// The broker's topic defaults.
    Broker,
    /// The topic.
    Topic,
    /// The group.
    Group,
}

impl ConfigSource {
    /// The source's name in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A config of a topic, for descriptions.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigEntry {
    /// Its name.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Its type and range.
    pub kind: ConfigKind,
    /// What it does, in one line.
    pub documentation: &'static str,
}

/// Why configs were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No config has this name.
    #[error("there is no topic config {key:?}{}", suggestion.map_or_else(String::new, |near| format!(", did you mean {near}?")))]
    UnknownKey {
        /// The name given.
        key: String,
        /// The nearest name there is, when one is near.
        suggestion: Option<&'static str>,
    },
    /// The value is not allowed.
    #[error("{key}={value:?} is not allowed: it takes {allowed}")]
    Value {
        /// The config.
        key: &'static str,
        /// The value given.
        value: String,
        /// What it takes.
        allowed: String,
    },
    /// Two configs contradict each other.
    #[error("{low_key}={low} is above {high_key}={high}: it must not be")]
    Order {
        /// The config that must not be above the other.
        low_key: &'static str,
        /// Its value.
        low: i64,
        /// The other.
        high_key: &'static str,
        /// Its value.
        high: i64,
    },
    /// A key is both set and reset.
    #[error("{key} is set and reset in one request: do one of them")]
    SetAndReset {
        /// The config.
        key: String,
    },
}

/// What a durable answer waits for (`tidelog.flush.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// The flush of the batch to the device.
    Sync,
    /// The write; the device is flushed every so many milliseconds.
    Interval {
        /// Milliseconds between two flushes.
        ms: u64,
    },
    /// The write; the operating system flushes when it likes.
    Os,
}

/// All configs of a topic, as values.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` has `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` has `compact`.
    pub cleanup_compact: bool,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`.
    pub batch_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `retention.bytes`; `None` is -1, no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` is -1, no limit.
    pub retention_ms: Option<i64>,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `tidelog.flush.policy` and `tidelog.flush.interval.ms`.
    pub flush: Flush,
}

impl TopicConfig {
    /// The configs of a topic that sets `overrides` on a broker that sets `defaults`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the value and what it takes.
    pub fn resolve(
        defaults: &BTreeMap<String, String>,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        check_keys(defaults)?;
        check_keys(overrides)?;
        let values = Values { defaults, overrides };
        let cleanup = values.text("cleanup.policy")?;
        let has = |policy: &str| cleanup.split(',').any(|word| word.trim() == policy);
        let config = Self {
            cleanup_delete: has("delete"),
            cleanup_compact: has("compact"),
            delete_retention_ms: values.integer("delete.retention.ms")?,
            file_delete_delay_ms: values.integer("file.delete.delay.ms")?,
            index_interval_bytes: values.number("index.interval.bytes")?,
            max_compaction_lag_ms: values.integer("max.compaction.lag.ms")?,
            batch_bytes_max: values.number("max.message.bytes")?,
            timestamp_type: values.timestamp_type()?,
            timestamp_before_max_ms: values.integer("message.timestamp.before.max.ms")?,
            timestamp_after_max_ms: values.integer("message.timestamp.after.max.ms")?,
            min_cleanable_dirty_ratio: values.ratio("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: values.integer("min.compaction.lag.ms")?,
            retention_bytes: u64::try_from(values.integer("retention.bytes")?).ok(),
            retention_ms: Some(values.integer("retention.ms")?).filter(|ms| *ms >= 0),
            segment_bytes: values.number("segment.bytes")?,
            segment_index_bytes: values.number("segment.index.bytes")?,
            segment_ms: values.integer("segment.ms")?,
            flush: values.flush()?,
        };
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return Err(ConfigError::Order {
                low_key: "min.compaction.lag.ms",
                low: config.min_compaction_lag_ms,
                high_key: "max.compaction.lag.ms",
                high: config.max_compaction_lag_ms,
            });
        }
        Ok(config)
    }
}

impl Default for TopicConfig {
    /// The table's values.
    fn default() -> Self {
        // The same values as the table's; a test holds the two together.
        Self {
            cleanup_delete: true,
            cleanup_compact: false,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            index_interval_bytes: 4_096,
            max_compaction_lag_ms: i64::MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX_DEFAULT,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            retention_bytes: None,
            retention_ms: Some(604_800_000),
            segment_bytes: 1_073_741_824,
            segment_index_bytes: 10_485_760,
            segment_ms: 604_800_000,
            flush: Flush::Sync,
        }
    }
}

/// All configs of a topic with their values and sources, by name; retired ones only where they are set.
#[must_use]
pub fn describe(
    defaults: &BTreeMap<String, String>,
    overrides: &BTreeMap<String, String>,
) -> Vec<ConfigEntry> {
    let values = Values { defaults, overrides };
    let retired = RETIRED_CONFIGS.iter().filter(|row| values.find(row).1 != ConfigSource::Default);
    let mut entries: Vec<ConfigEntry> = TOPIC_CONFIGS
        .iter()
        .chain(KEPT_CONFIGS)
        .chain(retired)
        .map(|row| {
            let (value, source) = values.find(row);
            let value = value.to_owned();
            ConfigEntry { key: row.key, value, source, kind: row.kind, documentation: row.documentation }
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.key);
    entries
}

/// All rows there are.
fn rows() -> impl Iterator<Item = &'static ConfigKey> {
    TOPIC_CONFIGS.iter().chain(KEPT_CONFIGS).chain(RETIRED_CONFIGS)
}

/// The table's row for `key`.
///
/// # Errors
/// [`ConfigError::UnknownKey`] with the nearest name.
pub fn lookup(key: &str) -> Result<&'static ConfigKey, ConfigError> {
    rows().find(|row| row.key == key).ok_or_else(|| ConfigError::UnknownKey {
        key: key.chars().take(100).collect(),
        suggestion: nearest(key),
    })
}

/// The configs `current` with `set` set and `reset` removed.
///
/// # Errors
/// When a key is unknown, or both set and reset. Values are checked by [`TopicConfig::resolve`].
pub fn alter(
    current: &BTreeMap<String, String>,
    set: &BTreeMap<String, String>,
    reset: &[String],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut configs = current.clone();
    for key in reset {
        lookup(key)?;
        if set.contains_key(key) {
            return Err(ConfigError::SetAndReset { key: key.clone() });
        }
        configs.remove(key);
    }
    configs.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(configs)
}

fn check_keys(configs: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (key, value) in configs {
        let row = lookup(key)?;
        if !row.kind.accepts(value) {
            return Err(refused(row, value));
        }
    }
    Ok(())
}

fn refused(row: &ConfigKey, value: &str) -> ConfigError {
    let value = value.chars().take(100).collect();
    ConfigError::Value { key: row.key, value, allowed: row.kind.allowed() }
}

/// The values of a topic's configs, looked up by name.
struct Values<'a> {
    defaults: &'a BTreeMap<String, String>,
    overrides: &'a BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    fn find(&self, row: &'static ConfigKey) -> (&'a str, ConfigSource) {
        if let Some(value) = self.overrides.get(row.key) {
            (value, ConfigSource::Topic)
        } else if let Some(value) = self.defaults.get(row.key) {
            (value, ConfigSource::Broker)
        } else {
            (row.default, ConfigSource::Default)
        }
    }

    fn text(&self, key: &str) -> Result<&'a str, ConfigError> {
        Ok(self.find(lookup(key)?).0)
    }

    fn parse<T: std::str::FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        let row = lookup(key)?;
        let value = self.find(row).0;
        value.parse().map_err(|_| refused(row, value))
    }

    fn integer(&self, key: &str) -> Result<i64, ConfigError> {
        self.parse(key)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.parse(key)
    }

    fn ratio(&self, key: &str) -> Result<f64, ConfigError> {
        self.parse(key)
    }

    fn timestamp_type(&self) -> Result<TimestampType, ConfigError> {
        Ok(match self.text("message.timestamp.type")? {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        })
    }

    fn flush(&self) -> Result<Flush, ConfigError> {
        Ok(match self.text("tidelog.flush.policy")? {
            "interval" => Flush::Interval { ms: self.number("tidelog.flush.interval.ms")? },
            "os" => Flush::Os,
            _ => Flush::Sync,
        })
    }
}

/// The name nearest to `key`, when it is near enough to be a slip.
fn nearest(key: &str) -> Option<&'static str> {
    nearest_of(key, rows().map(|row| row.key))
}

/// The one of `names` nearest to `key`, when it is near enough to be a slip.
pub(crate) fn nearest_of(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // A hostile key must not cost more than a typing slip does.
    let key: Vec<char> = key.chars().take(60).collect();
    let (distance, name) = names.map(|name| (edit_distance(&key, name), name)).min()?;
    (distance <= (name.len() / 3).max(2)).then_some(name)
}

/// How many characters must be typed, dropped or replaced to turn one text into the other (Levenshtein).
fn edit_distance(left: &[char], right: &str) -> usize {
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (line, wanted) in right.chars().enumerate() {
        let mut next = vec![line + 1];
        let mut before = line + 1;
        for ((diagonal, above), found) in row.iter().zip(row.iter().skip(1)).zip(left) {
            let replaced = diagonal + usize::from(*found != wanted);
            before = replaced.min(above + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "configs_tests.rs"]
mod tests;
