//! Queue groups through the `Broker` API: what was said of a record holds, also when the broker died in between.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_runtime::delivery::{Outcome, Selector, Settle, SettleStatus, Verb};
use tidelog_runtime::{
    Acks, AlterQueue, Broker, BrokerOptions, CreateQueue, CreateTopic, JoinQueue, QueueBatch, QueueMember,
    QueueScope, RedriveSpec, SettleRecords,
};

fn options(dir: &Path) -> BrokerOptions {
    let maintenance_interval = Duration::from_millis(200);
    BrokerOptions { disk_reserve_bytes: 0, maintenance_interval, ..BrokerOptions::new(dir) }
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

async fn create_topic(broker: &Broker, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = CreateTopic { name: topic("orders"), partitions: Some(1), configs, validate_only: false };
    broker.create_topic(spec).await.unwrap();
}

async fn produce(broker: &Broker, keys: &[&str]) {
    let mut builder = BatchBuilder::new(Compression::Lz4, 1024);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    for key in keys {
        let time = Timestamp::from_millis(i64::try_from(now).unwrap());
        builder.append(time, Some(key.as_bytes()), Some(b"order"), &[]);
    }
    let partition = broker.partition(&topic("orders"), PartitionIndex::ZERO).unwrap();
    partition.append(builder.build().unwrap(), Acks::Durable, None).unwrap().ack.await.unwrap();
}

fn spec(configs: &[(&str, &str)]) -> CreateQueue {
    let earliest = [("share.auto.offset.reset", "earliest"), ("tidelog.queue.backoff.jitter", "none")];
    let configs = earliest.iter().chain(configs);
    CreateQueue {
        group: group(),
        topics: BTreeSet::from([topic("orders")]),
        configs: configs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        validate_only: false,
    }
}

async fn join(broker: &Broker) -> QueueMember {
    let join = JoinQueue {
        client_id: "test".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        credit: 1_000,
        bytes_max: 1 << 20,
        lease_ms: None,
        once: false,
    };
    broker.join_queue(&group(), join).await.unwrap()
}

async fn next(member: &mut QueueMember) -> QueueBatch {
    tokio::time::timeout(Duration::from_secs(20), member.next()).await.unwrap().unwrap()
}

fn shape(batch: &QueueBatch) -> Vec<(i64, u16)> {
    batch.records.iter().map(|(delivery, _)| (delivery.offset.get(), delivery.attempt)).collect()
}

async fn settle(broker: &Broker, batch: &QueueBatch, first: i64, last: i64, verb: Verb) -> SettleStatus {
    let offset = |offset| Offset::new(offset).unwrap();
    let settle = Settle { lease: batch.lease, first: offset(first), last: offset(last), verb };
    let ask = SettleRecords { topic: batch.topic.clone(), partition: batch.partition, settle };
    let mut settled = broker.settle_queue(&group(), vec![ask]).await.unwrap();
    let results = settled.remove(0).unwrap().results;
    assert_eq!(results.len(), 1, "{results:?}");
    results[0].2
}

fn nack(delay_ms: i64) -> Verb {
    Verb::Nack { delay_ms: Some(delay_ms), reason: None }
}

const ACKED: SettleStatus = SettleStatus::Done(Outcome::Acked);
const DELAYED: SettleStatus = SettleStatus::Done(Outcome::Delayed);
const DEAD: SettleStatus = SettleStatus::Done(Outcome::Dead);

/// Waits until the counts of the only lane are so.
async fn wait_for(broker: &Broker, what: &str, is_so: impl Fn(&tidelog_runtime::DescribedLane) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        let described = broker.describe_queue(&group()).await.unwrap();
        if is_so(&described.lanes[0]) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", described.lanes);
    }
}

