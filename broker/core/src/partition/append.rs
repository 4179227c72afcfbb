//! Whether a batch may be appended, and which offsets it gets.
//!
//! The batch is its own event: `decide_append` looks at its header, `apply` takes the assigned header into
//! the state. Batches are assigned before they are durable, so that many share one flush; `reset` takes
//! assignments back when the log says that it does not hold them.
//!
//! **Invariant:** between two resets the base offset of each applied batch is the next offset of the one
//! before it: offsets have no gaps.
//!
//! A decision about an idempotent producer's batch may rest on batches that are not durable yet:
//! [`AppendDecision::Duplicate`] and [`AppendReject::rests_on`] say on which, and the answer waits for them.

use thiserror::Error;
use tidelog_model::batch::{BatchHeader, ControlMarker};
use tidelog_model::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::producer_states::{ProducerStates, ProducerVerdict, RememberedBatch};

/// Whose clock stamps the records of a topic (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, when it appends.
    LogAppendTime,
}

/// What a topic asks of a batch beyond its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRules {
    /// Whose clock stamps the records.
    pub timestamp_type: TimestampType,
    /// How far in the past a producer's timestamp may lie, in milliseconds.
    pub timestamp_before_max_ms: i64,
    /// How far in the future a producer's timestamp may lie, in milliseconds.
    pub timestamp_after_max_ms: i64,
}

impl AppendRules {
    /// Whether [`PartitionState::decide_append`] needs the oldest timestamp of the records, which the header
    /// does not hold.
    #[must_use]
    pub const fn needs_oldest_timestamp(&self) -> bool {
        matches!(self.timestamp_type, TimestampType::CreateTime) && self.timestamp_before_max_ms < i64::MAX
    }
}

/// Why a batch is not appended. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendReject {
    /// The batch's sequence does not follow on that of its producer's batch before it.
    #[error(
        "the batch of producer {} (epoch {}) begins with sequence {} where {} follows: an earlier batch of it was \
             not stored", id.0, epoch.0, found.0, expected.0
    )]
    OutOfOrderSequence {
        /// The producer.
        id: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// The batch's first sequence.
        found: Sequence,
        /// The sequence that would follow.
        expected: Sequence,
        /// The end of the batch that says so.
        rests_on: Offset,
    },
    /// The batch's producer has begun a newer epoch.
    #[error("producer {} writes in epoch {}, this batch is of epoch {}: it was taken over", id.0, current.0, epoch.0)]
    StaleProducerEpoch {
        /// The producer.
        id: ProducerId,
        /// The batch's epoch.
        epoch: ProducerEpoch,
        /// The producer's newest epoch.
        current: ProducerEpoch,
        /// The end of the batch that says so.
        rests_on: Offset,
    },
    /// The partition remembers as many producers as it may.
    #[error(
        "the partition remembers {limit} idempotent producers, which is the limit: try again when one of them has \
             been idle for producer.id.expiration.ms, or produce without idempotence"
    )]
    TooManyProducers {
        /// The limit.
        limit: usize,
    },
    /// The batch belongs to a transaction.
    #[error("transactions are not supported yet: produce without a transactional id")]
    Transactional,
    /// The batch's base timestamp claims to be a delete horizon, which only compaction writes.
    #[error("the batch sets the delete horizon bit, which is the broker's")]
    DeleteHorizon,
    /// A timestamp lies too far in the past.
    #[error(
        "timestamp {timestamp} is {actual_ms} ms older than now, the topic allows {limit_ms} ms \
             (message.timestamp.before.max.ms)"
    )]
    TooOld {
        /// The timestamp.
        timestamp: Timestamp,
        /// How old it is.
        actual_ms: i64,
        /// How old it may be.
        limit_ms: i64,
    },
    /// A timestamp lies too far in the future.
    #[error(
        "timestamp {timestamp} is {actual_ms} ms ahead of now, the topic allows {limit_ms} ms \
             (message.timestamp.after.max.ms)"
    )]
    TooNew {
        /// The timestamp.
        timestamp: Timestamp,
        /// How far ahead it is.
        actual_ms: i64,
        /// How far ahead it may be.
        limit_ms: i64,
    },
    /// The partition has no offsets left.
    #[error("the partition has no offsets left for {record_count} records after {next_offset}")]
    OffsetsExhausted {
        /// The next offset to assign.
        next_offset: Offset,
        /// The records that should have got offsets.
        record_count: i32,
    },
}

impl AppendReject {
    /// The protocol's code for this rejection.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Transactional | Self::DeleteHorizon | Self::OffsetsExhausted { .. } => {
                ErrorCode::InvalidRecord
            }
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequence,
            Self::StaleProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::TooManyProducers { .. } => ErrorCode::Overloaded,
            Self::TooOld { .. } | Self::TooNew { .. } => ErrorCode::InvalidTimestamp,
        }
    }

    /// The end of the batch that the rejection rests on: it stands when that batch is durable.
    #[must_use]
    pub const fn rests_on(&self) -> Option<Offset> {
        match self {
            Self::OutOfOrderSequence { rests_on, .. } | Self::StaleProducerEpoch { rests_on, .. } => {
                Some(*rests_on)
            }
            Self::TooManyProducers { .. }
            | Self::Transactional
            | Self::DeleteHorizon
            | Self::TooOld { .. }
            | Self::TooNew { .. }
            | Self::OffsetsExhausted { .. } => None,
        }
    }
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendDecision {
    /// It gets these offsets.
    Append {
        /// The offset of its first record.
        base_offset: Offset,
    },
    /// It is in the log already, or on its way there: nothing is appended, and its answer is that of the first
    /// try.
    Duplicate(RememberedBatch),
}

