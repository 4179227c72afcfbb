//! One record in a member's hands.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_proto::v1::settle_range::Verb;
use tidelog_proto::v1::{
    self, Outcome, SettleAck, SettleNack, SettleRange, SettleReject, SettleRelease, SettleRenew,
    SettleResult, SettleStatus,
};
use tokio::sync::{mpsc, oneshot};

use super::session::Command;
use crate::error::{Error, ErrorKind, Result};

/// Why a record failed, for operators: they see it with retries and dead letters, and select by the code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// A word for programs; 32 bytes of it are kept.
    pub code: String,
    /// A line for people; 64 bytes of it are kept.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }

    fn into_wire(self) -> v1::Reason {
        v1::Reason { code: self.code, text: self.text }
    }
}

/// A record in this member's hands until it is settled or its lease ends.
///
/// Settle it by one of the methods; when that returns, it is durable. Dropped unsettled it counts as failed at once
/// and comes again after the group's backoff.
#[must_use = "a record that is dropped counts as failed"]
pub struct Delivery {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The key; absent is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; keys may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often the record was redriven from the dead letters.
    pub redrives: u32,
    /// When it failed first.
    pub first_failure: Option<Timestamp>,
    pub(super) hand: Hand,
}

/// What binds a delivery to its session.
pub(super) struct Hand {
    pub(super) lease: u64,
    /// `None` once it is settled: the session does not wait for it any more.
    pub(super) commands: Option<mpsc::UnboundedSender<Command>>,
    pub(super) answer_in: Duration,
    /// The program has it.
    pub(super) taken: bool,
    /// It was settled, or a settle is on its way.
    pub(super) settled: bool,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format_args!("{}-{}@{}", self.topic, self.partition, self.offset);
        f.debug_struct("Delivery")
            .field("place", &place)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// It is done.
    ///
    /// # Errors
    /// `Conflict` when the lease has ended: the record comes again, to this member or another. `Throttled` when it
    /// can be said again later. After `Timeout` the consumer goes on trying to say it; it may be done already.
    pub async fn ack(&mut self) -> Result<()> {
        self.settle(Verb::Ack(SettleAck {}), Outcome::Acked).await
    }

    /// It failed and is to come again as the group's backoff says; after the last attempt it becomes a dead letter.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn retry(&mut self, reason: Reason) -> Result<()> {
        self.nack(None, reason).await
    }

    /// It failed and is to come again after `delay`, which `tidelog.queue.delay.max.ms` bounds.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn retry_after(&mut self, delay: Duration, reason: Reason) -> Result<()> {
        self.nack(Some(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)), reason).await
    }

    /// It failed and will fail again: it becomes a dead letter.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn dead_letter(&mut self, reason: Reason) -> Result<()> {
        let verb = Verb::Reject(SettleReject { reason: Some(reason.into_wire()) });
        self.settle(verb, Outcome::Dead).await
    }

    /// It is given back unharmed: the attempt does not count.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn release(&mut self) -> Result<()> {
        self.settle(Verb::Release(SettleRelease {}), Outcome::Released).await
    }

    /// More time, for this record and all others that came under the same lease; how long the lease lasts from now
    /// on. `None`: as the group is set.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn keep_alive(&mut self, lease: Option<Duration>) -> Result<Duration> {
        let lease_ms = lease.map_or(0, |lease| i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        let result = self.ask(Verb::Renew(SettleRenew { lease_ms })).await?;
        let lasts = result.lease_ms.and_then(|millis| u64::try_from(millis).ok());
        self.fate(result, Outcome::Renewed)?;
        Ok(Duration::from_millis(lasts.unwrap_or_default()))
    }

    pub(super) fn taken(mut self) -> Self {
        self.hand.taken = true;
        self
    }

    async fn nack(&mut self, delay_ms: Option<i64>, reason: Reason) -> Result<()> {
        let verb = Verb::Nack(SettleNack { delay_ms, reason: Some(reason.into_wire()) });
        self.settle(verb, Outcome::Delayed).await
    }

    async fn settle(&mut self, verb: Verb, wanted: Outcome) -> Result<()> {
        if self.hand.settled {
            return Err(self.settled_before());
        }
        // Cancelled or unanswered from here on, it is settled all the same: the session says it until it is answered.
        self.hand.settled = true;
        let result = self.ask(verb).await?;
        self.hand.settled = !is_refused(&result);
        if self.hand.settled {
            self.hand.commands = None;
        }
        self.fate(result, wanted)
    }

    fn settled_before(&self) -> Error {
        Error::new(ErrorKind::Conflict, format!("{self:?} was settled before"))
    }

    async fn ask(&self, verb: Verb) -> Result<SettleResult> {
        let (answer, answered) = oneshot::channel();
        let command = Command { range: self.range(verb), answer: Some(answer) };
        let commands = self.hand.commands.as_ref().ok_or_else(|| self.settled_before())?;
        commands.send(command).map_err(|_| Error::closed("queue consumer"))?;
        match tokio::time::timeout(self.hand.answer_in, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Error::closed("queue consumer")),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the broker did not answer a settle in time")),
        }
    }

    fn range(&self, verb: Verb) -> SettleRange {
        SettleRange {
            topic: self.topic.to_string(),
            partition: self.partition.get(),
            lease_id: self.hand.lease,
            first_offset: self.offset.get(),
            last_offset: self.offset.get(),
            verb: Some(verb),
        }
    }

    fn fate(&self, result: SettleResult, wanted: Outcome) -> Result<()> {
        if let Some(detail) = result.error {
            return Err(Error::from_detail(detail));
        }
        let Some(settled) = result.settled.first() else {
            return Err(Error::protocol("the broker's answer settles nothing"));
        };
        let outcome = settled.outcome();
        match settled.status() {
            SettleStatus::Done => Ok(()),
            SettleStatus::AlreadySettled if outcome == wanted => Ok(()),
            // The last attempt failed, and the broker's first answer was lost.
            SettleStatus::AlreadySettled if (wanted, outcome) == (Outcome::Delayed, Outcome::Dead) => Ok(()),
            SettleStatus::AlreadySettled => {
                let before = outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
                Err(Error::new(ErrorKind::Conflict, format!("{self:?} was settled before: {before}")))
            }
            SettleStatus::StaleLease => {
                let message = format!("the lease of {self:?} has ended: it counts as failed");
                let help = "ask for a longer lease, or keep it alive while it is worked on";
                Err(Error::new(ErrorKind::Conflict, message).with_help(help))
            }
            SettleStatus::RetryLater => {
                let message = "too many records are on their way to the dead letters";
                Err(Error::new(ErrorKind::Throttled, message))
            }
            SettleStatus::Unspecified => Err(Error::protocol("the broker's answer has no status")),
        }
    }
}

/// Whether a record is as it was: something else can be said of it, or the same again later.
pub(super) fn is_refused(result: &SettleResult) -> bool {
    let later = |settled: &v1::SettledRange| settled.status() == SettleStatus::RetryLater;
    result.error.is_some() || result.settled.iter().any(later)
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(commands) = self.hand.commands.take().filter(|_| !self.hand.settled) else { return };
        // What the program never saw did not fail.
        let verb = if self.hand.taken {
            let reason = Reason::new("dropped", "the consumer did not settle it");
            Verb::Nack(SettleNack { delay_ms: None, reason: Some(reason.into_wire()) })
        } else {
            Verb::Release(SettleRelease {})
        };
        let command = Command { range: self.range(verb), answer: None };
        // Without a session the lease has ended with the stream.
        drop(commands.send(command));
    }
}
