//! See the crate's description.

pub mod admin;
mod backoff;
mod client;
pub mod consumer;
mod error;
mod position;
pub mod producer;

pub use bytes::Bytes;
pub use tidelog_model::batch::Compression;
pub use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};

pub use admin::{Admin, GroupOffset, NewTopic, TopicChanges};
pub use client::{Client, ClientBuilder};
pub use consumer::{Consumer, ConsumerBuilder, ConsumerRecord};
pub use error::{Error, ErrorKind, Result};
pub use position::{Position, ReadFilter};
pub use producer::{Acks, Producer, ProducerBuilder, Receipt, Record, RecordMetadata, SendError};
