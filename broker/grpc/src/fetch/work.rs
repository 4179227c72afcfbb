//! What a fetch stream waits for beside its client: positions that are looked up, and idle partitions.

use std::sync::Arc;

use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tidelog_model::Offset;
use tidelog_runtime::{BrokerError, Partition};

use super::Place;
use super::slots::SlotId;

/// Something a partition waited for came to pass.
#[derive(Debug)]
pub(super) enum Event {
    /// The place to start is known.
    Resolved(SlotId, Result<Offset, BrokerError>),
    /// There may be something to read.
    Wake(SlotId),
    /// The partition is gone.
    Gone(SlotId),
}

/// All waits of one stream. A wake-up costs the same however many partitions are idle.
#[derive(Debug, Default)]
pub(super) struct Work {
    waits: FuturesUnordered<Abortable<BoxFuture<'static, Event>>>,
}

impl Work {
    /// Looks up where a partition's read starts. Aborting the handle forgets it.
    pub(super) fn resolve(&self, id: SlotId, partition: Arc<Partition>, place: Place) -> AbortHandle {
        self.add(async move { Event::Resolved(id, place.resolve(&partition).await) }.boxed())
    }

    /// Waits until there is more than what lies before `next`, or the partition's state changed.
    pub(super) fn wait(&self, id: SlotId, partition: &Partition, next: Offset) -> AbortHandle {
        let mut marks = partition.subscribe();
        let wait = async move {
            {
                // Looked at after subscribing, so that no move falls between.
                let seen = marks.borrow_and_update();
                if seen.high_watermark > next || seen.log_start > next {
                    return Event::Wake(id);
                }
            }
            match marks.changed().await {
                Ok(()) => Event::Wake(id),
                Err(_) => Event::Gone(id),
            }
        };
        self.add(wait.boxed())
    }

    fn add(&self, wait: BoxFuture<'static, Event>) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        self.waits.push(Abortable::new(wait, registration));
        handle
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// The next event; `None` when what ended was given up. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.waits.next().await.and_then(Result::ok)
    }
}