#[tokio::test]
async fn records_come_once_are_taken_back_and_failed_ones_come_again_after_their_delay() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[]).await;
    produce(&broker, &["a", "b", "c"]).await;
    broker.create_queue(spec(&[])).await.unwrap();
    let mut member = join(&broker).await;
    let first = next(&mut member).await;
    assert_eq!(shape(&first), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(first.records[1].1.key.as_deref(), Some(&b"b"[..]));
    assert_eq!(settle(&broker, &first, 0, 0, Verb::Ack).await, ACKED);
    assert_eq!(settle(&broker, &first, 0, 0, Verb::Ack).await, SettleStatus::AlreadySettled(Outcome::Acked));
    let failed = tokio::time::Instant::now();
    assert_eq!(settle(&broker, &first, 1, 1, nack(300)).await, DELAYED);
    assert_eq!(settle(&broker, &first, 2, 2, Verb::Ack).await, ACKED);
    let again = next(&mut member).await;
    assert_eq!(shape(&again), [(1, 2)]);
    assert!(failed.elapsed() >= Duration::from_millis(300), "{:?}", failed.elapsed());
    assert_eq!(
        settle(&broker, &first, 1, 1, Verb::Ack).await,
        SettleStatus::AlreadySettled(Outcome::Delayed)
    );
    assert_eq!(settle(&broker, &again, 1, 1, Verb::Ack).await, ACKED);
    // New records come as they are produced.
    produce(&broker, &["d"]).await;
    let last = next(&mut member).await;
    assert_eq!(shape(&last), [(3, 1)]);
    assert_eq!(settle(&broker, &last, 3, 3, Verb::Ack).await, ACKED);
    broker.shutdown().await.unwrap();
    assert!(member.next().await.is_none());
}

#[tokio::test]
async fn what_was_said_holds_after_a_crash_and_nothing_else_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2_i64 {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        if round == 0 {
            create_topic(&broker, &[]).await;
            broker.create_queue(spec(&[])).await.unwrap();
            produce(&broker, &["a", "b", "c", "d"]).await;
            let mut member = join(&broker).await;
            let batch = next(&mut member).await;
            assert_eq!(settle(&broker, &batch, 1, 1, Verb::Ack).await, ACKED);
            assert_eq!(settle(&broker, &batch, 2, 2, nack(0)).await, DELAYED);
            assert_eq!(settle(&broker, &batch, 3, 3, nack(3_600_000)).await, DELAYED);
        } else {
            let mut member = join(&broker).await;
            let mut found = Vec::new();
            while found.len() < 2 {
                found.extend(shape(&next(&mut member).await));
            }
            found.sort_unstable();
            // What was out when the broker died was not an attempt that anybody heard of.
            assert_eq!(found[0], (0, 1));
            assert!(found[1].0 == 2 && found[1].1 >= 2, "{found:?}");
            let retries = broker.list_retries(&group(), QueueScope::default(), None, 10).await.unwrap();
            assert_eq!(retries.found.len(), 1);
            assert_eq!(broker.retry_now(&group(), QueueScope::default()).await.unwrap(), 1);
            assert_eq!(shape(&next(&mut member).await), [(3, 2)]);
        }
    }
}

