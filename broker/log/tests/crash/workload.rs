//! What is put into a partition, and how it is set up: anything, by chance.

use std::sync::Arc;

use tidelog_log::sim_disk::SimRng;
use tidelog_log::{CleanupPolicy, FlushPolicy, LogConfig, PartitionLog};
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{ProducerEpoch, ProducerId, Sequence};

use super::model::{Broken, Sent, SentRecord, at, offset};
use super::transactions::{self, Txn};

/// Appends a batch of random records.
pub(crate) fn send(
    base: i64,
    epoch: i32,
    now: i64,
    rng: &mut SimRng,
    log: &Arc<dyn PartitionLog>,
    incarnation: u64,
) -> Result<Sent, Broken> {
    send_of(None, base, epoch, now, rng, log, incarnation)
}

/// Appends a batch of random records, or a marker.
pub(crate) fn send_of(
    txn: Option<Txn>,
    base: i64,
    epoch: i32,
    now: i64,
    rng: &mut SimRng,
    log: &Arc<dyn PartitionLog>,
    incarnation: u64,
) -> Result<Sent, Broken> {
    if let Some(Txn::End(id, kind)) = txn {
        return transactions::send_marker((id, kind), base, epoch, now, log, incarnation);
    }
    let compression = match rng.below(8) {
        0 => Compression::Gzip,
        1 => Compression::Zstd,
        2 => Compression::Lz4,
        3 => Compression::Snappy,
        _ => Compression::None,
    };
    let mut builder = BatchBuilder::new(compression, 1024);
    if let Some(Txn::Data(id)) = txn {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(0)).transactional();
    }
    let mut records = Vec::new();
    for _ in 0..=rng.below(3) {
        let size = if rng.one_in(12) { 1500 } else { rng.below(200) };
        let value: Option<Vec<u8>> =
            if rng.one_in(6) { None } else { Some((0..size).map(|_| rng.next() as u8).collect()) };
        let time = now - i64::try_from(rng.below(300)).unwrap_or(0);
        let key = rng.below(8).to_le_bytes().to_vec();
        builder.append(at(time), Some(&key), value.as_deref(), &[]);
        records.push(SentRecord { time, key, value });
    }
    let batch = builder.build().map_err(|error| error.to_string())?;
    Ok(Sent { records, txn, ..append(batch, base, epoch, now, log, incarnation)? })
}

/// Appends a batch.
pub(crate) fn append(
    batch: RecordBatch,
    base: i64,
    epoch: i32,
    now: i64,
    log: &Arc<dyn PartitionLog>,
    incarnation: u64,
) -> Result<Sent, Broken> {
    let epoch = tidelog_model::LeaderEpoch::new(epoch).ok_or("no epoch")?;
    let batch = batch.assign(offset(base), epoch);
    let next = batch.header().next_offset().get();
    let bytes = batch.to_bytes();
    log.append(batch, incarnation, at(now));
    Ok(Sent { base, next, bytes, records: Vec::new(), txn: None })
}

/// Small segments, and everything else by chance.
pub(crate) fn config(rng: &mut SimRng) -> LogConfig {
    LogConfig {
        segment_bytes: [700, 2000, 6000][rng.below(3) as usize],
        segment_ms: [3000, i64::MAX][rng.below(2) as usize],
        index_interval_bytes: [100, 400, 4096][rng.below(3) as usize],
        segment_index_bytes: [32, 1 << 20][rng.below(2) as usize],
        flush: match rng.below(6) {
            0 => FlushPolicy::Os,
            1 => FlushPolicy::Interval { ms: 0 },
            _ => FlushPolicy::Sync,
        },
        retention_ms: [None, Some(2000), Some(20_000)][rng.below(3) as usize],
        retention_bytes: [None, Some(3000), Some(20_000)][rng.below(3) as usize],
        cleanup: CleanupPolicy { delete: rng.one_in(2), compact: rng.one_in(3) },
        min_cleanable_dirty_ratio: [0.0, 0.5][rng.below(2) as usize],
        delete_retention_ms: [0, 3000][rng.below(2) as usize],
        file_delete_delay_ms: [0, 1000][rng.below(2) as usize],
        ..LogConfig::default()
    }
}
