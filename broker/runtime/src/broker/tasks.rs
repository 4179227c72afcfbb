//! What the broker does by itself: look at the free space, retention and compaction, removals that failed.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tidelog_model::ErrorCode;

use super::{Broker, Inner};
use crate::partition::Partition;

/// The shortest time between two rounds of writing down producers.
const SAVING_PAUSE: Duration = Duration::from_millis(100);

/// The time between two passes over what relaxed flush policies leave to the operating system. So much of what is
/// appended a start reads again after a kill.
const LOOSE_SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Partitions that write down producers at one time: they wait for the device.
const SAVED_SIDE_BY_SIDE: usize = 8;

impl Broker {
    /// Starts the tasks. They end with the broker, which they do not keep alive.
    pub(super) fn start_tasks(&self) {
        let maintenance =
            tokio::spawn(maintain(Arc::downgrade(&self.inner), self.inner.options.maintenance_interval));
        let disk =
            tokio::spawn(watch_disk(Arc::downgrade(&self.inner), self.inner.options.disk_check_interval));
        let mut tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // What this start has read is not to be read by the next one again.
        self.inner.shared.want_saving();
        let saving = tokio::spawn(save_producers(Arc::downgrade(&self.inner)));
        let syncing = tokio::spawn(sync_loose(Arc::downgrade(&self.inner)));
        tasks.extend([maintenance, disk, saving, syncing]);
    }

    /// Looks at the free space; refuses or allows produce accordingly.
    pub(super) async fn check_disk(&self) {
        let log_dir = Arc::clone(&self.inner.log_dir);
        let free = tokio::task::spawn_blocking(move || log_dir.free_bytes()).await;
        let free = match free {
            Ok(Ok(free)) => free,
            // Not knowing is no reason to refuse: a write that finds no room says so itself.
            Ok(Err(error)) => return tracing::warn!(%error, "the free space could not be looked at"),
            Err(error) => return tracing::warn!(%error, "looking at the free space ended early"),
        };
        let reserve = self.inner.options.disk_reserve_bytes;
        match self.inner.shared.note_free_bytes(free) {
            Some(true) => tracing::error!(free, reserve, "the disk is nearly full: produce is refused"),
            Some(false) => tracing::info!(free, reserve, "the disk has room again: produce is allowed"),
            None => {}
        }
    }

    /// The partitions of which a start would read many headers to know their producers.
    fn unsaved_partitions(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics();
        let partitions = topics.iter().flat_map(|topic| topic.partitions());
        partitions.filter(|partition| partition.wants_saving()).map(Arc::clone).collect()
    }

    /// Runs retention and compaction once over all partitions, and removals that did not succeed before.
    pub(super) async fn maintain_once(&self) {
        for topic in self.topics() {
            for partition in topic.partitions() {
                if self.inner.shared.is_closing() {
                    return;
                }
                let maintained = {
                    let partition = Arc::clone(partition);
                    tokio::task::spawn_blocking(move || partition.maintain()).await
                };
                let failed = match maintained {
                    Ok(Ok(_)) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                self.inner.shared.metrics.maintenance_failures.add(1);
                tracing::error!(topic = %topic.name(), partition = %partition.index(), failed, "maintenance failed");
            }
        }
        self.finish_removals().await;
    }
}

async fn maintain(broker: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = broker.upgrade() else { return };
        Broker { inner }.maintain_once().await;
    }
}

async fn sync_loose(broker: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOSE_SYNC_INTERVAL).await;
        let Some(log_dir) = broker.upgrade().map(|inner| Arc::clone(&inner.log_dir)) else { return };
        let failed = match tokio::task::spawn_blocking(move || log_dir.sync_loose()).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(failed, "the next start after a power cut may have to read more");
    }
}

async fn save_producers(broker: Weak<Inner>) {
    loop {
        // The state is held on its own, so that waiting does not keep the broker alive.
        let Some(shared) = broker.upgrade().map(|inner| Arc::clone(&inner.shared)) else { return };
        shared.saving_wanted().await;
        let Some(inner) = broker.upgrade() else { return };
        let due = Broker { inner }.unsaved_partitions();
        save_all(&due).await;
        // However fast appends come, the device is not kept busy with this.
        tokio::time::sleep(SAVING_PAUSE).await;
    }
}

/// Writes down what the partitions remember of producers. The broker may end meanwhile.
async fn save_all(due: &[Arc<Partition>]) {
    for some in due.chunks(SAVED_SIDE_BY_SIDE) {
        let save = |one: &Arc<Partition>| {
            let one = Arc::clone(one);
            tokio::task::spawn_blocking(move || one.save_producers())
        };
        let saves: Vec<_> = some.iter().map(save).collect();
        for (one, saved) in some.iter().zip(saves) {
            let failed = match saved.await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            // What is in the log is not in danger: a start reads more of it.
            tracing::warn!(topic = %one.topic(), partition = %one.index(), failed, "producers not written down");
        }
    }
}

async fn watch_disk(broker: Weak<Inner>, every: Duration) {
    loop {
        // The state is held on its own, so that waiting does not keep the broker alive.
        let Some(shared) = broker.upgrade().map(|inner| Arc::clone(&inner.shared)) else { return };
        if tokio::time::timeout(every, shared.look_wanted()).await.is_ok() {
            // However fast appends come, the device is not asked more often than this.
            tokio::time::sleep(every / 20).await;
        }
        let Some(inner) = broker.upgrade() else { return };
        Broker { inner }.check_disk().await;
    }
}

/// Whether a failed append left nothing behind, so that what was prepared for it can be taken back.
pub(super) const fn left_nothing(code: ErrorCode) -> bool {
    !code.may_have_been_written()
}
