//! Reading records of a partition for its queues: those that nobody had yet, and single ones again.

use std::sync::Arc;

use tidelog_model::batch::RecordBatch;
use tidelog_model::record::Record;
use tidelog_model::{ErrorCode, Offset};

use crate::error::BrokerError;
use crate::partition::Partition;

/// How much one look for new records reads, in bytes.
const FEED_BYTES: usize = 256 * 1024;
/// How much one look for a single record reads, in bytes: at least its batch.
const SINGLE_BYTES: usize = 64 * 1024;

/// New records of a partition.
#[derive(Debug)]
pub(super) enum Fed {
    /// These, in order; the offsets between `from` and `next` that are missing have no record.
    Records {
        /// The records.
        records: Vec<Record>,
        /// Where to look next.
        next: Offset,
    },
    /// The log begins here, behind what was asked for.
    StartsAt(Offset),
}

/// The records from `from` on, as soon as there are some.
///
/// # Errors
/// When the partition cannot be read.
pub(super) async fn feed(
    partition: Arc<Partition>,
    from: Offset,
    read_committed: bool,
) -> Result<Fed, BrokerError> {
    let mut marks = partition.subscribe();
    loop {
        let seen = *marks.borrow_and_update();
        let end = if read_committed { seen.last_stable } else { seen.high_watermark };
        if from < seen.log_start {
            return Ok(Fed::StartsAt(seen.log_start));
        }
        if from < end {
            let slice = match partition.read(from, FEED_BYTES).await {
                Ok(slice) => slice,
                // Retention came in between.
                Err(error) if error.code == ErrorCode::OffsetOutOfRange => continue,
                Err(error) => return Err(error),
            };
            let mut records = Vec::new();
            let next = slice.next_offset.min(end);
            each(slice.bytes, |record| {
                if record.offset >= from && record.offset < end {
                    records.push(record);
                }
            })?;
            if next > from {
                return Ok(Fed::Records { records, next });
            }
        }
        partition.check_readable()?;
        partition.end()?;
        if marks.changed().await.is_err() {
            return Err(BrokerError::shutting_down());
        }
    }
}

/// Reads the records at `offsets`, which are in order, and gives them to `found`; those that are not there any
/// more are left out.
///
/// # Errors
/// When the partition cannot be read.
pub(crate) async fn read_at(
    partition: &Arc<Partition>,
    offsets: &[Offset],
    mut found: impl FnMut(Record),
) -> Result<(), BrokerError> {
    let mut wanted = offsets.iter().copied().peekable();
    while let Some(next) = wanted.peek().copied() {
        let marks = partition.readable();
        if next < marks.log_start {
            wanted.next();
            continue;
        }
        if next >= marks.high_watermark {
            return Ok(());
        }
        let slice = match partition.read(next, SINGLE_BYTES).await {
            Ok(slice) => slice,
            Err(error) if error.code == ErrorCode::OffsetOutOfRange => continue,
            Err(error) => return Err(error),
        };
        each(slice.bytes, |record| {
            while wanted.peek().is_some_and(|wanted| *wanted < record.offset) {
                wanted.next();
            }
            if wanted.peek().is_some_and(|wanted| *wanted == record.offset) {
                wanted.next();
                found(record);
            }
        })?;
        // What is not in what was read is not there.
        while wanted.peek().is_some_and(|wanted| *wanted < slice.next_offset) {
            wanted.next();
        }
        if slice.next_offset <= next {
            return Ok(());
        }
    }
    Ok(())
}

/// Gives each record that a client may see to `take`.
fn each(bytes: bytes::Bytes, mut take: impl FnMut(Record)) -> Result<(), BrokerError> {
    for batch in RecordBatch::split(bytes) {
        let batch = batch?;
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records()? {
            take(record.map_err(tidelog_model::batch::BatchError::from)?);
        }
    }
    Ok(())
}

/// The number that stands for a record's key: 0 is no key.
pub(super) fn key_of(record: &Record) -> u32 {
    let hash = |key: &bytes::Bytes| tidelog_model::partitioner::murmur2(key).cast_unsigned().max(1);
    record.key.as_ref().map_or(0, hash)
}

/// About how many bytes a record takes.
pub(super) fn size_of(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len().saturating_add(length(value)));
    length(&record.key).saturating_add(length(&record.value)).saturating_add(headers.sum())
}