#[tokio::test]
async fn dead_letters_are_copied_once_listed_redriven_to_their_group_and_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[]).await;
    broker.create_queue(spec(&[("share.delivery.count.limit", "1")])).await.unwrap();
    produce(&broker, &["a", "b", "c"]).await;
    let mut member = join(&broker).await;
    let batch = next(&mut member).await;
    let reason = Some(tidelog_runtime::delivery::Reason::new("BAD", "no such account"));
    assert_eq!(settle(&broker, &batch, 0, 0, Verb::Reject { reason: reason.clone() }).await, DEAD);
    assert_eq!(settle(&broker, &batch, 1, 1, Verb::Nack { delay_ms: None, reason: None }).await, DEAD);
    assert_eq!(settle(&broker, &batch, 2, 2, Verb::Ack).await, ACKED);
    wait_for(&broker, "both are dead", |lane| lane.counts.dead == 2).await;
    let all = Selector::default();
    let page = broker.list_dead_letters(&group(), &all, None, 10).await.unwrap();
    let (facts, copy) = page.found[0].2.copy.clone().unwrap();
    assert_eq!((facts.offset.get(), facts.reason.0.as_str()), (0, "BAD"));
    assert_eq!(copy.key.as_deref(), Some(&b"a"[..]));
    let letters = broker.partition(&topic("dlq.billing"), PartitionIndex::ZERO).unwrap();
    assert_eq!(letters.readable().high_watermark.get(), 2);
    // One by its reason, in place, and not twice under one name.
    let rejected = Selector { reason_code: Some("BAD".to_owned()), ..Selector::default() };
    let redrive = RedriveSpec { selector: rejected, id: 7, rate: 1_000, dry_run: false };
    let progress = broker.redrive(&group(), &redrive, |_| true).await.unwrap();
    assert_eq!((progress.seen, progress.selected, progress.redriven), (2, 1, 1));
    let again = next(&mut member).await;
    assert_eq!((shape(&again), again.records[0].0.redrives), (vec![(0, 1)], 1));
    assert_eq!(settle(&broker, &again, 0, 0, Verb::Reject { reason }).await, DEAD);
    wait_for(&broker, "it is dead again", |lane| lane.counts.dead == 2).await;
    let progress = broker.redrive(&group(), &redrive, |_| true).await.unwrap();
    assert_eq!((progress.redriven, progress.had_it), (0, 1));
    assert_eq!(broker.resolve_dead_letters(&group(), &all, true).await.unwrap(), 2);
    assert_eq!(broker.resolve_dead_letters(&group(), &all, false).await.unwrap(), 2);
    wait_for(&broker, "none is left", |lane| lane.counts.dead == 0).await;
    assert_eq!(letters.readable().high_watermark.get(), 3);
}

#[tokio::test]
async fn with_order_by_key_only_the_later_records_of_the_key_wait_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[]).await;
    broker.create_queue(spec(&[("tidelog.queue.order", "key")])).await.unwrap();
    produce(&broker, &["a", "b", "a", "b"]).await;
    let mut member = join(&broker).await;
    let batch = next(&mut member).await;
    assert_eq!(shape(&batch), [(0, 1), (1, 1)]);
    assert_eq!(settle(&broker, &batch, 0, 0, nack(3_600_000)).await, DELAYED);
    assert_eq!(settle(&broker, &batch, 1, 1, Verb::Ack).await, ACKED);
    assert_eq!(shape(&next(&mut member).await), [(3, 1)]);
    drop((member, broker));
    let broker = Broker::open(options(dir.path())).await.unwrap();
    let mut member = join(&broker).await;
    assert_eq!(shape(&next(&mut member).await), [(3, 1)]);
    assert_eq!(broker.retry_now(&group(), QueueScope::default()).await.unwrap(), 1);
    let again = next(&mut member).await;
    assert_eq!(shape(&again), [(0, 2)]);
    assert_eq!(settle(&broker, &again, 0, 0, Verb::Ack).await, ACKED);
    assert_eq!(shape(&next(&mut member).await), [(2, 1)]);
}

#[tokio::test]
async fn what_a_member_had_when_it_went_counts_as_failed_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[]).await;
    broker.create_queue(spec(&[("tidelog.queue.backoff", "fixed(10ms)")])).await.unwrap();
    produce(&broker, &["a"]).await;
    let mut member = join(&broker).await;
    assert_eq!(shape(&next(&mut member).await), [(0, 1)]);
    drop(member);
    let mut other = join(&broker).await;
    assert_eq!(shape(&next(&mut other).await), [(0, 2)]);
}

