//! The accumulator against a naive model with random steps, and its timing rules.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidelog_model::Offset;

use super::*;
use crate::error::Error;
use crate::producer::receipt::Outcome;

const PARTITIONS: usize = 3;
const BATCH_BYTES: usize = 1024;
const LINGER: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(1);

fn accumulator(linger: Linger) -> (Accumulator, TopicName, Instant) {
    let now = Instant::now();
    let mut accumulator = Accumulator::new(AccumulatorSettings {
        linger,
        batch_bytes: BATCH_BYTES,
        compression: Compression::None,
        delivery_timeout: TIMEOUT,
        metadata_max_age: Duration::from_secs(60),
        random: 1,
    });
    let topic = TopicName::new("orders").unwrap();
    accumulator
        .set_topic(&topic, TopicInfo { partitions: PARTITIONS, batch_bytes_max: 4096, fetched_at: now });
    (accumulator, topic, now)
}

fn parts<'a>(partition: Option<usize>, key: Option<&'a [u8]>, value: &'a [u8]) -> RecordParts<'a> {
    let size_bound = BatchBuilder::record_size_bound(key, Some(value), &[]);
    let timestamp = Timestamp::from_millis(0);
    RecordParts { partition, timestamp, key, value: Some(value), headers: &[], size_bound }
}

fn values(batch: ClosedBatch) -> (usize, Vec<Vec<u8>>) {
    let partition = usize::try_from(batch.ticket.partition.get()).unwrap();
    let built = batch.builder.build().unwrap();
    assert_eq!(built.header().record_count, i32::try_from(batch.ticket.records).unwrap());
    let records = built.records().unwrap().map(|record| record.unwrap().value.unwrap().to_vec());
    (partition, records.collect())
}

#[derive(Debug, Clone)]
enum Step {
    Append { partition: usize, size: usize },
    Take,
    Settle { which: usize },
    Wait { ms: u64 },
    CloseAll,
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PARTITIONS, 4..600_usize).prop_map(|(partition, size)| Step::Append { partition, size }),
        3 => Just(Step::Take),
        2 => (0..8_usize).prop_map(|which| Step::Settle { which }),
        2 => (0..20_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::CloseAll),
        1 => Just(Step::Expire),
    ]
}

/// What the accumulator must agree with: a list of values per partition and what became of each.
#[derive(Default)]
struct Naive {
    appended: BTreeMap<usize, Vec<Vec<u8>>>,
    handed_out: BTreeMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
    records: usize,
}

fn run(steps: Vec<Step>, linger: Linger) {
    let (mut accumulator, topic, mut now) = accumulator(linger);
    let mut naive = Naive::default();
    let mut out: Vec<Ticket> = Vec::new();
    let mut number = 0_u32;
    let hand_out = |naive: &mut Naive, batch: ClosedBatch, out: &mut Vec<Ticket>| {
        assert!(batch.builder.size_bytes() <= BATCH_BYTES, "no batch passes the limit");
        out.push(batch.ticket.clone());
        let (partition, values) = values(batch);
        naive.handed_out.entry(partition).or_default().extend(values);
    };
    for step in steps {
        match step {
            Step::Append { partition, size } => {
                let mut value = vec![0; size];
                value[..4].copy_from_slice(&number.to_be_bytes());
                number += 1;
                let record = parts(Some(partition), None, &value);
                accumulator.append(now, &topic, &record).unwrap();
                naive.bytes += record.size_bound;
                naive.records += 1;
                naive.appended.entry(partition).or_default().push(value);
            }
            Step::Take => match accumulator.next_ready(now) {
                Some(batch) => hand_out(&mut naive, batch, &mut out),
                None => assert!(accumulator.next_ready_at().is_none_or(|at| at > now)),
            },
            Step::Settle { which } if which < out.len() => {
                let ticket = out.remove(which);
                naive.bytes -= ticket.reserved;
                naive.records -= ticket.records;
                accumulator.settled(&ticket);
                accumulator.settled(&ticket);
            }
            Step::Settle { .. } => {}
            Step::Wait { ms } => now += Duration::from_millis(ms),
            Step::CloseAll => accumulator.close_all(),
            Step::Expire => {
                for batch in accumulator.take_expired(now) {
                    assert!(batch.ticket.deadline <= now);
                    hand_out(&mut naive, batch, &mut out);
                }
            }
        }
        assert_eq!(
            (accumulator.unsettled_bytes(), accumulator.unsettled_records()),
            (naive.bytes, naive.records)
        );
    }
    for batch in accumulator.take_all() {
        hand_out(&mut naive, batch, &mut out);
    }
    assert_eq!(naive.handed_out, naive.appended, "every record in one batch, in order");
    out.iter().for_each(|ticket| accumulator.settled(ticket));
    assert_eq!((accumulator.unsettled_bytes(), accumulator.unsettled_records()), (0, 0));
    assert!(accumulator.next_deadline().is_none() && accumulator.unsettled().is_empty());
}

