//! Reading for a fetch until there is enough, or time is up.
//!
//! Partitions are read in the order of the request. The first one with records gives its first batch, however
//! large it is; from then on the limits hold. While there is not enough, moves of the watermarks are waited
//! for, and only the partitions that moved are read on from where they were.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tidelog_runtime::Watermarks;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::slot::{Read, Slot};

/// What a fetch is bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes_min: usize,
    pub(super) bytes_max: usize,
    pub(super) wait_max: Duration,
}

/// A fetch in the making of its answer.
#[derive(Debug)]
pub(super) struct Work {
    slots: Vec<Slot>,
    bounds: Bounds,
    size: usize,
    /// The room in memory for records of all connections.
    memory: Arc<Semaphore>,
    /// The limit of the whole response is reached: nothing more is read.
    full: bool,
    /// There are records that did not fit: nothing more is waited for.
    left_over: bool,
}

impl Work {
    pub(super) const fn new(slots: Vec<Slot>, bounds: Bounds, memory: Arc<Semaphore>) -> Self {
        Self { slots, bounds, size: 0, memory, full: false, left_over: false }
    }

    /// Reads until the response may leave.
    pub(super) async fn run(mut self, drain: &CancellationToken) -> Vec<Slot> {
        let deadline = Instant::now() + self.bounds.wait_max;
        self.read_all().await;
        if !self.is_done() && !self.bounds.wait_max.is_zero() {
            tokio::select! {
                // A broker that stops answers with what there is.
                biased;
                () = drain.cancelled() => {}
                () = self.wait() => {}
                () = sleep_until(deadline) => {}
            }
        }
        self.slots
    }

    fn is_done(&self) -> bool {
        self.full
            || self.left_over
            || self.size >= self.bounds.bytes_min
            || self.slots.iter().any(Slot::is_urgent)
            || self.slots.iter().all(|slot| slot.readable().is_none())
    }

    async fn read_all(&mut self) {
        for index in 0..self.slots.len() {
            self.read(index).await;
        }
    }

    /// Waits for records and reads them, until there is enough.
    async fn wait(&mut self) {
        let mut moves: FuturesUnordered<_> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some(moved(index, slot.readable()?.subscribe())))
            .collect();
        // What moved after it was read and before it was watched.
        self.read_all().await;
        while !self.is_done() {
            let Some((index, marks)) = moves.next().await else { return };
            self.read(index).await;
            moves.push(moved(index, marks));
            // Whatever else has moved meanwhile goes into the same answer.
            while let Some(Some((index, marks))) = moves.next().now_or_never() {
                self.read(index).await;
                moves.push(moved(index, marks));
            }
        }
    }

    /// Reads one partition: once when there is enough already, else until there is.
    async fn read(&mut self, index: usize) {
        loop {
            let left = self.bounds.bytes_max.saturating_sub(self.size);
            let first = self.size == 0;
            if self.full {
                return;
            }
            let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.readable().is_some()) else {
                return;
            };
            match slot.read(left, first, &self.memory).await {
                Read::Bytes(bytes) => {
                    self.size = self.size.saturating_add(bytes);
                    self.full = self.size >= self.bounds.bytes_max;
                }
                Read::AtEnd | Read::Failed => return,
                Read::Filled => {
                    self.left_over = true;
                    return;
                }
                Read::Full => {
                    self.full = true;
                    return;
                }
            }
            if self.size >= self.bounds.bytes_min {
                return;
            }
        }
    }
}

/// Waits for the next move of a partition.
async fn moved(index: usize, mut marks: watch::Receiver<Watermarks>) -> (usize, watch::Receiver<Watermarks>) {
    if marks.changed().await.is_err() {
        // Nothing will ever move again; whoever waits has a deadline.
        std::future::pending::<()>().await;
    }
    (index, marks)
}
