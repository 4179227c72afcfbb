//! What the value of a topic config looks like: its type and range.

use std::fmt;

/// The longest value, in bytes: catalog records stay small whatever a client sends.
const VALUE_BYTES_MAX: usize = 100;

/// What a config's value looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfigKind {
    /// A whole number of 32 bits within the range (inclusive).
    Int {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A whole number of 64 bits within the range (inclusive).
    Long {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A fraction within the range (inclusive).
    Double {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// One of these words.
    Word {
        /// The words.
        allowed: &'static [&'static str],
    },
    /// Some of these words, separated by commas; at least one.
    List {
        /// The words.
        allowed: &'static [&'static str],
    },
    /// Yes or no.
    Bool,
    /// Replicas as `PARTITION:BROKER`, separated by commas; `*` is all, nothing is none.
    Replicas,
    /// Any text.
    Text,
}

impl ConfigKind {
    /// The type's name in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int { .. } => "int",
            Self::Long { .. } => "long",
            Self::Double { .. } => "double",
            Self::Word { .. } | Self::Text => "string",
            Self::List { .. } | Self::Replicas => "list",
            Self::Bool => "boolean",
        }
    }

    /// The values allowed, for error messages.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Int { min, max } | Self::Long { min, max } => format!("a whole number from {min} to {max}"),
            Self::Double { min, max } => format!("a number from {min:?} to {max:?}"),
            Self::Word { allowed } => format!("one of {}", allowed.join(", ")),
            Self::List { allowed } => format!("a comma-separated list of {}", allowed.join(", ")),
            Self::Bool => "true or false".to_owned(),
            Self::Replicas => "a comma-separated list of PARTITION:BROKER, or *".to_owned(),
            Self::Text => format!("a text of at most {VALUE_BYTES_MAX} bytes"),
        }
    }

    pub(crate) fn accepts(self, value: &str) -> bool {
        if value.len() > VALUE_BYTES_MAX {
            return false;
        }
        match self {
            Self::Int { min, max } | Self::Long { min, max } => {
                value.parse::<i64>().is_ok_and(|value| (min..=max).contains(&value))
            }
            Self::Double { min, max } => value.parse::<f64>().is_ok_and(|value| (min..=max).contains(&value)),
            Self::Word { allowed } => allowed.contains(&value),
            Self::List { allowed } => value.split(',').all(|word| allowed.contains(&word.trim())),
            Self::Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::Replicas => matches!(value, "" | "*") || value.split(',').all(is_replica),
            Self::Text => true,
        }
    }
}

/// Whether this is `PARTITION:BROKER`.
fn is_replica(text: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u32>().is_ok();
    text.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
