//! Which partition a record goes to. Pure.
//!
//! Source: Kafka's `BuiltInPartitioner` and `Utils.murmur2`, so that a key lands where Kafka's clients
//! would put it; records without a key stay together for a batch (KIP-480, KIP-794).

/// The partition of a key among `count` partitions, which is at least one.
pub(super) fn partition_of_key(key: &[u8], count: usize) -> usize {
    // Kafka clears the sign bit rather than taking the absolute value.
    let positive = murmur2(key) & 0x7fff_ffff;
    usize::try_from(positive).unwrap_or_default().checked_rem(count).unwrap_or_default()
}

/// Kafka's 32-bit murmur2 with its fixed seed.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Kafka's length is a Java int; no record comes near its limit.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Spreads records without a key: one partition until its batch is closed, then the next.
#[derive(Debug, Clone)]
pub(super) struct Sticky {
    current: usize,
}

impl Sticky {
    /// Starts anywhere, so that many producers do not all start at partition 0.
    pub(super) const fn new(random: u32) -> Self {
        Self { current: random as usize }
    }

    pub(super) fn current(&self, count: usize) -> usize {
        self.current.checked_rem(count).unwrap_or_default()
    }

    /// Called when the batch of `closed` was closed; moves on when that is where records go at present.
    pub(super) fn batch_closed(&mut self, closed: usize, count: usize) {
        if self.current(count) == closed {
            self.current = self.current(count).wrapping_add(1);
        }
    }
}

#[cfg(test)]
#[path = "partitioner_tests.rs"]
mod tests;
