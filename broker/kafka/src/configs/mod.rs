//! What configs of topics and of the broker are called and look like in the protocol.
//!
//! A topic's config has a name of its own and one as the broker's default; descriptions tell both, as Kafka's
//! do. Only topics can be altered: the broker's own configs are those of its configuration.

mod alter;
mod broker;
mod resource;
mod synonyms;

pub(crate) use alter::{Alteration, Change, alter, replace};
pub(crate) use resource::{ResourceType, described};
use tidelog_runtime::{ConfigKind, ConfigSource};

use crate::wire::StrBytes;

/// Source codes of the protocol: what a topic sets, what the broker's configuration sets, what nobody sets.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;
const SOURCE_GROUP: i8 = 8;

/// A config as it is told to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: StrBytes,
    /// `None` when it is not set.
    pub(crate) value: Option<StrBytes>,
    pub(crate) source: i8,
    pub(crate) read_only: bool,
    pub(crate) kind: i8,
    pub(crate) documentation: StrBytes,
    /// Where the value comes from, where it would come from then, and so on.
    pub(crate) synonyms: Vec<Synonym>,
}

/// One of the places a config's value can come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synonym {
    pub(crate) name: StrBytes,
    pub(crate) value: StrBytes,
    pub(crate) source: i8,
}

impl Synonym {
    fn new(name: &'static str, value: &str, source: i8) -> Self {
        Self { name: name.into(), value: value.into(), source }
    }
}

/// Where a value comes from: the topic, the group, the broker's configuration, or the table.
pub(crate) const fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => SOURCE_TOPIC,
        ConfigSource::Group => SOURCE_GROUP,
        ConfigSource::Broker => SOURCE_STATIC_BROKER,
        ConfigSource::Default => SOURCE_DEFAULT,
    }
}

/// Type codes of the protocol.
const fn kind_code(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Bool => 1,
        ConfigKind::Word { .. } | ConfigKind::Text => 2,
        ConfigKind::Int { .. } => 3,
        ConfigKind::Long { .. } => 5,
        ConfigKind::Double { .. } => 6,
        ConfigKind::List { .. } | ConfigKind::Replicas => 7,
    }
}
