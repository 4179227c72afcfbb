//! The consumer: records of many partitions as one stream.
//!
//! `partition` keeps how far each partition has come, `decode` takes a response apart, `fetch` keeps the
//! stream going; `builder` looks everything up before the first byte is read.

mod builder;
mod commit;
mod decode;
mod dynamic;
mod fetch;
mod member;
mod membership;
mod partition;
mod rebalance;
mod record;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tidelog_model::{Offset, TopicPartition};

pub use builder::{ConsumerBuilder, OnOutOfRange};
pub use rebalance::Rebalance;
pub use record::{ConsumerBatch, ConsumerRecord};

use crate::error::{Error, Result};
use crate::position::Position;
use fetch::Fetcher;

/// Reads records of many partitions: a [`Stream`] of them, in order within each partition.
///
/// When the broker goes away, reading goes on where it was once it is back: no record is left out and none
/// comes twice. Errors that end the reading of a partition come as items; the stream goes on with the others
/// and ends when none is left. With a group, committed offsets say where to start; what is committed is what
/// was handed out, so that after a crash the records since the last commit come again (at least once).
///
/// Everything happens while the stream is polled; a consumer that is not polled holds at most its
/// [credit](ConsumerBuilder::credit_bytes) in memory. Dropping it commits nothing.
///
/// ```no_run
/// # async fn run(client: tidelog_client::Client) -> tidelog_client::Result<()> {
/// use futures::TryStreamExt;
///
/// let mut orders = client.consumer().topic("orders").group("billing").build().await?;
/// while let Some(record) = orders.try_next().await? {
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
///     orders.commit().await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    fetcher: Fetcher,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("positions", &self.positions()).finish_non_exhaustive()
    }
}

impl Consumer {
    const fn new(fetcher: Fetcher) -> Self {
        Self { fetcher }
    }

    /// The next records of one partition, all at once: faster than the stream of single records. `None` when
    /// every partition has reached its bound or failed. Cancel-safe.
    ///
    /// # Errors
    /// As the stream's: an error names its partition, which is not read further until [`Self::seek`]; an
    /// error without a partition ends the stream.
    pub async fn next_batch(&mut self) -> Option<Result<ConsumerBatch>> {
        poll_fn(|cx| self.poll_batch(cx)).await
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ConsumerBatch>>> {
        loop {
            if let Some(batch) = self.fetcher.take_batch() {
                return Poll::Ready(Some(batch));
            }
            match ready!(self.fetcher.poll_fill(cx)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Goes on reading a partition elsewhere, also one that failed or has reached its bound (which stays).
    /// Cancel-safe: the position changes at the end or not at all.
    ///
    /// # Errors
    /// `InvalidRequest` when the partition is not read by this consumer or has no committed offset to go to,
    /// and whatever keeps the position from being looked up.
    pub async fn seek(&mut self, partition: &TopicPartition, position: Position) -> Result<()> {
        let index = self.fetcher.index_of(partition)?;
        let admin = self.fetcher.client.admin();
        let offset = match position {
            Position::Offset(offset) => offset,
            Position::Committed => {
                let group = self.fetcher.committer.as_ref().map(|committer| committer.group().clone());
                let group = group.ok_or_else(|| Error::invalid("Position::Committed needs a group"))?;
                let committed = admin.group_offsets(group.as_str()).await?;
                let found = committed.into_iter().find(|commit| commit.partition == *partition);
                let none = || Error::invalid(format!("group {group} has committed nothing for {partition}"));
                found.ok_or_else(none)?.offset
            }
            position => {
                let found = admin.list_offsets(&[(partition.clone(), position)]).await?;
                found.first().map(|info| info.offset).ok_or_else(|| Error::protocol("no offset came back"))?
            }
        };
        self.fetcher.move_to(index, offset);
        Ok(())
    }

    /// Stops reading these partitions for now; their positions stay.
    ///
    /// # Errors
    /// `InvalidRequest` when one of them is not read by this consumer; nothing changes then.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for index in self.indexes(partitions)? {
            self.fetcher.pause(index);
        }
        Ok(())
    }

    /// Goes on reading paused partitions.
    ///
    /// # Errors
    /// `InvalidRequest` when one of them is not read by this consumer; nothing changes then.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for index in self.indexes(partitions)? {
            self.fetcher.resume(index);
        }
        Ok(())
    }

    fn indexes(&self, partitions: &[TopicPartition]) -> Result<Vec<usize>> {
        partitions.iter().map(|partition| self.fetcher.index_of(partition)).collect()
    }

    /// The next offset to be handed out, for every partition.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        self.fetcher.present().map(|partition| (partition.id.clone(), partition.position)).collect()
    }

    /// The end of what readers could see when the broker last said, for every partition.
    #[must_use]
    pub fn high_watermarks(&self) -> BTreeMap<TopicPartition, Offset> {
        self.fetcher.present().map(|partition| (partition.id.clone(), partition.high_watermark)).collect()
    }

    /// How many records each partition has that were not handed out yet, when the broker last said.
    #[must_use]
    pub fn lag(&self) -> BTreeMap<TopicPartition, u64> {
        let lag = |partition: &partition::Partition| {
            let behind = partition.high_watermark.get().saturating_sub(partition.position.get());
            (partition.id.clone(), u64::try_from(behind).unwrap_or(0))
        };
        self.fetcher.present().map(lag).collect()
    }

    /// Whether everything that was readable when the broker last said has been handed out.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.fetcher.present().all(|partition| partition.is_done() || partition.is_at_end())
    }

    /// Stores the positions as the group's committed offsets; durable when it returns. Everything handed out
    /// so far counts as read.
    ///
    /// # Errors
    /// `InvalidRequest` without a group; otherwise as [`crate::Admin::commit_offsets`].
    pub async fn commit(&mut self) -> Result<()> {
        let commit = self.fetcher.start_commit();
        commit.await.unwrap_or_else(|| Err(Error::invalid("committing needs a group")))
    }

    /// As [`Self::commit`], under way at once whether or not the future is awaited.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_async(&mut self) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let commit = tokio::spawn(self.fetcher.start_commit());
        async move {
            match commit.await {
                Ok(Some(result)) => result,
                Ok(None) => Err(Error::invalid("committing needs a group")),
                Err(_) => Err(Error::closed("consumer's runtime")),
            }
        }
    }

    /// Commits the positions when auto-commit is on, leaves the group if it is a member, and ends the stream.
    ///
    /// # Errors
    /// When the commit or leaving fails. A member that could not leave is out when its session has run out.
    pub async fn close(mut self) -> Result<()> {
        let committed = if self.fetcher.commits_itself() { self.commit().await } else { Ok(()) };
        let left = match self.fetcher.rebalancer.take() {
            Some(rebalancer) => rebalancer.close().await,
            None => Ok(()),
        };
        committed.and(left)
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumerRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(record) = this.fetcher.take_record() {
                return Poll::Ready(Some(record));
            }
            match ready!(this.fetcher.poll_fill(cx)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
