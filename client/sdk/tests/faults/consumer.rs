//! What the consumer does when the broker misbehaves: exact positions across broken streams, credit, sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fake::{FakeBroker, FetchFault, ProduceFault};
use futures::{FutureExt as _, StreamExt as _};
use tidelog_client::consumer::OnOutOfRange;
use tidelog_client::{
    Client, Consumer, ConsumerBuilder, ErrorKind, Offset, PartitionIndex, Position, ReadFilter, Record,
    TopicName, TopicPartition,
};
use tidelog_model::ErrorCode;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn builder(broker: &FakeBroker) -> ConsumerBuilder {
    let client = Client::connect(&broker.url()).await.unwrap();
    client.consumer().backoff(Duration::from_millis(1), Duration::from_millis(20))
}

fn id(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// The offsets of all records up to the end of the stream, per partition; each value must be its offset.
async fn read_all(consumer: &mut Consumer) -> BTreeMap<i32, Vec<i64>> {
    let mut read: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while let Some(record) = timeout(SOON, consumer.next()).await.unwrap() {
        let record = record.unwrap();
        assert_eq!(record.value.unwrap(), record.offset.to_string());
        assert_eq!(record.leader_epoch, 3);
        read.entry(record.partition.get()).or_default().push(record.offset.get());
    }
    read
}

async fn next_offset(consumer: &mut Consumer) -> i64 {
    timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap().offset.get()
}

#[tokio::test]
async fn broken_streams_are_picked_up_without_a_gap_or_a_repeat() {
    let broker = FakeBroker::start(3);
    (0..3).for_each(|partition| broker.fill(partition, 50, 4));
    for _ in 0..20 {
        broker.fetch_faults([FetchFault::Send, FetchFault::Break, FetchFault::Stale, FetchFault::Break]);
    }
    let mut consumer =
        builder(&broker).await.topic("orders").until_end().response_bytes_max(400).build().await.unwrap();
    let read = read_all(&mut consumer).await;
    assert_eq!(read, (0..3).map(|partition| (partition, (0..200).collect())).collect());
    assert!(broker.state().fetch_streams > 20);
    assert!(consumer.at_end());
}

#[tokio::test]
async fn a_broker_that_restarts_is_read_on_exactly_where_it_was() {
    let mut broker = FakeBroker::start(1);
    broker.fill(0, 100, 10);
    let mut consumer =
        builder(&broker).await.topic("orders").until_end().response_bytes_max(500).build().await.unwrap();
    for expected in 0..1000 {
        if expected % 300 == 299 {
            broker.restart().await;
        }
        assert_eq!(next_offset(&mut consumer).await, expected);
    }
    assert!(timeout(SOON, consumer.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_small_credit_is_granted_again_and_never_overdrawn() {
    let broker = FakeBroker::start(2);
    (0..2).for_each(|partition| broker.fill(partition, 100, 10));
    let consumer = builder(&broker).await.topic("orders").until_end();
    let mut consumer = consumer.credit_bytes(1000).response_bytes_max(300).build().await.unwrap();
    let read = read_all(&mut consumer).await;
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), 2000);
    assert!(broker.state().overdrawn <= 300, "{}", broker.state().overdrawn);
}

#[tokio::test]
async fn batches_and_single_records_may_be_mixed_and_start_inside_a_batch() {
    let broker = FakeBroker::start(1);
    broker.fill(0, 4, 10);
    let consumer = builder(&broker).await.partition("orders", 0, Position::Offset(offset(13)));
    let mut consumer = consumer.until([(id(0), offset(36))]).build().await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 13);
    let offsets = |batch: tidelog_client::consumer::ConsumerBatch| {
        batch.records.iter().map(|record| record.offset.get()).collect::<Vec<_>>()
    };
    let batch = timeout(SOON, consumer.next_batch()).await.unwrap().unwrap().unwrap();
    assert_eq!(batch.partition, id(0));
    assert!(batch.wire_bytes > 61);
    assert_eq!(offsets(batch), (14..20).collect::<Vec<_>>());
    assert_eq!(consumer.positions()[&id(0)], offset(20));
    let batch = timeout(SOON, consumer.next_batch()).await.unwrap().unwrap().unwrap();
    assert_eq!(offsets(batch), (20..30).collect::<Vec<_>>());
    let batch = timeout(SOON, consumer.next_batch()).await.unwrap().unwrap().unwrap();
    assert_eq!(offsets(batch), (30..36).collect::<Vec<_>>(), "the bound cuts the last batch");
    assert!(timeout(SOON, consumer.next_batch()).await.unwrap().is_none());
    assert_eq!(consumer.positions()[&id(0)], offset(36));
}

#[tokio::test]
async fn seeking_drops_what_was_under_way_and_goes_on_there() {
    let broker = FakeBroker::start(2);
    (0..2).for_each(|partition| broker.fill(partition, 20, 10));
    let consumer = builder(&broker).await.partition("orders", 0, Position::Earliest);
    let mut consumer = consumer.response_bytes_max(300).build().await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 0);
    consumer.seek(&id(0), Position::Offset(offset(155))).await.unwrap();
    assert_eq!(consumer.positions()[&id(0)], offset(155));
    assert_eq!(next_offset(&mut consumer).await, 155);
    consumer.seek(&id(0), Position::Timestamp(tidelog_client::Timestamp::from_millis(42))).await.unwrap();
    for expected in 42..60 {
        assert_eq!(next_offset(&mut consumer).await, expected);
    }
    consumer.seek(&id(0), Position::Latest).await.unwrap();
    assert!(consumer.at_end());
    broker.fill(0, 1, 1);
    assert_eq!(next_offset(&mut consumer).await, 200);
    let error = consumer.seek(&id(1), Position::Earliest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.message(), "this consumer does not read orders-1");
}

