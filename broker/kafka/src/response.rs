//! A response body as a list of byte strings, so that records leave without being copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

/// The most slices one system call is given.
const SLICES_MAX: usize = 64;

/// The body of a response, in pieces.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// The room that the pieces take, given back when they were sent.
    held: Vec<OwnedSemaphorePermit>,
}

impl Response {
    /// A body in one piece.
    pub(crate) fn new(body: Bytes) -> Self {
        let mut response = Self::default();
        response.push(body);
        response
    }

    /// Adds a piece at the end.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Keeps the permit for the room that the pieces take.
    pub(crate) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.held.push(permit);
    }

    /// Adds all pieces of another one at the end.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.len += other.len;
        self.pieces.append(&mut other.pieces);
        self.held.append(&mut other.held);
    }

    /// The frame of the response: size, header and body; `None` when it is larger than a frame can be.
    pub(crate) fn into_frame(mut self, correlation_id: i32, flexible_header: bool) -> Option<Self> {
        let mut head = BytesMut::with_capacity(9);
        let header_bytes = if flexible_header { 5 } else { 4 };
        head.put_i32(i32::try_from(self.len.checked_add(header_bytes)?).ok()?);
        head.put_i32(correlation_id);
        if flexible_header {
            // No tagged fields.
            head.put_u8(0);
        }
        self.len += head.len();
        self.pieces.push_front(head.freeze());
        Some(self)
    }
}

impl Buf for Response {
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
mod tests;
