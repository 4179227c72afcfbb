//! The byte budget of everything that is on its way into a log: asked for before a request's bytes enter
//! any queue, given back when they are committed or rejected.
//!
//! **Invariant:** the bytes of all permits never exceed the budget. Waiting is fair: a large request is not
//! overtaken for ever by small ones.

use std::sync::Arc;
use std::time::Duration;

use tidelog_model::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::BrokerError;

/// The right to hold some bytes in the broker's memory; given back when dropped.
#[derive(Debug)]
pub struct AdmitPermit {
    permit: OwnedSemaphorePermit,
}

impl AdmitPermit {
    /// Splits off the permit for `bytes` of these bytes, so that each batch of a request frees its own share
    /// when it is committed; `None` when there are not that many left.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        self.permit.split(bytes).map(|permit| Self { permit })
    }
}

/// The budget.
#[derive(Debug)]
pub(crate) struct Admission {
    budget: usize,
    wait_max: Duration,
    free: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(budget: usize, wait_max: Duration) -> Self {
        // The semaphore counts whole permits of 32 bits each time and has its own ceiling.
        let budget = budget.min(Semaphore::MAX_PERMITS);
        Self { budget, wait_max, free: Arc::new(Semaphore::new(budget)) }
    }

    /// Bytes held by permits now.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.budget.saturating_sub(self.free.available_permits())
    }

    pub(crate) async fn admit(&self, bytes: usize) -> Result<AdmitPermit, BrokerError> {
        let count = u32::try_from(bytes).ok().filter(|_| bytes <= self.budget);
        let Some(count) = count else { return Err(self.too_large(bytes)) };
        let acquired = Arc::clone(&self.free).acquire_many_owned(count);
        match tokio::time::timeout(self.wait_max, acquired).await {
            Ok(Ok(permit)) => Ok(AdmitPermit { permit }),
            Ok(Err(_)) => Err(BrokerError::shutting_down()),
            Err(_) => Err(self.overloaded(bytes)),
        }
    }

    /// Wakes everyone who waits; nobody is admitted from now on.
    pub(crate) fn close(&self) {
        self.free.close();
    }

    fn too_large(&self, bytes: usize) -> BrokerError {
        let budget = self.budget;
        let message = format!(
            "a request of {bytes} bytes is larger than the broker's whole budget of {budget} bytes in flight: \
             send smaller requests"
        );
        BrokerError::new(ErrorCode::MessageTooLarge, message).limit(wide(budget), wide(bytes))
    }

    fn overloaded(&self, bytes: usize) -> BrokerError {
        let budget = self.budget;
        let message = format!(
            "no room for {bytes} bytes within {} ms: {} of {budget} bytes are in flight",
            self.wait_max.as_millis(),
            self.in_flight_bytes(),
        );
        let wait_ms = i64::try_from(self.wait_max.as_millis()).unwrap_or(i64::MAX);
        BrokerError::new(ErrorCode::Overloaded, message)
            .limit(wide(budget), wide(bytes))
            .retry_after(wait_ms.clamp(10, 1_000))
    }
}

fn wide(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
