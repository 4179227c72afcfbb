//! Record values that prove themselves: each is unique, names its producer and place in that producer's
//! order, and every byte of it follows from that name, so that a changed, mixed or cut value is noticed.

use std::fmt;

/// Bytes before the filler: mark, name, length.
const HEADER: usize = 16;
/// The least filler: it proves the name.
const FILLER_MIN: usize = 8;
const MARK: u32 = 0x7469_6465;

/// Which value: the producer in the upper 24 bits, its place in that producer's send order below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u64);

impl Value {
    /// The `sequence`-th value of `producer`.
    ///
    /// # Panics
    /// When a number does not fit into its bits.
    #[must_use]
    pub fn new(producer: u32, sequence: u64) -> Self {
        assert!(producer < 1 << 24 && sequence < 1 << 40, "{producer}/{sequence} does not fit");
        Self(u64::from(producer) << 40 | sequence)
    }

    /// Who sends it.
    #[must_use]
    pub const fn producer(self) -> u64 {
        self.0 >> 40
    }

    /// Its place in its producer's send order.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 & ((1 << 40) - 1)
    }

    /// The record's value: `size` bytes, or the 24 that the name and its proof need.
    #[must_use]
    pub fn encode(self, size: usize) -> Vec<u8> {
        let filler = size.saturating_sub(HEADER).max(FILLER_MIN);
        let length = u32::try_from(filler).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + filler + 7);
        bytes.extend_from_slice(&MARK.to_be_bytes());
        bytes.extend_from_slice(&self.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        let mut state = self.0 ^ u64::from(length) << 32;
        while bytes.len() < HEADER + filler {
            bytes.extend_from_slice(&mixed(&mut state).to_be_bytes());
        }
        bytes.truncate(HEADER + filler);
        bytes
    }

    /// The name of a value, when every byte of it is what that name says.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mark: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let name: [u8; 8] = bytes.get(4..12)?.try_into().ok()?;
        let value = Self(u64::from_be_bytes(name));
        (u32::from_be_bytes(mark) == MARK && value.encode(bytes.len()) == bytes).then_some(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}#{}", self.producer(), self.sequence())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The next number of splitmix64: small, seeded, good enough to fill values and to draw choices.
pub fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn a_value_is_known_again_and_any_changed_byte_is_noticed() {
        for size in [0, 16, 17, 64, 1000] {
            let value = Value::new(7, 123_456);
            let bytes = value.encode(size);
            assert_eq!(Value::decode(&bytes), Some(value));
            for position in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[position] ^= 0x10;
                assert_eq!(Value::decode(&changed), None, "byte {position} of {size}");
            }
            assert_eq!(Value::decode(&bytes[..bytes.len() - 1]), None, "one byte short of {size}");
        }
    }
}
