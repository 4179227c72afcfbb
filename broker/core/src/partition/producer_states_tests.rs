use std::collections::BTreeMap;

use proptest::prelude::*;
use tidelog_model::batch::{BatchHeader, ControlKind, ControlMarker};
use tidelog_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::{BATCHES_REMEMBERED, ProducerLimits, ProducerStates, ProducerVerdict, plus};
use crate::partition::AppendReject;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn header(id: i64, epoch: i16, first: i32, records: i32, base: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::new(base).unwrap(),
        size_bytes: 100,
        leader_epoch: -1,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(first),
        record_count: records,
    }
}

fn states() -> ProducerStates {
    ProducerStates::new(ProducerLimits::default())
}

/// `Ok(None)` for a new batch, `Ok(Some(base))` for a duplicate.
fn outcome(decided: Result<ProducerVerdict, AppendReject>) -> Result<Option<i64>, ErrorCode> {
    match decided {
        Ok(ProducerVerdict::New) => Ok(None),
        Ok(ProducerVerdict::Duplicate(batch)) => Ok(Some(batch.base_offset().get())),
        Err(reject) => Err(reject.code()),
    }
}

#[test]
fn each_of_the_last_five_batches_is_known_again_and_no_older_one() {
    let mut states = states();
    for n in 0..7 {
        let batch = header(9, 0, n * 10, 10, i64::from(n) * 10);
        assert_eq!(outcome(states.decide(&batch, NOW)), Ok(None));
        states.apply(&batch, NOW);
    }
    for n in 0..7 {
        let again = outcome(states.decide(&header(9, 0, n * 10, 10, 500), NOW));
        let expected = if n < 2 { Err(ErrorCode::OutOfOrderSequence) } else { Ok(Some(i64::from(n) * 10)) };
        assert_eq!(again, expected, "batch {n}");
    }
    // Neither a part of a batch nor one that skips is taken.
    for (first, records) in [(60, 5), (65, 5), (60, 11), (71, 1)] {
        let odd = outcome(states.decide(&header(9, 0, first, records, 500), NOW));
        assert_eq!(odd, Err(ErrorCode::OutOfOrderSequence), "{first} {records}");
    }
}

