//! What partitions remember of idempotent producers, between the log and the rules: found again at a start,
//! written down from time to time.
//!
//! **Invariant:** what is written down lies below the high watermark, so that it tells of nothing that the log
//! may still take back.

use tidelog_core::partition::{ProducerStates, RememberedBatch};
use tidelog_log::{PartitionLog, ProducerEntry, RecoveryReport, StorageError};

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
    // The broker's own batches have no producer, and a log with broken bytes takes no batches.
    if lane.is_internal() || report.corrupt.is_some() {
        return Ok((producers, 0));
    }
    let name = lane.name();
    let loading = |error| logs::storage_error(&format!("reading the producers of {name}"), &error);
    let snapshot = log.load_producers().map_err(loading)?;
    let from = snapshot.as_ref().map_or(report.log_start, |snapshot| snapshot.at.max(report.log_start));
    for entry in snapshot.iter().flat_map(|snapshot| &snapshot.entries) {
        producers.restore(remembered(entry));
    }
    let now = lane.now();
    let mut unsaved = 0;
    if from < report.log_end {
        let read = log.for_each_header(from, &mut |header| {
            producers.replay(header, now);
            unsaved += 1;
        });
        read.map_err(|error| logs::read_error(&name, &error))?;
    }
    producers.restored(now);
    Ok((producers, unsaved))
}

/// Writes down what the owner remembers; blocks.
pub(crate) fn save(lane: &Lane, log: &dyn PartitionLog) -> Result<(), StorageError> {
    let Some((at, batches)) = lane.producers_to_save() else { return Ok(()) };
    let entries: Vec<ProducerEntry> = batches.iter().map(entry).collect();
    log.save_producers(at, &entries).inspect_err(|_| lane.not_saved())
}

const fn entry(batch: &RememberedBatch) -> ProducerEntry {
    ProducerEntry {
        id: batch.id,
        epoch: batch.epoch,
        last_sequence: batch.last_sequence,
        last_offset: batch.last_offset,
        offset_delta: batch.offset_delta,
        timestamp: batch.timestamp,
    }
}

const fn remembered(entry: &ProducerEntry) -> RememberedBatch {
    RememberedBatch {
        id: entry.id,
        epoch: entry.epoch,
        last_sequence: entry.last_sequence,
        last_offset: entry.last_offset,
        offset_delta: entry.offset_delta,
        timestamp: entry.timestamp,
    }
}
