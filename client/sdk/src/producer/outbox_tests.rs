//! The outbox against a broker that refuses at random, and its accounts.

use std::sync::Arc;

use proptest::prelude::*;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{PartitionIndex, Timestamp, TopicName};

use super::*;
use crate::producer::receipt::Completion;

const PAUSE: Duration = Duration::from_millis(10);

fn outbox() -> Outbox {
    Outbox::new(Backoff::new(PAUSE, Duration::from_secs(1)), usize::MAX)
}

fn outgoing(number: BatchNumber, lane: LaneId, deadline: Instant) -> Outgoing {
    let topic = TopicName::new("orders").unwrap();
    let partition = PartitionIndex::new(i32::try_from(lane).unwrap()).unwrap();
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder.append(Timestamp::from_millis(0), None, Some(&number.to_be_bytes()), &[]);
    let completion = Arc::new(Completion::new(topic.clone(), partition));
    let ticket = Ticket {
        number,
        lane,
        topic,
        partition,
        deadline,
        records: 1,
        reserved: 10,
        batch_bytes_max: usize::MAX,
        completion,
    };
    Outgoing::new(ticket, builder.build().unwrap())
}

fn request(outbox: &mut Outbox, bytes: usize) -> Option<(u64, Vec<i32>)> {
    let request = outbox.next_request(v1::Acks::Durable, bytes)?;
    Some((request.request_id, request.batches.iter().map(|batch| batch.partition).collect()))
}

#[test]
fn small_batches_share_a_request_and_a_large_one_goes_alone() {
    let (mut outbox, now) = (outbox(), Instant::now());
    for number in 0..4 {
        outbox.push(outgoing(number, 0, now));
    }
    let size = outbox.active_bytes() / 4;
    let (first, batches) = request(&mut outbox, 2 * size).unwrap();
    assert_eq!(batches.len(), 2);
    let (second, batches) = request(&mut outbox, 1).unwrap();
    assert_eq!(batches.len(), 1, "larger than the limit, and sent all the same");
    assert_eq!(
        (outbox.requests_in_flight(), outbox.sent_bytes(), outbox.active_bytes()),
        (2, 3 * size, 4 * size)
    );
    assert_eq!(outbox.answered(second), Some(vec![2]));
    assert_eq!(outbox.answered(first), Some(vec![0, 1]));
    assert_eq!(outbox.answered(first), None, "answered once");
    assert_eq!(outbox.sent_bytes(), 0);
}

#[test]
fn a_partition_in_trouble_waits_longer_each_time_and_others_go_on() {
    let (mut outbox, now) = (outbox(), Instant::now());
    outbox.push(outgoing(0, 0, now));
    let (id, _) = request(&mut outbox, 1).unwrap();
    outbox.push(outgoing(1, 0, now));
    outbox.push(outgoing(2, 1, now));
    outbox.answered(id);
    outbox.park(0, now, u32::MAX, Duration::ZERO);
    outbox.requeue(0);
    assert_eq!(request(&mut outbox, 1000).unwrap().1, [1], "only the healthy partition");
    assert!(!outbox.has_sendable());
    assert_eq!(outbox.next_unpark(), Some(now + PAUSE));
    outbox.unpark(now + PAUSE);
    assert_eq!(request(&mut outbox, 1000).unwrap().1, [0, 0]);
    outbox.park(0, now, u32::MAX, Duration::ZERO);
    assert_eq!(outbox.next_unpark(), Some(now + 2 * PAUSE));
    outbox.park(0, now, 0, Duration::from_secs(9));
    assert_eq!(outbox.next_unpark(), Some(now + Duration::from_secs(9)), "as long as the broker asks for");
    outbox.succeeded(0);
    assert_eq!(outbox.next_unpark(), None);
    outbox.park(0, now, u32::MAX, Duration::ZERO);
    assert_eq!(outbox.next_unpark(), Some(now + PAUSE), "a success starts the count again");
}

