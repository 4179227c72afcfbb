//! The check at the door, for all front ends: short ones at once, long ones on threads that may block.
//!
//! **Invariant:** only so many long checks run at one time as there are processors, because unfolding a
//! batch may take its limit in memory.

use std::sync::LazyLock;

use bytes::Bytes;
use thiserror::Error;
use tidelog_model::ErrorCode;
use tidelog_model::batch::{BatchError, BatchHeader, BatchRules, Compression, RecordBatch};
use tokio::sync::Semaphore;

use crate::error::BrokerError;

/// Compressed batches up to this size are unfolded on the caller's task, larger ones elsewhere.
const UNFOLD_INLINE_MAX: usize = 16 * 1024;
/// Plain batches up to this size are checked on the caller's task: about 2 ms of work.
const CHECK_INLINE_MAX: usize = 8 * 1024 * 1024;

/// How many long checks run at the same time.
static CHECKS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Why there is no checked batch.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The batch breaks a rule.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The check did not come to an end.
    #[error("checking the batch ended early: {0}")]
    Ended(String),
}

impl From<CheckError> for BrokerError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Batch(error) => error.into(),
            CheckError::Ended(_) => Self::new(ErrorCode::Internal, error.to_string()),
        }
    }
}

/// Checks what a producer sent against the rules of its topic.
///
/// # Errors
/// [`CheckError`] names the rule.
pub async fn check_batch(bytes: Bytes, rules: BatchRules) -> Result<RecordBatch, CheckError> {
    let (limit, actual) = (rules.batch_bytes_max, bytes.len());
    if actual > limit {
        return Err(BatchError::TooLarge { limit, actual }.into());
    }
    if !takes_long(&bytes) {
        return Ok(RecordBatch::validate(bytes, &rules)?);
    }
    // The semaphore is never closed; were it, the check would go on without a bound.
    let _slot = CHECKS.acquire().await.ok();
    let checked = tokio::task::spawn_blocking(move || RecordBatch::validate(bytes, &rules)).await;
    Ok(checked.map_err(|error| CheckError::Ended(error.to_string()))??)
}

fn takes_long(bytes: &[u8]) -> bool {
    let plain = BatchHeader::parse(bytes).is_ok_and(|header| header.compression() == Some(Compression::None));
    bytes.len() > if plain { CHECK_INLINE_MAX } else { UNFOLD_INLINE_MAX }
}
