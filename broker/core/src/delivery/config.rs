//! The settings of a queue group: their names, types, ranges, defaults and what they do.
//!
//! Names and meanings are those of Kafka's share groups where there is one; the others begin with `tidelog.queue.`.
//! A key is in the table only when it has an effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tidelog_model::{GroupId, TopicName};

use super::backoff::{Jitter, LaneBackoff, Schedule, ScheduleError};
use super::breaker::BreakerLimits;
use super::budget::BudgetLimits;
use super::event::LaneId;
use super::policy::{DelayedEdge, LanePolicy, LeasePolicy, OnDead, OrderMode, WindowLimits};
use crate::catalog::{ConfigEntry, ConfigKey, ConfigKind, ConfigSource, nearest_of};

/// The longest lease and the longest life of one, in milliseconds: a day.
const LEASE_MAX_MS: i64 = 86_400_000;
/// The longest delay that a consumer may ask for, in milliseconds: a week.
const DELAY_MAX_MS: i64 = 604_800_000;

const fn int(min: i64, max: i64) -> ConfigKind {
    ConfigKind::Int { min, max }
}

/// The settings of queue groups, sorted by name.
pub static QUEUE_CONFIGS: &[ConfigKey] = &[
    ConfigKey {
        key: "errors.deadletterqueue.auto.create.topics.enable",
        kind: ConfigKind::Bool,
        default: "true",
        documentation: "Whether the topic of the dead letters is made when there is the first one. It then keeps \
                        its records for ever.",
    },
    ConfigKey {
        key: "errors.deadletterqueue.copy.record.enable",
        kind: ConfigKind::Bool,
        default: "true",
        documentation: "Whether a dead letter has the whole record, or only tells how it died and where it was.",
    },
    ConfigKey {
        key: "errors.deadletterqueue.topic.name",
        kind: ConfigKind::Text,
        default: "",
        documentation: "The topic of the dead letters; dlq. and the name of the group when it is empty.",
    },
    ConfigKey {
        key: "share.auto.offset.reset",
        kind: ConfigKind::Word { allowed: &["earliest", "latest"] },
        default: "latest",
        documentation: "Where a queue begins on a partition of which the group has no offset: at its first \
                        record, or behind its last when the group is created.",
    },
    ConfigKey {
        key: "share.delivery.count.limit",
        kind: int(1, 1_000),
        default: "5",
        documentation: "How often a record is handed out before it becomes a dead letter.",
    },
    ConfigKey {
        key: "share.isolation.level",
        kind: ConfigKind::Word { allowed: &["read_committed", "read_uncommitted"] },
        default: "read_committed",
        documentation: "Whether records of open and aborted transactions are handed out.",
    },
    ConfigKey {
        key: "share.partition.max.record.locks",
        kind: int(1, 1_000_000),
        default: "2000",
        documentation: "How many records of a partition may be in consumers' hands.",
    },
    ConfigKey {
        key: "share.record.lock.duration.ms",
        kind: int(1_000, LEASE_MAX_MS),
        default: "30000",
        documentation: "How long a record is its consumer's before it counts as failed, unless it is renewed.",
    },
    ConfigKey {
        key: "tidelog.queue.backoff",
        kind: ConfigKind::Text,
        default: "fixed(1s,5s,30s,5m)",
        documentation: "When a record that failed comes again: fixed(DELAY,...), whose last is repeated, or \
                        exponential(FIRST,FACTOR,LONGEST).",
    },
    ConfigKey {
        key: "tidelog.queue.backoff.jitter",
        kind: ConfigKind::Word { allowed: &Jitter::NAMES },
        default: "auto",
        documentation: "How delays are spread: plus is up to a fifth longer, equal and full are shorter; auto is \
                        plus for fixed delays and full for others.",
    },
    ConfigKey {
        key: "tidelog.queue.breaker.failures.percent",
        kind: int(0, 100),
        default: "90",
        documentation: "Nothing is handed out for a while when so much of the last ten seconds failed; 0 is never.",
    },
    ConfigKey {
        key: "tidelog.queue.breaker.outcomes.min",
        kind: int(1, 1_000_000),
        default: "50",
        documentation: "With fewer outcomes in ten seconds the breaker concludes nothing.",
    },
    ConfigKey {
        key: "tidelog.queue.delay.max.ms",
        kind: int(0, DELAY_MAX_MS),
        default: "43200000",
        documentation: "The longest delay that a consumer may ask for when a record failed.",
    },
    ConfigKey {
        key: "tidelog.queue.delayed.edge",
        kind: ConfigKind::Word { allowed: &["stall", "dead-letter"] },
        default: "stall",
        documentation: "What happens when too many records are delayed: no new one is handed out, or those that \
                        fail then become dead letters at once.",
    },
    ConfigKey {
        key: "tidelog.queue.lock.max.ms",
        kind: int(1_000, LEASE_MAX_MS),
        default: "900000",
        documentation: "The longest time that a consumer may ask for at once.",
    },
    ConfigKey {
        key: "tidelog.queue.lock.total.ms",
        kind: int(1_000, LEASE_MAX_MS),
        default: "3600000",
        documentation: "How long a record may stay its consumer's with all renewals.",
    },
    ConfigKey {
        key: "tidelog.queue.max.delayed",
        kind: int(1, 10_000_000),
        default: "100000",
        documentation: "How many records of a partition may wait for their next attempt.",
    },
    ConfigKey {
        key: "tidelog.queue.max.dying",
        kind: int(1, 1_000_000),
        default: "10000",
        documentation: "How many records of a partition may be on their way to the dead letters.",
    },
    ConfigKey {
        key: "tidelog.queue.max.lookahead",
        kind: int(1, 10_000_000),
        default: "1000000",
        documentation: "How far ahead of the first record that is not settled records are handed out, in offsets.",
    },
    ConfigKey {
        key: "tidelog.queue.max.redrives",
        kind: int(0, 255),
        default: "5",
        documentation: "How often a dead letter may be redriven.",
    },
    ConfigKey {
        key: "tidelog.queue.max.releases",
        kind: int(0, 255),
        default: "100",
        documentation: "How often a record may be given back unharmed before that counts as a failure.",
    },
    ConfigKey {
        key: "tidelog.queue.on.dead",
        kind: ConfigKind::Word { allowed: &["continue", "follow"] },
        default: "continue",
        documentation: "With tidelog.queue.order=key: whether later records of a dead one's key go on, or die too \
                        until it is redriven or resolved.",
    },
    ConfigKey {
        key: "tidelog.queue.order",
        kind: ConfigKind::Word { allowed: &["unordered", "key", "partition"] },
        default: "unordered",
        documentation: "Which records wait for one that failed: none, those of its key, or all of its partition.",
    },
    ConfigKey {
        key: "tidelog.queue.paused",
        kind: ConfigKind::Bool,
        default: "false",
        documentation: "Whether nothing is handed out; what is in consumers' hands may be settled.",
    },
    ConfigKey {
        key: "tidelog.queue.retry.floor",
        kind: int(0, 1_000_000),
        default: "10",
        documentation: "Retries a second that need no success.",
    },
    ConfigKey {
        key: "tidelog.queue.retry.percent",
        kind: int(-1, 100_000),
        default: "20",
        documentation: "Retries for a hundred records that succeed; -1 is no limit.",
    },
];

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueConfigError {
    /// There is no such setting.
    #[error("there is no queue setting {key:?}{}", suggestion.map_or_else(String::new, |near| format!(", did you mean {near}?")))]
    UnknownKey {
        /// The name given.
        key: String,
        /// The nearest name there is, when one is near.
        suggestion: Option<&'static str>,
    },
    /// The value is not allowed.
    #[error("{key}: {value:?} is not {allowed}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The value given, cut off when it is long.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The backoff cannot be read.
    #[error("tidelog.queue.backoff: {0}")]
    Backoff(#[from] ScheduleError),
    /// Two settings contradict each other.
    #[error("{lower} is {lower_value}, which is more than {upper}, {upper_value}")]
    Order {
        /// The setting that must not be larger.
        lower: &'static str,
        /// Its value.
        lower_value: i64,
        /// Than this one.
        upper: &'static str,
        /// Its value.
        upper_value: i64,
    },
    /// The dead letters cannot go there.
    #[error("errors.deadletterqueue.topic.name: {reason}")]
    Topic {
        /// Why not.
        reason: String,
    },
    /// The setting needs another.
    #[error("tidelog.queue.on.dead=follow needs tidelog.queue.order=key: without keys nothing follows")]
    FollowWithoutKeys,
}

impl QueueConfigError {
    /// The setting at fault.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::UnknownKey { key, .. } => key,
            Self::Value { key, .. } => key,
            Self::Backoff(_) => "tidelog.queue.backoff",
            Self::Order { lower, .. } => lower,
            Self::Topic { .. } => "errors.deadletterqueue.topic.name",
            Self::FollowWithoutKeys => "tidelog.queue.on.dead",
        }
    }
}

