//! The Tidelog client: a producer, a consumer and the admin calls of a Tidelog broker, in pure Rust.
//!
//!
//! # Produce
//!
//! ```no_run
//! use std::time::Duration;
//! use tidelog_client::{Client, NewTopic, Record};
//!
//! # async fn run() -> tidelog_client::Result<()> {
//! let client = Client::connect("http://127.0.0.1:9640").await?;
//! client.admin().create_topic(NewTopic::new("orders").partitions(3)).await?;
//!
//! let producer = client.producer().build()?;
//! let stored = producer.send(Record::new("orders").key("17").value("created")).await?;
//! println!("partition {}, offset {}", stored.partition, stored.offset);
//! producer.close(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Producer::send`] waits until the record is on stable storage. [`Producer::enqueue`] only waits while the
//! producer's memory is full and returns a [`Receipt`]: enqueue many, await the receipts later. Records of a
//! partition are stored in the order in which they were enqueued; the same key always goes to the same
//! partition (Kafka's murmur2).
//!
//! # Consume
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use tidelog_client::{Client, Position};
//!
//! # async fn run() -> tidelog_client::Result<()> {
//! let client = Client::connect("http://127.0.0.1:9640").await?;
//! let mut consumer = client.consumer().topic("orders").start(Position::Earliest).until_end().build().await?;
//! while let Some(record) = consumer.try_next().await? {
//!     println!("{} {:?} {:?}", record.offset, record.key, record.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Consumer`] is a [`Stream`](futures::Stream) over any number of partitions, from any [`Position`]. With
//! a group it starts where the group committed; [`Consumer::commit`] stores how far it has come. When the
//! broker goes away, it goes on at exactly the next offset once the broker is back.
//! With [`join_group`](ConsumerBuilder::join_group) it is one of several members that share the partitions of
//! their topics.
//!
//! # Take records as work
//!
//! A queue group hands each record to one member, which settles it; what failed comes again, and what keeps
//! failing becomes a dead letter.
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use tidelog_client::admin::NewQueueGroup;
//! use tidelog_client::queue::Reason;
//!
//! # async fn send_mail(_: &tidelog_client::Delivery) -> std::result::Result<(), String> { Ok(()) }
//! # async fn run(client: tidelog_client::Client) -> tidelog_client::Result<()> {
//! client.admin().create_queue_group(NewQueueGroup::new("mail", ["orders"])).await?;
//! let queue = client.queue("mail").credit(100).subscribe().await?;
//! queue
//!     .try_for_each_concurrent(16, |mut delivery| async move {
//!         match send_mail(&delivery).await {
//!             Ok(()) => delivery.ack().await,
//!             Err(error) => delivery.retry(Reason::new("smtp", error)).await,
//!         }
//!     })
//!     .await
//! # }
//! ```
//!
//! # When something fails
//!
//! Every [`Error`] has a [kind](ErrorKind), the broker's [code](Error::code), a remedy in its text, and two
//! answers: [`is_retryable`](Error::is_retryable), and
//! [`may_have_been_written`](Error::may_have_been_written). The producer retries by itself with growing, jittered
//! pauses until the delivery timeout. A batch whose answer was lost with the connection is sent again and
//! stored once ([idempotence](ProducerBuilder::idempotence), on by default). A [`SendError`] gives the record
//! back. When a broker stays dead, a circuit breaker makes `enqueue` fail at once until a try succeeds.
//!
//! # Memory
//!
//! A producer holds at most [`memory_bytes`](ProducerBuilder::memory_bytes) of records, a consumer about
//! [`credit_bytes`](ConsumerBuilder::credit_bytes) of responses. Keys and values of consumed records are
//! slices of the response they came in.
//!
//! # Testing
//!
//! With the feature `testing`, `tidelog_client::testing::Broker` runs a real broker inside the test's process.

pub mod admin;
mod backoff;
mod client;
pub mod consumer;
mod error;
mod position;
pub mod producer;
pub mod queue;
#[cfg(feature = "testing")]
pub mod testing;

pub use bytes::Bytes;
pub use tidelog_model::batch::Compression;
pub use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};

pub use admin::{Admin, GroupOffset, NewTopic, TopicChanges};
pub use client::{Client, ClientBuilder};
pub use consumer::{Consumer, ConsumerBatch, ConsumerBuilder, ConsumerRecord};
pub use error::{Error, ErrorKind, Result};
pub use position::{Position, ReadFilter};
pub use producer::{Acks, Producer, ProducerBuilder, Receipt, Record, RecordMetadata, SendError};
pub use queue::{Delivery, QueueConsumer};
