//! The settings of a producer, checked when it is built.

use std::time::Duration;

use tidelog_model::batch::Compression;
use tidelog_model::limits;
use tidelog_proto::v1;

use super::Producer;
use crate::client::Client;
use crate::error::{Error, Result};

/// When a record counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// When it is on stable storage: a power cut does not take it back.
    #[default]
    Durable,
    /// When the broker has written it: a crash of the broker's process does not take it back, a power cut may.
    Written,
    /// When the broker has given it an offset: a crash of the broker may take it back.
    None,
}

impl Acks {
    pub(super) const fn to_wire(self) -> v1::Acks {
        match self {
            Self::Durable => v1::Acks::Durable,
            Self::Written => v1::Acks::Written,
            Self::None => v1::Acks::None,
        }
    }
}

/// When a producer stops trying a dead broker, so that its callers fail at once instead of filling memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Breaker {
    pub(super) failures: u32,
    pub(super) cooldown: Duration,
}

impl Breaker {
    /// Opens after so many connections or streams in a row failed (at least one); tries again after 5 s.
    pub const fn after(failures: u32) -> Self {
        Self { failures, cooldown: Duration::from_secs(5) }
    }

    /// How long it stays open before one try decides.
    pub const fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }
}

/// Settings of a [`Producer`]. Made by [`Client::producer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerBuilder {
    client: Client,
    pub(super) settings: Settings,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) acks: Acks,
    pub(super) idempotence: bool,
    pub(super) compression: Compression,
    pub(super) linger: Option<Duration>,
    pub(super) batch_bytes: usize,
    pub(super) memory_bytes: usize,
    pub(super) in_flight_requests: usize,
    pub(super) in_flight_bytes: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) attempts_max: Option<u32>,
    pub(super) backoff: (Duration, Duration),
    pub(super) breaker: Option<Breaker>,
    pub(super) metadata_max_age: Duration,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client) -> Self {
        let settings = Settings {
            acks: Acks::Durable,
            idempotence: true,
            compression: Compression::None,
            linger: None,
            batch_bytes: 1024 * 1024,
            memory_bytes: 64 * 1024 * 1024,
            in_flight_requests: 16,
            in_flight_bytes: 16 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            attempts_max: None,
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            breaker: Some(Breaker::after(16)),
            metadata_max_age: Duration::from_secs(60),
        };
        Self { client, settings }
    }

    /// How long a record may wait for others to share its batch. By default a record is sent at once when
    /// nothing of its partition is on the way, and otherwise waits at most 5 ms; a linger set here always
    /// applies until the batch is full.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// A batch is sent when the next record would make it larger than this, before compression. Default 1 MiB.
    pub const fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes = bytes;
        self
    }

    /// How batches are compressed. Default not at all.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// When a record counts as stored. Default [`Acks::Durable`].
    pub const fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// Whether batches carry a producer id and a number, by which the broker knows a batch again that was
    /// stored before its answer was lost: it is stored once, and in order. Default yes. Of one partition at most
    /// five batches are on the way unanswered then.
    pub const fn idempotence(mut self, idempotence: bool) -> Self {
        self.settings.idempotence = idempotence;
        self
    }

    /// How long a record may take from `enqueue` to its receipt, retries included. Default 2 min.
    pub const fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// How long the broker may be silent while answers are due before the connection counts as broken.
    /// Default 30 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// How many bytes of records may be enqueued and not yet settled; `enqueue` waits beyond that. Default
    /// 64 MiB.
    pub const fn memory_bytes(mut self, bytes: usize) -> Self {
        self.settings.memory_bytes = bytes;
        self
    }

    /// How many requests may be on the way unanswered. Default 16.
    pub const fn in_flight_requests(mut self, count: usize) -> Self {
        self.settings.in_flight_requests = count;
        self
    }

    /// How many bytes of batches may be on the way unanswered. Default 16 MiB.
    pub const fn in_flight_bytes(mut self, bytes: usize) -> Self {
        self.settings.in_flight_bytes = bytes;
        self
    }

    /// Whether a batch that failed for a passing reason is sent again. Default yes.
    ///
    /// A batch whose answer was lost with the connection may have been stored. Sending it again stores it once,
    /// unless [`Self::idempotence`] is off. Without retries such a record fails and its error says
    /// [`may_have_been_written`](Error::may_have_been_written).
    pub const fn retries(mut self, retries: bool) -> Self {
        self.settings.attempts_max = if retries { None } else { Some(1) };
        self
    }

    /// How often a batch is tried at most within the delivery timeout. Default unlimited.
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.settings.attempts_max = Some(attempts);
        self
    }

    /// The pauses between tries: drawn evenly between zero and a ceiling that doubles from `initial` to `max`.
    /// Default 50 ms to 2 s.
    pub const fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.backoff = (initial, max);
        self
    }

    /// When to stop trying a dead broker; `None` never stops. Default after 16 failures in a row, for 5 s.
    pub const fn breaker(mut self, breaker: Option<Breaker>) -> Self {
        self.settings.breaker = breaker;
        self
    }

    /// How long the number of a topic's partitions is trusted. Default 1 min.
    pub const fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// The producer. Does not connect yet.
    ///
    /// # Errors
    /// `InvalidRequest` when a setting is out of range (the message names it), or outside of a Tokio runtime.
    pub fn build(self) -> Result<Producer> {
        self.settings.check()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid("a producer must be made inside a Tokio runtime"));
        }
        Ok(Producer::start(self.client, self.settings))
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let batch_max = limits::BATCH_BYTES_MAX_CEILING;
        let rules = [
            ((1024..=batch_max).contains(&self.batch_bytes), "batch_bytes must be 1 KiB to 64 MiB"),
            (self.memory_bytes >= self.batch_bytes, "memory_bytes must be at least batch_bytes"),
            (self.in_flight_requests >= 1, "in_flight_requests must be at least 1"),
            (self.in_flight_bytes >= 1, "in_flight_bytes must be at least 1"),
            (!self.delivery_timeout.is_zero(), "delivery_timeout must be longer than zero"),
            (!self.request_timeout.is_zero(), "request_timeout must be longer than zero"),
            (
                self.linger.is_none_or(|linger| linger < self.delivery_timeout),
                "linger must be shorter than delivery_timeout",
            ),
            (self.attempts_max != Some(0), "attempts_max must be at least 1"),
            (
                !self.backoff.0.is_zero() && self.backoff.0 <= self.backoff.1,
                "backoff must grow from above zero",
            ),
            (
                self.breaker.is_none_or(|breaker| breaker.failures > 0),
                "the breaker needs at least one failure",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::invalid(rule)),
            None => Ok(()),
        }
    }
}
