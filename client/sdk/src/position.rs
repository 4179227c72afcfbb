//! Places in a partition, and which records a read passes on.

use bytes::Bytes;
use tidelog_model::{Offset, Timestamp};
use tidelog_proto::v1;

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// This offset.
    Offset(Offset),
    /// The first record whose timestamp is at or after this one; the end when there is none.
    Timestamp(Timestamp),
    /// The oldest record kept.
    Earliest,
    /// The end: only records that come later.
    Latest,
    /// Where the consumer's group left off. Only for consumers with a group.
    Committed,
}

impl Position {
    /// The position on the wire; `None` for [`Position::Committed`], which the client looks up itself.
    pub(crate) const fn to_wire(self) -> Option<v1::Position> {
        use v1::position::At;
        let at = match self {
            Self::Offset(offset) => At::Offset(offset.get()),
            Self::Timestamp(timestamp) => At::TimestampMs(timestamp.millis()),
            Self::Earliest => At::Earliest(true),
            Self::Latest => At::Latest(true),
            Self::Committed => return None,
        };
        Some(v1::Position { at: Some(at) })
    }
}

/// Which records a consumer yields. A record passes when it passes every part that is set.
///
/// The broker skips whole batches in which nothing passes, so they never cross the network; the consumer
/// drops the other records of the batches that are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadFilter {
    key_equals: Option<Bytes>,
    key_contains: Option<Bytes>,
    value_contains: Option<Bytes>,
    header: Option<(Bytes, Option<Bytes>)>,
}

impl ReadFilter {
    /// A filter that every record passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only records with exactly this key.
    #[must_use]
    pub fn key_equals(mut self, key: impl Into<Bytes>) -> Self {
        self.key_equals = Some(key.into());
        self
    }

    /// Only records whose key holds these bytes.
    #[must_use]
    pub fn key_contains(mut self, part: impl Into<Bytes>) -> Self {
        self.key_contains = Some(part.into());
        self
    }

    /// Only records whose value holds these bytes.
    #[must_use]
    pub fn value_contains(mut self, part: impl Into<Bytes>) -> Self {
        self.value_contains = Some(part.into());
        self
    }

    /// Only records with a header of this key, whatever its value.
    #[must_use]
    pub fn has_header(mut self, key: impl Into<Bytes>) -> Self {
        self.header = Some((key.into(), None));
        self
    }

    /// Only records with a header of this key and value.
    #[must_use]
    pub fn header_equals(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.header = Some((key.into(), Some(value.into())));
        self
    }

    /// Whether every record passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a record of these parts passes.
    #[must_use]
    pub fn passes(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) -> bool {
        let key_equals = self.key_equals.as_ref().is_none_or(|wanted| key == Some(&wanted[..]));
        key_equals
            && holds(key, self.key_contains.as_ref())
            && holds(value, self.value_contains.as_ref())
            && self.header.as_ref().is_none_or(|wanted| has_header(headers, wanted))
    }

    pub(crate) fn to_wire(&self) -> Option<v1::ReadFilter> {
        if self.is_empty() {
            return None;
        }
        let header = self.header.clone().map(|(key, value)| v1::Header { key, value });
        Some(v1::ReadFilter {
            key_equals: self.key_equals.clone(),
            header_any_value: header.as_ref().is_some_and(|header| header.value.is_none()),
            header,
            value_contains: self.value_contains.clone(),
            key_contains: self.key_contains.clone(),
        })
    }
}

fn holds(bytes: Option<&[u8]>, part: Option<&Bytes>) -> bool {
    let Some(part) = part else { return true };
    bytes.is_some_and(|bytes| memchr::memmem::find(bytes, part).is_some())
}

fn has_header(headers: &[(Bytes, Option<Bytes>)], (key, value): &(Bytes, Option<Bytes>)) -> bool {
    headers.iter().any(|(found, given)| found == key && (value.is_none() || given == value))
}

#[cfg(test)]
#[path = "position_tests.rs"]
mod tests;
