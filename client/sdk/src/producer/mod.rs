//! The producer: records into batches, batches to the broker, receipts back.
//!
//! ```text
//! enqueue ──▶ accumulator (an open batch per partition) ──▶ outbox (in order, per partition) ──▶ stream
//!    ▲         encodes into the batch's buffer               sends again after failures            │
//!    └── memory: bytes come back when a batch is settled ◀────────── receipts resolve ◀────────────┘
//! ```
//!
//! `accumulator`, `outbox`, `breaker` and `partitioner` are pure: time and randomness are arguments. `sender`
//! is the one task that talks to the broker.

mod accumulator;
mod breaker;
mod builder;
mod metadata;
mod numbering;
mod outbox;
mod partitioner;
mod receipt;
mod record;
mod sender;
mod shared;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use breaker::BreakerState;
pub use builder::{Acks, Breaker, ProducerBuilder};
pub use receipt::{Receipt, RecordMetadata, SendError};
pub use record::{IntoBytes, Record, RecordTopic};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use builder::Settings;
use receipt::Completion;
use shared::{Shared, Step};

/// Sends records. Cheap to clone; all clones share one buffer, one connection and one order per partition.
///
/// Records of a partition are stored in the order in which they were enqueued, across retries too. A batch
/// whose answer was lost with the connection is sent again and may then be stored twice; without
/// [retries](ProducerBuilder::retries) it fails instead, with an error that says so.
///
/// When the last clone is dropped, what is buffered is still sent in the background as long as the runtime
/// lives; call [`Self::close`] to know that it was.
///
/// ```no_run
/// # async fn run(client: tidelog_client::Client) -> tidelog_client::Result<()> {
/// use std::time::Duration;
/// use tidelog_client::{Compression, Record};
///
/// let producer = client.producer().compression(Compression::Zstd).build()?;
/// // One record, and wait for it.
/// let stored = producer.send(Record::new("orders").key("17").value("created")).await?;
/// println!("stored at {}", stored.offset);
/// // Many records: wait for memory only, look at the receipts later or not at all.
/// for number in 0..1_000_000 {
///     let _receipt = producer.enqueue(Record::new("orders").value(format!("order {number}"))).await?;
/// }
/// producer.close(Duration::from_secs(30)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Dropped with the last clone.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let undelivered = state.accumulator.unsettled_records();
        let closed = std::mem::replace(&mut state.closing, true);
        state.accumulator.close_all();
        drop(state);
        if undelivered > 0 && !closed {
            tracing::warn!(
                undelivered,
                "producer dropped before its records were stored: call close() first"
            );
        }
        self.shared.wake.notify_one();
    }
}

impl Producer {
    fn start(client: Client, settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(client, settings));
        tokio::spawn(sender::Sender::new(Arc::clone(&shared)).run());
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Puts a record into its partition's batch; waits only while the producer's memory is full, or until
    /// the topic is known when it is the first record for it. The receipt resolves when the record is as
    /// durable as asked.
    ///
    /// Cancel-safe: when the returned future is dropped before it is ready, the record was not taken.
    ///
    /// # Errors
    /// `NotFound` for an unknown topic or partition, `TooLarge`, `InvalidRequest`, `Unreachable` when the
    /// topic is not known yet and the broker does not answer within the delivery timeout or when the circuit
    /// breaker is open, `Closed` after [`Self::close`]. The error returns the record.
    pub async fn enqueue(&self, record: Record) -> Result<Receipt, SendError> {
        let shared = &self.handle.shared;
        let mut step = shared.try_take(&record, 0);
        let mut permit = None;
        let mut learnt = false;
        loop {
            match step {
                Step::Taken { receipt, stale } => {
                    // The memory belongs to the batch now.
                    permit.into_iter().for_each(tokio::sync::SemaphorePermit::forget);
                    if let (true, Ok(topic)) = (stale, &record.topic.0) {
                        shared.refresh(topic);
                    }
                    return Ok(receipt);
                }
                Step::NeedsMemory(bytes) => match shared.memory.acquire_many(bytes).await {
                    Ok(granted) => permit = Some(granted),
                    Err(_) => return Err(SendError::new(Error::closed("producer"), record)),
                },
                Step::NeedsTopic(topic) => {
                    if learnt {
                        return Err(SendError::new(no_such_partition(&record), record));
                    }
                    if let Err(error) = shared.learn(&topic, Instant::now()).await {
                        return Err(SendError::new(error, record));
                    }
                    learnt = true;
                }
                Step::Failed(error) => return Err(SendError::new(error, record)),
            }
            let granted = permit.as_ref().map_or(0, tokio::sync::SemaphorePermit::num_permits);
            step = shared.try_take(&record, u32::try_from(granted).unwrap_or(u32::MAX));
        }
    }

    /// Sends one record and waits until it is as durable as asked.
    ///
    /// # Errors
    /// As [`Self::enqueue`], and whatever kept the record from being stored.
    pub async fn send(&self, record: Record) -> Result<RecordMetadata, SendError> {
        self.enqueue(record).await?.await
    }

    /// Sends what is buffered without waiting for the linger time, and waits until every record enqueued
    /// before is stored or has failed. Cancel-safe.
    ///
    /// # Errors
    /// The first failure among those records; each receipt has its own.
    pub async fn flush(&self) -> Result<()> {
        all_ended(&self.handle.shared.close_batches()).await
    }

    /// Takes no more records, sends what is buffered, and gives up on what is left at the deadline. Calls of
    /// [`Self::enqueue`] that wait for memory fail.
    ///
    /// # Errors
    /// The first failure among the records that were still buffered; `Timeout` when some were left, which
    /// fail with `Closed`.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let shared = &self.handle.shared;
        shared.state().closing = true;
        shared.memory.close();
        let unsettled = shared.close_batches();
        match tokio::time::timeout(deadline, all_ended(&unsettled)).await {
            Ok(result) => result,
            Err(_) => {
                let undelivered = shared.abort();
                // The sender settles all of them as it ends; each receipt tells its own story.
                let _failures = all_ended(&unsettled).await;
                let message = format!("{undelivered} records were not stored within {deadline:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// Whether the circuit breaker lets records through.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.handle.shared.breaker_state()
    }

    /// Bytes of records enqueued and not yet stored or failed.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.handle.shared.state().accumulator.unsettled_bytes()
    }
}

/// Waits for all of them; the first failure, if any.
async fn all_ended(batches: &[Arc<Completion>]) -> Result<()> {
    let mut first = Ok(());
    for batch in batches {
        let result = batch.ended().await;
        if first.is_ok() {
            first = result;
        }
    }
    first
}

fn no_such_partition(record: &Record) -> Error {
    let topic = record.topic_name().map_or("", |topic| topic.as_str());
    let message = match record.partition {
        Some(partition) => format!("topic {topic} has no partition {partition}"),
        None => format!("topic {topic} has no partitions"),
    };
    Error::new(ErrorKind::NotFound, message).with_help("describe the topic to see its partitions")
}
