//! Names that clients choose: topics and groups, checked once at the door.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::limits;

/// What the names of the broker's own topics start with.
const INTERNAL_PREFIX: &str = "__tidelog";
/// The internal topics of Kafka: clients take them for internal by their names.
const KAFKAS_INTERNAL: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];

/// A topic's name: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, not `.` or `..` (Kafka's rule, which keeps
/// a name usable as a file name). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a topic or group name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name is empty.
    #[error("{kind} name is empty: give it 1 to {limit} characters")]
    Empty {
        /// What was named.
        kind: &'static str,
        /// The most characters allowed.
        limit: usize,
    },
    /// The name is too long.
    #[error("{kind} name has {actual} bytes, at most {limit} are allowed")]
    TooLong {
        /// What was named.
        kind: &'static str,
        /// The most bytes allowed.
        limit: usize,
        /// The bytes given.
        actual: usize,
    },
    /// The name holds a character that is not allowed.
    #[error("{kind} name holds {found:?}: only letters, digits, '.', '_' and '-' are allowed")]
    Character {
        /// What was named.
        kind: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
    /// The name is `.` or `..`.
    #[error("a topic cannot be named {name:?}")]
    Dots {
        /// The name given.
        name: String,
    },
}

impl TopicName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let kind = "topic";
        check_length(kind, name, limits::TOPIC_NAME_BYTES_MAX)?;
        if name == "." || name == ".." {
            return Err(NameError::Dots { name: name.to_owned() });
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(found) = name.chars().find(|c| !allowed(c)) {
            return Err(NameError::Character { kind, found });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the topic belongs to the broker: clients may read it, never write it. Other names that start
    /// with two underscores are anybody's: tools for Kafka have topics like `__debezium-heartbeat`.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(INTERNAL_PREFIX) || KAFKAS_INTERNAL.contains(&&*self.0)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A consumer group's name: 1 to 255 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let kind = "group";
        check_length(kind, name, limits::GROUP_ID_BYTES_MAX)?;
        if let Some(found) = name.chars().find(|c| c.is_control()) {
            return Err(NameError::Character { kind, found });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check_length(kind: &'static str, name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind, limit });
    }
    if name.len() > limit {
        return Err(NameError::TooLong { kind, limit, actual: name.len() });
    }
    Ok(())
}
