//! What the producer's handles and its sender share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidelog_model::batch::{BATCH_OVERHEAD, BatchBuilder};
use tidelog_model::{Timestamp, TopicName, limits};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::accumulator::{
    Accumulator, AccumulatorSettings, Appended, HeaderSlice, Linger, RecordParts, Refusal, Ticket,
};
use super::breaker::CircuitBreaker;
use super::builder::Settings;
use super::receipt::{Outcome, Receipt};
use super::{BreakerState, Record};
use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// How long a batch of a busy partition waits for more records unless the caller says otherwise.
const BUSY_LINGER: Duration = Duration::from_millis(5);
/// Up to so many headers are handed to the batch without an allocation.
const FEW_HEADERS: usize = 8;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Bytes of records that may still be taken.
    pub(super) memory: Semaphore,
    /// Tells the sender that there is something to look at.
    pub(super) wake: Notify,
    /// Held by whoever asks the broker about topics: one asks, the others wait for what it learns.
    pub(super) asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) accumulator: Accumulator,
    pub(super) breaker: CircuitBreaker,
    /// No more records are taken.
    pub(super) closing: bool,
    /// Whatever is left shall fail now.
    pub(super) abort: bool,
    /// Somebody is asking about a topic that is known, but not fresh.
    pub(super) refreshing: bool,
}

/// How far taking a record got.
pub(super) enum Step {
    Taken {
        receipt: Receipt,
        stale: bool,
    },
    /// The record needs so many bytes of memory first.
    NeedsMemory(u32),
    /// The topic has to be asked about first.
    NeedsTopic(TopicName),
    Failed(Error),
}

