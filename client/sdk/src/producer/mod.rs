//! Sending records.
//!
//! ```text
//! enqueue ──▶ accumulator (one open batch per partition) ──▶ outbox (in order, per partition) ──▶ stream
//!    ▲            encodes into the batch's buffer                resends after failures            │
//!    └── memory: bytes come back when the batch is settled ◀───────── receipts settled ◀───────────┘
//! ```

mod builder;
mod receipt;
mod record;

use std::time::Duration;

pub use builder::{Acks, Breaker, ProducerBuilder};
pub use receipt::{Receipt, RecordMetadata, SendError};
pub use record::{IntoBytes, Record, RecordTopic};

use crate::error::Result;

/// Whether the producer's circuit breaker lets records through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The broker answers: records are sent.
    Closed,
    /// Too many failures in a row: `enqueue` fails at once until the cool-down is over.
    Open,
    /// The cool-down is over: one try decides whether it closes or opens again.
    HalfOpen,
}

/// Sends records. Cheap to clone; all clones share one buffer, one connection and one order per partition.
#[derive(Debug, Clone)]
pub struct Producer {}

impl Producer {
    /// Puts a record into its partition's batch; waits only while the producer's memory is full. The receipt
    /// resolves when the record is as durable as asked.
    ///
    /// Cancel-safe: when the returned future is dropped before it is ready, the record was not taken.
    ///
    /// # Errors
    /// `NotFound` for an unknown topic or partition, `TooLarge`, `InvalidRequest`, `Unreachable` when the
    /// topic is not known yet and the broker does not answer in the delivery timeout or when the circuit
    /// breaker is open, `Closed` after [`Self::close`]. The error returns the record.
    #[expect(clippy::unused_async, clippy::todo, reason = "signature first")]
    pub async fn enqueue(&self, _record: Record) -> Result<Receipt, SendError> {
        todo!()
    }

    /// Sends one record and waits until it is as durable as asked.
    ///
    /// # Errors
    /// As [`Self::enqueue`], and whatever kept the record from being stored.
    pub async fn send(&self, record: Record) -> Result<RecordMetadata, SendError> {
        self.enqueue(record).await?.await
    }

    /// Sends what is buffered without waiting for the linger time, and waits until every record enqueued
    /// before is settled.
    ///
    /// # Errors
    /// The first failure among those records; each receipt has its own.
    #[expect(clippy::unused_async, clippy::todo, reason = "signature first")]
    pub async fn flush(&self) -> Result<()> {
        todo!()
    }

    /// Takes no more records, sends what is buffered, and gives up on what is left at the deadline.
    ///
    /// # Errors
    /// The first failure among the records that were still buffered.
    #[expect(clippy::unused_async, clippy::todo, reason = "signature first")]
    pub async fn close(&self, _deadline: Duration) -> Result<()> {
        todo!()
    }

    /// Whether the circuit breaker lets records through.
    #[must_use]
    #[expect(clippy::todo, reason = "signature first")]
    pub fn breaker_state(&self) -> BreakerState {
        todo!()
    }

    /// Bytes of records enqueued and not yet settled.
    #[must_use]
    #[expect(clippy::todo, reason = "signature first")]
    pub fn buffered_bytes(&self) -> usize {
        todo!()
    }
}