#[tokio::test]
async fn a_paused_partition_stands_still_while_others_go_on() {
    let broker = FakeBroker::start(2);
    (0..2).for_each(|partition| broker.fill(partition, 10, 10));
    let mut consumer = builder(&broker).await.topic("orders").until_end().build().await.unwrap();
    let first = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.partition.get(), 0);
    consumer.pause(&[id(0)]).unwrap();
    for expected in 0..100 {
        let record = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((record.partition.get(), record.offset.get()), (1, expected));
    }
    assert!(consumer.next().now_or_never().is_none(), "paused is not ended");
    assert_eq!(consumer.positions()[&id(0)], offset(1));
    consumer.resume(&[id(0)]).unwrap();
    assert_eq!(read_all(&mut consumer).await[&0], (1..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_offset_out_of_range_follows_the_policy() {
    let broker = FakeBroker::start(2);
    broker.fill(0, 1, 10);
    broker.fill(1, 1, 10);
    let beyond = Position::Offset(offset(99));
    let consumer = builder(&broker).await.partition("orders", 0, beyond);
    let bounded = consumer.partition("orders", 1, Position::Earliest).until([(id(1), offset(10))]);
    let mut consumer = bounded.build().await.unwrap();
    let mut errors = Vec::new();
    let mut records = 0;
    while let Some(item) = timeout(SOON, consumer.next()).await.unwrap() {
        match item {
            Ok(record) => records += i32::from(record.partition.get() == 1),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(records, 10, "the healthy partition is read to its bound");
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].kind(), errors[0].partition()), (ErrorKind::OutOfRange, Some(&id(0))));
    consumer.seek(&id(0), Position::Offset(offset(9))).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 9, "a seek brings a failed partition back");

    let alone = builder(&broker).await.partition("orders", 0, beyond);
    let mut consumer = alone.clone().on_out_of_range(OnOutOfRange::Earliest).build().await.unwrap();
    for expected in 0..10 {
        assert_eq!(next_offset(&mut consumer).await, expected);
    }

    let mut consumer = alone.on_out_of_range(OnOutOfRange::Latest).build().await.unwrap();
    let first = loop {
        // Where the end is when the broker is asked cannot be known here; what is stored later is read.
        match timeout(Duration::from_millis(50), consumer.next()).await {
            Ok(record) => break record.unwrap().unwrap().offset.get(),
            Err(_) => broker.fill(0, 1, 1),
        }
    };
    assert!((10..50).contains(&first), "{first}");
}

