use proptest::prelude::*;
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId};
use uuid::Uuid;

use super::{DeadRecord, KeptRecord, LaneEvent, LaneId, Op};
use crate::codec::Event;
use crate::delivery::policy::{Cause, Reason};
use crate::delivery::window::Failure;

fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![0..1_000i64, 0..i64::MAX].prop_map(|offset| Offset::new(offset).unwrap())
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![0..10_000i64, any::<i64>()].prop_map(Timestamp::from_millis)
}

fn reason() -> impl Strategy<Value = Option<Reason>> {
    prop::option::of(("[A-Z]{0,40}", "\\PC{0,40}").prop_map(|(code, text)| Reason::new(&code, &text)))
}

fn cause() -> impl Strategy<Value = Cause> {
    (1..=6u8).prop_map(|number| Cause::from_number(number).unwrap())
}

fn partition() -> impl Strategy<Value = PartitionIndex> {
    (0..i32::MAX).prop_map(|index| PartitionIndex::new(index).unwrap())
}

fn kept() -> impl Strategy<Value = KeptRecord> {
    let failure = prop::option::of((time(), time(), reason()))
        .prop_map(|failure| failure.map(|(first, last, reason)| Failure { first, last, reason }));
    (any::<u16>(), any::<u8>(), any::<u8>(), any::<u64>(), any::<bool>(), prop::option::of(time()), failure)
        .prop_map(|(attempts, releases, redrives, redrive, alone, due, failure)| KeptRecord {
            attempts,
            releases,
            redrives,
            redrive,
            alone,
            due,
            failure,
        })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        offset().prop_map(|start| Op::Began { start }),
        (offset(), time()).prop_map(|(start, at)| Op::From { start, at }),
        (offset(), offset()).prop_map(|(first, last)| Op::Settled { first, last }),
        (offset(), any::<u16>()).prop_map(|(offset, attempts)| Op::Attempted { offset, attempts }),
        (offset(), any::<u16>(), any::<bool>(), time(), time(), reason()).prop_map(
            |(offset, attempts, alone, at, due, reason)| Op::Delayed {
                offset,
                attempts,
                alone,
                at,
                due,
                reason
            }
        ),
        (offset(), any::<u16>(), any::<u8>()).prop_map(|(offset, attempts, releases)| Op::Released {
            offset,
            attempts,
            releases
        }),
        (offset(), any::<u16>(), any::<u64>(), cause(), any::<u32>(), time(), reason()).prop_map(
            |(offset, attempts, sequence, cause, key, at, reason)| Op::Dying {
                offset,
                attempts,
                sequence,
                cause,
                key,
                at,
                reason,
            }
        ),
        (0..u64::MAX / 2, 0..u64::MAX / 2, partition(), offset()).prop_map(
            |(first, more, partition, base)| { Op::Dead { first, last: first + more, partition, base } }
        ),
        (offset(), any::<u64>()).prop_map(|(offset, redrive)| Op::Redriven { offset, redrive }),
        offset().prop_map(|offset| Op::Resolved { offset }),
        any::<u64>().prop_map(|sequence| Op::NextSequence { sequence }),
        (offset(), kept()).prop_map(|(offset, record)| Op::Kept { offset, record }),
        (offset(), kept(), any::<u64>(), cause(), any::<u32>()).prop_map(
            |(offset, record, sequence, cause, key)| Op::KeptDying { offset, record, sequence, cause, key }
        ),
        (offset(), any::<u64>(), partition(), offset(), any::<u32>(), any::<u8>(), any::<u64>()).prop_map(
            |(offset, sequence, partition, place, key, redrives, redrive)| {
                let record = DeadRecord { sequence, partition, place, key, redrives, redrive };
                Op::KeptDead { offset, record }
            }
        ),
    ]
}

fn lane() -> LaneId {
    LaneId { topic_id: TopicId::from_uuid(Uuid::from_u128(7)), partition: PartitionIndex::new(3).unwrap() }
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(ops in prop::collection::vec(op(), 0..40)) {
        let event = LaneEvent { lane: lane(), ops };
        prop_assert_eq!(LaneEvent::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn broken_bytes_are_an_error(ops in prop::collection::vec(op(), 1..10), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = LaneEvent { lane: lane(), ops }.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(LaneEvent::decode(&bytes));
        drop(LaneEvent::decode(&bytes[..at]));
    }
}

#[test]
fn a_failure_takes_few_bytes_and_a_run_of_acknowledgements_hardly_any() {
    let size = |ops: Vec<Op>| LaneEvent { lane: lane(), ops }.encode().len();
    let (at, offset) = (1_700_000_000_000, |offset| Offset::new(offset).unwrap());
    let nack = |n: i64| Op::Delayed {
        offset: offset(1_000_000 + n),
        attempts: 1,
        alone: false,
        at: Timestamp::from_millis(at + n),
        due: Timestamp::from_millis(at + n + 1_100),
        reason: None,
    };
    let (one, many) = (size(vec![nack(0)]), size((0..1_001).map(nack).collect()));
    assert!((many - one) / 1_000 <= 8, "{} bytes for 1,000 failures", many - one);
    // A run of any length is as long as its two offsets.
    let acks = |n: i64| Op::Settled { first: offset(n * 100), last: offset(n * 100 + 98) };
    let (one, many) = (size(vec![acks(0)]), size((0..1_001).map(acks).collect()));
    assert!((many - one) <= 1_000 * 99 / 5, "{} bytes for 99,000 acknowledgements", many - one);
}