/// The settings of a queue group, read.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueConfig {
    /// Whether a queue begins at the first record of a partition of which the group has no offset.
    pub from_earliest: bool,
    /// Whether records of open and aborted transactions are held back.
    pub read_committed: bool,
    /// The rules of each lane.
    pub lane: LanePolicy,
    /// When records come again.
    pub schedule: Arc<Schedule>,
    /// How that is spread.
    pub jitter: Jitter,
    /// How many retries there are.
    pub budget: BudgetLimits,
    /// When nothing is handed out.
    pub breaker: BreakerLimits,
    /// Whether nothing is handed out at all.
    pub paused: bool,
    /// Where its dead letters go.
    pub dead_letters: DeadLetterConfig,
}

/// What becomes of a group's dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterConfig {
    /// The topic, if one was named.
    pub topic: Option<TopicName>,
    /// Whether the record itself is written there.
    pub copy_record: bool,
    /// Whether the topic is made when it is not there.
    pub auto_create: bool,
}

/// All settings of a group with their values and sources, by name.
#[must_use]
pub fn describe_queue(given: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
    let entry = |row: &ConfigKey| {
        let set = given.get(row.key);
        let source = if set.is_some() { ConfigSource::Group } else { ConfigSource::Default };
        let value = set.map_or(row.default, String::as_str).to_owned();
        ConfigEntry { key: row.key, value, source, kind: row.kind, documentation: row.documentation }
    };
    QUEUE_CONFIGS.iter().map(entry).collect()
}

