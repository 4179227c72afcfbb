//! Rules about watermarks in real time: a later question never gets an older answer.
//!
//! The facts of a partition (acks, reads, answers) are walked by the moment they were learned; a question
//! is held against the facts that were known before it was asked.

use std::collections::BTreeMap;

use super::index::{Index, Outcome};
use super::{Invariant, Verdict};
use crate::history::{Event, Nanos, Tp};

/// What was told about a partition.
struct Answer {
    invoked: Nanos,
    at: Nanos,
    log_start: i64,
    high_watermark: i64,
}

pub(super) fn check(history: &[Event], index: &Index, verdict: &mut Verdict) {
    let mut answers: BTreeMap<Tp, Vec<Answer>> = BTreeMap::new();
    for event in history {
        match event {
            Event::Watermarks { invoked, at, tp, log_start, high_watermark } => {
                let answer = Answer {
                    invoked: *invoked,
                    at: *at,
                    log_start: *log_start,
                    high_watermark: *high_watermark,
                };
                answers.entry(*tp).or_default().push(answer);
            }
            Event::FinalRead { tp, log_start, high_watermark, .. } => {
                let (invoked, at) = (Nanos::MAX, Nanos::MAX);
                let answer = Answer { invoked, at, log_start: *log_start, high_watermark: *high_watermark };
                answers.entry(*tp).or_default().push(answer);
            }
            _ => {}
        }
    }
    let visible = visible(index);
    for (tp, answers) in answers {
        monotone(tp, &answers, verdict);
        fresh(tp, &answers, visible.get(&tp).map_or(&[], Vec::as_slice), verdict);
    }
}

/// When each offset of a partition was known to be readable, by that moment.
fn visible(index: &Index) -> BTreeMap<Tp, Vec<(Nanos, i64)>> {
    let mut visible: BTreeMap<Tp, Vec<(Nanos, i64)>> = BTreeMap::new();
    for send in index.sends.values() {
        if let Outcome::Acked { at, offset } = send.outcome {
            visible.entry(send.tp).or_default().push((at, offset));
        }
    }
    for observation in &index.observations {
        visible.entry(observation.place.0).or_default().push((observation.at, observation.place.1));
    }
    for facts in visible.values_mut() {
        facts.sort_unstable();
    }
    visible
}

fn monotone(tp: Tp, answers: &[Answer], verdict: &mut Verdict) {
    let mut by_start: Vec<&Answer> = answers.iter().collect();
    by_start.sort_by_key(|answer| answer.invoked);
    let mut by_end: Vec<&Answer> = answers.iter().collect();
    by_end.sort_by_key(|answer| answer.at);
    let mut told = by_end.into_iter().peekable();
    let (mut start, mut end) = (i64::MIN, i64::MIN);
    for answer in by_start {
        while let Some(earlier) = told.next_if(|earlier| earlier.at < answer.invoked) {
            start = start.max(earlier.log_start);
            end = end.max(earlier.high_watermark);
        }
        if answer.log_start < start || answer.high_watermark < end {
            verdict.add(Invariant::MonotoneWatermarks, || {
                format!(
                    "{tp:?}: {}..{} was told after {start}..{end}",
                    answer.log_start, answer.high_watermark
                )
            });
        }
        if answer.log_start > answer.high_watermark {
            verdict.add(Invariant::MonotoneWatermarks, || {
                format!("{tp:?}: log start {} above {}", answer.log_start, answer.high_watermark)
            });
        }
    }
}

fn fresh(tp: Tp, answers: &[Answer], visible: &[(Nanos, i64)], verdict: &mut Verdict) {
    let mut by_start: Vec<&Answer> = answers.iter().collect();
    by_start.sort_by_key(|answer| answer.invoked);
    let mut facts = visible.iter().peekable();
    let mut highest = i64::MIN;
    for answer in by_start {
        while let Some((_, offset)) = facts.next_if(|(at, _)| *at < answer.invoked) {
            highest = highest.max(*offset);
        }
        if answer.high_watermark <= highest {
            verdict.add(Invariant::FreshWatermarks, || {
                format!("{tp:?}: {highest} was readable before {} was told", answer.high_watermark)
            });
        }
    }
}