impl Shared {
    pub(super) fn new(client: Client, settings: Settings) -> Self {
        let accumulator = Accumulator::new(AccumulatorSettings {
            linger: settings.linger.map_or(Linger::WhileBusy(BUSY_LINGER), Linger::Fixed),
            batch_bytes: settings.batch_bytes,
            compression: settings.compression,
            delivery_timeout: settings.delivery_timeout,
            metadata_max_age: settings.metadata_max_age,
            random: rand::random(),
        });
        let state = State {
            accumulator,
            breaker: CircuitBreaker::new(settings.breaker),
            closing: false,
            abort: false,
            refreshing: false,
        };
        Self {
            client,
            state: Mutex::new(state),
            memory: Semaphore::new(settings.memory_bytes.min(Semaphore::MAX_PERMITS)),
            settings,
            wake: Notify::new(),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// The state; short critical sections only, never across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker_state(&self) -> BreakerState {
        self.state().breaker.state(Instant::now())
    }

    /// Takes a record if nothing has to be waited for. `granted` are the bytes of memory the caller has
    /// waited for; they belong to the record once it is taken.
    pub(super) fn try_take(&self, record: &Record, granted: u32) -> Step {
        let topic = match &record.topic.0 {
            Ok(topic) => topic,
            Err(error) => return Step::Failed(error.clone().into()),
        };
        if record.headers.len() > limits::HEADERS_PER_RECORD_MAX {
            let limit = limits::HEADERS_PER_RECORD_MAX;
            let message =
                format!("the record has {} headers, at most {limit} are allowed", record.headers.len());
            let error = Error::new(ErrorKind::InvalidRecord, message);
            return Step::Failed(error.with_limit(limit, record.headers.len()));
        }
        let partition = match record.partition.map(usize::try_from) {
            None => None,
            Some(Ok(partition)) => Some(partition),
            Some(Err(_)) => return Step::Failed(Error::invalid("a record's partition cannot be negative")),
        };
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        with_headers(record, |headers| {
            let size_bound = BatchBuilder::record_size_bound(key, value, headers);
            let timestamp = record.timestamp.unwrap_or_else(now_timestamp);
            let parts = RecordParts { partition, timestamp, key, value, headers, size_bound };
            self.try_append(topic, &parts, granted)
        })
    }

    fn try_append(&self, topic: &TopicName, parts: &RecordParts<'_>, granted: u32) -> Step {
        let needed = match u32::try_from(parts.size_bound) {
            Ok(needed) if parts.size_bound <= self.settings.memory_bytes => needed,
            _ => {
                return Step::Failed(too_large(self.settings.memory_bytes, parts.size_bound, "memory_bytes"));
            }
        };
        if granted < needed {
            match self.memory.try_acquire_many(needed) {
                Ok(permit) => permit.forget(),
                Err(_) => return Step::NeedsMemory(needed),
            }
        }
        let step = self.append(topic, parts);
        if granted < needed && !matches!(step, Step::Taken { .. }) {
            self.memory.add_permits(parts.size_bound);
        }
        step
    }

    fn append(&self, topic: &TopicName, parts: &RecordParts<'_>) -> Step {
        let now = Instant::now();
        let mut state = self.state();
        if state.closing {
            return Step::Failed(Error::closed("producer"));
        }
        if let Some(left) = state.breaker.open_for(now) {
            return Step::Failed(breaker_open(self.client.url(), left));
        }
        let appended = state.accumulator.append(now, topic, parts);
        drop(state);
        match appended {
            Ok(Appended { receipt, wake, stale }) => {
                if wake {
                    self.wake.notify_one();
                }
                Step::Taken { receipt, stale }
            }
            Err(Refusal::UnknownTopic | Refusal::UnknownPartition { .. }) => Step::NeedsTopic(topic.clone()),
            Err(Refusal::TooLarge { limit, actual }) => {
                Step::Failed(too_large(limit, actual + BATCH_OVERHEAD, "max.message.bytes"))
            }
        }
    }

    /// Ends a batch: its memory is free, its receipts resolve.
    pub(super) fn settle(&self, ticket: &Ticket, outcome: Outcome) {
        self.state().accumulator.settled(ticket);
        self.memory.add_permits(ticket.reserved);
        ticket.completion.settle(outcome);
    }

    /// Makes the sender fail whatever is left; returns how many records that are.
    pub(super) fn abort(&self) -> usize {
        let mut state = self.state();
        state.abort = true;
        let undelivered = state.accumulator.unsettled_records();
        drop(state);
        self.wake.notify_one();
        undelivered
    }

    /// Sends everything that is buffered without waiting for its linger time.
    pub(super) fn close_batches(&self) -> Vec<Arc<super::receipt::Completion>> {
        let mut state = self.state();
        state.accumulator.close_all();
        let unsettled = state.accumulator.unsettled();
        drop(state);
        self.wake.notify_one();
        unsettled
    }
}

fn now_timestamp() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn with_headers<R>(record: &Record, with: impl FnOnce(&[HeaderSlice<'_>]) -> R) -> R {
    let slices = record.headers.iter().map(|(key, value)| (&key[..], value.as_deref()));
    let mut few = [(&[][..], None); FEW_HEADERS];
    match few.get_mut(..record.headers.len()) {
        Some(few) => {
            for (slot, header) in few.iter_mut().zip(slices) {
                *slot = header;
            }
            with(few)
        }
        None => with(&slices.collect::<Vec<_>>()),
    }
}

pub(super) fn too_large(limit: usize, actual: usize, name: &str) -> Error {
    let message = format!("the record takes {actual} bytes, more than {name} = {limit} allows");
    Error::new(ErrorKind::TooLarge, message)
        .with_help(format!("send a smaller record or raise {name}"))
        .with_limit(limit, actual)
}

fn breaker_open(url: &str, left: Duration) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the broker at {url} failed too often in a row"))
        .with_help("the circuit breaker is open; it tries again after its cool-down")
        .with_retry_after(left)
}

/// The error of a record whose delivery timeout is over: of the kind of what kept it from being stored.
pub(super) fn late(timeout: Duration, trouble: Option<&Error>) -> Error {
    match trouble {
        Some(trouble) => {
            Error::new(trouble.kind(), format!("not stored within {timeout:?}: {}", trouble.message()))
        }
        None => Error::new(ErrorKind::Timeout, format!("not stored within {timeout:?}")),
    }
}
