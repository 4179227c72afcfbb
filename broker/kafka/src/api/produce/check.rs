//! The check of the records of one partition: exactly one batch, in a format the version may use, that holds.

use bytes::Bytes;
use tidelog_model::batch::{BatchError, BatchHeader, BatchRules, Compression, RecordBatch};
use tidelog_model::record::RecordError;
use tidelog_runtime::{BrokerError, CheckError, check_batch};

use super::answer::Rejected;
use crate::error::KafkaError;
use crate::failure::Failure;

/// The first version whose batches may be compressed with zstd: older clients could not read them (KIP-110).
const ZSTD_FROM: i16 = 7;

/// The batch in `records`.
pub(super) async fn check(
    records: Option<Bytes>,
    rules: BatchRules,
    version: i16,
) -> Result<RecordBatch, Rejected> {
    let records = records.unwrap_or_default();
    check_shape(&records, version)?;
    check_batch(records, rules).await.map_err(rejected)
}

/// Whether there is one batch, and not none or several: such records are never accepted, while a batch that
/// lost its way may be sent again.
fn check_shape(records: &[u8], version: i16) -> Result<(), Failure> {
    let invalid = |message: String| Err(Failure::new(KafkaError::INVALID_RECORD, message));
    let header = match BatchHeader::parse(records) {
        Ok(header) => header,
        Err(error) => return invalid(format!("send one record batch for each partition: {error}")),
    };
    let (size, actual) = (header.size(), records.len());
    if size != actual {
        return invalid(format!(
            "send one record batch for each partition: the first has {size} bytes, there are {actual}"
        ));
    }
    if version < ZSTD_FROM && header.compression() == Some(Compression::Zstd) {
        let message =
            format!("zstd needs version {ZSTD_FROM} of Produce, this is {version}: upgrade the client");
        return Err(Failure::new(KafkaError::UNSUPPORTED_COMPRESSION_TYPE, message));
    }
    Ok(())
}

fn rejected(error: CheckError) -> Rejected {
    let record = match &error {
        CheckError::Batch(BatchError::Record(error)) => record_at_fault(error),
        CheckError::Batch(_) | CheckError::Ended(_) => None,
    };
    Rejected { failure: BrokerError::from(error).into(), record }
}

fn record_at_fault(error: &RecordError) -> Option<i32> {
    match error {
        RecordError::Field { index, .. }
        | RecordError::Length { index, .. }
        | RecordError::Slack { index, .. }
        | RecordError::OffsetDelta { index, .. }
        | RecordError::OffsetOrder { index, .. }
        | RecordError::HeaderCount { index, .. }
        | RecordError::KeyMissing { index } => i32::try_from(*index).ok(),
        RecordError::Missing { .. } | RecordError::Trailing { .. } => None,
    }
}