#[test]
fn expired_batches_leave_from_wherever_they_are_and_late_answers_find_nothing() {
    let (mut outbox, now) = (outbox(), Instant::now());
    for number in 0..4 {
        outbox.push(outgoing(number, 0, now + Duration::from_secs(number)));
    }
    let size = outbox.active_bytes() / 4;
    let (id, _) = request(&mut outbox, size).unwrap();
    let expired = outbox.take_expired(now + Duration::from_secs(1));
    let expired: Vec<_> = expired.iter().map(|(outgoing, sent)| (outgoing.ticket.number, *sent)).collect();
    assert_eq!(expired, [(0, true), (1, false)]);
    assert_eq!(outbox.answered(id), Some(vec![0]));
    assert!(outbox.take(0).is_none());
    assert_eq!(outbox.active_bytes(), 2 * size);
    assert_eq!(outbox.take_all().len(), 2);
    assert_eq!(outbox.active_bytes(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Push { lane: usize },
    Send { batches: usize },
    Answer { which: usize, park: bool, fail: bool },
    Break,
    Unpark,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize).prop_map(|lane| Step::Push { lane }),
        3 => (1..4_usize).prop_map(|batches| Step::Send { batches }),
        3 => (0..4_usize, any::<bool>(), any::<bool>())
            .prop_map(|(which, park, fail)| Step::Answer { which, park, fail }),
        1 => Just(Step::Break),
        1 => Just(Step::Unpark),
    ]
}

/// Plays a broker that refuses, on a stream, what follows a failure of the same partition.
fn run(steps: Vec<Step>) {
    let (mut outbox, start) = (outbox(), Instant::now());
    let (mut now, mut number) = (start, 0);
    let mut pushed: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    let mut stored: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    let mut streaming: Vec<u64> = Vec::new();
    let mut refused: BTreeSet<usize> = BTreeSet::new();
    let size = outgoing(0, 0, start).batch.bytes().len();
    let all = steps.into_iter().chain([Step::Unpark, Step::Break, Step::Send { batches: 10_000 }]);
    let ends = (0..10_000).map(|_| Step::Answer { which: 0, park: false, fail: false });
    for step in all.chain(ends) {
        match step {
            Step::Push { lane } => {
                outbox.push(outgoing(number, lane, start + Duration::from_secs(3600)));
                pushed.entry(lane).or_default().push(number);
                number += 1;
            }
            // After a failure nothing is sent until the next stream.
            Step::Send { batches } if refused.is_empty() => {
                streaming.extend(request(&mut outbox, batches * size).map(|(id, _)| id));
            }
            Step::Answer { which, park, fail } if which < streaming.len() => {
                // A broker appends in the order of the stream.
                let id = streaming.remove(0);
                for number in outbox.answered(id).unwrap() {
                    let lane = outbox.get_mut(number).unwrap().ticket.lane;
                    if fail {
                        refused.insert(lane);
                    }
                    if park && fail {
                        outbox.park(lane, now, u32::MAX, Duration::ZERO);
                    }
                    if refused.contains(&lane) {
                        outbox.requeue(number);
                    } else {
                        outbox.take(number).unwrap();
                        stored.entry(lane).or_default().push(number);
                    }
                }
            }
            Step::Break => {
                streaming.clear();
                refused.clear();
                outbox.stream_ended().into_iter().for_each(|number| outbox.requeue(number));
            }
            Step::Unpark => {
                now += Duration::from_secs(10);
                outbox.unpark(now);
            }
            Step::Send { .. } | Step::Answer { .. } => {}
        }
    }
    assert_eq!(stored, pushed);
    assert_eq!((outbox.active_bytes(), outbox.requests_in_flight()), (0, 0));
}

proptest! {
    #[test]
    fn whatever_fails_each_partition_is_stored_in_order(steps in prop::collection::vec(step(), 1..120)) {
        run(steps);
    }
}

#[test]
fn a_partition_has_no_more_batches_on_the_way_than_the_broker_knows_again() {
    let now = Instant::now();
    let mut outbox = Outbox::new(Backoff::new(PAUSE, Duration::from_secs(1)), 2);
    for number in 0..4 {
        outbox.push(outgoing(number, 0, now));
    }
    outbox.push(outgoing(4, 1, now));
    let (first, batches) = request(&mut outbox, usize::MAX).unwrap();
    assert_eq!(batches, [0, 0, 1], "the other partition is not held up");
    assert_eq!(request(&mut outbox, usize::MAX), None);
    // One that has ended for its producer is still on the way.
    outbox.take(0).unwrap();
    assert_eq!(request(&mut outbox, usize::MAX), None);
    assert_eq!(outbox.answered(first), Some(vec![0, 1, 4]));
    let (_, batches) = request(&mut outbox, usize::MAX).unwrap();
    assert_eq!(batches, [0, 0]);
}
