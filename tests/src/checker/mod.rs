//! Judges a history of what clients asked and were told: pure, in `O(n log n)`, no search.
//!
//! What must hold is listed in [`Invariant`]. Together agreement, no lost ack, real-time order and the acked
//! offsets decide that the log is linearizable: offsets are unique and observable, so nothing has to be
//! guessed. A send whose outcome is unknown may be in the log or not; once any reader saw it, it must stay.
//!
//! **Invariant:** a history without a final read of every partition it touched is never found clean.

mod index;
mod log;
mod order;
mod watermarks;

#[cfg(test)]
mod mutant_tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Event, Tp};
use index::Index;

/// What a history can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// An offset has one record, whoever looks and whenever: offsets are never reused.
    Agreement,
    /// What is read was sent, to that partition, unchanged, and was not refused.
    Integrity,
    /// An acknowledged record is in the final log at its offset.
    NoLostAck,
    /// A record that any reader saw is in the final log at its offset.
    NoLostObservation,
    /// Log start and high watermark never go back, across restarts too.
    MonotoneWatermarks,
    /// A high watermark that was asked for after an ack or a read lies above it.
    FreshWatermarks,
    /// A record is in the log twice only when its send met an outage.
    NoStrayDuplicates,
    /// A record of a producer that numbers its batches is in the log at most once, whatever was repeated.
    StoredOnce,
    /// A producer's records stand in a partition in the order in which it sent them.
    ProducerOrder,
    /// A record that was acked before another one was sent has the smaller offset.
    RealTimeOrder,
    /// A reader sees offset after offset.
    ContiguousReads,
    /// The final log has every offset between its start and its end.
    Gapless,
    /// Every partition was read at the end.
    FinalRead,
}

/// One broken invariant, with the first case found.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is broken.
    pub invariant: Invariant,
    /// Where and how.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.text)
    }
}

/// How much a history holds: a verdict over few events says little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sends.
    pub sent: u64,
    /// Sends of producers that number their batches.
    pub idempotent: u64,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Sends that were refused for good.
    pub failed: u64,
    /// Sends whose outcome nobody knows.
    pub unknown: u64,
    /// Unknown sends that are in the final log.
    pub unknown_but_written: u64,
    /// Records that readers saw before the end.
    pub observed: u64,
    /// Records in the final logs.
    pub in_log: u64,
    /// Records that are in the final logs more than once, because a send was repeated over an outage.
    pub duplicates: u64,
    /// Times the broker was killed.
    pub kills: u64,
    /// Partitions.
    pub partitions: u64,
}

/// What the checker says.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// At most a few of each invariant.
    pub violations: Vec<Violation>,
    /// All of them, counted.
    pub counts: BTreeMap<Invariant, u64>,
    /// What was looked at.
    pub figures: Figures,
}

/// How many cases of one invariant are told in full.
const TOLD_MAX: u64 = 5;

impl Verdict {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    fn add(&mut self, invariant: Invariant, text: impl FnOnce() -> String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= TOLD_MAX {
            self.violations.push(Violation { invariant, text: text() });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        writeln!(f, "broken: {:?}", self.counts)?;
        write!(f, "{:?}", self.figures)
    }
}

/// Judges a history whose events are in order of time.
#[must_use]
pub fn check(history: &[Event]) -> Verdict {
    let mut verdict = Verdict::default();
    let index = Index::build(history, &mut verdict);
    log::check(&index, &mut verdict);
    order::check(&index, &mut verdict);
    order::check_reads(history, &mut verdict);
    watermarks::check(history, &index, &mut verdict);
    verdict.figures = figures(history, &index);
    verdict
}

fn figures(history: &[Event], index: &Index) -> Figures {
    let mut figures = Figures { partitions: count(index.partitions.len()), ..Figures::default() };
    for (value, send) in &index.sends {
        figures.sent += 1;
        figures.idempotent += u64::from(index.idempotent.contains(&value.producer()));
        match send.outcome {
            index::Outcome::Acked { .. } => figures.acked += 1,
            index::Outcome::Failed => figures.failed += 1,
            index::Outcome::Unknown => {
                figures.unknown += 1;
                figures.unknown_but_written += u64::from(!send.final_offsets.is_empty());
            }
        }
        figures.duplicates += count(send.final_offsets.len().saturating_sub(1));
    }
    for event in history {
        match event {
            Event::Read { .. } => figures.observed += 1,
            Event::Down { .. } => figures.kills += 1,
            Event::FinalRead { records, .. } => figures.in_log += count(records.len()),
            _ => {}
        }
    }
    figures
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// A place in the log.
pub(crate) type Place = (Tp, i64);