proptest! {
    #[test]
    fn every_record_is_handed_out_once_in_order_and_accounts_return_to_zero(
        steps in prop::collection::vec(step(), 1..200),
        busy in any::<bool>(),
    ) {
        run(steps, if busy { Linger::WhileBusy(LINGER) } else { Linger::Fixed(LINGER) });
    }
}

#[test]
fn a_fixed_linger_holds_a_batch_until_it_is_over_or_full() {
    let (mut accumulator, topic, now) = accumulator(Linger::Fixed(LINGER));
    assert!(accumulator.append(now, &topic, &parts(Some(0), None, b"a")).unwrap().wake);
    assert!(!accumulator.append(now, &topic, &parts(Some(0), None, b"b")).unwrap().wake);
    assert!(accumulator.next_ready(now).is_none());
    assert_eq!(accumulator.next_ready_at(), Some(now + LINGER));
    assert_eq!(values(accumulator.next_ready(now + LINGER).unwrap()).1.len(), 2);
    let big = vec![0; BATCH_BYTES];
    accumulator.append(now, &topic, &parts(Some(1), None, b"small")).unwrap();
    assert!(accumulator.append(now, &topic, &parts(Some(1), None, &big)).unwrap().wake);
    assert_eq!(values(accumulator.next_ready(now).unwrap()).1.len(), 1, "the small one was in the way");
    assert_eq!(values(accumulator.next_ready(now).unwrap()).1.len(), 1, "a large one goes alone, at once");
}

#[test]
fn an_idle_partition_sends_at_once_and_a_busy_one_collects() {
    let (mut accumulator, topic, now) = accumulator(Linger::WhileBusy(LINGER));
    accumulator.append(now, &topic, &parts(Some(0), None, b"a")).unwrap();
    let first = accumulator.next_ready(now).unwrap();
    accumulator.append(now, &topic, &parts(Some(0), None, b"b")).unwrap();
    accumulator.append(now, &topic, &parts(Some(1), None, b"other")).unwrap();
    let other = accumulator.next_ready(now).unwrap();
    assert_eq!(other.ticket.partition.get(), 1, "another partition is idle");
    assert!(accumulator.next_ready(now).is_none(), "the first one is busy");
    accumulator.settled(&first.ticket);
    assert_eq!(values(accumulator.next_ready(now).unwrap()).1, [b"b".to_vec()], "idle again");
}

