use tidelog_core::partition::{AppendDecision, AppendRules, TimestampType};
use tidelog_model::batch::BatchHeader;
use tidelog_model::{PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicName};

use super::*;
use crate::clock::SystemClock;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn lane() -> Lane {
    let limits = tidelog_core::partition::ProducerLimits::default();
    let shared = Arc::new(Shared::new(Arc::new(SystemClock), 0, 1, 1, limits));
    let key = PartitionKey { topic: TopicName::new("orders").unwrap(), partition: PartitionIndex::ZERO };
    Lane::new(key, shared, LeaderEpoch::new(1).unwrap())
}

fn header(sequence: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::ZERO,
        size_bytes: 100,
        leader_epoch: -1,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        record_count: 1,
    }
}

fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

const RULES: AppendRules = AppendRules {
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
};

/// As a partition does it, without a log. `Err` is a refusal that leaves at once.
fn append(lane: &Lane, sequence: i32) -> Result<AckFuture, ErrorCode> {
    let mut owner = lane.checked().unwrap();
    match owner.state.decide_append(&header(sequence), None, &RULES, NOW) {
        Ok(AppendDecision::Append { base_offset }) => {
            let header = BatchHeader { base_offset, ..header(sequence) };
            owner.state.apply(&header, NOW);
            Ok(owner.enqueue(header.next_offset(), (100, 1), Acks::Durable, None))
        }
        Ok(AppendDecision::Duplicate(first)) => Ok(owner.duplicate(first.last_offset.next(), Acks::Durable)),
        Err(reject) => {
            let rests_on = reject.rests_on().unwrap();
            owner.refuse(rests_on, reject.into()).map_err(|error| error.code)
        }
    }
}

fn outcome(ack: &mut AckFuture) -> Option<Result<(), ErrorCode>> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(ack).poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome.map_err(|error| error.code)),
        Poll::Pending => None,
    }
}

#[test]
fn answers_leave_when_the_batch_that_they_rest_on_is_committed_and_not_before() {
    let lane = lane();
    let mut acks: Vec<AckFuture> = [0, 1, 1, 0, 7].map(|sequence| append(&lane, sequence).unwrap()).into();
    let outcomes = |acks: &mut Vec<AckFuture>| acks.iter_mut().map(outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(&mut acks), [None; 5]);
    lane.committed(at(1));
    let ok = Some(Ok(()));
    let mut second = acks.split_off(1);
    assert_eq!(outcomes(&mut acks), [ok]);
    // The batch that came again first, then the one that is refused for what the second says.
    let mut again = vec![second.remove(2)];
    assert_eq!(outcomes(&mut again), [ok]);
    assert_eq!(outcomes(&mut second), [None; 3]);
    lane.committed(at(2));
    assert_eq!(outcomes(&mut second), [ok, ok, Some(Err(ErrorCode::OutOfOrderSequence))]);
    assert_eq!(append(&lane, 9).unwrap_err(), ErrorCode::OutOfOrderSequence, "it rests on nothing in flight");
}

#[test]
fn a_lost_batch_takes_its_duplicates_with_it_and_may_be_sent_again() {
    let lane = lane();
    let mut kept = append(&lane, 0).unwrap();
    lane.committed(at(1));
    let mut lost = [append(&lane, 1).unwrap(), append(&lane, 1).unwrap(), append(&lane, 5).unwrap()];
    lane.rejected(AppendFailure { kind: AppendFailureKind::DiskFull, end: at(1), incarnation: 1 });
    assert_eq!(outcome(&mut kept), Some(Ok(())));
    for ack in &mut lost {
        assert_eq!(outcome(ack), Some(Err(ErrorCode::DiskFull)));
    }
    let mut again = append(&lane, 1).unwrap();
    assert_eq!(outcome(&mut again), None, "it is a new batch");
    lane.committed(at(2));
    assert_eq!(outcome(&mut again), Some(Ok(())));
    assert_eq!(lane.watermarks().log_end, at(2));
    assert_eq!(lane.owner().state.producers().rows_below(at(2)).len(), 2);
}