#[tokio::test]
async fn broken_bytes_end_that_partition_with_its_name_and_place() {
    let broker = FakeBroker::start(2);
    (0..2).for_each(|partition| broker.fill(partition, 3, 10));
    broker.fetch_faults([FetchFault::Corrupt]);
    let mut consumer = builder(&broker).await.topic("orders").until_end().build().await.unwrap();
    let mut errors = Vec::new();
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while let Some(item) = timeout(SOON, consumer.next_batch()).await.unwrap() {
        match item {
            Ok(batch) => {
                let offsets = offsets.entry(batch.partition.partition.get()).or_default();
                offsets.extend(batch.records.iter().map(|record| record.offset.get()));
            }
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].kind(), errors[0].partition()), (ErrorKind::Protocol, Some(&id(0))));
    assert!(errors[0].message().starts_with("broken bytes at or after offset 20:"), "{}", errors[0]);
    assert_eq!(offsets[&0], (0..20).collect::<Vec<_>>(), "what came before the broken batch is good");
    assert_eq!(offsets[&1], (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_partition_that_cannot_be_read_for_now_is_tried_again() {
    let broker = FakeBroker::start(1);
    broker.fill(0, 10, 10);
    broker.fetch_faults([FetchFault::Send, FetchFault::Fail(ErrorCode::Overloaded)]);
    let consumer = builder(&broker).await.topic("orders").until_end().response_bytes_max(300);
    let mut consumer = consumer.build().await.unwrap();
    assert_eq!(read_all(&mut consumer).await[&0], (0..100).collect::<Vec<_>>());
    assert_eq!(broker.state().fetch_streams, 1, "the stream itself was fine");
}

#[tokio::test]
async fn a_filter_leaves_out_records_and_the_position_moves_past_them() {
    let broker = FakeBroker::start(1);
    broker.fill(0, 10, 10);
    let filter = ReadFilter::new().value_contains("7");
    let mut consumer =
        builder(&broker).await.topic("orders").until_end().filter(filter).build().await.unwrap();
    let offsets = read_all(&mut consumer).await.remove(&0).unwrap();
    assert_eq!(offsets, (0..100).filter(|offset: &i64| offset.to_string().contains('7')).collect::<Vec<_>>());
    assert_eq!(consumer.positions()[&id(0)], offset(100));
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed_and_unchanged_positions_cost_nothing() {
    let broker = FakeBroker::start(2);
    broker.fill(0, 10, 10);
    let consumer = builder(&broker).await.topic("orders").group("billing");
    let mut first = consumer.clone().build().await.unwrap();
    for expected in 0..25 {
        assert_eq!(next_offset(&mut first).await, expected);
    }
    first.commit().await.unwrap();
    first.commit_async().await.unwrap();
    assert_eq!(broker.state().commits, 1);
    drop(first);
    let mut second = consumer.clone().build().await.unwrap();
    assert_eq!(next_offset(&mut second).await, 25);
    second.seek(&id(0), Position::Committed).await.unwrap();
    assert_eq!(next_offset(&mut second).await, 25);
    second.close().await.unwrap();
    assert_eq!(
        broker.state().committed[&("billing".to_owned(), 0)],
        25,
        "close commits only with auto-commit"
    );
    let latest = consumer.group("reports").fallback(Position::Latest);
    let fresh = latest.build().await.unwrap();
    assert_eq!(fresh.positions()[&id(0)], offset(100));
}

#[tokio::test]
async fn auto_commit_stores_positions_while_reading_and_on_close() {
    let broker = FakeBroker::start(1);
    broker.fill(0, 10, 10);
    let consumer = builder(&broker).await.topic("orders").group("billing");
    let mut consumer = consumer.auto_commit(Duration::from_millis(10)).build().await.unwrap();
    for expected in 0..100 {
        assert_eq!(next_offset(&mut consumer).await, expected);
    }
    let stored = || broker.state().committed.get(&("billing".to_owned(), 0)).copied();
    while stored() != Some(100) {
        // Nothing more to read: the timer alone wakes the consumer.
        drop(timeout(Duration::from_millis(20), consumer.next()).await);
    }
    broker.fill(0, 1, 1);
    assert_eq!(next_offset(&mut consumer).await, 100);
    consumer.close().await.unwrap();
    assert_eq!(stored(), Some(101));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    let broker = FakeBroker::start(1);
    let builder = builder(&broker).await;
    let cases = [
        (builder.clone(), "a consumer needs a topic or a partition"),
        (builder.clone().topic("orders").start(Position::Committed), "Position::Committed needs a group"),
        (builder.clone().topic("orders").auto_commit(SOON), "auto_commit needs a group"),
        (builder.clone().topic("orders").credit_bytes(0), "credit_bytes must be at least 1"),
        (builder.clone().partition("orders", -1, Position::Latest), "a partition cannot be negative"),
        (
            builder.clone().topic("orders").until([(id(7), offset(1))]),
            "until names orders-7, which this consumer does not read",
        ),
    ];
    for (builder, message) in cases {
        let error = builder.build().await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidRequest, message));
    }
    let error = builder.topic("missing").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_a_producer_stores_a_waiting_consumer_gets() {
    let broker = FakeBroker::start(1);
    broker.produce_faults([ProduceFault::Store]);
    let client = Client::connect(&broker.url()).await.unwrap();
    let mut consumer = client.consumer().topic("orders").build().await.unwrap();
    assert!(consumer.next().now_or_never().is_none());
    let producer = client.producer().build().unwrap();
    producer.send(Record::new("orders").value("0")).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 0);
}
