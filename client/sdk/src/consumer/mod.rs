//! Reading records.

mod builder;
mod record;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tidelog_model::{Offset, TopicPartition};

pub use builder::{ConsumerBuilder, OnOutOfRange};
pub use record::{ConsumerBatch, ConsumerRecord};

use crate::error::Result;
use crate::position::Position;

/// Reads records of many partitions: a [`Stream`] of them, in order within each partition.
#[derive(Debug)]
pub struct Consumer {}

#[expect(clippy::todo, clippy::unused_async, reason = "signatures first")]
impl Consumer {
    /// The next records of one partition, all at once: faster than the stream of single records. `None` when
    /// every partition has reached its bound. Cancel-safe.
    ///
    /// # Errors
    /// As the stream's.
    pub async fn next_batch(&mut self) -> Option<Result<ConsumerBatch>> {
        todo!()
    }

    /// Goes on reading a partition elsewhere.
    ///
    /// # Errors
    /// When the partition is not read by this consumer, or the position cannot be looked up.
    pub async fn seek(&mut self, _partition: &TopicPartition, _position: Position) -> Result<()> {
        todo!()
    }

    /// Stops reading these partitions for now; their positions stay.
    ///
    /// # Errors
    /// When one of them is not read by this consumer.
    pub fn pause(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        todo!()
    }

    /// Goes on reading paused partitions.
    ///
    /// # Errors
    /// When one of them is not read by this consumer.
    pub fn resume(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        todo!()
    }

    /// The next offset to be handed out, for every partition.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        todo!()
    }

    /// The end of what readers could see when the broker last said, for every partition.
    #[must_use]
    pub fn high_watermarks(&self) -> BTreeMap<TopicPartition, Offset> {
        todo!()
    }

    /// Whether everything that was readable when the broker last said has been handed out.
    #[must_use]
    pub fn at_end(&self) -> bool {
        todo!()
    }

    /// Stores the positions as the group's committed offsets; durable when it returns. Everything handed out
    /// so far counts as read.
    ///
    /// # Errors
    /// `InvalidRequest` without a group; otherwise as [`crate::Admin::commit_offsets`].
    pub async fn commit(&mut self) -> Result<()> {
        todo!()
    }

    /// As [`Self::commit`], under way at once whether or not the future is awaited.
    pub fn commit_async(&mut self) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        async { todo!() }
    }

    /// Commits the positions when auto-commit is on, and ends the stream.
    ///
    /// # Errors
    /// When the commit fails.
    pub async fn close(self) -> Result<()> {
        todo!()
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumerRecord>;

    #[expect(clippy::todo, reason = "signature first")]
    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        todo!()
    }
}
