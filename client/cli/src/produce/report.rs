//! What became of every line.

use std::io;
use std::time::Instant;

use tidelog_client::{Error, TopicName};

use crate::context::{Context, warn};
use crate::failure::{Exit, Failure};
use crate::values::counted;

/// Lines that were not stored are named up to here, then only counted.
const NAMED_MAX: u64 = 20;

/// Exact counts of lines, and the first failure.
#[derive(Debug)]
pub(super) struct Report {
    begun: Instant,
    stored: u64,
    /// Not stored, for sure.
    refused: u64,
    /// Not acknowledged; the log may have them.
    unknown: u64,
    /// The last line that was tried.
    last_tried: u64,
    first: Option<Failure>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), stored: 0, refused: 0, unknown: 0, last_tried: 0, first: None }
    }

    /// A line is about to be sent.
    pub(super) const fn tried(&mut self, line: u64) {
        self.last_tried = line;
    }

    /// A record was acknowledged.
    pub(super) const fn stored(&mut self) {
        self.stored += 1;
    }

    /// A line that is no record.
    pub(super) fn refused(&mut self, line: u64, reason: &str) {
        self.refused += 1;
        self.name(Failure::failed(format!("line {line}: {reason}")));
    }

    /// A record that was not acknowledged.
    pub(super) fn failed(&mut self, line: u64, error: &Error) {
        let written = error.may_have_been_written();
        *(if written { &mut self.unknown } else { &mut self.refused }) += 1;
        self.name(Failure::from(error).within(&format!("line {line}")));
    }

    /// The input broke off.
    pub(super) fn input_failed(&mut self, error: &io::Error) {
        let failure = Failure::failed(format!("cannot read standard input: {error}"));
        warn(&failure);
        self.first.get_or_insert(failure);
    }

    /// Stored records can no longer be told. A reader that went away has seen enough.
    pub(super) fn output_failed(&mut self, failure: Failure) {
        if failure.exit() != Exit::OutputClosed {
            warn(&failure);
            self.first.get_or_insert(failure);
        }
    }

    fn name(&mut self, failure: Failure) {
        if self.refused + self.unknown <= NAMED_MAX {
            warn(&failure);
        }
        self.first.get_or_insert(failure);
    }

    /// Tells the counts, and fails when anything did.
    pub(super) fn end(self, context: &Context, topic: &TopicName, ending: Ending) -> Result<(), Failure> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let stored = counted(self.stored, "record");
        if ending == Ending::AllTried && self.first.is_none() {
            context.note(format_args!("{stored} stored in {topic} in {seconds:.2} s"));
            return Ok(());
        }
        let mut counts = format!("{stored} stored in {topic}, {} not", self.refused);
        if self.unknown > 0 {
            counts.push_str(&format!(", {} perhaps", self.unknown));
        }
        if ending != Ending::AllTried {
            counts.push_str(&format!("; nothing sent after line {}", self.last_tried));
        }
        if ending == Ending::Interrupted {
            return Err(Failure::interrupted(format!("interrupted: {counts}")));
        }
        let first = self.first.unwrap_or_else(|| Failure::failed("no reason known"));
        let exit = if self.stored > 0 { Exit::Partial } else { first.exit() };
        // A single failure was named the line before, in words for people.
        let named = if self.refused + self.unknown > 1 || context.wants_json() {
            format!("; first {}", first.message())
        } else {
            String::new()
        };
        Err(Failure::new(exit, format!("{counts}{named}")))
    }
}

/// How the command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    AllTried,
    /// A failure that concerns every record.
    Failed,
    Interrupted,
}
