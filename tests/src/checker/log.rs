//! Rules about what the log holds at the end: nothing acked or seen is gone, nothing is there that was not
//! sent, nothing twice without a cause, no offset missing.

use super::index::{FinalLog, Index, Outcome};
use super::{Invariant, Place, Verdict};
use crate::payload::Value;

pub(super) fn check(index: &Index, verdict: &mut Verdict) {
    for tp in &index.partitions {
        match index.finals.get(tp) {
            Some(log) => gapless(*tp, log, verdict),
            None => verdict.add(Invariant::FinalRead, || format!("{tp:?} was not read at the end")),
        }
    }
    for (tp, log) in &index.finals {
        for (offset, value) in &log.records {
            integrity(index, (*tp, *offset), *value, verdict);
        }
    }
    for observation in &index.observations {
        integrity(index, observation.place, observation.value, verdict);
        still_there(index, observation.place, observation.value, Invariant::NoLostObservation, verdict);
    }
    for (value, send) in &index.sends {
        if let Outcome::Acked { offset, .. } = send.outcome {
            still_there(index, (send.tp, offset), Some(*value), Invariant::NoLostAck, verdict);
        }
        let repeated = send.final_offsets.len() > 1;
        if repeated && index.idempotent.contains(&value.producer()) {
            verdict.add(Invariant::StoredOnce, || {
                format!("{value} of an idempotent producer is in {:?} at {:?}", send.tp, send.final_offsets)
            });
        }
        if repeated && !index.met_an_outage(send.invoked, send.ended) {
            verdict.add(Invariant::NoStrayDuplicates, || {
                format!("{value} is in {:?} at {:?} and its send met no outage", send.tp, send.final_offsets)
            });
        }
    }
}

fn gapless(tp: crate::history::Tp, log: &FinalLog, verdict: &mut Verdict) {
    let mut expected = log.log_start;
    for offset in log.records.keys() {
        if *offset != expected {
            verdict.add(Invariant::Gapless, || format!("{tp:?}: {offset} follows where {expected} belongs"));
        }
        expected = offset + 1;
    }
    if expected != log.high_watermark {
        verdict.add(Invariant::Gapless, || {
            format!("{tp:?}: the records end at {expected}, the high watermark is {}", log.high_watermark)
        });
    }
}

fn integrity(index: &Index, place: Place, value: Option<Value>, verdict: &mut Verdict) {
    let complaint = match value.map(|value| (value, index.sends.get(&value))) {
        None => Some("holds bytes that were never sent".to_owned()),
        Some((value, None)) => Some(format!("holds {value}, which was never sent")),
        Some((value, Some(send))) if send.tp != place.0 => {
            Some(format!("holds {value}, which was sent to {:?}", send.tp))
        }
        Some((value, Some(send))) if send.outcome == Outcome::Failed => {
            Some(format!("holds {value}, which was refused"))
        }
        Some(_) => None,
    };
    if let Some(complaint) = complaint {
        verdict.add(Invariant::Integrity, || format!("{place:?} {complaint}"));
    }
}

/// Whether a place that held `value` still does, or was deleted with everything before it.
fn still_there(
    index: &Index,
    place: Place,
    value: Option<Value>,
    invariant: Invariant,
    verdict: &mut Verdict,
) {
    let (tp, offset) = place;
    // A partition without a final read is a complaint of its own.
    let Some(log) = index.finals.get(&tp) else { return };
    if offset < log.log_start || log.records.get(&offset) == Some(&value) {
        return;
    }
    let now = log.records.get(&offset);
    verdict.add(invariant, || format!("{place:?} held {value:?} and finally holds {now:?}"));
}
