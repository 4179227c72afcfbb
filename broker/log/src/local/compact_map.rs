//! The last offset of each key, in a table of fixed size.
//!
//! A key is known by 128 bits of keyed hash: two keys that share them would lose a record, so the hash must be
//! one that nobody can aim at. Its keys are drawn anew for each table.

use std::hash::{BuildHasher, RandomState};

use tidelog_model::Offset;

/// The bytes of one slot.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();
/// Slots in use of every hundred: beyond this, probing gets slow.
const LOAD_PERCENT: usize = 75;

/// Two halves of the hash, then the offset plus one; zero is an empty slot.
type Slot = [u64; 3];

/// Key hash to last offset, by open addressing.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A table of at most `bytes` bytes, but of a few slots at least.
    pub(super) fn new(bytes: usize) -> Self {
        let slots = (bytes / SLOT_BYTES).max(4);
        Self {
            slots: vec![[0; 3]; slots],
            used: 0,
            used_max: slots / 100 * LOAD_PERCENT + slots % 100 * LOAD_PERCENT / 100,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Remembers that `key` was last seen at `offset`; answers `false` when there is no room for another key.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let [high, low] = self.hash(key);
        let room = self.used < self.used_max;
        let at = self.find(high, low);
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if is_empty(slot) {
            if !room {
                return false;
            }
            self.used += 1;
        }
        *slot = [high, low, offset.unsigned() + 1];
        true
    }

    /// The last offset of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let [high, low] = self.hash(key);
        let [_, _, stored] = self.slots.get(self.find(high, low))?;
        Offset::new(i64::try_from(stored.checked_sub(1)?).ok()?)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// The slot of a key, or the empty one where it belongs. There always is an empty slot.
    fn find(&self, high: u64, low: u64) -> usize {
        let count = self.slots.len();
        let wide = u64::try_from(count).unwrap_or(u64::MAX);
        let mut at = usize::try_from(high % wide).unwrap_or(0);
        while let Some(slot) = self.slots.get(at) {
            if is_empty(slot) || (slot[0] == high && slot[1] == low) {
                break;
            }
            at = (at + 1) % count;
        }
        at
    }
}

const fn is_empty(slot: &Slot) -> bool {
    slot[2] == 0
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_kept_until_there_is_no_room() {
        let mut map = OffsetMap::new(1000 * SLOT_BYTES);
        let mut model = HashMap::new();
        let mut refused = 0;
        for round in 0..3000_i64 {
            let key = (round * 7919 % 1100).to_be_bytes();
            let offset = Offset::new(round).unwrap();
            if map.put(&key, offset) {
                model.insert(key, offset);
            } else {
                assert!(!model.contains_key(&key), "a key that has a slot is never refused");
                refused += 1;
            }
        }
        assert_eq!(model.len(), 750);
        assert!(refused > 0);
        for key in 0..1100_i64 {
            let key = key.to_be_bytes();
            assert_eq!(map.get(&key), model.get(&key).copied());
        }
    }

    #[test]
    fn the_smallest_table_holds_something() {
        let mut map = OffsetMap::new(0);
        assert!(map.put(b"", Offset::ZERO));
        assert_eq!(map.get(b""), Some(Offset::ZERO));
        assert_eq!(map.get(b"x"), None);
    }
}
