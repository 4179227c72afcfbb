//! A record to produce.

use bytes::Bytes;
use tidelog_model::topic_name::NameError;
use tidelog_model::{Timestamp, TopicName};

/// Bytes as callers have them. Owned kinds (`Bytes`, `Vec<u8>`, `String`) are taken as they are; borrowed
/// ones are copied.
pub trait IntoBytes {
    /// The bytes.
    fn into_bytes(self) -> Bytes;
}

macro_rules! taken_as_is {
    ($($kind:ty),*) => {$(
        impl IntoBytes for $kind {
            fn into_bytes(self) -> Bytes {
                Bytes::from(self)
            }
        }
    )*};
}
taken_as_is!(Bytes, Vec<u8>, String, Box<[u8]>);

macro_rules! copied {
    ($($kind:ty),*) => {$(
        impl IntoBytes for $kind {
            fn into_bytes(self) -> Bytes {
                Bytes::copy_from_slice(AsRef::<[u8]>::as_ref(self))
            }
        }
    )*};
}
copied!(&[u8], &str, &String, &Vec<u8>);

impl<const N: usize> IntoBytes for &[u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl IntoBytes for &Bytes {
    fn into_bytes(self) -> Bytes {
        self.clone()
    }
}

/// A topic as callers name it. A `TopicName` was checked before and costs nothing more; text is checked and
/// copied, and a bad name is reported when the record is sent.
#[derive(Debug, Clone)]
pub struct RecordTopic(pub(super) Result<TopicName, NameError>);

impl From<TopicName> for RecordTopic {
    fn from(name: TopicName) -> Self {
        Self(Ok(name))
    }
}

impl From<&TopicName> for RecordTopic {
    fn from(name: &TopicName) -> Self {
        Self(Ok(name.clone()))
    }
}

impl From<&str> for RecordTopic {
    fn from(name: &str) -> Self {
        Self(TopicName::new(name))
    }
}

impl From<&String> for RecordTopic {
    fn from(name: &String) -> Self {
        Self(TopicName::new(name))
    }
}

impl From<String> for RecordTopic {
    fn from(name: String) -> Self {
        Self(TopicName::new(&name))
    }
}

/// A record to produce. Without a value it is a tombstone; without a timestamp it gets the time at which it
/// is enqueued; without a partition it goes where its key says, or to one batch after the other in turn when
/// it has no key.
#[derive(Debug, Clone)]
#[must_use]
pub struct Record {
    pub(super) topic: RecordTopic,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// A record for this topic, still without key and value. Pass a [`TopicName`] when sending many.
    pub fn new(topic: impl Into<RecordTopic>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// The key, which also chooses the partition: the same key always goes to the same one (Kafka's murmur2
    /// hash) as long as their number stays.
    pub fn key(mut self, key: impl IntoBytes) -> Self {
        self.key = Some(key.into_bytes());
        self
    }

    /// The value.
    pub fn value(mut self, value: impl IntoBytes) -> Self {
        self.value = Some(value.into_bytes());
        self
    }

    /// Adds a header. Keys may repeat.
    pub fn header(mut self, key: impl IntoBytes, value: impl IntoBytes) -> Self {
        self.headers.push((key.into_bytes(), Some(value.into_bytes())));
        self
    }

    /// Adds a header whose value is null.
    pub fn null_header(mut self, key: impl IntoBytes) -> Self {
        self.headers.push((key.into_bytes(), None));
        self
    }

    /// Replaces all headers.
    pub fn headers(mut self, headers: Vec<(Bytes, Option<Bytes>)>) -> Self {
        self.headers = headers;
        self
    }

    /// The time of the event. Default: when the record is enqueued.
    pub const fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The partition, whatever the key says.
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The topic's name, when it is a valid one.
    #[must_use]
    pub fn topic_name(&self) -> Option<&TopicName> {
        self.topic.0.as_ref().ok()
    }

    /// The key, when there is one.
    #[must_use]
    pub const fn get_key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// The value, when there is one.
    #[must_use]
    pub const fn get_value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// The headers.
    #[must_use]
    pub fn get_headers(&self) -> &[(Bytes, Option<Bytes>)] {
        &self.headers
    }

    /// The partition, when one was chosen.
    #[must_use]
    pub const fn get_partition(&self) -> Option<i32> {
        self.partition
    }

    /// The timestamp, when one was given.
    #[must_use]
    pub const fn get_timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }
}
