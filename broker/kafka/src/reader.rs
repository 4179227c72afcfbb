//! Reads the fields of a request off the front of its bytes, for the requests that are decoded by hand.
//!
//! **Invariants**
//! * What is read are slices of the frame: nothing is copied, and nothing is allocated for what was only
//!   announced.
//! * An array is never longer than the bytes that are left could hold, nor than [`ELEMENTS_MAX`].

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::header::{skip_tags, take_unsigned_varint};
use crate::wire::StrBytes;

/// The most elements of one array, and the most partitions of one request.
pub(crate) const ELEMENTS_MAX: usize = 100_000;

/// Why bytes are not the request they should be; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    #[error("it ends early")]
    Short,
    #[error("a field has a length of {0}")]
    Length(i64),
    #[error("a field that must have a value is null")]
    Null,
    #[error("a string is not UTF-8")]
    Text,
    #[error("it has more than {ELEMENTS_MAX} elements: split it")]
    TooMany,
    #[error("its tagged fields are broken")]
    Tags,
}

/// The rest of a request's body.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    flexible: bool,
    /// How many elements may still be announced, in all arrays together.
    elements_left: usize,
}

impl Reader {
    pub(crate) const fn new(body: Bytes, flexible: bool) -> Self {
        Self { bytes: body, flexible, elements_left: ELEMENTS_MAX }
    }

    pub(crate) fn i8(&mut self) -> Result<i8, ReadError> {
        self.bytes.try_get_i8().map_err(|_| ReadError::Short)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ReadError> {
        self.bytes.try_get_i16().map_err(|_| ReadError::Short)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ReadError> {
        self.bytes.try_get_i32().map_err(|_| ReadError::Short)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ReadError> {
        self.bytes.try_get_i64().map_err(|_| ReadError::Short)
    }

    /// The sixteen bytes of an id.
    pub(crate) fn id(&mut self) -> Result<u128, ReadError> {
        self.bytes.try_get_u128().map_err(|_| ReadError::Short)
    }

    pub(crate) fn string(&mut self) -> Result<StrBytes, ReadError> {
        self.nullable_string()?.ok_or(ReadError::Null)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<StrBytes>, ReadError> {
        let length =
            if self.flexible { self.compact_length()? } else { checked_length(i64::from(self.i16()?))? };
        let Some(length) = length else { return Ok(None) };
        StrBytes::try_from(self.take(length)?).map(Some).map_err(|_| ReadError::Text)
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.length()?.map(|length| self.take(length)).transpose()
    }

    /// How many elements an array has, each of which takes `element_bytes_min` at least.
    pub(crate) fn array(&mut self, element_bytes_min: usize) -> Result<usize, ReadError> {
        let count = self.length()?.ok_or(ReadError::Null)?;
        if count > self.bytes.len() / element_bytes_min.max(1) {
            return Err(ReadError::Short);
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or(ReadError::TooMany)?;
        Ok(count)
    }

    /// Skips the tagged fields that end a structure; there are none in plain versions.
    pub(crate) fn tags(&mut self) -> Result<(), ReadError> {
        if self.flexible { skip_tags(&mut self.bytes).ok_or(ReadError::Tags) } else { Ok(()) }
    }

    fn length(&mut self) -> Result<Option<usize>, ReadError> {
        if self.flexible { self.compact_length() } else { checked_length(i64::from(self.i32()?)) }
    }

    /// A compact length is one more than it says; 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, ReadError> {
        let length = take_unsigned_varint(&mut self.bytes).ok_or(ReadError::Short)?;
        checked_length(i64::from(length) - 1)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, ReadError> {
        if length > self.bytes.len() {
            return Err(ReadError::Short);
        }
        Ok(self.bytes.split_to(length))
    }
}

fn checked_length(length: i64) -> Result<Option<usize>, ReadError> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| ReadError::Length(length)),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
