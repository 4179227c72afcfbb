//! The log of a queue group: what changes in its lanes, durable in the order in which it changed.
//!
//! **Invariants:**
//! * Rounds become durable in their order, and what waits for one is answered only then.
//! * The log stays small: when it has grown enough, the lanes are written down anew, and only when that is durable
//!   what is before goes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidelog_core::delivery::{LaneEvent, LaneId};
use tidelog_model::{Offset, Timestamp};

use crate::coordinator::pack;
use crate::error::BrokerError;
use crate::owner::{AckFuture, Acks};
use crate::partition::Partition;

/// A log of fewer bytes is not worth being written anew.
const SNAPSHOT_BYTES_MIN: u64 = 1024 * 1024;

/// What is done when a round is durable, or is not.
pub(super) type Answer = Box<dyn FnOnce(Result<(), BrokerError>) + Send>;

/// What may be done to a lane once a round is durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) lane: LaneId,
    /// The log may go up to here.
    pub(super) first_unsettled: Offset,
    /// Dead letters with smaller numbers may be copied.
    pub(super) sequence: u64,
    /// Where the last batch of letters is, is known for good.
    pub(super) landed: bool,
}

/// What becomes durable together.
#[derive(Default)]
pub(super) struct Round {
    pub(super) acks: VecDeque<AckFuture>,
    pub(super) answers: Vec<Answer>,
    pub(super) effects: Vec<Effect>,
    /// The log before this goes, because it was written anew.
    pub(super) overtaken: Option<Offset>,
}

/// A round that is not durable, and why.
pub(super) type Lost = Box<(Round, BrokerError)>;

/// The log of a group.
pub(super) struct Store {
    pub(super) partition: Arc<Partition>,
    rounds: VecDeque<Round>,
    /// How large the log is, about.
    bytes: u64,
    /// How large it may become.
    snapshot_at: u64,
}

impl Store {
    /// A log that was read, and was so large.
    pub(super) const fn new(partition: Arc<Partition>, bytes: u64) -> Self {
        Self { partition, rounds: VecDeque::new(), bytes, snapshot_at: SNAPSHOT_BYTES_MIN }
    }

    /// Whether everything so far is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.rounds.is_empty()
    }

    /// How many rounds are on their way.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Appends events; what the round holds is done when they are durable.
    ///
    /// # Errors
    /// When they cannot be appended: the round, which comes back, is not durable, and nothing after it may be.
    pub(super) fn append(
        &mut self,
        now: Timestamp,
        events: Vec<LaneEvent>,
        mut round: Round,
    ) -> Result<(), Lost> {
        let mut failures = Vec::new();
        let batches = pack(now, events.into_iter().map(|event| (0, event)).collect(), &mut failures);
        if let Some((_, error)) = failures.pop() {
            return Err(Box::new((round, error)));
        }
        for batch in batches {
            let size = u64::from(batch.batch.header().size_bytes);
            match self.partition.append_unchecked(batch.batch, Acks::Durable, None) {
                Ok(appended) => round.acks.push_back(appended.ack),
                Err(error) => return Err(Box::new((round, error))),
            }
            self.bytes = self.bytes.saturating_add(size);
        }
        self.rounds.push_back(round);
        Ok(())
    }

    /// Whether the lanes are to be written down anew.
    pub(super) const fn wants_snapshot(&self) -> bool {
        self.bytes >= self.snapshot_at
    }

    /// Appends all that is known.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(super) fn snapshot(&mut self, now: Timestamp, events: Vec<LaneEvent>) -> Result<(), Lost> {
        let overtaken = self.partition.watermarks().log_end;
        self.bytes = 0;
        self.append(now, events, Round { overtaken: Some(overtaken), ..Round::default() })?;
        self.snapshot_at = self.bytes.saturating_mul(4).max(SNAPSHOT_BYTES_MIN);
        Ok(())
    }

    /// Waits for the first round; for ever when there is none.
    ///
    /// # Errors
    /// When it did not become durable.
    pub(super) async fn next_round(&mut self) -> Result<Round, Lost> {
        poll_fn(|context| self.poll_round(context)).await
    }

    fn poll_round(&mut self, context: &mut Context<'_>) -> Poll<Result<Round, Lost>> {
        let Some(round) = self.rounds.front_mut() else { return Poll::Pending };
        let mut result = Ok(());
        while let Some(ack) = round.acks.front_mut() {
            match Pin::new(ack).poll(context) {
                Poll::Ready(Ok(())) => drop(round.acks.pop_front()),
                Poll::Ready(Err(error)) => {
                    result = Err(error);
                    break;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(round) = self.rounds.pop_front() else { return Poll::Pending };
        Poll::Ready(match result {
            Ok(()) => Ok(round),
            Err(error) => Err(Box::new((round, error))),
        })
    }

    /// Gives up: all that waits.
    pub(super) fn into_rounds(self) -> VecDeque<Round> {
        self.rounds
    }
}
