//! Events as records of internal partitions: the key names the entity, the value is a versioned envelope
//! around a protobuf message.
//!
//! **Invariants:** field numbers are never reused; a reader accepts every version up to its own and refuses
//! newer ones by name; hostile bytes give an error, never a panic, and allocate no more than they weigh.

use bytes::Bytes;
use prost::Message;
use thiserror::Error;
use tidelog_model::TopicId;
use uuid::Uuid;

/// A fact of a machine, as it is stored.
pub trait Event: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The entity the event is about: what a reader of the internal topic groups by.
    fn key(&self) -> Bytes;

    /// The record's value.
    fn encode(&self) -> Bytes;

    /// Reads a record's value.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not an event of a version this program knows.
    fn decode(value: &[u8]) -> Result<Self, CodecError>;
}

/// Why a stored event could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes are not the message they should be.
    #[error("stored event is broken: {reason}")]
    Broken {
        /// What the decoder says.
        reason: String,
    },
    /// A newer program wrote the event.
    #[error("stored event has version {found}, this program knows up to {known}: start a newer broker")]
    Version {
        /// The event's version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// A field's value is impossible.
    #[error("stored event has a broken field {field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The outermost message of every stored event.
#[derive(Clone, PartialEq, Eq, Message)]
struct Envelope {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    event: Bytes,
}

/// Puts `event` into an envelope of `version`.
pub(crate) fn seal<M: Message>(version: u32, event: &M) -> Bytes {
    Envelope { version, event: event.encode_to_vec().into() }.encode_to_vec().into()
}

/// Takes an event out of its envelope.
///
/// # Errors
/// When the bytes are broken, or newer than `known`.
pub(crate) fn open<M: Message + Default>(known: u32, value: &[u8]) -> Result<M, CodecError> {
    let broken = |error: prost::DecodeError| CodecError::Broken { reason: error.to_string() };
    let envelope = Envelope::decode(value).map_err(broken)?;
    if envelope.version == 0 {
        return Err(CodecError::Field { field: "version", reason: "it is missing".to_owned() });
    }
    if envelope.version > known {
        return Err(CodecError::Version { found: envelope.version, known });
    }
    M::decode(envelope.event).map_err(broken)
}

/// The event a message's oneof should hold.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, CodecError> {
    value.ok_or_else(|| CodecError::Field { field, reason: "it is missing".to_owned() })
}

/// A topic id from its 16 bytes.
pub(crate) fn topic_id(field: &'static str, bytes: &[u8]) -> Result<TopicId, CodecError> {
    let reason = |_| format!("{} bytes are not a topic id of 16", bytes.len());
    Uuid::from_slice(bytes)
        .map(TopicId::from_uuid)
        .map_err(|error| CodecError::Field { field, reason: reason(error) })
}

/// A field error from any error text.
pub(crate) fn bad_field(field: &'static str, reason: impl ToString) -> CodecError {
    CodecError::Field { field, reason: reason.to_string() }
}
