//! Partitions that come and go while a consumer reads.

use tidelog_model::TopicPartition;

use super::fetch::Fetcher;
use super::partition::Partition;

impl Fetcher {
    /// Begins to read a partition that is not read.
    pub(super) fn add(&mut self, partition: Partition) {
        let id = partition.id.clone();
        let index = match self.partitions.iter_mut().position(|old| old.gone) {
            Some(free) => {
                if let Some(place) = self.partitions.get_mut(free) {
                    *place = partition;
                }
                free
            }
            None => {
                self.partitions.push(partition);
                self.partitions.len() - 1
            }
        };
        self.by_id.insert(id, index);
        self.assign(index);
    }

    /// Reads a partition no longer and forgets where it stood.
    pub(super) fn remove(&mut self, id: &TopicPartition) {
        let Some(index) = self.by_id.remove(id) else { return };
        self.drop_buffered(index);
        self.stop(index);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.gone = true;
            partition.retry_at = None;
        }
    }

    /// The partitions that are read.
    pub(super) fn present(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| !partition.gone)
    }
}