/// What a partition's owner knows while it assigns offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    next_offset: Offset,
    epoch: LeaderEpoch,
    producers: ProducerStates,
}

impl PartitionState {
    /// The state of a partition whose log ends at `end`, owned in `epoch`.
    #[must_use]
    pub const fn new(end: Offset, epoch: LeaderEpoch, producers: ProducerStates) -> Self {
        Self { next_offset: end, epoch, producers }
    }

    /// The idempotent producers it remembers.
    #[must_use]
    pub const fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets producers that were idle for too long.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(now);
    }

    /// The next offset to assign.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The epoch stamped on batches.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// What becomes of a batch of this header at the time `now`. `oldest` is the oldest timestamp of
    /// its records where [`AppendRules::needs_oldest_timestamp`] asks for it.
    ///
    /// # Errors
    /// [`AppendReject`] says which rule the batch breaks.
    pub fn decide_append(
        &self,
        header: &BatchHeader,
        oldest: Option<Timestamp>,
        rules: &AppendRules,
        now: Timestamp,
    ) -> Result<AppendDecision, AppendReject> {
        if header.is_transactional() {
            return Err(AppendReject::Transactional);
        }
        // Before the rules of today: what is in the log was right when it came.
        if header.producer_id != ProducerId::NONE
            && let ProducerVerdict::Duplicate(first) = self.producers.decide(header, now)?
        {
            return Ok(AppendDecision::Duplicate(first));
        }
        if header.has_delete_horizon() {
            return Err(AppendReject::DeleteHorizon);
        }
        if rules.timestamp_type == TimestampType::CreateTime {
            check_timestamps(header.max_timestamp, oldest, rules, now)?;
        }
        let room = Offset::MAX.since(self.next_offset);
        if room <= u64::from(header.last_offset_delta.unsigned_abs()) {
            return Err(AppendReject::OffsetsExhausted {
                next_offset: self.next_offset,
                record_count: header.record_count,
            });
        }
        Ok(AppendDecision::Append { base_offset: self.next_offset })
    }

    /// Where readers of committed records stop: below it every transaction has ended, which the log will not
    /// lose. Never above `high_watermark`.
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.producers.first_unstable().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Takes a batch that was assigned at the time `now` into the state.
    ///
    /// # Panics
    /// When the batch does not start at the next offset.
    pub fn apply(&mut self, header: &BatchHeader, now: Timestamp) {
        self.assigned(header);
        if header.producer_id != ProducerId::NONE {
            self.producers.apply(header, now);
        }
    }

    /// Takes in the broker's own batch that ends a producer's transaction, assigned at the time `now`.
    ///
    /// # Panics
    /// When the batch does not start at the next offset.
    pub fn apply_marker(&mut self, header: &BatchHeader, marker: ControlMarker, now: Timestamp) {
        self.assigned(header);
        self.producers.apply_marker(header, marker, now);
    }

    fn assigned(&mut self, header: &BatchHeader) {
        assert_eq!(header.base_offset, self.next_offset, "a batch was assigned out of order");
        self.next_offset = header.next_offset();
    }

    /// Takes note that the log will not lose what lies below `end`.
    pub fn committed(&mut self, end: Offset) {
        self.producers.committed(end);
    }

    /// Takes assignments back: the log ends at `end`.
    ///
    /// # Panics
    /// When `end` lies after the next offset.
    pub fn reset(&mut self, end: Offset) {
        assert!(end <= self.next_offset, "reset to {end}, past the next offset {}", self.next_offset);
        self.next_offset = end;
        self.producers.reset(end);
    }
}

fn check_timestamps(
    newest: Timestamp,
    oldest: Option<Timestamp>,
    rules: &AppendRules,
    now: Timestamp,
) -> Result<(), AppendReject> {
    let ahead_ms = newest.millis().saturating_sub(now.millis());
    if newest != Timestamp::NONE && ahead_ms > rules.timestamp_after_max_ms {
        return Err(AppendReject::TooNew {
            timestamp: newest,
            actual_ms: ahead_ms,
            limit_ms: rules.timestamp_after_max_ms,
        });
    }
    let Some(oldest) = oldest.filter(|oldest| *oldest != Timestamp::NONE) else { return Ok(()) };
    let age_ms = now.millis().saturating_sub(oldest.millis());
    if age_ms > rules.timestamp_before_max_ms {
        return Err(AppendReject::TooOld {
            timestamp: oldest,
            actual_ms: age_ms,
            limit_ms: rules.timestamp_before_max_ms,
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
