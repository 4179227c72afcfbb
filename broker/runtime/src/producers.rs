//! What partitions remember of idempotent producers, between the log and the rules: found again at a start,
//! written down from time to time.
//!
//! **Invariant:** what is written down lies below the high watermark, so that it tells of nothing that the log
//! may still take back.

use tidelog_core::partition::{ProducerRow, ProducerStates, RememberedBatch};
use tidelog_log::{PartitionLog, ProducerEntry, ProducerFact, ReadError, RecoveryReport, StorageError};
use tidelog_model::Sequence;

use crate::error::BrokerError;
use crate::logs;
use crate::owner::Lane;

/// What a recovered log tells of its producers, and how many of its batches are in no snapshot; blocks.
pub(crate) fn recover(
    lane: &Lane,
    log: &dyn PartitionLog,
    report: &RecoveryReport,
) -> Result<(ProducerStates, u64), BrokerError> {
    let mut producers = lane.no_producers();
    // The broker's own batches have no producer.
    if lane.is_internal() {
        return Ok((producers, 0));
    }
    let now = lane.now();
    let mut unsaved = 0;
    let replayed = log.replay_producers(&mut |fact| match fact {
        ProducerFact::Remembered(entry) => producers.restore(row(entry)),
        ProducerFact::Batch(header, marker) => {
            producers.replay(header, marker, now);
            unsaved += 1;
        }
    });
    match replayed {
        // What lies before the broken bytes is read, and nothing is appended any more.
        Err(ReadError::Corrupt { .. }) if report.corrupt.is_some() => {}
        replayed => replayed.map_err(|error| logs::read_error(&lane.name(), &error))?,
    }
    producers.restored(now);
    Ok((producers, unsaved))
}

/// Writes down what the owner remembers; blocks.
pub(crate) fn save(lane: &Lane, log: &dyn PartitionLog) -> Result<(), StorageError> {
    let Some((at, rows)) = lane.producers_to_save() else { return Ok(()) };
    let entries: Vec<ProducerEntry> = rows.iter().map(entry).collect();
    log.save_producers(at, &entries).inspect_err(|_| lane.not_saved())
}

fn entry(row: &ProducerRow) -> ProducerEntry {
    ProducerEntry {
        id: row.id,
        epoch: row.epoch,
        last_sequence: row.batch.map_or(Sequence::NONE, |batch| batch.last_sequence),
        last_offset: row.batch.map(|batch| batch.last_offset),
        offset_delta: row.batch.map_or(0, |batch| batch.offset_delta),
        timestamp: row.timestamp,
        coordinator_epoch: row.coordinator_epoch,
        transaction_start: row.transaction_start,
    }
}

fn row(entry: &ProducerEntry) -> ProducerRow {
    let ProducerEntry { id, epoch, last_sequence, offset_delta, timestamp, .. } = *entry;
    let batch = entry.last_offset.map(|last_offset| RememberedBatch {
        id,
        epoch,
        last_sequence,
        last_offset,
        offset_delta,
        timestamp,
    });
    let ProducerEntry { coordinator_epoch, transaction_start, .. } = *entry;
    ProducerRow { id, epoch, batch, timestamp, coordinator_epoch, transaction_start }
}
