//! Why the catalog refuses a command.

use thiserror::Error;
use tidelog_model::{ErrorCode, TopicId, TopicName};

use super::configs::ConfigError;

/// Why a command was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CatalogError {
    /// A topic of this name exists.
    #[error("topic {name} exists already")]
    Exists {
        /// The name.
        name: TopicName,
    },
    /// Another topic's name differs only in `.` and `_`.
    #[error("topic name {name} collides with topic {other}: '.' and '_' are not told apart in metrics")]
    Collides {
        /// The name asked for.
        name: TopicName,
        /// The topic it collides with.
        other: TopicName,
    },
    /// No topic has this name.
    #[error("there is no topic {name}")]
    UnknownTopic {
        /// The name.
        name: TopicName,
    },
    /// Names that start with `__tidelog`, and Kafka's internal ones, belong to the broker.
    #[error("topic name {name} is reserved for the broker: choose another one")]
    Internal {
        /// The name.
        name: TopicName,
    },
    /// A topic needs partitions.
    #[error("a topic needs at least 1 partition, {actual} were asked for")]
    NoPartitions {
        /// The number asked for.
        actual: i32,
    },
    /// Too many partitions for one topic.
    #[error("{actual} partitions are too many for one topic: the limit is {limit}")]
    TooManyPartitions {
        /// The limit.
        limit: i32,
        /// The number asked for.
        actual: i32,
    },
    /// Too many partitions in all.
    #[error("the broker would have {actual} partitions, its limit is {limit}: delete topics first")]
    BrokerFull {
        /// The limit.
        limit: usize,
        /// The number there would be.
        actual: usize,
    },
    /// Too many topics.
    #[error("the broker has {limit} topics, which is its limit: delete topics first")]
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
    /// The number of partitions only grows.
    #[error("the topic has {has} partitions, the total asked for is {asked}: it must be larger")]
    NotMorePartitions {
        /// The partitions there are.
        has: i32,
        /// The total asked for.
        asked: i32,
    },
    /// The topic is not being removed.
    #[error("topic id {id} is not being removed")]
    NotRemoving {
        /// The id.
        id: TopicId,
    },
    /// A config is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl CatalogError {
    /// The protocol's code for this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Exists { .. } => ErrorCode::TopicAlreadyExists,
            Self::Collides { .. } => ErrorCode::InvalidName,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::Internal { .. } => ErrorCode::InternalTopic,
            Self::NoPartitions { .. }
            | Self::TooManyPartitions { .. }
            | Self::BrokerFull { .. }
            | Self::NotMorePartitions { .. } => ErrorCode::InvalidPartitions,
            Self::TooManyTopics { .. } => ErrorCode::InvalidRequest,
            Self::NotRemoving { .. } => ErrorCode::Internal,
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }

    /// The limit passed and the value found, when a limit was passed.
    #[must_use]
    pub fn limit_and_actual(&self) -> Option<(i64, i64)> {
        let wide = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Self::NoPartitions { actual } => Some((1, i64::from(*actual))),
            Self::TooManyPartitions { limit, actual } => Some((i64::from(*limit), i64::from(*actual))),
            Self::BrokerFull { limit, actual } => Some((wide(*limit), wide(*actual))),
            Self::TooManyTopics { limit } => Some((wide(*limit), wide(*limit).saturating_add(1))),
            Self::NotMorePartitions { has, asked } => Some((i64::from(*has), i64::from(*asked))),
            Self::Exists { .. }
            | Self::Collides { .. }
            | Self::UnknownTopic { .. }
            | Self::Internal { .. }
            | Self::NotRemoving { .. }
            | Self::Config(_) => None,
        }
    }

    /// The request field at fault, when one is.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Exists { .. }
            | Self::Collides { .. }
            | Self::UnknownTopic { .. }
            | Self::Internal { .. } => Some("name"),
            Self::NoPartitions { .. } | Self::TooManyPartitions { .. } | Self::BrokerFull { .. } => {
                Some("partitions")
            }
            Self::NotMorePartitions { .. } => Some("total"),
            Self::Config(_) => Some("configs"),
            Self::TooManyTopics { .. } | Self::NotRemoving { .. } => None,
        }
    }
}
