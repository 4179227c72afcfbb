//! Writes the fields of a response, for the responses that are encoded by hand.
//!
//! **Invariant:** records are put into the response as the pieces they are: they are not copied.

use bytes::{BufMut, BytesMut};

use crate::response::{Records, Response};

/// A response's body in the making.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What was written since the last piece.
    out: BytesMut,
    pieces: Response,
    flexible: bool,
}

impl Writer {
    /// A body that begins with room for `capacity` bytes beside its records.
    pub(crate) fn new(capacity: usize, flexible: bool) -> Self {
        Self { out: BytesMut::with_capacity(capacity), pieces: Response::default(), flexible }
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    /// The sixteen bytes of an id.
    pub(crate) fn id(&mut self, value: u128) {
        self.out.put_u128(value);
    }

    pub(crate) fn string(&mut self, value: &str) {
        // Strings of a protocol with lengths of 16 bits: what is longer is cut at a character.
        let longest = usize::from(i16::MAX.unsigned_abs()).min(value.len());
        let value = (0..=longest).rev().find_map(|end| value.get(..end)).unwrap_or_default();
        if self.flexible {
            self.compact_length(value.len());
        } else {
            self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        }
        self.out.put_slice(value.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None if self.flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
    }

    /// The length of an array whose elements follow.
    pub(crate) fn array(&mut self, count: usize) {
        if self.flexible {
            self.compact_length(count);
        } else {
            self.i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    /// An array that is null.
    pub(crate) fn null_array(&mut self) {
        if self.flexible { self.unsigned_varint(0) } else { self.i32(-1) }
    }

    /// Records: batches one after the other, as they are. None at all is no bytes, which is not null.
    pub(crate) fn records(&mut self, records: Vec<Records>) {
        self.array(records.iter().map(Records::size).sum());
        for piece in records {
            self.flush();
            self.pieces.push_records(piece);
        }
    }

    /// The end of a structure without tagged fields.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }

    /// The end of a structure with one tagged field, which is in `body`; in flexible versions only.
    pub(crate) fn tag(&mut self, tag: u32, body: &[u8]) {
        self.unsigned_varint(1);
        self.unsigned_varint(tag);
        self.unsigned_varint(u32::try_from(body.len()).unwrap_or(u32::MAX));
        self.out.put_slice(body);
    }

    pub(crate) fn into_response(mut self) -> Response {
        self.flush();
        self.pieces
    }

    fn flush(&mut self) {
        let written = self.out.split();
        self.pieces.push(written.freeze());
    }

    fn compact_length(&mut self, length: usize) {
        self.unsigned_varint(u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1));
    }

    fn unsigned_varint(&mut self, mut value: u32) {
        while let low @ 0x80.. = value {
            self.out.put_u8(u8::try_from(low & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(u8::try_from(value).unwrap_or(0));
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
