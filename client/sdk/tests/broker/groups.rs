//! Members of a group against a real broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use tidelog_client::consumer::Rebalance;
use tidelog_client::testing::Broker;
use tidelog_client::{Client, Consumer, NewTopic, Position, Record, TopicPartition};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn topic(client: &Client, partitions: i32) {
    client.admin().create_topic(NewTopic::new("orders").partitions(partitions)).await.unwrap();
}

async fn produce(client: &Client, partitions: i32, values: std::ops::Range<i32>) {
    let producer = client.producer().build().unwrap();
    for value in values {
        let record = Record::new("orders").value(value.to_string()).partition(value % partitions);
        producer.send(record).await.unwrap();
    }
    producer.close(PATIENCE).await.unwrap();
}

async fn value(consumer: &mut Consumer) -> i32 {
    let record = timeout(PATIENCE, consumer.next()).await.expect("a record in time").unwrap().unwrap();
    std::str::from_utf8(&record.value.unwrap()).unwrap().parse().unwrap()
}

async fn values(consumer: &mut Consumer, count: usize) -> BTreeSet<i32> {
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        seen.insert(value(consumer).await);
    }
    seen
}

/// Polls until the consumer reads this many partitions.
async fn until_reading(consumer: &mut Consumer, count: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while consumer.positions().len() != count {
        assert!(tokio::time::Instant::now() < deadline, "reads {:?}", consumer.positions());
        let polled = timeout(Duration::from_millis(20), consumer.next()).await;
        assert!(polled.is_err(), "nothing was produced: {polled:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_and_take_over_from_one_that_leaves() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 4).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let mut first = client
        .consumer()
        .topic("orders")
        .join_group("billing")
        .on_rebalance(move |event| heard.lock().unwrap().push(event.clone()))
        .build()
        .await
        .unwrap();
    until_reading(&mut first, 4).await;
    let mut second = client.consumer().topic("orders").join_group("billing").build().await.unwrap();
    // Both are polled, because giving up and taking over happens while they are.
    let (mut left, mut right) = (0, 0);
    while (left, right) != (2, 2) {
        let quiet = Duration::from_millis(20);
        let _nothing = tokio::join!(timeout(quiet, first.next()), timeout(quiet, second.next()));
        (left, right) = (first.positions().len(), second.positions().len());
    }
    let shared: BTreeSet<TopicPartition> =
        first.positions().into_keys().chain(second.positions().into_keys()).collect();
    assert_eq!(shared.len(), 4, "no partition has two readers");

    produce(&client, 4, 0..40).await;
    let (mine, yours) = tokio::join!(values(&mut first, 20), values(&mut second, 20));
    assert_eq!(mine.union(&yours).count(), 40);
    first.commit().await.unwrap();
    second.commit().await.unwrap();

    second.close().await.unwrap();
    produce(&client, 4, 40..80).await;
    assert_eq!(values(&mut first, 40).await, (40..80).collect());
    let events = events.lock().unwrap().clone();
    let revoked = events.iter().filter(|event| matches!(event, Rebalance::Revoked(gone) if gone.len() == 2));
    assert_eq!(revoked.count(), 1, "{events:?}");
    first.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_not_read_again_by_the_next_member() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 2).await;
    produce(&client, 2, 0..10).await;
    let member = || client.consumer().topic("orders").join_group("billing");
    let mut consumer = member().auto_commit(Duration::from_secs(3600)).build().await.unwrap();
    assert_eq!(values(&mut consumer, 10).await, (0..10).collect());
    assert_eq!(consumer.lag().into_values().sum::<u64>(), 0);
    // Closing commits.
    consumer.close().await.unwrap();
    produce(&client, 2, 10..14).await;
    let mut consumer = member().build().await.unwrap();
    assert_eq!(values(&mut consumer, 4).await, (10..14).collect());
    // Dropped without a commit: it leaves the group all the same, and the four come again.
    drop(consumer);
    let mut consumer = member().build().await.unwrap();
    assert_eq!(values(&mut consumer, 4).await, (10..14).collect());
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_another_member_is_committed_first_so_that_nothing_is_read_twice() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 6).await;
    produce(&client, 6, 0..300).await;
    let member =
        || client.consumer().topic("orders").join_group("billing").auto_commit(Duration::from_secs(3600));
    let mut seen: BTreeMap<i32, u32> = BTreeMap::new();
    let mut first = member().build().await.unwrap();
    for _ in 0..100 {
        *seen.entry(value(&mut first).await).or_default() += 1;
    }
    let mut second = member().build().await.unwrap();
    while seen.len() < 300 {
        tokio::select! {
            value = value(&mut first) => *seen.entry(value).or_default() += 1,
            value = value(&mut second) => *seen.entry(value).or_default() += 1,
        }
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_survives_a_restart_of_the_broker() {
    let mut broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 2).await;
    produce(&client, 2, 0..4).await;
    let mut consumer = client.consumer().topic("orders").join_group("billing").build().await.unwrap();
    assert_eq!(values(&mut consumer, 4).await, (0..4).collect());
    consumer.commit().await.unwrap();
    broker.restart().await.unwrap();
    produce(&client, 2, 4..8).await;
    assert_eq!(values(&mut consumer, 4).await, (4..8).collect());
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_not_polled_makes_room_and_comes_back() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 2).await;
    let member = || client.consumer().topic("orders").join_group("billing");
    let mut lazy = member().max_poll_interval(Duration::from_millis(100)).build().await.unwrap();
    until_reading(&mut lazy, 2).await;
    let mut other = member().build().await.unwrap();
    // Nobody polls the first one: everything goes to the second.
    until_reading(&mut other, 2).await;
    produce(&client, 2, 0..4).await;
    assert_eq!(values(&mut other, 4).await, (0..4).collect());
    other.commit().await.unwrap();
    other.close().await.unwrap();
    until_reading(&mut lazy, 2).await;
    produce(&client, 2, 4..8).await;
    assert_eq!(values(&mut lazy, 4).await, (4..8).collect());
    lazy.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_cannot_be_asked_for_is_refused() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    let member = || client.consumer().topic("orders").join_group("billing");
    for (refused, word) in [
        (member().until_end().build().await, "end"),
        (member().start(Position::Earliest).build().await, "fallback"),
        (member().partition("orders", 0, Position::Earliest).build().await, "topics"),
        (client.consumer().topic("orders").instance_id("a").build().await, "join_group"),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut unknown = member().assignor("astrologer").build().await.unwrap();
    let error = timeout(PATIENCE, unknown.next()).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("astrologer"), "{error}");
    assert!(unknown.next().await.is_none());
}
