//! Kafka's partitioner for keys, so that a key lands on the same partition whoever produces it.
//!
//! Source: `Utils.murmur2` and `BuiltInPartitioner.partitionForKey` of Kafka's Java client.

use crate::ids::PartitionIndex;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const ROTATION: u32 = 24;

/// The 32-bit murmur2 hash that Kafka's Java client takes of a key.
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    // Java's lengths are 32-bit; a longer slice cannot be a key.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut part = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        part ^= part >> ROTATION;
        hash = hash.wrapping_mul(MULTIPLIER) ^ part.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let part = tail.iter().rev().fold(0, |part, byte| part << 8 | u32::from(*byte));
        hash = (hash ^ part).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ hash >> 15).cast_signed()
}

/// The partition of `key` in a topic of `count` partitions; the first one when `count` is not positive.
#[must_use]
pub fn partition_for_key(key: &[u8], count: i32) -> PartitionIndex {
    let positive = murmur2(key) & i32::MAX;
    let index = positive.checked_rem(count.max(1)).unwrap_or(0);
    PartitionIndex::new(index).unwrap_or(PartitionIndex::ZERO)
}

#[cfg(test)]
#[path = "partitioner_tests.rs"]
mod tests;
