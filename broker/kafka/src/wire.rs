//! The schemas of the protocol, from a crate that generates them from Kafka's own; the only file that knows
//! how that crate decodes and encodes.
//!
//! It serves the many cold APIs. Produce and Fetch, whose bytes must not be copied, are decoded by hand.

use bytes::Bytes;
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, KafkaEncode};
use thiserror::Error;

use crate::reader::ReadError;
use crate::response::Response;

pub(crate) use kafka_wire_core::{StrBytes, Uuid as WireUuid};

/// A message of the protocol with these fields, the others at their defaults. The schemas grow fields, so their
/// structs cannot be written out.
macro_rules! message {
    ($type:ty { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        let mut message = <$type>::default();
        $(message.$field = message!(@value $field $(, $value)?);)*
        message
    }};
    (@value $field:ident) => { $field };
    (@value $field:ident, $value:expr) => { $value };
}
pub(crate) use message;

/// The most elements of one array in a request.
const ELEMENTS_MAX: usize = 100_000;

/// A body that does not follow its schema; the connection is closed.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct WireError(String);

impl From<ReadError> for WireError {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

/// Decodes a request's body. What follows it in the frame is ignored, as Kafka does: librdkafka's request for
/// the metadata of all topics has three bytes too many.
pub(crate) fn decode<T: KafkaDecode>(body: Bytes, version: i16) -> Result<T, WireError> {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = body.len();
    limits.max_string_bytes = body.len();
    limits.max_bytes_bytes = body.len();
    limits.max_array_elements = ELEMENTS_MAX.min(body.len());
    limits.max_tagged_fields = 64;
    limits.max_tag_bytes = body.len();
    limits.max_total_tag_bytes = body.len();
    let decoded =
        Decoder::new(body, limits).and_then(|mut body| T::decode(&mut body, ApiVersion::new(version)));
    decoded.map_err(|error| WireError(error.to_string()))
}

/// Encodes a response's body.
pub(crate) fn encode<T: KafkaEncode>(response: &T, version: i16) -> Result<Response, WireError> {
    let encoded = response.encode_to_bytes(ApiVersion::new(version));
    encoded.map(Response::new).map_err(|error| WireError(error.to_string()))
}

/// A topic id on the wire.
pub(crate) fn wire_id(id: tidelog_model::TopicId) -> WireUuid {
    WireUuid::from_bytes(*id.uuid().as_bytes())
}

/// A topic id from the wire; all zeros is none.
pub(crate) fn topic_id(id: WireUuid) -> Option<tidelog_model::TopicId> {
    let uuid = uuid::Uuid::from_bytes(id.to_bytes());
    (!uuid.is_nil()).then(|| tidelog_model::TopicId::from_uuid(uuid))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