impl QueueConfig {
    /// Reads the settings that a group was given; what it was not given has its default.
    ///
    /// # Errors
    /// [`QueueConfigError`] names the setting and what is allowed.
    pub fn resolve(given: &BTreeMap<String, String>) -> Result<Self, QueueConfigError> {
        for (key, value) in given {
            check(key, value)?;
        }
        let values = Values(given);
        let (order, on_dead) = (values.order(), values.on_dead());
        if on_dead == OnDead::Follow && order != OrderMode::Key {
            return Err(QueueConfigError::FollowWithoutKeys);
        }
        let lease = values.lease()?;
        let lane = LanePolicy {
            order,
            on_dead,
            max_attempts: values.number("share.delivery.count.limit"),
            lease,
            window: WindowLimits {
                leased: values.number("share.partition.max.record.locks"),
                delayed: values.number("tidelog.queue.max.delayed"),
                dying: values.number("tidelog.queue.max.dying"),
                lookahead: values.number("tidelog.queue.max.lookahead"),
            },
            delayed_edge: match values.text("tidelog.queue.delayed.edge") {
                "dead-letter" => DelayedEdge::EarlyDeadLetter,
                _ => DelayedEdge::Stall,
            },
            max_delay_ms: values.number("tidelog.queue.delay.max.ms"),
            max_releases: values.number("tidelog.queue.max.releases"),
            max_redrives: values.number("tidelog.queue.max.redrives"),
        };
        let percent: i64 = values.number("tidelog.queue.retry.percent");
        let failures: u32 = values.number("tidelog.queue.breaker.failures.percent");
        Ok(Self {
            from_earliest: values.text("share.auto.offset.reset") == "earliest",
            read_committed: values.text("share.isolation.level") == "read_committed",
            lane,
            schedule: Arc::new(values.text("tidelog.queue.backoff").parse()?),
            jitter: Jitter::from_name(values.text("tidelog.queue.backoff.jitter")).unwrap_or_default(),
            budget: BudgetLimits {
                percent: u32::try_from(percent).ok(),
                floor_per_second: values.number("tidelog.queue.retry.floor"),
            },
            breaker: BreakerLimits {
                failures_percent: Some(failures).filter(|percent| *percent > 0),
                outcomes_min: values.number("tidelog.queue.breaker.outcomes.min"),
            },
            paused: values.text("tidelog.queue.paused") == "true",
            dead_letters: DeadLetterConfig {
                topic: values.dead_letter_topic()?,
                copy_record: values.text("errors.deadletterqueue.copy.record.enable") == "true",
                auto_create: values.text("errors.deadletterqueue.auto.create.topics.enable") == "true",
            },
        })
    }

