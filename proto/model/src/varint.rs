//! Zig-zag variable-length integers, as in Kafka's records: `varint` holds an `i32` in at most 5 bytes,
//! `varlong` an `i64` in at most 10.
//!
//! Reading takes no more bytes than that and refuses bits that do not fit, so that hostile bytes cost a
//! bounded amount of work. A longer encoding than needed (`80 00` for 0) is read, because Kafka reads it.

use bytes::BufMut;
use thiserror::Error;

/// The most bytes of a `varint`.
pub const VARINT_BYTES_MAX: usize = 5;
/// The most bytes of a `varlong`.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Why bytes are not a variable-length integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VarintError {
    /// The bytes end inside the integer.
    #[error("the bytes end inside a variable-length integer")]
    Truncated,
    /// The integer goes on beyond its most bytes, or has bits that do not fit.
    #[error("a variable-length integer is too long")]
    Overlong,
}

/// Takes a `varint` from the front of `input`.
///
/// # Errors
/// [`VarintError`] when `input` is too short or the integer too long; `input` is then unchanged.
#[inline]
pub fn read_i32(input: &mut &[u8]) -> Result<i32, VarintError> {
    if let Some(short) = read_short(input) {
        return Ok(unzigzag_i32(short));
    }
    let raw = read_unsigned(input, VARINT_BYTES_MAX, u64::from(u32::MAX))?;
    u32::try_from(raw).map(unzigzag_i32).map_err(|_| VarintError::Overlong)
}

/// Takes a `varlong` from the front of `input`.
///
/// # Errors
/// [`VarintError`] when `input` is too short or the integer too long; `input` is then unchanged.
#[inline]
pub fn read_i64(input: &mut &[u8]) -> Result<i64, VarintError> {
    if let Some(short) = read_short(input) {
        return Ok(unzigzag_i64(u64::from(short)));
    }
    read_unsigned(input, VARLONG_BYTES_MAX, u64::MAX).map(unzigzag_i64)
}

/// Appends `value` as a `varint`.
#[inline]
pub fn put_i32(out: &mut impl BufMut, value: i32) {
    put_unsigned(out, u64::from(zigzag_i32(value)));
}

/// Appends `value` as a `varlong`.
#[inline]
pub fn put_i64(out: &mut impl BufMut, value: i64) {
    put_unsigned(out, zigzag_i64(value));
}

/// How many bytes [`put_i32`] writes for `value`: 1 to 5.
#[inline]
#[must_use]
pub const fn size_i32(value: i32) -> usize {
    size_unsigned(zigzag_i32(value) as u64)
}

/// How many bytes [`put_i64`] writes for `value`: 1 to 10.
#[inline]
#[must_use]
pub const fn size_i64(value: i64) -> usize {
    size_unsigned(zigzag_i64(value))
}

const fn zigzag_i32(value: i32) -> u32 {
    value.cast_unsigned() << 1 ^ (value >> 31).cast_unsigned()
}

const fn zigzag_i64(value: i64) -> u64 {
    value.cast_unsigned() << 1 ^ (value >> 63).cast_unsigned()
}

const fn unzigzag_i32(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

const fn unzigzag_i64(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

const fn size_unsigned(raw: u64) -> usize {
    // Seven bits a byte; zero takes one byte as well.
    let bits = u64::BITS - (raw | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[inline]
fn put_unsigned(out: &mut impl BufMut, raw: u64) {
    match u8::try_from(raw) {
        Ok(short @ 0..=0x7f) => out.put_u8(short),
        _ => put_long(out, raw),
    }
}

fn put_long(out: &mut impl BufMut, mut raw: u64) {
    let mut encoded = [0; VARLONG_BYTES_MAX];
    let mut size = 0;
    for slot in &mut encoded {
        let [low, ..] = raw.to_le_bytes();
        raw >>= 7;
        size += 1;
        if raw == 0 {
            *slot = low;
            break;
        }
        *slot = low | 0x80;
    }
    out.put_slice(encoded.get(..size).unwrap_or_default());
}

/// Takes an integer of one or two bytes, which nearly every field of a record is.
#[inline]
fn read_short(input: &mut &[u8]) -> Option<u32> {
    match *input {
        [first @ 0..=0x7f, rest @ ..] => {
            *input = rest;
            Some(u32::from(*first))
        }
        [first, second @ 0..=0x7f, rest @ ..] => {
            *input = rest;
            Some(u32::from(first & 0x7f) | u32::from(*second) << 7)
        }
        _ => None,
    }
}

fn read_unsigned(input: &mut &[u8], bytes_max: usize, value_max: u64) -> Result<u64, VarintError> {
    let mut raw = 0_u64;
    let mut shift = 0;
    for (index, byte) in input.iter().enumerate().take(bytes_max) {
        let part = u64::from(byte & 0x7f);
        let shifted = part << shift;
        if shifted >> shift != part {
            return Err(VarintError::Overlong);
        }
        raw |= shifted;
        if byte & 0x80 == 0 {
            if raw > value_max {
                return Err(VarintError::Overlong);
            }
            *input = input.get(index + 1..).unwrap_or_default();
            return Ok(raw);
        }
        shift += 7;
    }
    Err(if input.len() < bytes_max { VarintError::Truncated } else { VarintError::Overlong })
}

#[cfg(test)]
#[path = "varint_tests.rs"]
mod tests;
