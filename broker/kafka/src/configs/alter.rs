//! Changes of configs. Only topics have configs that can be changed while the broker runs.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::TopicName;
use tidelog_runtime::{ConfigEntry, ConfigKind, KEPT_CONFIGS, RETIRED_CONFIGS, TOPIC_CONFIGS};

use super::resource::ResourceType;
use crate::context::Context;
use crate::error::KafkaError;
use crate::failure::Failure;
use crate::names::{repeated, topic_name};

/// What is done to one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It gets this value.
    Set(String),
    /// It returns to its default.
    Reset,
    /// These are added to a list.
    Append(String),
    /// These are removed from a list.
    Subtract(String),
}

/// A request to change the configs of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alteration<C> {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: String,
    /// Config names with what becomes of them.
    pub(crate) configs: Vec<(String, C)>,
    /// Check only.
    pub(crate) validate_only: bool,
}

impl<C> Alteration<C> {
    /// The topic that is to be altered.
    fn topic(&self) -> Result<TopicName, Failure> {
        match ResourceType::of(self.resource_type) {
            ResourceType::Topic => {}
            ResourceType::Broker => {
                let text = "the broker's configs are read-only: change its configuration and restart it";
                return Err(Failure::new(KafkaError::INVALID_REQUEST, text));
            }
            ResourceType::Other(code) => return Err(ResourceType::unsupported(code)),
        }
        if !repeated(self.configs.iter().map(|(name, _)| name)).is_empty() {
            let text = "a config is named twice for one resource";
            return Err(Failure::new(KafkaError::INVALID_REQUEST, text));
        }
        Ok(topic_name(&self.resource_name)?)
    }
}

/// Changes the configs that are named, all or none.
pub(crate) async fn alter(context: &Context, alteration: Alteration<Change>) -> Result<(), Failure> {
    let name = alteration.topic()?;
    let broker = context.broker();
    let current = broker.describe_topic(&name)?.configs;
    let (mut set, mut reset) = (BTreeMap::new(), Vec::new());
    for (key, change) in alteration.configs {
        match change {
            Change::Set(value) => drop(set.insert(key, value)),
            Change::Reset => reset.push(key),
            Change::Append(added) => {
                let mut items = list(&current, &key)?;
                for item in split(&added) {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                let value = items.join(",");
                set.insert(key, value);
            }
            Change::Subtract(removed) => {
                let removed: BTreeSet<String> = split(&removed).collect();
                let mut items = list(&current, &key)?;
                items.retain(|item| !removed.contains(item));
                let value = items.join(",");
                set.insert(key, value);
            }
        }
    }
    broker.alter_topic(&name, set, reset, alteration.validate_only).await?;
    Ok(())
}

/// Makes the configs that are named the only ones the topic sets.
pub(crate) async fn replace(context: &Context, alteration: Alteration<String>) -> Result<(), Failure> {
    let name = alteration.topic()?;
    let set: BTreeMap<String, String> = alteration.configs.into_iter().collect();
    let all = TOPIC_CONFIGS.iter().chain(KEPT_CONFIGS).chain(RETIRED_CONFIGS);
    let reset = all.filter(|row| !set.contains_key(row.key)).map(|row| row.key.to_owned()).collect();
    context.broker().alter_topic(&name, set, reset, alteration.validate_only).await?;
    Ok(())
}

/// The items of a config that is a list.
fn list(current: &[ConfigEntry], key: &str) -> Result<Vec<String>, Failure> {
    let entry = current.iter().find(|entry| entry.key == key);
    let is_list = |entry: &&ConfigEntry| matches!(entry.kind, ConfigKind::List { .. } | ConfigKind::Replicas);
    let refused = || Failure::new(KafkaError::INVALID_CONFIG, "only to a list can be added, or removed from");
    Ok(split(&entry.filter(is_list).ok_or_else(refused)?.value).collect())
}

fn split(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned)
}
