//! Writing dead letters: the whole record, with headers that say how it died.
//!
//! **Invariants:** letters keep their order and have consecutive numbers, which are the sequence of their source
//! (ADR 0010). A letter that is too large for its topic loses its value, then its key and headers, but never its
//! facts: the numbers have no gaps, so no letter may be in the way of those behind it.

use thiserror::Error;
use tidelog_model::batch::{BATCH_OVERHEAD, BatchBuilder, BuildError, Compression, HeaderRef, RecordBatch};
use tidelog_model::record::Record;
use tidelog_model::{ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::dead_letter::{DeadLetterFacts, is_fact};

/// Sequences have so many bits.
const SEQUENCE_MASK: u64 = 0x7fff_ffff;

/// A dead letter to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<'a> {
    /// How the record died.
    pub facts: DeadLetterFacts,
    /// The record; `None` when it cannot be read any more.
    pub record: Option<&'a Record>,
}

/// What the topic of the dead letters takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterLimits {
    /// Its largest batch, in bytes.
    pub batch_bytes_max: usize,
    /// Whether the record is written too, or only how it died.
    pub copy_record: bool,
}

/// Why letters cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LetterError {
    /// There are none.
    #[error("there is no letter to write")]
    None,
    /// The batch could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// What of a record is written.
struct Copy<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<HeaderRef<'a>>,
}

impl<'a> Copy<'a> {
    fn whole(record: Option<&'a Record>) -> Self {
        let Some(record) = record else { return Self::nothing() };
        // What it says of an earlier death is told anew.
        let own = record.headers.iter().filter(|(name, _)| !is_fact(name));
        Self {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: own.map(|(name, value)| (name.as_ref(), value.as_deref())).collect(),
        }
    }

    const fn nothing() -> Self {
        Self { key: None, value: None, headers: Vec::new() }
    }
}

/// Puts the first of these letters, whose numbers follow each other, into one batch of their source: as many as fit
/// and at least one. How many those are.
///
/// # Errors
/// When there is none, or the facts alone are larger than any batch.
pub fn letter_batch(
    source: ProducerId,
    letters: &[Letter<'_>],
    limits: LetterLimits,
) -> Result<(RecordBatch, usize), LetterError> {
    let first = letters.first().ok_or(LetterError::None)?.facts.sequence;
    let sequence = i32::try_from(first & SEQUENCE_MASK).unwrap_or(0);
    let builder = BatchBuilder::new(Compression::None, 4096);
    let mut builder = builder.producer(source, ProducerEpoch(0), Sequence(sequence));
    let mut written: usize = 0;
    for (letter, number) in letters.iter().zip(first..) {
        if letter.facts.sequence != number {
            break;
        }
        let room = limits.batch_bytes_max.saturating_sub(builder.size_bytes());
        let whole = limits.batch_bytes_max.saturating_sub(BATCH_OVERHEAD);
        let copied = write(&mut builder, letter, limits.copy_record, room, whole, written == 0);
        if !copied {
            break;
        }
        written = written.saturating_add(1);
    }
    Ok((builder.build()?, written))
}

/// Appends a letter if it fits in `room`; one that would not fit into a batch of its own, which has room for
/// `whole`, loses what is too much. Whether it was appended; the `first` always is.
fn write(
    builder: &mut BatchBuilder,
    letter: &Letter<'_>,
    copy_record: bool,
    room: usize,
    whole: usize,
    first: bool,
) -> bool {
    let mut copy = if copy_record { Copy::whole(letter.record) } else { Copy::nothing() };
    let mut facts = letter.facts.clone();
    facts.truncated |= letter.record.is_none();
    let told = facts.headers();
    let mut size = bound(&copy, &told);
    if size > whole && copy.value.is_some() {
        (copy.value, facts.truncated) = (None, true);
        size = bound(&copy, &facts.headers());
    }
    if size > whole {
        (copy, facts.truncated) = (Copy::nothing(), true);
        size = bound(&copy, &facts.headers());
    }
    if size > room && !first {
        return false;
    }
    let told = facts.headers();
    let headers = all_headers(&copy, &told);
    builder.append(timestamp(letter), copy.key, copy.value, &headers);
    true
}

/// The record's own time; when it has none, or is not there, when it failed last.
fn timestamp(letter: &Letter<'_>) -> Timestamp {
    let own = letter.record.map(|record| record.timestamp).filter(|time| *time != Timestamp::NONE);
    own.unwrap_or(letter.facts.last_failure)
}

fn all_headers<'a>(copy: &Copy<'a>, told: &'a [(String, String)]) -> Vec<HeaderRef<'a>> {
    let facts = told.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
    copy.headers.iter().copied().chain(facts).collect()
}

fn bound(copy: &Copy<'_>, told: &[(String, String)]) -> usize {
    BatchBuilder::record_size_bound(copy.key, copy.value, &all_headers(copy, told))
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
