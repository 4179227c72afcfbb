//! One partition: what front ends call to append, read and look.
//!
//! Reads take no lock of the owner: they look at the published watermarks and ask the log, first for bytes
//! that are in memory, and only then on a blocking thread.
//!
//! **Invariant:** nothing at or above the published high watermark is ever returned.

mod holds;
mod reads;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tidelog_core::Watermarks;
use tidelog_core::catalog::TopicConfig;
use tidelog_core::partition::{AppendDecision, AppendRules, RememberedBatch, TimestampType};
use tidelog_log::{Bounds, PartitionId, PartitionLog, ReadError};
use tidelog_model::batch::{BatchRules, RecordBatch};
use tidelog_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicName};
use tokio::sync::watch;

use crate::admission::AdmitPermit;
use crate::error::BrokerError;
use crate::logs;
use crate::owner::{AckFuture, Acks, Lane};
use crate::producers;
use crate::shared::{PartitionKey, Problem, Shared};

pub(crate) use self::holds::Hold;
use self::holds::Holds;
pub use self::reads::{Extent, Located};

/// An accepted batch.
#[derive(Debug)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The batch was appended by an earlier try of its idempotent producer: this is that try's place.
    pub duplicate: bool,
    /// The broker's timestamp on topics with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<Timestamp>,
    /// The partition's log start when it was appended.
    pub log_start: Offset,
    /// Its outcome. Only when this is `Ok` is the batch as safe as was asked for.
    pub ack: AckFuture,
}

/// How a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its index.
    pub partition: PartitionIndex,
    /// The epoch stamped on its new batches.
    pub leader_epoch: LeaderEpoch,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// Where readers stop (exclusive).
    pub high_watermark: Offset,
    /// The next offset to assign.
    pub log_end: Offset,
    /// The size of its segments in bytes.
    pub size_bytes: u64,
    /// How many segments it has.
    pub segments: usize,
    /// Why it is not fully in service.
    pub problem: Option<String>,
}

/// A partition.
#[derive(Debug)]
pub struct Partition {
    key: PartitionKey,
    id: PartitionId,
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    config: ArcSwap<TopicConfig>,
    /// One snapshot of the producers at a time.
    saving: Mutex<()>,
    /// Who keeps records from retention.
    holds: Arc<Holds>,
    /// The log, or why there is none.
    log: Result<Arc<dyn PartitionLog>, BrokerError>,
}

impl Partition {
    pub(crate) fn new(
        (key, id): (PartitionKey, PartitionId),
        lane: Arc<Lane>,
        shared: Arc<Shared>,
        config: Arc<TopicConfig>,
        log: Result<Arc<dyn PartitionLog>, BrokerError>,
    ) -> Self {
        if let Err(error) = &log {
            lane.stop(error.clone());
        }
        if let Some(stopped) = lane.stopped() {
            shared.report(&key, Problem::SinceStart(stopped.message));
        }
        let (config, holds) = (ArcSwap::new(config), Arc::default());
        Self { key, id, lane, shared, config, saving: Mutex::new(()), holds, log }
    }

    /// Its topic.
    #[must_use]
    pub const fn topic(&self) -> &TopicName {
        &self.key.topic
    }

    /// Its index in the topic.
    #[must_use]
    pub const fn index(&self) -> PartitionIndex {
        self.key.partition
    }

    /// Its identity on disk.
    #[must_use]
    pub const fn id(&self) -> PartitionId {
        self.id
    }

