//! Members of a group against a real broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use tidelog_client::admin::{Seek, WhenActive};
use tidelog_client::consumer::Rebalance;
use tidelog_client::testing::Broker;
use tidelog_client::{
    Client, Consumer, ErrorKind, GroupOffset, NewTopic, Offset, Position, Record, TopicPartition,
};
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

/// Polls both until each reads two partitions.
async fn until_shared(first: &mut Consumer, second: &mut Consumer) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while (first.positions().len(), second.positions().len()) != (2, 2) {
        assert!(tokio::time::Instant::now() < deadline);
        let quiet = Duration::from_millis(20);
        let _nothing = tokio::join!(timeout(quiet, first.next()), timeout(quiet, second.next()));
    }
}

/// Polls both until `count` values have come, from whomever, beside those that come twice.
async fn values_of_both(first: &mut Consumer, second: &mut Consumer, count: usize) -> Vec<i32> {
    let mut seen = Vec::new();
    while seen.iter().collect::<BTreeSet<_>>().len() < count {
        seen.push(tokio::select! { value = value(first) => value, value = value(second) => value });
    }
    seen
}

async fn seek_all(client: &Client, to: i64) -> tidelog_client::Result<Seek> {
    let group = client.admin().group_offsets("billing").await.unwrap();
    let offset = Offset::new(to).unwrap();
    let positions: Vec<_> = group.into_iter().map(|held| (held.partition, offset)).collect();
    assert_eq!(positions.len(), 4);
    client.admin().seek_group("billing", &positions, WhenActive::Move).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_reads_is_sought_back_and_forth_and_goes_on_there() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 4).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let member = |events: &Arc<Mutex<Vec<Rebalance>>>| {
        let heard = Arc::clone(events);
        let listen = move |event: &Rebalance| heard.lock().unwrap().push(event.clone());
        let builder = client.consumer().topic("orders").join_group("billing").on_rebalance(listen);
        builder.auto_commit(Duration::from_millis(50)).build()
    };
    let (mut first, mut second) = (member(&events).await.unwrap(), member(&events).await.unwrap());
    until_shared(&mut first, &mut second).await;
    produce(&client, 4, 0..40).await;
    assert_eq!(values_of_both(&mut first, &mut second, 40).await.len(), 40);
    first.commit().await.unwrap();
    second.commit().await.unwrap();

    // Back: everything comes again, once, while the members commit all the time.
    events.lock().unwrap().clear();
    assert_eq!(seek_all(&client, 0).await.unwrap(), Seek::Pending);
    assert_eq!(client.admin().describe_group("billing").await.unwrap().pending_seeks.len(), 4);
    let again = values_of_both(&mut first, &mut second, 40).await;
    assert_eq!((again.len(), again.into_iter().collect::<BTreeSet<_>>()), (40, (0..40).collect()));
    let heard = events.lock().unwrap().clone();
    let given = |event: &Rebalance| match event {
        Rebalance::Assigned(given) => given.len(),
        _ => 0,
    };
    assert!(heard.iter().map(given).sum::<usize>() >= 4, "{heard:?}");
    assert!(heard.iter().any(|event| matches!(event, Rebalance::Revoked(_))), "{heard:?}");
    assert!(!heard.iter().any(|event| matches!(event, Rebalance::Lost(_))), "{heard:?}");

    // Forth: what lies between is left out, what comes after is not.
    produce(&client, 4, 40..80).await;
    assert_eq!(seek_all(&client, 20).await.unwrap(), Seek::Pending);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !client.admin().describe_group("billing").await.unwrap().pending_seeks.is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        let quiet = Duration::from_millis(20);
        let _read = tokio::join!(timeout(quiet, first.next()), timeout(quiet, second.next()));
    }
    produce(&client, 4, 80..100).await;
    let rest: BTreeSet<i32> = values_of_both(&mut first, &mut second, 20).await.into_iter().collect();
    assert_eq!(rest, (80..100).collect());
    first.close().await.unwrap();
    second.close().await.unwrap();
    let committed = client.admin().group_offsets("billing").await.unwrap();
    assert!(committed.iter().all(|held| held.offset.get() == 25), "{committed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_move_a_group_that_reads_unasked() {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    topic(&client, 1).await;
    produce(&client, 1, 0..4).await;
    let mut consumer = client.consumer().topic("orders").join_group("billing").build().await.unwrap();
    assert_eq!(values(&mut consumer, 4).await, (0..4).collect());
    consumer.commit().await.unwrap();
    let partition = consumer.positions().into_keys().next().unwrap();
    let admin = client.admin();

    let start = [(partition.clone(), Offset::ZERO)];
    let refused = admin.seek_group("billing", &start, WhenActive::Refuse).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Conflict, Some("NON_EMPTY_GROUP")));
    let commit = [GroupOffset::new(partition.clone(), Offset::ZERO)];
    assert!(admin.commit_offsets("billing", &commit).await.is_err());
    assert_eq!(admin.delete_group("billing").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(admin.delete_group_offsets("billing", std::slice::from_ref(&partition)).await.is_err());

    let described = admin.describe_group("billing").await.unwrap();
    assert_eq!((described.protocol.as_str(), described.state.as_str()), ("consumer", "Stable"));
    let member = described.members.first().unwrap();
    assert_eq!((member.partitions.clone(), member.host.as_str()), (vec![partition.clone()], "127.0.0.1"));
    let listed = admin.groups().await.unwrap();
    let listed = listed.first().unwrap();
    assert_eq!((listed.members, listed.partitions, listed.state.as_str()), (1, 1, "Stable"));

    consumer.close().await.unwrap();
    assert_eq!(admin.seek_group("billing", &start, WhenActive::Refuse).await.unwrap(), Seek::Done);
    assert_eq!(admin.group_offsets("billing").await.unwrap().first().unwrap().offset, Offset::ZERO);
    admin.delete_group_offsets("billing", &[partition]).await.unwrap();
    assert!(admin.group_offsets("billing").await.unwrap().is_empty());
    assert_eq!(admin.describe_group("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}
