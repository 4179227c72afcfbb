//! A history rearranged so that each rule is one walk: sends by value, observations by place, final logs.
//!
//! Building it already decides [`Invariant::Agreement`]: every observation of a place is held against the
//! first one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Invariant, Place, Verdict};
use crate::history::{Event, Nanos, Seen, Tp};
use crate::payload::Value;

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Acked { at: Nanos, offset: i64 },
    Failed,
    Unknown,
}

/// One send.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) tp: Tp,
    pub(super) invoked: Nanos,
    /// When its outcome was learned; the end of time when it never was.
    pub(super) ended: Nanos,
    pub(super) outcome: Outcome,
    /// Where the final log has it, in order.
    pub(super) final_offsets: Vec<i64>,
}

/// A partition when all is over.
#[derive(Debug)]
pub(super) struct FinalLog {
    pub(super) log_start: i64,
    pub(super) high_watermark: i64,
    /// Offset to value; `None` is a damaged one.
    pub(super) records: BTreeMap<i64, Option<Value>>,
}

/// A record that a reader saw before the end.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) at: Nanos,
    pub(super) place: Place,
    pub(super) value: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) sends: BTreeMap<Value, Send>,
    pub(super) observations: Vec<Observation>,
    pub(super) finals: BTreeMap<Tp, FinalLog>,
    pub(super) partitions: BTreeSet<Tp>,
    /// Producers that number their batches.
    pub(super) idempotent: BTreeSet<u64>,
    /// From kill to ready.
    pub(super) outages: Vec<(Nanos, Nanos)>,
    /// What each place was first said to hold.
    places: HashMap<Place, Option<Value>>,
}

impl Index {
    pub(super) fn build(history: &[Event], verdict: &mut Verdict) -> Self {
        let mut index = Self::default();
        for event in history {
            index.add(event, verdict);
        }
        index
    }

    /// Whether a kill or the time until ready overlaps `from..=to`.
    pub(super) fn met_an_outage(&self, from: Nanos, to: Nanos) -> bool {
        self.outages.iter().any(|(down, up)| *down <= to && from <= *up)
    }

    fn add(&mut self, event: &Event, verdict: &mut Verdict) {
        match event {
            Event::Idempotent { producer, .. } => {
                self.idempotent.insert(*producer);
            }
            Event::SendInvoked { at, value, tp } => self.invoked(*at, *value, *tp, verdict),
            Event::SendAcked { at, value, tp, offset } => {
                self.observe((*tp, *offset), Some(*value), "acked", verdict);
                self.ended(*value, *at, Outcome::Acked { at: *at, offset: *offset });
            }
            Event::SendFailed { at, value } => self.ended(*value, *at, Outcome::Failed),
            Event::SendUnknown { at, value } => self.ended(*value, *at, Outcome::Unknown),
            Event::ReadFrom { tp, .. } | Event::Watermarks { tp, .. } => {
                self.partitions.insert(*tp);
            }
            Event::Read { at, tp, seen, .. } => {
                let place = (*tp, seen.offset);
                self.observe(place, seen.value, "read", verdict);
                self.observations.push(Observation { at: *at, place, value: seen.value });
            }
            Event::Down { at } => self.outages.push((*at, Nanos::MAX)),
            Event::Up { at } => {
                if let Some((_, up)) = self.outages.last_mut() {
                    *up = *at;
                }
            }
            Event::FinalRead { tp, log_start, high_watermark, records } => {
                self.final_read(*tp, *log_start, *high_watermark, records, verdict);
            }
        }
    }

    fn invoked(&mut self, at: Nanos, value: Value, tp: Tp, verdict: &mut Verdict) {
        self.partitions.insert(tp);
        let send =
            Send { tp, invoked: at, ended: Nanos::MAX, outcome: Outcome::Unknown, final_offsets: Vec::new() };
        if self.sends.insert(value, send).is_some() {
            verdict
                .add(Invariant::Integrity, || format!("the test sent {value} twice: the history is useless"));
        }
    }

    fn ended(&mut self, value: Value, at: Nanos, outcome: Outcome) {
        if let Some(send) = self.sends.get_mut(&value) {
            send.ended = at;
            send.outcome = outcome;
        }
    }

    fn observe(&mut self, place: Place, value: Option<Value>, how: &str, verdict: &mut Verdict) {
        self.partitions.insert(place.0);
        let first = *self.places.entry(place).or_insert(value);
        if first != value {
            verdict.add(Invariant::Agreement, || {
                format!("{place:?} held {first:?} and is later {how} as {value:?}")
            });
        }
    }

    fn final_read(&mut self, tp: Tp, log_start: i64, end: i64, records: &[Seen], verdict: &mut Verdict) {
        let mut by_offset = BTreeMap::new();
        for seen in records {
            self.observe((tp, seen.offset), seen.value, "finally read", verdict);
            if by_offset.insert(seen.offset, seen.value).is_some() {
                verdict.add(Invariant::Agreement, || {
                    format!("the final read of {tp:?} has {} twice", seen.offset)
                });
            }
            if let Some(send) = seen.value.and_then(|value| self.sends.get_mut(&value)) {
                send.final_offsets.push(seen.offset);
            }
        }
        self.finals.insert(tp, FinalLog { log_start, high_watermark: end, records: by_offset });
    }
}
