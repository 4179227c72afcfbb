//! A response body in parts, so that records leave without being copied: what was written for it, and records
//! where they lie in the log.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidelog_runtime::Extent;
use tokio::sync::OwnedSemaphorePermit;

/// The most slices one system call is given.
const SLICES_MAX: usize = 64;

/// The body of a response.
#[derive(Debug, Default)]
pub(crate) struct Response {
    parts: VecDeque<Part>,
    len: usize,
}

/// What is sent in one way.
#[derive(Debug)]
pub(crate) enum Part {
    /// Bytes in memory.
    Gathered(Gathered),
    /// Records in the log.
    Extent(Extent),
}

/// Records of a response.
#[derive(Debug)]
pub(crate) enum Records {
    /// In memory, with the room they take there, given back when they were sent.
    Bytes(Bytes, Option<OwnedSemaphorePermit>),
    /// Where they lie.
    Extent(Extent),
}

impl Records {
    /// Their size in bytes.
    pub(crate) const fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len(),
            Self::Extent(extent) => extent.size(),
        }
    }
}

impl Response {
    /// A body in one piece.
    pub(crate) fn new(body: Bytes) -> Self {
        let mut response = Self::default();
        response.push(body);
        response
    }

    /// Its size in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.push_records(Records::Bytes(bytes, None));
    }

    /// Adds records at the end.
    pub(crate) fn push_records(&mut self, records: Records) {
        self.len += records.size();
        match (records, self.parts.back_mut()) {
            (Records::Bytes(bytes, permit), Some(Part::Gathered(gathered))) => gathered.push(bytes, permit),
            (Records::Bytes(bytes, permit), _) => {
                let mut gathered = Gathered::default();
                gathered.push(bytes, permit);
                self.parts.push_back(Part::Gathered(gathered));
            }
            (Records::Extent(extent), _) => self.parts.push_back(Part::Extent(extent)),
        }
    }

    /// Adds all of another one at the end.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.len += other.len;
        if let (Some(Part::Gathered(last)), Some(Part::Gathered(first))) =
            (self.parts.back_mut(), other.parts.front_mut())
        {
            last.append(first);
            other.parts.pop_front();
        }
        self.parts.append(&mut other.parts);
    }

    /// The frame of the response: size, header and body; `None` when it is larger than a frame can be.
    pub(crate) fn into_frame(self, correlation_id: i32, flexible_header: bool) -> Option<Self> {
        let mut head = BytesMut::with_capacity(9);
        let header_bytes = if flexible_header { 5 } else { 4 };
        head.put_i32(i32::try_from(self.len.checked_add(header_bytes)?).ok()?);
        head.put_i32(correlation_id);
        if flexible_header {
            // No tagged fields.
            head.put_u8(0);
        }
        let mut frame = Self::new(head.freeze());
        frame.append(self);
        Some(frame)
    }

    /// What is to be sent, part after part.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Part> {
        self.parts.into_iter()
    }
}

/// Byte strings that leave together.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// The room that the pieces take, given back when all were sent.
    held: Vec<OwnedSemaphorePermit>,
}

impl Gathered {
    fn push(&mut self, piece: Bytes, permit: Option<OwnedSemaphorePermit>) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
        self.held.extend(permit);
    }

    fn append(&mut self, other: &mut Self) {
        self.len += other.len;
        self.pieces.append(&mut other.pieces);
        self.held.append(&mut other.held);
    }
}

impl Buf for Gathered {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces).take(SLICES_MAX) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
pub(crate) mod tests;
