//! A record as one line of JSON, without loss: what `consume` and `replay` write and `produce` reads back.
//!
//! ```json
//! {"topic":"orders","partition":3,"offset":1201,"timestamp":"2026-11-23T10:00:00.123Z",
//!  "key":"42","value":"{\"id\":1}","headers":[["traceparent","00-…"],["raw",{"base64":"/w=="}],["none",null]]}
//! ```
//!
//! **Invariant:** a record that was written and read back has the same bytes. Bytes that are UTF-8 are a JSON
//! string, others `{"base64": …}`; absent is `null`, which is not the empty string. Headers are pairs in
//! their order, because keys may repeat. A timestamp beyond the years RFC 3339 can write is its number of
//! milliseconds.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidelog_client::{ConsumerRecord, Timestamp};

/// A record read from a line. What the line leaves out is absent, but a value must be written: a misspelt
/// name would otherwise delete what a key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    /// The topic it came from.
    #[serde(default)]
    pub(crate) topic: Option<String>,
    /// The partition it came from.
    #[serde(default)]
    pub(crate) partition: Option<i32>,
    /// The offset it had.
    #[serde(default)]
    pub(crate) offset: Option<i64>,
    /// Its timestamp.
    #[serde(default, deserialize_with = "read_timestamp")]
    pub(crate) timestamp: Option<Timestamp>,
    /// Its key.
    #[serde(default, deserialize_with = "read_bytes")]
    pub(crate) key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    #[serde(deserialize_with = "read_bytes")]
    pub(crate) value: Option<Bytes>,
    /// Its headers.
    #[serde(default, deserialize_with = "read_headers")]
    pub(crate) headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Why a line is not a record.
#[derive(Debug, Error)]
#[error("not a record as JSON: {0}")]
pub(crate) struct EnvelopeError(String);

/// Reads a line.
pub(crate) fn parse(line: &[u8]) -> Result<Envelope, EnvelopeError> {
    serde_json::from_slice(line).map_err(|error| {
        // It is always the first line of what was given; which one that is, the caller knows.
        EnvelopeError(error.to_string().replace(" at line 1 column ", " at column "))
    })
}

/// Appends a record as a line, its end included.
pub(crate) fn write(record: &ConsumerRecord, out: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, &Line(record))?;
    out.push(b'\n');
    Ok(())
}

/// Appends bytes as they stand in a line.
pub(crate) fn write_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let text = serde_json::to_vec(&Text(bytes));
    out.extend(text.unwrap_or_default());
}

/// A timestamp as RFC 3339 in UTC with milliseconds, if its year can be written.
pub(crate) fn rfc3339(timestamp: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(timestamp.millis()).ok()?;
    Some(format!("{time:.3}"))
}

struct Line<'a>(&'a ConsumerRecord);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("topic", record.topic.as_str())?;
        map.serialize_entry("partition", &record.partition.get())?;
        map.serialize_entry("offset", &record.offset.get())?;
        match rfc3339(record.timestamp) {
            Some(text) => map.serialize_entry("timestamp", &text)?,
            None => map.serialize_entry("timestamp", &record.timestamp.millis())?,
        }
        map.serialize_entry("key", &Text(record.key.as_deref()))?;
        map.serialize_entry("value", &Text(record.value.as_deref()))?;
        map.serialize_entry("headers", &Headers(&record.headers))?;
        map.end()
    }
}

struct Headers<'a>(&'a [(Bytes, Option<Bytes>)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (key, value) in self.0 {
            list.serialize_element(&(Text(Some(key)), Text(value.as_deref())))?;
        }
        list.end()
    }
}

/// Bytes as JSON.
pub(crate) struct Text<'a>(pub(crate) Option<&'a [u8]>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else { return serializer.serialize_none() };
        if let Ok(text) = std::str::from_utf8(bytes) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(bytes))?;
        map.end()
    }
}

/// Bytes from JSON.
struct FromText(Option<Bytes>);

impl<'de> Deserialize<'de> for FromText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Bytes>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a string, null or {"base64": …}"#)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(Bytes::from(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let expected = || de::Error::custom(r#"an object here must be {"base64": …} and nothing else"#);
        let Some((name, encoded)) = map.next_entry::<Cow<'de, str>, Cow<'de, str>>()? else {
            return Err(expected());
        };
        if name != "base64" || map.next_key::<Cow<'de, str>>()?.is_some() {
            return Err(expected());
        }
        let decoded = STANDARD.decode(encoded.as_bytes());
        decoded.map(|bytes| Some(bytes.into())).map_err(|error| de::Error::custom(format!("base64: {error}")))
    }
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    FromText::deserialize(deserializer).map(|text| text.0)
}

fn read_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Bytes, Option<Bytes>)>, D::Error> {
    let pairs = Vec::<(FromText, FromText)>::deserialize(deserializer)?;
    let header = |(key, value): (FromText, FromText)| {
        key.0.map(|key| (key, value.0)).ok_or_else(|| de::Error::custom("a header's key cannot be null"))
    };
    pairs.into_iter().map(header).collect()
}

fn read_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a timestamp is RFC 3339 text or a number of milliseconds")]
    enum Written<'a> {
        Millis(i64),
        #[serde(borrow)]
        Text(Cow<'a, str>),
    }
    let millis = match Option::<Written<'_>>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Millis(millis)) => millis,
        Some(Written::Text(text)) => {
            let time = text.parse::<jiff::Timestamp>();
            time.map_err(|_| de::Error::custom(format!("{text:?} is not an RFC 3339 time")))?.as_millisecond()
        }
    };
    Ok(Some(Timestamp::from_millis(millis)))
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
