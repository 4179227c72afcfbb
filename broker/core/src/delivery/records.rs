//! Things by offset, many of them close together: a lane may have a million records that are not settled.
//!
//! **Invariants:** each bit of a chunk that is set has its thing, in their order; no chunk is empty, and none keeps
//! room for many more than it has.

use std::collections::BTreeMap;

use tidelog_model::Offset;

/// How many offsets a chunk is for.
const CHUNK: u64 = u64::BITS as u64;
/// How much room a chunk adds at once, and twice what it may keep unused.
const ROOM: usize = 16;

/// What there is at 64 offsets.
#[derive(Debug, Clone)]
struct Chunk<T> {
    present: u64,
    things: Vec<T>,
}

impl<T> Chunk<T> {
    const fn new() -> Self {
        Self { present: 0, things: Vec::new() }
    }

    const fn has(&self, bit: u64) -> bool {
        self.present & bit != 0
    }

    /// Where the thing of a bit is, or would be.
    fn rank(&self, bit: u64) -> usize {
        let before = self.present & bit.wrapping_sub(1);
        usize::try_from(before.count_ones()).unwrap_or(usize::MAX)
    }

    fn get(&self, bit: u64) -> Option<&T> {
        self.has(bit).then(|| self.things.get(self.rank(bit))).flatten()
    }

    fn get_mut(&mut self, bit: u64) -> Option<&mut T> {
        let rank = self.rank(bit);
        if self.has(bit) { self.things.get_mut(rank) } else { None }
    }

    fn insert(&mut self, bit: u64, thing: T) -> Option<T> {
        if let Some(before) = self.get_mut(bit) {
            return Some(std::mem::replace(before, thing));
        }
        if self.things.len() == self.things.capacity() {
            self.things.reserve_exact(ROOM);
        }
        let rank = self.rank(bit).min(self.things.len());
        self.things.insert(rank, thing);
        self.present |= bit;
        None
    }

    fn remove(&mut self, bit: u64) -> Option<T> {
        let rank = self.rank(bit);
        if !self.has(bit) || rank >= self.things.len() {
            return None;
        }
        self.present &= !bit;
        let thing = self.things.remove(rank);
        if self.things.capacity().saturating_sub(self.things.len()) > ROOM.saturating_mul(2) {
            self.things.shrink_to(self.things.len().saturating_add(ROOM));
        }
        Some(thing)
    }

    /// Those whose bits are in `mask`, with the offsets of the chunk with this number.
    fn iter(&self, number: u64, mask: u64) -> impl Iterator<Item = (Offset, &T)> {
        let base = Offset::ZERO.plus(number.saturating_mul(CHUNK));
        let mut left = self.present & mask;
        std::iter::from_fn(move || {
            let at = left.trailing_zeros();
            // No bit is left when this is past the last one.
            let bit = 1_u64.checked_shl(at)?;
            left &= !bit;
            self.get(bit).map(|thing| (base.plus(u64::from(at)), thing))
        })
    }
}

/// Things by offset.
#[derive(Debug, Clone)]
pub(super) struct ByOffset<T> {
    chunks: BTreeMap<u64, Chunk<T>>,
    length: usize,
}

impl<T> Default for ByOffset<T> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), length: 0 }
    }
}

/// The chunk of an offset, and its bit there.
const fn place(offset: Offset) -> (u64, u64) {
    let offset = offset.unsigned();
    (offset / CHUNK, 1_u64.rotate_left((offset % CHUNK) as u32))
}

impl<T> ByOffset<T> {
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&T> {
        let (number, bit) = place(offset);
        self.chunks.get(&number)?.get(bit)
    }

    pub(super) fn get_mut(&mut self, offset: Offset) -> Option<&mut T> {
        let (number, bit) = place(offset);
        self.chunks.get_mut(&number)?.get_mut(bit)
    }

    /// Puts a thing in; what was there before.
    pub(super) fn insert(&mut self, offset: Offset, thing: T) -> Option<T> {
        let (number, bit) = place(offset);
        let before = self.chunks.entry(number).or_insert_with(Chunk::new).insert(bit, thing);
        self.length = self.length.saturating_add(usize::from(before.is_none()));
        before
    }

    pub(super) fn remove(&mut self, offset: Offset) -> Option<T> {
        let (number, bit) = place(offset);
        let chunk = self.chunks.get_mut(&number)?;
        let thing = chunk.remove(bit)?;
        if chunk.present == 0 {
            self.chunks.remove(&number);
        }
        self.length = self.length.saturating_sub(1);
        Some(thing)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Offset, &T)> {
        self.range(Offset::ZERO, Offset::MAX)
    }

    /// Those between two offsets, both included; none when the last is before the first.
    pub(super) fn range(&self, first: Offset, last: Offset) -> impl Iterator<Item = (Offset, &T)> {
        let ((from, first_bit), (to, last_bit)) = (place(first), place(last.max(first)));
        let none = last < first;
        self.chunks.range(from..=to).flat_map(move |(number, chunk)| {
            let from_first = if *number == from { u64::MAX ^ first_bit.wrapping_sub(1) } else { u64::MAX };
            let to_last = if *number == to { last_bit | last_bit.wrapping_sub(1) } else { u64::MAX };
            chunk.iter(*number, if none { 0 } else { from_first & to_last })
        })
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