#[tokio::test]
async fn retention_takes_what_nobody_had_and_makes_dead_letters_of_what_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[("retention.ms", "1"), ("segment.bytes", "1024")]).await;
    broker.create_queue(spec(&[])).await.unwrap();
    produce(&broker, &["a", "b"]).await;
    let mut member = join(&broker).await;
    let batch = next(&mut member).await;
    assert_eq!(settle(&broker, &batch, 0, 0, nack(3_600_000)).await, DELAYED);
    assert_eq!(settle(&broker, &batch, 1, 1, Verb::Ack).await, ACKED);
    drop(member);
    // A segment that is not the last may go.
    for _ in 0..40 {
        produce(&broker, &["x", "y", "z"]).await;
    }
    wait_for(&broker, "it is a dead letter", |lane| lane.counts.dead == 1).await;
    let page = broker.list_dead_letters(&group(), &Selector::default(), None, 10).await.unwrap();
    let (facts, copy) = page.found[0].2.copy.clone().unwrap();
    assert_eq!((facts.cause.name(), copy.key.as_deref()), ("RETENTION", Some(&b"a"[..])));
    wait_for(&broker, "others were skipped", |lane| lane.counts.skipped > 0).await;
}

#[tokio::test]
async fn a_group_is_made_changed_and_deleted_and_what_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create_topic(&broker, &[]).await;
    let code = |error: tidelog_runtime::BrokerError| error.code;
    let missing = broker.describe_queue(&group()).await.map_err(code);
    assert_eq!(missing.unwrap_err(), ErrorCode::GroupIdNotFound);
    let circle = CreateQueue { topics: BTreeSet::from([topic("dlq.billing")]), ..spec(&[]) };
    assert_eq!(broker.create_queue(circle).await.map_err(code).unwrap_err(), ErrorCode::InvalidRequest);
    let wrong = spec(&[("share.delivery.count.limit", "0")]);
    assert_eq!(broker.create_queue(wrong).await.map_err(code).unwrap_err(), ErrorCode::InvalidConfig);
    let info = broker.create_queue(CreateQueue { validate_only: true, ..spec(&[]) }).await.unwrap();
    assert_eq!(info.dead_letter_topic, topic("dlq.billing"));
    broker.create_queue(spec(&[])).await.unwrap();
    let twice = broker.create_queue(spec(&[])).await.map_err(code);
    assert_eq!(twice.unwrap_err(), ErrorCode::GroupAlreadyExists);
    let alter = AlterQueue {
        group: group(),
        add_topics: BTreeSet::from([topic("later")]),
        remove_topics: BTreeSet::new(),
        set: BTreeMap::from([("tidelog.queue.paused".to_owned(), "true".to_owned())]),
        reset: Vec::new(),
        validate_only: false,
    };
    let order = BTreeMap::from([("tidelog.queue.order".to_owned(), "key".to_owned())]);
    let reordered = broker.alter_queue(AlterQueue { set: order, ..alter.clone() }).await.map_err(code);
    assert_eq!(reordered.unwrap_err(), ErrorCode::InvalidConfig);
    broker.alter_queue(alter.clone()).await.unwrap();
    produce(&broker, &["a"]).await;
    let mut member = join(&broker).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), member.next()).await.is_err());
    let resume = AlterQueue { set: BTreeMap::new(), reset: vec!["tidelog.queue.paused".to_owned()], ..alter };
    broker.alter_queue(resume).await.unwrap();
    assert_eq!(shape(&next(&mut member).await), [(0, 1)]);
    // A topic that comes later is read from its beginning.
    let later = CreateTopic {
        name: topic("later"),
        partitions: Some(2),
        configs: BTreeMap::new(),
        validate_only: false,
    };
    broker.create_topic(later).await.unwrap();
    let described = broker.describe_queue(&group()).await.unwrap();
    assert_eq!(described.lanes.len(), 3);
    let refused = broker.delete_group(&group()).await.map_err(code);
    assert_eq!(refused.unwrap_err(), ErrorCode::NonEmptyGroup);
    assert_eq!(broker.describe_queue(&group()).await.unwrap().members.len(), 1);
    drop(member);
    let deleted = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while broker.delete_group(&group()).await.is_err() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), deleted).await.unwrap();
    let gone = broker.describe_queue(&group()).await.map_err(code);
    assert_eq!(gone.unwrap_err(), ErrorCode::GroupIdNotFound);
    // One of the same name knows nothing of it.
    broker.create_queue(spec(&[])).await.unwrap();
    let mut member = join(&broker).await;
    assert_eq!(shape(&next(&mut member).await), [(0, 1)]);
}