#[test]
fn keyed_records_stay_together_and_keyless_ones_move_on_batch_by_batch() {
    let (mut accumulator, topic, now) = accumulator(Linger::Fixed(Duration::ZERO));
    for key in [b"x", b"y", b"x"] {
        accumulator.append(now, &topic, &parts(None, Some(key), b"v")).unwrap();
    }
    let of_x = partition_of_key(b"x", PARTITIONS);
    accumulator.close_all();
    let batches: Vec<_> = std::iter::from_fn(|| accumulator.next_ready(now)).map(values).collect();
    assert!(batches.iter().any(|(partition, values)| *partition == of_x && values.len() >= 2));
    let mut seen = Vec::new();
    for _ in 0..PARTITIONS {
        accumulator.append(now, &topic, &parts(None, None, b"v")).unwrap();
        accumulator.append(now, &topic, &parts(None, None, b"v")).unwrap();
        let (partition, values) = values(accumulator.next_ready(now).unwrap());
        assert_eq!(values.len(), 2);
        seen.push(partition);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn what_cannot_be_stored_is_refused_with_the_facts() {
    let (mut accumulator, topic, now) = accumulator(Linger::Fixed(LINGER));
    let other = TopicName::new("other").unwrap();
    let refused = |result: Result<Appended, Refusal>| result.err();
    assert_eq!(
        refused(accumulator.append(now, &other, &parts(None, None, b""))),
        Some(Refusal::UnknownTopic)
    );
    let beyond = accumulator.append(now, &topic, &parts(Some(3), None, b""));
    assert_eq!(refused(beyond), Some(Refusal::UnknownPartition { partitions: 3 }));
    let large = accumulator.append(now, &topic, &parts(Some(0), None, &[0; 5000]));
    assert_eq!(refused(large), Some(Refusal::TooLarge { limit: 4096, actual: 5000 }));
    assert_eq!(accumulator.unsettled_bytes(), 0);
    accumulator.forget_topic(&topic);
    let forgotten = accumulator.append(now, &topic, &parts(Some(0), None, b""));
    assert_eq!(refused(forgotten), Some(Refusal::UnknownTopic));
}

#[test]
fn expired_batches_come_out_open_or_closed_and_fresh_ones_stay() {
    let (mut accumulator, topic, now) = accumulator(Linger::Fixed(LINGER));
    accumulator.append(now, &topic, &parts(Some(0), None, b"closed")).unwrap();
    accumulator.close_all();
    accumulator.append(now, &topic, &parts(Some(1), None, b"open")).unwrap();
    accumulator.append(now + LINGER, &topic, &parts(Some(2), None, b"fresh")).unwrap();
    assert!(accumulator.take_expired(now + TIMEOUT - LINGER).is_empty());
    let expired: Vec<_> = accumulator.take_expired(now + TIMEOUT).into_iter().map(|b| b.ticket).collect();
    assert_eq!(expired.iter().map(|ticket| ticket.partition.get()).collect::<Vec<_>>(), [0, 1]);
    expired.iter().for_each(|ticket| accumulator.settled(ticket));
    assert_eq!(accumulator.next_deadline(), Some(now + LINGER + TIMEOUT));
    assert_eq!(accumulator.take_all().len(), 1);
}

#[test]
fn receipts_are_numbered_along_the_batch_and_resolve_with_it() {
    use futures::FutureExt as _;
    let (mut accumulator, topic, now) = accumulator(Linger::Fixed(LINGER));
    let first = accumulator.append(now, &topic, &parts(Some(0), None, b"a")).unwrap().receipt;
    let second = accumulator.append(now, &topic, &parts(Some(0), None, b"b")).unwrap().receipt;
    let lost = accumulator.append(now, &topic, &parts(Some(1), None, b"c")).unwrap().receipt;
    accumulator.close_all();
    let stored = accumulator.next_ready(now).unwrap().ticket;
    let failed = accumulator.next_ready(now).unwrap().ticket;
    stored.completion.settle(Outcome::Stored { base_offset: Offset::new(9).unwrap(), log_append_time: None });
    failed.completion.settle(Outcome::Failed { error: Error::closed("producer"), batch: None });
    assert_eq!(first.now_or_never().unwrap().unwrap().offset.get(), 9);
    assert_eq!(second.now_or_never().unwrap().unwrap().offset.get(), 10);
    assert!(lost.now_or_never().unwrap().is_err());
}
