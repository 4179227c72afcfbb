//! What has configs: topics and the broker.

use std::collections::BTreeMap;

use tidelog_runtime::{ConfigEntry, ConfigSource, KEPT_CONFIGS, TOPIC_CONFIGS};

use super::synonyms::broker_name;
use super::{
    SOURCE_DEFAULT, SOURCE_STATIC_BROKER, SOURCE_TOPIC, Synonym, Told, broker, kind_code, source_code,
};
use crate::context::{Context, NODE_ID};
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::topic_name;

/// The types of resources that have configs in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceType {
    Topic,
    Broker,
    /// Levels of loggers, subscriptions of client metrics, groups: none of them has configs here.
    Other(i8),
}

impl ResourceType {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;

    pub(crate) const fn of(code: i8) -> Self {
        match code {
            Self::TOPIC => Self::Topic,
            Self::BROKER => Self::Broker,
            code => Self::Other(code),
        }
    }

    /// Why resources of the other types are refused.
    pub(super) fn unsupported(code: i8) -> Failure {
        let text = match code {
            8 => {
                "log levels cannot be seen or changed by clients: log.level is in the broker's configuration"
            }
            Self::CLIENT_METRICS => "there are no client metrics: clients need not push any",
            Self::GROUP => "groups have no configs of their own",
            _ => "there is no such type of resource",
        };
        Failure::new(KafkaError::INVALID_REQUEST, text)
    }
}

/// All configs of a resource, by name.
pub(crate) fn described(context: &Context, kind: ResourceType, name: &str) -> Result<Vec<Told>, Failure> {
    match kind {
        ResourceType::Topic => {
            let name = topic_name(name)?;
            let info = context.broker().describe_topic(&name)?;
            let defaults = &context.broker().options().topic_defaults;
            Ok(info.configs.iter().map(|entry| of_topic(entry, defaults)).collect())
        }
        // Values for all brokers that are changed while they run: there are none.
        ResourceType::Broker if name.is_empty() => Ok(Vec::new()),
        ResourceType::Broker => {
            check_broker(name)?;
            Ok(broker::described(context))
        }
        // Client metrics and groups: neither has configs of its own.
        ResourceType::Other(ResourceType::CLIENT_METRICS | ResourceType::GROUP) => Ok(Vec::new()),
        ResourceType::Other(code) => Err(ResourceType::unsupported(code)),
    }
}

fn check_broker(name: &str) -> Result<(), Failure> {
    if name.parse() == Ok(NODE_ID) {
        return Ok(());
    }
    Err(Failure::new(KafkaError::INVALID_REQUEST, "the only broker there is has the id 1"))
}

fn of_topic(entry: &ConfigEntry, defaults: &BTreeMap<String, String>) -> Told {
    let mut synonyms = Vec::new();
    if entry.source == ConfigSource::Topic {
        synonyms.push(Synonym::new(entry.key, &entry.value, SOURCE_TOPIC));
    }
    let name = broker_name(entry.key).unwrap_or(entry.key);
    if let Some(value) = defaults.get(entry.key) {
        synonyms.push(Synonym::new(name, value, SOURCE_STATIC_BROKER));
    }
    if let Some(row) = TOPIC_CONFIGS.iter().chain(KEPT_CONFIGS).find(|row| row.key == entry.key) {
        synonyms.push(Synonym::new(name, row.default, SOURCE_DEFAULT));
    }
    Told {
        name: entry.key.into(),
        value: Some(entry.value.as_str().into()),
        source: source_code(entry.source),
        read_only: false,
        kind: kind_code(entry.kind),
        documentation: entry.documentation.into(),
        synonyms,
    }
}
