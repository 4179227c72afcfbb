//! What readers see of a partition.
//!
//! Batches are found by their headers, and leave either as bytes or from where they lie. Whatever is in memory is
//! read at once; the device is asked on a blocking thread.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_core::Watermarks;
use tidelog_log::{LocateOutcome, ReadError, ReadSlice, ReadWait};
use tidelog_model::{ErrorCode, Offset, Timestamp};

use super::Partition;
use crate::error::BrokerError;

/// Whole batches of a partition, where they lie.
#[derive(Debug)]
pub struct Extent {
    partition: Arc<Partition>,
    batches: tidelog_log::Extent,
}

/// Where batches were looked for.
#[derive(Debug)]
pub enum Located {
    /// They are there.
    Batches(Extent),
    /// There are none: the next look is at this offset.
    AtEnd(Offset),
}

impl Extent {
    /// Bytes of the batches.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.batches.size()
    }

    /// Where the next read starts.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.batches.next_offset()
    }

    /// Lets the kernel send at most `length` bytes from the byte `at` on to a socket that does not block; returns
    /// how many it took. `None` when they have to be read.
    ///
    /// # Errors
    /// As the operating system answers, `WouldBlock` when the socket takes nothing at the moment.
    pub fn send(&self, at: usize, length: usize, socket: BorrowedFd<'_>) -> io::Result<Option<usize>> {
        let sent = self.batches.send(at, length, socket)?;
        self.count(sent.unwrap_or_default());
        Ok(sent)
    }

    /// Reads `length` bytes from the byte `at` on, fewer where they end.
    ///
    /// # Errors
    /// `STORAGE_FAILED` and `CORRUPT_LOG`: the bytes cannot be read.
    pub async fn read(&self, at: usize, length: usize) -> Result<Bytes, BrokerError> {
        let failed = |error: ReadError| self.partition.read_failed(&error);
        let cached = self.batches.read(at, length, ReadWait::CachedOnly).map_err(failed)?;
        let bytes = match cached {
            Some(bytes) => bytes,
            None => {
                self.partition.shared.metrics.cold_reads.add(1);
                let batches = self.batches.clone();
                let read = move || batches.read(at, length, ReadWait::MayBlock);
                self.partition.on_blocking_thread(read).await?.map_err(failed)?.ok_or_else(would_block)?
            }
        };
        self.count(bytes.len());
        Ok(bytes)
    }

    fn count(&self, bytes: usize) {
        self.partition.shared.metrics.bytes_out.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Partition {
    /// Where whole batches lie from `from` up to the high watermark: about `bytes_max` bytes, at least one batch,
    /// none when `from` is the end. The first batch may begin before `from`.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` outside the log; `CORRUPT_LOG` when bytes that were durable are broken.
    pub async fn locate(self: &Arc<Self>, from: Offset, bytes_max: usize) -> Result<Located, BrokerError> {
        self.check_readable()?;
        let marks = self.lane.readable();
        if from >= marks.high_watermark {
            self.check_end(from, marks)?;
            return Ok(Located::AtEnd(from));
        }
        if from < marks.log_start {
            return Err(self.out_of_range(from, marks));
        }
        let (log, up_to) = (self.log()?, marks.high_watermark);
        let cached = log.locate(from, up_to, bytes_max, ReadWait::CachedOnly);
        let found = match cached.map_err(|error| self.read_failed(&error))? {
            LocateOutcome::WouldBlock => {
                self.shared.metrics.cold_reads.add(1);
                let log = Arc::clone(log);
                let look = move || log.locate(from, up_to, bytes_max, ReadWait::MayBlock);
                self.on_blocking_thread(look).await?.map_err(|error| self.read_failed(&error))?
            }
            found => found,
        };
        self.shared.metrics.reads.add(1);
        match found {
            LocateOutcome::Batches(batches) => {
                Ok(Located::Batches(Extent { partition: Arc::clone(self), batches }))
            }
            LocateOutcome::Nothing(next) => Ok(Located::AtEnd(next)),
            LocateOutcome::WouldBlock => Err(would_block()),
        }
    }

    /// The bytes of what [`Self::locate`] finds; at most as many as one read may have.
    ///
    /// # Errors
    /// As [`Self::locate`].
    pub async fn read(self: &Arc<Self>, from: Offset, bytes_max: usize) -> Result<ReadSlice, BrokerError> {
        match self.locate(from, bytes_max.min(self.shared.read_bytes_max)).await? {
            Located::Batches(extent) => {
                let bytes = extent.read(0, extent.size()).await?;
                Ok(ReadSlice { bytes, next_offset: extent.next_offset() })
            }
            Located::AtEnd(next_offset) => Ok(ReadSlice { bytes: Bytes::new(), next_offset }),
        }
    }

    /// The end of what can be read: the high watermark.
    ///
    /// # Errors
    /// `CORRUPT_LOG` when bytes that were durable are broken: a reader that took the offset before them for
    /// the end would miss records without a word.
    pub fn end(&self) -> Result<Offset, BrokerError> {
        self.check_readable()?;
        self.check_whole()?;
        Ok(self.lane.readable().high_watermark)
    }

    fn check_whole(&self) -> Result<(), BrokerError> {
        let corrupt = self.lane.stopped().filter(|stopped| stopped.code == ErrorCode::CorruptLog);
        corrupt.map_or(Ok(()), Err)
    }

    /// Checks that `from`, which is not below the high watermark, is where records will come.
    fn check_end(&self, from: Offset, marks: Watermarks) -> Result<(), BrokerError> {
        // Nothing will ever come after broken bytes: waiting for it would look like an idle topic.
        self.check_whole()?;
        let end = self.lane.watermarks().log_end;
        if from > end {
            return Err(self.out_of_range(from, Watermarks { log_end: end, ..marks }));
        }
        Ok(())
    }

    /// The first record whose timestamp is at or after `target`, below the high watermark: its offset and
    /// its timestamp.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn offset_for_timestamp(
        &self,
        target: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, BrokerError> {
        self.check_readable()?;
        let marks = self.lane.readable();
        let log = Arc::clone(self.log()?);
        let found = move || log.offset_for_timestamp(target, marks.high_watermark);
        self.on_blocking_thread(found).await?.map_err(|error| self.read_failed(&error))
    }

    /// The first of the records below the high watermark that have the largest timestamp: its offset and that
    /// timestamp.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<(Offset, Timestamp)>, BrokerError> {
        self.check_readable()?;
        let marks = self.lane.readable();
        let log = Arc::clone(self.log()?);
        let found = move || match log.max_timestamp(marks.high_watermark)? {
            Some(largest) => log.offset_for_timestamp(largest, marks.high_watermark),
            None => Ok(None),
        };
        self.on_blocking_thread(found).await?.map_err(|error| self.read_failed(&error))
    }

    /// Runs a read that may block; at most so many run at a time that other blocking work finds threads.
    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BrokerError> {
        let slot = Arc::clone(&self.shared.blocking_reads).acquire_owned().await;
        let slot = slot.map_err(|_| BrokerError::shutting_down())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = read();
            drop(slot);
            done
        });
        done.await.map_err(|error| BrokerError::internal(format!("a read ended early: {error}")))
    }
}

fn would_block() -> BrokerError {
    BrokerError::internal("a read that may block said that it would")
}
