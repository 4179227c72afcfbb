use tidelog_core::delivery::Cause;
use tidelog_model::{ProducerEpoch, Sequence, TopicId};

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn dying(sequence: u64) -> Dying {
    Dying {
        sequence,
        offset: Offset::ZERO.plus(sequence),
        cause: Cause::Rejected,
        attempts: 1,
        redrives: 0,
        first_failure: at(0),
        last_failure: at(0),
        reason: None,
    }
}

fn taken(mover: &mut Mover, now: i64) -> Option<(Vec<u64>, bool)> {
    let taken = mover.take(at(now), |count| (3..8).take(count).map(dying).collect())?;
    Some((taken.0.iter().map(|letter| letter.sequence).collect(), taken.1))
}

#[test]
fn only_letters_that_are_durably_on_their_way_are_copied_and_one_batch_at_a_time() {
    let mut mover = Mover::new(0);
    assert_eq!(taken(&mut mover, 0), None);
    mover.stored(5, false);
    assert_eq!(taken(&mut mover, 0), Some((vec![3, 4], false)));
    assert_eq!(taken(&mut mover, 0), None);
    mover.moved();
    assert!(mover.take_landed() && !mover.take_landed());
    // Where they are is not durable yet.
    mover.stored(7, false);
    assert_eq!(taken(&mut mover, 0), None);
    mover.stored(7, true);
    assert_eq!(taken(&mut mover, 0), Some((vec![3, 4, 5, 6], true)));
}

#[test]
fn a_failure_pauses_longer_each_time_and_leaves_the_last_batch_in_doubt() {
    let mut mover = Mover::new(9);
    mover.moved();
    let mut now = 0;
    for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert!(taken(&mut mover, now).is_some());
        mover.failed(at(now), &BrokerError::internal("no"));
        assert_eq!(mover.next_try(), Some(at(now + pause)));
        assert_eq!((taken(&mut mover, now + pause - 1), mover.problem()), (None, Some("no")));
        now += pause;
    }
    assert!(!taken(&mut mover, now).unwrap().1);
    mover.moved();
    assert_eq!(mover.problem(), None);
}

fn newest(last_sequence: i32, offset_delta: i32, last_offset: i64) -> RememberedBatch {
    RememberedBatch {
        id: ProducerId::source(1).unwrap(),
        epoch: ProducerEpoch(0),
        last_sequence: Sequence(last_sequence),
        last_offset: Offset::new(last_offset).unwrap(),
        offset_delta,
        timestamp: at(0),
    }
}

#[test]
fn a_batch_in_doubt_is_recognised_by_its_numbers() {
    let letters: Vec<Dying> = (10..20).map(dying).collect();
    let found = |batch: RememberedBatch| {
        let (first, last, base) = covered(&batch, &letters)?;
        Some((first, last, base.get()))
    };
    // The batch before: nothing of it is on its way any more.
    assert_eq!(found(newest(9, 4, 104)), None);
    assert_eq!(found(newest(12, 2, 107)), Some((10, 12, 105)));
    assert_eq!(found(newest(10, 0, 105)), Some((10, 10, 105)));
    // It holds earlier ones too.
    assert_eq!(found(newest(11, 5, 111)), Some((10, 11, 110)));
    // Nothing can be ahead of what is on its way.
    assert_eq!(found(newest(30, 2, 111)), None);
}

#[test]
fn numbers_begin_again_after_31_bits() {
    let first = (1_u64 << 31) + 3;
    let letters: Vec<Dying> = (first..first + 4).map(dying).collect();
    let (from, to, base) = covered(&newest(4, 1, 50), &letters).unwrap();
    assert_eq!((from, to, base.get()), (first, first + 1, 49));
    let around: Vec<Dying> = ((1 << 31) - 1..(1 << 31) + 3).map(dying).collect();
    let (from, to, base) = covered(&newest(1, 2, 50), &around).unwrap();
    assert_eq!((from, to, base.get()), ((1 << 31) - 1, (1 << 31) + 1, 48));
}

#[test]
fn each_lane_has_a_number_of_its_own_and_keeps_it() {
    let lane = |topic: u128, partition: i32| LaneId {
        topic_id: TopicId::from_uuid(Uuid::from_u128(topic)),
        partition: PartitionIndex::new(partition).unwrap(),
    };
    let (group, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut seen = std::collections::BTreeSet::new();
    for (group, lane) in [(group, lane(1, 0)), (group, lane(1, 1)), (group, lane(2, 0)), (other, lane(1, 0))]
    {
        let source = source_of(group, lane).unwrap();
        assert!(source.is_source() && seen.insert(source));
        assert_eq!(source, source_of(group, lane).unwrap());
    }
}
