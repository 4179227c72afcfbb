//! Lines of standard input, in chunks, read on a thread of their own.
//!
//! **Invariants:** at most a few chunks are read ahead of the producer; a line that is longer than any record
//! may be is dropped while it is read, not gathered; what stands behind the last line end is a line, if it is
//! not empty.

use std::io::{self, BufRead, BufReader};
use std::thread;

use bytes::Bytes;
use tidelog_model::limits;
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Read from the system at once.
const READ_BYTES: usize = 256 * 1024;
/// Chunks read ahead.
const CHUNKS_MAX: usize = 4;
/// No broker takes more in a batch.
const LINE_BYTES_MAX: usize = limits::BATCH_BYTES_MAX_CEILING;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// The line, or why it is too long.
    pub(super) text: Result<Bytes, String>,
}

/// What came from the input.
#[derive(Debug)]
pub(super) enum Chunk {
    Lines(Vec<Line>),
    Failed(io::Error),
}

/// Where lines come from.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<Chunk>);

impl Lines {
    /// The lines of standard input.
    pub(super) fn of_stdin() -> Result<Self, Failure> {
        let (send, receive) = mpsc::channel(CHUNKS_MAX);
        let read = move || {
            let input = BufReader::with_capacity(READ_BYTES, io::stdin());
            read_lines(input, LINE_BYTES_MAX, |chunk| send.blocking_send(chunk).is_ok());
        };
        let thread = thread::Builder::new().name("stdin".to_owned()).spawn(read);
        thread.map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self(receive))
    }

    /// These, as if they were lines.
    pub(super) fn of_values(values: Vec<String>) -> Self {
        let line = |(number, value): (u64, String)| Line { number, text: Ok(Bytes::from(value)) };
        let (send, receive) = mpsc::channel(1);
        // The channel has room for it.
        drop(send.try_send(Chunk::Lines((1..).zip(values).map(line).collect())));
        Self(receive)
    }

    /// The next chunk; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        self.0.recv().await
    }
}

/// Reads lines until the end, a failure, or until nobody wants more. Each chunk is what one read of the system
/// brought, so that a line that is typed goes on at once.
fn read_lines(mut input: impl BufRead, line_bytes_max: usize, mut send: impl FnMut(Chunk) -> bool) {
    let mut open = Open { number: 1, gathered: Vec::new(), length: 0, max: line_bytes_max };
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                send(Chunk::Failed(error));
                return;
            }
        };
        let length = bytes.len();
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            open.gather(line);
            lines.push(open.close());
            rest = after.get(1..).unwrap_or_default();
        }
        open.gather(rest);
        input.consume(length);
        if length == 0 && open.length > 0 {
            lines.push(open.close());
        }
        if !lines.is_empty() && !send(Chunk::Lines(lines)) || length == 0 {
            return;
        }
    }
}

/// The line that is being read.
struct Open {
    number: u64,
    gathered: Vec<u8>,
    /// All its bytes, those not gathered included.
    length: usize,
    max: usize,
}

impl Open {
    fn gather(&mut self, part: &[u8]) {
        self.length = self.length.saturating_add(part.len());
        if self.length <= self.max {
            self.gathered.extend_from_slice(part);
        } else {
            self.gathered = Vec::new();
        }
    }

    fn close(&mut self) -> Line {
        let text = if self.length <= self.max {
            Ok(Bytes::from(std::mem::take(&mut self.gathered)))
        } else {
            Err(format!("has {} bytes, at most {} are possible", self.length, self.max))
        };
        self.length = 0;
        self.number += 1;
        Line { number: self.number - 1, text }
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
