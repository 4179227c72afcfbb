use proptest::prelude::*;
use tidelog_model::batch::BatchHeader;
use tidelog_model::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::{AppendDecision, AppendReject, AppendRules, PartitionState, TimestampType};
use crate::partition::ProducerStates;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn header(records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::ZERO,
        size_bytes: 100,
        leader_epoch: -1,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: records,
    }
}

fn rules() -> AppendRules {
    AppendRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
    }
}

fn state_at(end: i64) -> PartitionState {
    PartitionState::new(Offset::new(end).unwrap(), LeaderEpoch::new(1).unwrap(), ProducerStates::default())
}

fn at(offset: i64) -> AppendDecision {
    AppendDecision::Append { base_offset: Offset::new(offset).unwrap() }
}

#[test]
fn a_timestamp_outside_the_bounds_is_refused_with_the_limit() {
    let state = state_at(0);
    let strict = AppendRules { timestamp_before_max_ms: 10, timestamp_after_max_ms: 20, ..rules() };
    let newest = |ms: i64| BatchHeader { max_timestamp: NOW.plus_millis(ms), ..header(1) };
    let check = |header: &BatchHeader, oldest: Option<i64>| {
        state.decide_append(header, oldest.map(|ms| NOW.plus_millis(ms)), &strict, NOW).map_err(|e| e.code())
    };
    assert_eq!(check(&newest(20), Some(-10)), Ok(at(0)));
    assert_eq!(check(&newest(21), None), Err(ErrorCode::InvalidTimestamp));
    assert_eq!(check(&newest(0), Some(-11)), Err(ErrorCode::InvalidTimestamp));
    let none = BatchHeader { max_timestamp: Timestamp::NONE, ..header(1) };
    assert_eq!(state.decide_append(&none, Some(Timestamp::NONE), &strict, NOW), Ok(at(0)));
}

#[test]
fn the_brokers_clock_makes_the_producers_timestamps_irrelevant() {
    let rules = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let far = BatchHeader { max_timestamp: Timestamp::from_millis(i64::MAX), ..header(1) };
    assert_eq!(state_at(7).decide_append(&far, None, &rules, NOW), Ok(at(7)));
}

#[test]
fn what_is_not_supported_is_refused_not_ignored() {
    let transactional = BatchHeader { attributes: 0x10, ..header(1) };
    let horizon = BatchHeader { attributes: 0x40, ..header(1) };
    for header in [transactional, horizon] {
        let refused = state_at(0).decide_append(&header, None, &rules(), NOW).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRecord, "{refused}");
    }
}

#[test]
fn the_last_offset_is_never_passed() {
    let state = state_at(i64::MAX - 3);
    assert!(state.decide_append(&header(3), None, &rules(), NOW).is_ok());
    let refused = state.decide_append(&header(4), None, &rules(), NOW);
    assert!(matches!(refused, Err(AppendReject::OffsetsExhausted { .. })), "{refused:?}");
}

proptest! {
    #[test]
    fn offsets_have_no_gaps_and_a_reset_gives_the_cut_ones_out_again(
        steps in prop::collection::vec((1..100_i32, prop::bool::weighted(0.1)), 1..80),
    ) {
        let mut state = state_at(0);
        let mut ends = vec![0_i64];
        for (records, cut) in steps {
            if cut {
                let keep = ends.len().div_ceil(2);
                ends.truncate(keep);
                state.reset(Offset::new(*ends.last().unwrap()).unwrap());
            }
            let header = header(records);
            let base = *ends.last().unwrap();
            prop_assert_eq!(state.decide_append(&header, None, &rules(), NOW), Ok(at(base)));
            let base = Offset::new(base).unwrap();
            state.apply(&BatchHeader { base_offset: base, ..header }, NOW);
            ends.push(base.get() + i64::from(records));
            prop_assert_eq!(state.next_offset().get(), *ends.last().unwrap());
        }
    }
}
