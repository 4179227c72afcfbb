//! Why a broker does not start.

use thiserror::Error;
use tidelog_core::catalog::ConfigError;
use tidelog_model::{Offset, TopicName};

/// Why [`crate::Broker::open`] failed. Nothing was changed that a next start would miss.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] tidelog_log::OpenError),
    /// One of the broker's topic defaults is wrong.
    #[error("topic defaults: {0}")]
    TopicDefaults(#[from] ConfigError),
    /// An option is out of range.
    #[error("{option} is {actual}: {allowed}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        actual: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// One of the broker's own topics cannot be read: nothing could be trusted without it.
    #[error("the broker's own topic {topic} cannot be read at offset {offset}: {reason}")]
    InternalTopic {
        /// The topic.
        topic: TopicName,
        /// Where reading it stopped.
        offset: Offset,
        /// Why.
        reason: String,
    },
    /// A step could not be finished.
    #[error("starting failed: {0}")]
    Start(String),
}