    /// The backoff of a lane of the group.
    #[must_use]
    pub fn backoff(&self, group: &GroupId, lane: LaneId) -> LaneBackoff {
        LaneBackoff::new(Arc::clone(&self.schedule), self.jitter, group, lane)
    }
}

fn check(key: &str, value: &str) -> Result<(), QueueConfigError> {
    let Some(row) = QUEUE_CONFIGS.iter().find(|row| row.key == key) else {
        let suggestion = nearest_of(key, QUEUE_CONFIGS.iter().map(|row| row.key));
        return Err(QueueConfigError::UnknownKey { key: key.chars().take(100).collect(), suggestion });
    };
    if row.kind.accepts(value) {
        return Ok(());
    }
    let value = value.chars().take(100).collect();
    Err(QueueConfigError::Value { key: row.key, value, allowed: row.kind.allowed() })
}

/// The values given, all of which are allowed, and the defaults.
struct Values<'a>(&'a BTreeMap<String, String>);

impl<'a> Values<'a> {
    fn text(&self, key: &str) -> &'a str {
        let default = QUEUE_CONFIGS.iter().find(|row| row.key == key).map_or("", |row| row.default);
        self.0.get(key).map_or(default, String::as_str)
    }

    /// A number whose range in the table fits its type, which a test sees to.
    fn number<T: TryFrom<i64> + Default>(&self, key: &str) -> T {
        let number = self.text(key).parse::<i64>().ok();
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    fn dead_letter_topic(&self) -> Result<Option<TopicName>, QueueConfigError> {
        let name = self.text("errors.deadletterqueue.topic.name");
        if name.is_empty() {
            return Ok(None);
        }
        TopicName::new(name).map(Some).map_err(|error| QueueConfigError::Topic { reason: error.to_string() })
    }

    fn order(&self) -> OrderMode {
        match self.text("tidelog.queue.order") {
            "key" => OrderMode::Key,
            "partition" => OrderMode::Partition,
            _ => OrderMode::Unordered,
        }
    }

    fn on_dead(&self) -> OnDead {
        if self.text("tidelog.queue.on.dead") == "follow" { OnDead::Follow } else { OnDead::Continue }
    }

    fn lease(&self) -> Result<LeasePolicy, QueueConfigError> {
        let keys =
            ["share.record.lock.duration.ms", "tidelog.queue.lock.max.ms", "tidelog.queue.lock.total.ms"];
        let [default_ms, max_ms, total_ms] = keys.map(|key| self.number::<i64>(key));
        let [default_key, max_key, total_key] = keys;
        let steps = [(default_key, default_ms, max_key, max_ms), (max_key, max_ms, total_key, total_ms)];
        for (lower, lower_value, upper, upper_value) in steps {
            if lower_value > upper_value {
                return Err(QueueConfigError::Order { lower, lower_value, upper, upper_value });
            }
        }
        Ok(LeasePolicy { min_ms: LeasePolicy::default().min_ms, default_ms, max_ms, total_ms })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
