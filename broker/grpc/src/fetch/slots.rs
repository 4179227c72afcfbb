//! The partitions of a fetch stream, by name and in the order in which they are read.
//!
//! **Invariant:** a slot's id is never used again, so that an event of a partition that was moved or
//! unassigned finds nothing. A slot is in the queue of ready ones at most once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use futures::future::AbortHandle;
use tidelog_model::Offset;
use tidelog_runtime::Partition;

/// Names one assignment of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId(u64);

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) topic: String,
    pub(super) index: i32,
    pub(super) session: u64,
    pub(super) partition: Arc<Partition>,
    /// Where the next read starts.
    pub(super) next: Offset,
    /// Where reading stops (exclusive).
    pub(super) until: Option<Offset>,
    /// The read starts at the oldest record, wherever that is by then.
    pub(super) from_earliest: bool,
    /// The client knows that it has everything up to `next`.
    pub(super) told_end: bool,
    /// Bytes that the filter skipped since the client last heard of this partition.
    pub(super) skipped_bytes: usize,
    /// Ends what the slot waits for.
    pub(super) wait: Option<AbortHandle>,
    /// Nothing more is read until the client moves the partition.
    pub(super) stopped: bool,
}

/// All assigned partitions of a stream.
#[derive(Debug, Default)]
pub(super) struct Slots {
    names: HashMap<String, HashMap<i32, SlotId>>,
    slots: BTreeMap<SlotId, Slot>,
    ready: VecDeque<SlotId>,
    running: usize,
    next_id: u64,
}

impl Slots {
    /// How many partitions are assigned.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no partition can ever have anything more to read.
    pub(super) const fn all_stopped(&self) -> bool {
        self.running == 0
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn insert(&mut self, slot: Slot) -> SlotId {
        let id = SlotId(self.next_id);
        self.next_id += 1;
        self.names.entry(slot.topic.clone()).or_default().insert(slot.index, id);
        self.running += usize::from(!slot.stopped);
        self.slots.insert(id, slot);
        id
    }

    /// Takes a partition out, and whatever it waits for with it.
    pub(super) fn remove(&mut self, topic: &str, index: i32) -> bool {
        let Some(partitions) = self.names.get_mut(topic) else { return false };
        let Some(id) = partitions.remove(&index) else { return false };
        if partitions.is_empty() {
            self.names.remove(topic);
        }
        if let Some(slot) = self.slots.remove(&id) {
            self.running -= usize::from(!slot.stopped);
            if let Some(wait) = slot.wait {
                wait.abort();
            }
        }
        true
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(&id)
    }

    /// Puts a partition at the end of the queue of those to read.
    pub(super) fn make_ready(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && !slot.stopped
        {
            slot.wait = None;
            self.ready.push_back(id);
        }
    }

    /// Stops reading a partition.
    pub(super) fn stop(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && !slot.stopped
        {
            slot.stopped = true;
            self.running -= 1;
        }
    }

    /// The next partition to read; ids of partitions that were taken out meanwhile are passed over.
    pub(super) fn pop_ready(&mut self) -> Option<SlotId> {
        loop {
            let id = self.ready.pop_front()?;
            if self.slots.get(&id).is_some_and(|slot| !slot.stopped) {
                return Some(id);
            }
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for slot in self.slots.values() {
            if let Some(wait) = &slot.wait {
                wait.abort();
            }
        }
    }
}
