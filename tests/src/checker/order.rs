//! Rules about order: of one producer, of real time, and of what one reader sees.

use std::collections::BTreeMap;

use super::index::{Index, Outcome, Send};
use super::{Invariant, Verdict};
use crate::history::{Event, Nanos, Tp};
use crate::payload::Value;

pub(super) fn check(index: &Index, verdict: &mut Verdict) {
    producer_order(index, verdict, "acked", |send| match send.outcome {
        Outcome::Acked { offset, .. } => Some(offset),
        Outcome::Failed | Outcome::Unknown => None,
    });
    // A repeated send may stand in the log twice; its first place is the one that its order decides.
    producer_order(index, verdict, "first written", |send| send.final_offsets.first().copied());
    real_time_order(index, verdict);
}

/// `sends` is in send order for each producer, because a value's name carries its place in that order.
fn producer_order(index: &Index, verdict: &mut Verdict, how: &str, offset_of: impl Fn(&Send) -> Option<i64>) {
    let mut last: BTreeMap<(u64, Tp), (i64, Value)> = BTreeMap::new();
    for (value, send) in &index.sends {
        let Some(offset) = offset_of(send) else { continue };
        let key = (value.producer(), send.tp);
        if let Some((before, earlier)) = last.get(&key)
            && *before >= offset
        {
            verdict.add(Invariant::ProducerOrder, || {
                format!("{:?}: {earlier} is {how} at {before}, {value}, sent later, at {offset}", send.tp)
            });
        }
        last.insert(key, (offset, *value));
    }
}

/// Walks acked sends by the moment they were sent; everything acked before that moment lies below.
fn real_time_order(index: &Index, verdict: &mut Verdict) {
    let mut by_partition: BTreeMap<Tp, Vec<(Nanos, Nanos, i64, Value)>> = BTreeMap::new();
    for (value, send) in &index.sends {
        if let Outcome::Acked { at, offset } = send.outcome {
            by_partition.entry(send.tp).or_default().push((send.invoked, at, offset, *value));
        }
    }
    for (tp, mut by_start) in by_partition {
        let mut by_end = by_start.clone();
        by_start.sort_unstable();
        by_end.sort_unstable_by_key(|(_, at, ..)| *at);
        let mut ended = by_end.into_iter().peekable();
        let mut highest: Option<(i64, Value)> = None;
        for (invoked, _, offset, value) in by_start {
            while let Some((_, _, acked, earlier)) = ended.next_if(|(_, at, ..)| *at < invoked) {
                highest = highest.max(Some((acked, earlier)));
            }
            if let Some((acked, earlier)) = highest
                && acked >= offset
            {
                verdict.add(Invariant::RealTimeOrder, || {
                    format!(
                        "{tp:?}: {earlier} was acked at {acked} before {value} was sent, which is at {offset}"
                    )
                });
            }
        }
    }
}

/// Every reader sees offset after offset from where it started.
pub(super) fn check_reads(history: &[Event], verdict: &mut Verdict) {
    let mut next: BTreeMap<(u32, Tp), i64> = BTreeMap::new();
    for event in history {
        match event {
            Event::ReadFrom { reader, tp, from, .. } => {
                next.insert((*reader, *tp), *from);
            }
            Event::Read { reader, tp, seen, .. } => {
                let expected = next.insert((*reader, *tp), seen.offset + 1);
                if expected != Some(seen.offset) {
                    verdict.add(Invariant::ContiguousReads, || {
                        format!("reader {reader} of {tp:?} saw {} where {expected:?} comes next", seen.offset)
                    });
                }
            }
            _ => {}
        }
    }
}