    /// The epoch stamped on its new batches.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.lane.epoch()
    }

    /// What batches produced to it are validated against.
    #[must_use]
    pub fn batch_rules(&self) -> BatchRules {
        let config = self.config.load();
        BatchRules {
            batch_bytes_max: config.batch_bytes_max,
            key_required: config.cleanup_compact,
            control_allowed: false,
        }
    }

    /// Gives a batch its offsets and queues it for the device. The permit is given back when the batch is
    /// committed or rejected.
    ///
    /// # Errors
    /// When the batch breaks a rule of the topic, the topic is internal, or the partition takes no writes;
    /// nothing of the batch is in the log then.
    pub fn append(
        &self,
        batch: RecordBatch,
        acks: Acks,
        permit: Option<AdmitPermit>,
    ) -> Result<Appended, BrokerError> {
        if self.key.topic.is_internal() {
            return Err(BrokerError::internal_topic(&self.key.topic));
        }
        let producer = batch.header().producer_id;
        if producer.is_source() {
            let message =
                format!("producer id {} is the broker's own: ask for one with InitProducerId", producer.0);
            return Err(BrokerError::new(ErrorCode::InvalidRecord, message));
        }
        self.append_from_source(batch, acks, permit)
    }

    /// As [`Self::append`], for the broker's own sources too ([`ProducerId::is_source`]).
    ///
    /// # Errors
    /// Those of [`Self::append`].
    pub fn append_from_source(
        &self,
        batch: RecordBatch,
        acks: Acks,
        permit: Option<AdmitPermit>,
    ) -> Result<Appended, BrokerError> {
        self.shared.check_disk(u64::from(batch.header().size_bytes))?;
        let appended = self.append_unchecked(batch, acks, permit);
        if let Err(error) = &appended {
            let metrics = &self.shared.metrics;
            match error.code {
                ErrorCode::StorageFailed | ErrorCode::CorruptLog => metrics.rejected_storage.add(1),
                ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp => metrics.rejected_invalid.add(1),
                _ => {}
            }
        }
        appended
    }

    /// As [`Self::append_from_source`], also to internal topics and without a look at the disk's free space.
    pub(crate) fn append_unchecked(
        &self,
        batch: RecordBatch,
        acks: Acks,
        permit: Option<AdmitPermit>,
    ) -> Result<Appended, BrokerError> {
        if self.shared.is_closing() {
            return Err(BrokerError::shutting_down());
        }
        let log = self.log()?;
        let rules = append_rules(&self.config.load());
        let now = self.shared.clock.now();
        let oldest = if rules.needs_oldest_timestamp() { Some(oldest_timestamp(&batch)?) } else { None };
        let stamped = rules.timestamp_type == TimestampType::LogAppendTime;
        // The checksum is made anew before the lock is taken: other appends need not wait for it.
        let batch = if stamped { batch.with_log_append_time(now) } else { batch };
        let mut owner = self.lane.checked()?;
        let base_offset = match owner.state.decide_append(batch.header(), oldest, &rules, now) {
            Ok(AppendDecision::Append { base_offset }) => base_offset,
            Ok(AppendDecision::Duplicate(first)) => {
                let ack = owner.duplicate(first.last_offset.next(), acks);
                self.shared.metrics.duplicates_in.add(1);
                return Ok(Appended {
                    base_offset: first.base_offset(),
                    duplicate: true,
                    log_append_time: stamped.then_some(first.timestamp),
                    log_start: owner.marks.log_start,
                    ack,
                });
            }
            Err(reject) => {
                let Some(rests_on) = reject.rests_on() else { return Err(reject.into()) };
                let ack = owner.refuse(rests_on, reject.into())?;
                let base_offset = owner.state.next_offset();
                let log_start = owner.marks.log_start;
                return Ok(Appended { base_offset, duplicate: false, log_append_time: None, log_start, ack });
            }
        };
        let assigned = batch.assign(base_offset, owner.state.epoch());
        let header = *assigned.header();
        owner.state.apply(&header, now);
        let size = (u64::from(header.size_bytes), u64::from(header.record_count.unsigned_abs()));
        let ack = owner.enqueue(header.next_offset(), size, acks, permit);
        let log_start = owner.marks.log_start;
        log.append(assigned, owner.incarnation, now);
        drop(owner);
        Ok(Appended {
            base_offset,
            duplicate: false,
            log_append_time: stamped.then_some(now),
            log_start,
            ack,
        })
    }

    /// What the broker counts.
    pub(crate) fn metrics(&self) -> &crate::metrics::Metrics {
        &self.shared.metrics
    }

    /// The watermarks now.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.lane.watermarks()
    }

    /// The watermarks as readers see them: of the last move of the log start or the high watermark.
    #[must_use]
    pub fn readable(&self) -> Watermarks {
        self.lane.readable()
    }

    /// Tells of every move of the log start and the high watermark; the log end is the one of that moment.
    /// It also wakes, without a move, when the partition stops: the next call says why.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Watermarks> {
        self.lane.subscribe()
    }

    /// Whether the partition can be read.
    ///
    /// # Errors
    /// When its topic was deleted or its log could not be recovered.
    pub fn check_readable(&self) -> Result<(), BrokerError> {
        self.log()?;
        match self.lane.stopped() {
            Some(stopped) if stopped.code == ErrorCode::UnknownTopicOrPartition => Err(stopped),
            _ => Ok(()),
        }
    }

    /// Removes the records below `before` (below the high watermark when there is none given), durably;
    /// returns the new log start.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` above the high watermark; `INTERNAL_TOPIC`; `STORAGE_FAILED`.
    pub async fn delete_records(self: &Arc<Self>, before: Option<Offset>) -> Result<Offset, BrokerError> {
        if self.key.topic.is_internal() {
            return Err(BrokerError::internal_topic(&self.key.topic));
        }
        if self.shared.is_closing() {
            return Err(BrokerError::shutting_down());
        }
        let marks = self.lane.readable();
        let before = before.unwrap_or(marks.high_watermark);
        if before > marks.high_watermark {
            return Err(self.out_of_range(before, marks).field("before_offset"));
        }
        self.check_readable()?;
        self.trim(before).await
    }

    /// Takes part in what retention may delete.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.holds.join()
    }

    /// The newest batch of one of the broker's own sources, which the log will not lose; `None` when it has
    /// written none.
    ///
    /// # Errors
    /// When the partition takes no appends, or the log may still lose the source's newest batch.
    pub fn source_position(&self, source: ProducerId) -> Result<Option<RememberedBatch>, BrokerError> {
        let owner = self.lane.checked()?;
        match owner.state.producers().newest(source) {
            Some(newest) if newest.last_offset >= owner.marks.high_watermark => Err(BrokerError::new(
                ErrorCode::Overloaded,
                format!("the newest batch of source {} is on its way into {}", source.0, self.key),
            )),
            newest => Ok(newest),
        }
    }

    /// Removes the records below `before` without asking who holds them.
    pub(crate) async fn trim(self: &Arc<Self>, before: Offset) -> Result<Offset, BrokerError> {
        let log = Arc::clone(self.log()?);
        let partition = Arc::clone(self);
        let lane = Arc::clone(&self.lane);
        let key = self.key.clone();
        let trimmed = tokio::task::spawn_blocking(move || {
            // Before batches go that tell what is remembered.
            partition.save_producers()?;
            let start = log
                .trim(before)
                .map_err(|error| logs::storage_error(&format!("deleting records of {key}"), &error))?;
            lane.trimmed(start);
            Ok(start)
        });
        trimmed.await.map_err(|error| BrokerError::internal(format!("deleting records failed: {error}")))?
    }

    /// Retention, compaction and deferred deletes; blocks. Returns the bytes it freed.
    pub(crate) fn maintain(&self) -> Result<u64, BrokerError> {
        let Ok(log) = self.log() else { return Ok(0) };
        if self.lane.stopped().is_some() {
            return Ok(0);
        }
        // Before batches go that tell what is remembered.
        if let Err(error) = self.save_producers() {
            // A full disk must not keep retention from making room.
            tracing::warn!(partition = %self.key, %error, "the next start reads more of the log for producers");
        }
        let Watermarks { high_watermark, last_stable, .. } = self.lane.readable();
        let bounds = Bounds { high_watermark, held_from: self.holds.lowest(), last_stable };
        let maintained = log
            .maintain(self.shared.clock.now(), bounds)
            .map_err(|error| logs::storage_error(&format!("maintaining {}", self.key), &error))?;
        self.lane.trimmed(maintained.log_start);
        self.holds.retention_wants(maintained.wanted_start);
        let freed = maintained.deleted_bytes.saturating_add(maintained.compacted_bytes);
        self.shared.metrics.bytes_deleted.add(freed);
        Ok(freed)
    }

    /// Whether [`Self::save_producers`] should not wait for maintenance.
    pub(crate) fn wants_saving(&self) -> bool {
        self.lane.wants_saving()
    }

    /// Writes down what is remembered of idempotent producers, if there is anything new; blocks.
    pub(crate) fn save_producers(&self) -> Result<(), BrokerError> {
        let Ok(log) = self.log() else { return Ok(()) };
        if self.key.topic.is_internal() {
            return Ok(());
        }
        let _one = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        producers::save(&self.lane, log.as_ref()).map_err(|error| {
            logs::storage_error(&format!("writing down the producers of {}", self.key), &error)
        })
    }

    /// How the partition is.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        let marks = self.lane.watermarks();
        let stats = self.log.as_ref().ok().map(|log| log.stats());
        PartitionStatus {
            partition: self.key.partition,
            leader_epoch: self.lane.epoch(),
            log_start: marks.log_start,
            high_watermark: marks.high_watermark,
            log_end: marks.log_end,
            size_bytes: stats.as_ref().map_or(0, |stats| stats.size_bytes),
            segments: stats.as_ref().map_or(0, |stats| stats.segments),
            problem: self.lane.stopped().map(|stopped| stopped.message),
        }
    }

    pub(crate) fn reconfigure(&self, config: &Arc<TopicConfig>) {
        self.config.store(Arc::clone(config));
        if let Ok(log) = &self.log {
            log.reconfigure(logs::log_config(config));
        }
    }

    pub(crate) fn stop(&self, reason: BrokerError) {
        self.lane.stop(reason);
    }

    pub(crate) fn log(&self) -> Result<&Arc<dyn PartitionLog>, BrokerError> {
        self.log.as_ref().map_err(Clone::clone)
    }

    fn out_of_range(&self, offset: Offset, marks: Watermarks) -> BrokerError {
        logs::out_of_range(&self.key.to_string(), offset, marks.log_start, marks.log_end)
    }

    fn read_failed(&self, error: &ReadError) -> BrokerError {
        logs::read_error(&self.key.to_string(), error)
    }
}

/// The rules the owner appends by.
fn append_rules(config: &TopicConfig) -> AppendRules {
    AppendRules {
        timestamp_type: config.timestamp_type,
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
    }
}

/// The oldest timestamp of the batch's records; -1, "none", does not count.
fn oldest_timestamp(batch: &RecordBatch) -> Result<Timestamp, BrokerError> {
    let mut oldest = Timestamp::NONE;
    for record in batch.records()? {
        let timestamp = record.map_err(tidelog_model::batch::BatchError::from)?.timestamp;
        let known = timestamp != Timestamp::NONE;
        if known && (oldest == Timestamp::NONE || timestamp < oldest) {
            oldest = timestamp;
        }
    }
    Ok(oldest)
}
