//! Where records go that name neither a partition nor a key.

use std::sync::atomic::{AtomicU32, Ordering};

use tidelog_model::PartitionIndex;

/// Spreads records evenly over a topic's partitions.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(AtomicU32);

impl RoundRobin {
    /// The next partition of a topic with `partitions` of them.
    pub(crate) fn next(&self, partitions: i32) -> PartitionIndex {
        // The sign bit is cleared, as for keys.
        let turn = (self.0.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff).cast_signed();
        let place = turn.checked_rem(partitions.max(1)).unwrap_or(0);
        PartitionIndex::new(place).unwrap_or(PartitionIndex::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::RoundRobin;

    #[test]
    fn records_go_round_the_partitions() {
        let round_robin = RoundRobin::default();
        let places: Vec<i32> = (0..6).map(|_| round_robin.next(3).get()).collect();
        assert_eq!(places, [0, 1, 2, 0, 1, 2]);
    }
}