#[test]
fn a_new_epoch_begins_at_zero_and_ends_the_old_one() {
    let mut states = states();
    states.apply(&header(9, 3, 0, 10, 0), NOW);
    let check =
        |states: &ProducerStates, epoch, first| outcome(states.decide(&header(9, epoch, first, 10, 10), NOW));
    assert_eq!(check(&states, 2, 10), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(check(&states, 4, 10), Err(ErrorCode::OutOfOrderSequence));
    assert_eq!(check(&states, 4, 0), Ok(None));
    states.apply(&header(9, 4, 0, 10, 10), NOW);
    assert_eq!(check(&states, 3, 10), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(check(&states, 4, 0), Ok(Some(10)));
}

#[test]
fn an_unknown_producer_may_begin_anywhere_and_sequences_wrap_to_zero() {
    let mut states = states();
    let first = header(9, 0, i32::MAX - 4, 10, 0);
    assert_eq!(outcome(states.decide(&first, NOW)), Ok(None));
    states.apply(&first, NOW);
    assert_eq!(outcome(states.decide(&first, NOW)), Ok(Some(0)));
    assert_eq!(outcome(states.decide(&header(9, 0, 5, 1, 10), NOW)), Ok(None));
    let edge = header(8, 0, i32::MAX, 1, 10);
    states.apply(&edge, NOW);
    assert_eq!(outcome(states.decide(&header(8, 0, 0, 1, 11), NOW)), Ok(None));
}

#[test]
fn an_idle_producer_is_forgotten_and_a_full_partition_says_so() {
    let mut states = ProducerStates::new(ProducerLimits { producers_max: 2, expiration_ms: 100 });
    states.apply(&header(1, 0, 0, 10, 0), NOW);
    states.apply(&header(2, 0, 0, 10, 10), NOW.plus_millis(50));
    let third = header(3, 0, 0, 10, 20);
    assert_eq!(outcome(states.decide(&third, NOW.plus_millis(99))), Err(ErrorCode::Overloaded));
    assert!(ErrorCode::Overloaded.is_retryable());
    // The idle one may begin anew wherever it likes, and makes room when it is cleaned away.
    let later = NOW.plus_millis(100);
    assert_eq!(outcome(states.decide(&header(1, 0, 77, 1, 20), later)), Ok(None));
    states.expire(later);
    assert_eq!(states.len(), 1);
    assert_eq!(outcome(states.decide(&third, later)), Ok(None));
}

#[test]
fn a_replay_of_more_producers_than_are_let_in_keeps_the_newest() {
    let mut states = ProducerStates::new(ProducerLimits { producers_max: 8, ..ProducerLimits::default() });
    for id in 0..100 {
        states.replay(&header(id, 0, 0, 1, id), None, NOW);
    }
    states.restored(NOW);
    assert!((1..=8).contains(&states.len()), "{}", states.len());
    assert_eq!(outcome(states.decide(&header(99, 0, 0, 1, 100), NOW)), Ok(Some(99)));
}

#[test]
fn a_producer_with_an_open_transaction_is_not_forgotten() {
    let mut states = ProducerStates::new(ProducerLimits { producers_max: 2, expiration_ms: 100 });
    states.apply(&Kept { what: What::Transactional, ..plain(1, 0, 0, 1, 0) }.header(), NOW);
    states.apply(&header(2, 0, 0, 1, 1), NOW);
    let later = NOW.plus_millis(1000);
    states.expire(later);
    assert_eq!((states.len(), states.first_unstable()), (1, Offset::new(0)));
    let mut again = ProducerStates::new(ProducerLimits { producers_max: 2, expiration_ms: 100 });
    states.rows_below(Offset::new(9).unwrap()).into_iter().for_each(|row| again.restore(row));
    for id in 3..90 {
        again.replay(&header(id, 0, 0, 1, id), None, NOW);
    }
    again.restored(later);
    assert_eq!((again.len(), again.first_unstable()), (1, Offset::new(0)));
}

#[test]
fn a_marker_of_a_newer_epoch_ends_the_old_one_and_is_kept_in_a_snapshot() {
    let mut states = states();
    states.apply(&Kept { what: What::Transactional, ..plain(9, 0, 0, 5, 0) }.header(), NOW);
    let marker = Kept { what: What::Marker, ..plain(9, 1, 0, 1, 5) };
    states.apply_marker(&marker.header(), MARKER, NOW);
    assert_eq!(states.first_unstable(), Offset::new(0), "the marker may be lost");
    states.committed(Offset::new(6).unwrap());
    assert_eq!(states.first_unstable(), None);
    let rows = states.rows_below(Offset::new(6).unwrap());
    let row = rows.first().unwrap();
    assert_eq!((rows.len(), row.batch, row.epoch.0, row.coordinator_epoch), (1, None, 1, 4));
    let mut again = self::states();
    rows.into_iter().for_each(|row| again.restore(row));
    for states in [&states, &again] {
        let check = |epoch, first| outcome(states.decide(&header(9, epoch, first, 1, 6), NOW));
        assert_eq!(check(0, 5), Err(ErrorCode::InvalidProducerEpoch));
        assert_eq!(check(1, 5), Err(ErrorCode::OutOfOrderSequence));
        assert_eq!(check(1, 0), Ok(None));
    }
}

const MARKER: ControlMarker = ControlMarker { kind: ControlKind::Abort, coordinator_epoch: 4 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Plain,
    Transactional,
    Marker,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    id: i64,
    epoch: i16,
    first: i32,
    records: i32,
    base: i64,
    what: What,
}

const fn plain(id: i64, epoch: i16, first: i32, records: i32, base: i64) -> Kept {
    Kept { id, epoch, first, records, base, what: What::Plain }
}

impl Kept {
    fn header(&self) -> BatchHeader {
        let attributes = match self.what {
            What::Plain => 0,
            What::Transactional => 0x10,
            What::Marker => 0x30,
        };
        BatchHeader { attributes, ..header(self.id, self.epoch, self.first, self.records, self.base) }
    }

    fn end(&self) -> i64 {
        self.base + i64::from(self.records)
    }
}

/// The first offset of a transaction that is open, or whose marker does not lie below `committed`.
fn naive_unstable(log: &[Kept], committed: i64) -> Option<i64> {
    let mut open = BTreeMap::new();
    let mut unstable = Vec::new();
    for kept in log {
        match kept.what {
            What::Plain => {}
            What::Transactional => drop(open.entry(kept.id).or_insert(kept.base)),
            What::Marker => {
                let first = open.remove(&kept.id).filter(|_| kept.end() > committed);
                unstable.extend(first);
            }
        }
    }
    unstable.into_iter().chain(open.into_values()).min()
}

/// The rules once more, from the list of all batches in the log.
fn naive(log: &[Kept], id: i64, epoch: i16, first: i32, records: i32) -> Result<Option<i64>, ErrorCode> {
    let mut recent: Vec<&Kept> = Vec::new();
    let mut known = None;
    for kept in log.iter().filter(|kept| kept.id == id) {
        if kept.what != What::Marker {
            recent.push(kept);
        } else if known.is_none_or(|epoch| kept.epoch > epoch) {
            recent.clear();
        }
        known = known.max(Some(kept.epoch));
    }
    let Some(current) = known else { return Ok(None) };
    if epoch < current {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    let same = |kept: &&&Kept| (kept.epoch, kept.first, kept.records) == (epoch, first, records);
    let newest = recent.last().filter(|_| epoch == current);
    let next = newest.map_or(0, |newest| plus(Sequence(newest.first), newest.records).0);
    if first == next {
        return Ok(None);
    }
    match recent.iter().rev().take(BATCHES_REMEMBERED).find(same) {
        Some(kept) => Ok(Some(kept.base)),
        None => Err(ErrorCode::OutOfOrderSequence),
    }
}

proptest! {
    #[test]
    fn every_answer_is_that_of_a_look_at_the_whole_log(
        steps in prop::collection::vec((0..3_i64, 0..2_i16, 1..4_i32, -6..3_i32, 0..24_u8, any::<prop::sample::Index>()), 1..120),
    ) {
        let mut states = states();
        let mut log: Vec<Kept> = Vec::new();
        let mut committed = 0;
        for (id, epoch_up, records, skew, action, at) in steps {
            let end = log.last().map_or(0, |kept| kept.base + i64::from(kept.records));
            match action {
                // The log takes back what was not committed.
                0 | 1 => {
                    let keep = committed + at.index(log.len() - committed + 1);
                    log.truncate(keep);
                    let end = log.last().map_or(0, |kept| kept.base + i64::from(kept.records));
                    states.reset(Offset::new(end).unwrap());
                    continue;
                }
                2 | 3 => {
                    committed += at.index(log.len() - committed + 1);
                    let end = log[..committed].last().map_or(0, |kept| kept.base + i64::from(kept.records));
                    states.committed(Offset::new(end).unwrap());
                    continue;
                }
                // A restart: a snapshot of some moment, then the headers after it.
                4 => {
                    let upto = log[..committed].last().map_or(0, |kept| kept.base + i64::from(kept.records));
                    let mut again = ProducerStates::new(ProducerLimits::default());
                    states.rows_below(Offset::new(upto).unwrap()).into_iter().for_each(|row| again.restore(row));
                    for kept in &log[committed..] {
                        let marker = (kept.what == What::Marker).then_some(MARKER);
                        again.replay(&kept.header(), marker, NOW);
                    }
                    again.restored(NOW);
                    states = again;
                    committed = log.len();
                    continue;
                }
                _ => {}
            }
            let durable = log[..committed].last().map_or(0, Kept::end);
            let unstable = states.first_unstable().map(Offset::get);
            prop_assert_eq!(unstable, naive_unstable(&log, durable));
            let newest = log.iter().rev().find(|kept| kept.id == id);
            let epoch = newest.map_or(0, |kept| kept.epoch) + epoch_up * i16::from(action == 5) - i16::from(action == 6);
            let next = newest.map_or(0, |kept| plus(Sequence(kept.first), kept.records).0).max(0);
            // Mostly in line or a batch sent again, sometimes off.
            let (first, records) = match action {
                5 => (0, records),
                7..=11 => {
                    let earlier: Vec<&Kept> = log.iter().rev().filter(|kept| kept.id == id).take(7).collect();
                    if earlier.is_empty() { (next, records) } else {
                        let kept = earlier[at.index(earlier.len())];
                        (kept.first, kept.records)
                    }
                }
                12 => ((next + skew).max(0), records),
                _ => (next, records),
            };
            let epoch = epoch.max(0);
            if action >= 21 {
                let epoch = epoch + epoch_up * i16::from(action == 23);
                let marker = Kept { id, epoch, first: -1, records: 1, base: end, what: What::Marker };
                states.apply_marker(&marker.header(), MARKER, NOW);
                log.push(marker);
                continue;
            }
            // Nobody mixes the two, which is for whoever lets transactions in to see to.
            let open = log.iter().rev().find(|kept| kept.id == id && kept.what != What::Plain);
            let open = open.is_some_and(|kept| kept.what == What::Transactional);
            let what = if open || action > 17 { What::Transactional } else { What::Plain };
            let batch = header(id, epoch, first, records, end);
            let decided = outcome(states.decide(&batch, NOW));
            prop_assert_eq!(decided, naive(&log, id, epoch, first, records));
            if decided == Ok(None) {
                let kept = Kept { id, epoch, first, records, base: end, what };
                states.apply(&kept.header(), NOW);
                log.push(kept);
            }
        }
    }
}

#[test]
fn a_source_is_neither_forgotten_nor_refused_for_want_of_room() {
    let mut states = ProducerStates::new(ProducerLimits { producers_max: 2, expiration_ms: 100 });
    let source = ProducerId::source(5).unwrap();
    states.apply(&header(1, 0, 0, 10, 0), NOW);
    states.apply(&header(2, 0, 0, 10, 10), NOW);
    let batch = header(source.0, 0, 40, 10, 20);
    assert_eq!(outcome(states.decide(&batch, NOW)), Ok(None));
    states.apply(&batch, NOW);
    let later = NOW.plus_millis(1_000_000_000);
    states.expire(later);
    assert_eq!((states.len(), states.newest(source).unwrap().last_sequence), (1, Sequence(49)));
    let early = header(source.0, 0, 60, 10, 30);
    assert_eq!(outcome(states.decide(&early, later)), Err(ErrorCode::OutOfOrderSequence));
    for id in 3..90 {
        states.replay(&header(id, 0, 0, 1, 30 + id), None, later);
    }
    states.restored(later);
    assert!(states.newest(source).is_some());
}

#[test]
fn ids_of_sources_are_apart_from_those_of_producers() {
    let named = ProducerId::source(i64::from(i32::MAX) << 31).unwrap();
    assert!(named.is_source() && !ProducerId::NONE.is_source() && !ProducerId(i64::MAX / 2).is_source());
    assert_eq!((ProducerId::source(-1), ProducerId::source(i64::MAX / 2 + 1)), (None, None));
}
