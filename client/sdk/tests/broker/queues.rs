//! Members of queue groups against a real broker.

use std::time::Duration;

use futures::StreamExt;
use tidelog_client::admin::{DeadLetterSelector, NewQueueGroup, QueueLane};
use tidelog_client::queue::Reason;
use tidelog_client::testing::Broker;
use tidelog_client::{Client, Delivery, ErrorKind, NewTopic, QueueConsumer, Record};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a record that is on its way, short enough to wait for in vain.
const MOMENT: Duration = Duration::from_millis(100);

/// A broker with the values 0 to `count` in one partition, and a queue group that reads them.
async fn shop(count: i32, configs: &[(&str, &str)]) -> (Broker, Client) {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    client.admin().create_topic(NewTopic::new("orders").partitions(1)).await.unwrap();
    let producer = client.producer().build().unwrap();
    for value in 0..count {
        producer.send(Record::new("orders").value(value.to_string())).await.unwrap();
    }
    producer.close(PATIENCE).await.unwrap();
    let mut group = NewQueueGroup::new("mail", ["orders"]).config("share.auto.offset.reset", "earliest");
    for (key, value) in configs {
        group = group.config(*key, *value);
    }
    client.admin().create_queue_group(group).await.unwrap();
    (broker, client)
}

async fn next(queue: &mut QueueConsumer) -> Delivery {
    timeout(PATIENCE, queue.next()).await.expect("a record in time").unwrap().unwrap()
}

fn shape(delivery: &Delivery) -> (i64, u32) {
    (delivery.offset.get(), delivery.attempt)
}

async fn lane(client: &Client) -> QueueLane {
    client.admin().describe_queue_group("mail").await.unwrap().lanes.into_iter().next().unwrap()
}

async fn until(client: &Client, what: &str, is_so: impl Fn(&QueueLane) -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        while !is_so(&lane(client).await) {
            look.tick().await;
        }
    };
    timeout(PATIENCE, wait).await.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_settled_and_what_failed_comes_again() {
    let (_broker, client) = shop(5, &[("tidelog.queue.backoff", "fixed(1ms)")]).await;
    let mut queue = client.queue("mail").subscribe().await.unwrap();
    let mut acked = next(&mut queue).await;
    assert_eq!((shape(&acked), acked.value.as_deref()), ((0, 1), Some(&b"0"[..])));
    acked.ack().await.unwrap();
    assert_eq!(acked.ack().await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut failed = next(&mut queue).await;
    failed.retry_after(Duration::from_millis(1), Reason::new("smtp", "no answer")).await.unwrap();
    let mut dead = next(&mut queue).await;
    dead.dead_letter(Reason::new("no-such-user", "")).await.unwrap();
    let mut released = next(&mut queue).await;
    assert!(released.keep_alive(Some(Duration::from_secs(40))).await.unwrap() > Duration::from_secs(30));
    released.release().await.unwrap();
    drop(next(&mut queue).await);

    let mut again = vec![next(&mut queue).await, next(&mut queue).await, next(&mut queue).await];
    again.sort_by_key(|delivery| delivery.offset);
    // A release is no attempt; a record that is dropped has failed.
    assert_eq!(again.iter().map(shape).collect::<Vec<_>>(), [(1, 2), (3, 1), (4, 2)]);
    for mut delivery in again {
        delivery.ack().await.unwrap();
    }
    queue.close(PATIENCE).await.unwrap();
    until(&client, "one dead letter", |lane| lane.dead == 1 && lane.start.get() == 5).await;
    let selector = DeadLetterSelector { reason_code: Some("no-such-user".to_owned()), ..Default::default() };
    let letters = client.admin().dead_letters("mail", &selector, 10, None).await.unwrap();
    assert_eq!(letters.items.iter().map(|letter| letter.offset.get()).collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_has_no_more_than_its_credit_and_gives_back_what_nobody_took() {
    let (_broker, client) = shop(5, &[]).await;
    let mut queue = client.queue("mail").credit(2).subscribe().await.unwrap();
    let (mut first, second) = (next(&mut queue).await, next(&mut queue).await);
    assert!(timeout(MOMENT, queue.next()).await.is_err(), "more than its credit");
    assert_eq!(lane(&client).await.leased, 2);
    first.ack().await.unwrap();
    until(&client, "the third is out", |lane| lane.leased == 2).await;
    drop(first);
    let closing = tokio::spawn(queue.close(PATIENCE));
    // The third was never taken: it is given back. The second is not settled yet.
    until(&client, "the third is back", |lane| lane.leased == 1 && lane.available == 1).await;
    assert!(!closing.is_finished());
    let mut second = second;
    second.ack().await.unwrap();
    drop(second);
    closing.await.unwrap().unwrap();
    let mut other = client.queue("mail").subscribe().await.unwrap();
    assert_eq!(shape(&next(&mut other).await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_goes_on_when_the_broker_comes_back() {
    let (mut broker, client) = shop(3, &[("tidelog.queue.backoff", "fixed(1ms)")]).await;
    let mut queue = client.queue("mail").subscribe().await.unwrap();
    let mut first = next(&mut queue).await;
    let mut second = next(&mut queue).await;
    let mut third = next(&mut queue).await;
    first.ack().await.unwrap();
    broker.restart().await.unwrap();
    // Whether what it had counts as failed depends on whether the broker heard the end of the stream in time.
    let mut again = vec![next(&mut queue).await, next(&mut queue).await];
    again.sort_by_key(|delivery| delivery.offset);
    assert_eq!(again.iter().map(|delivery| delivery.offset.get()).collect::<Vec<_>>(), [1, 2]);
    let stale = second.ack().await.unwrap_err();
    assert_eq!((stale.kind(), stale.is_retryable()), (ErrorKind::Conflict, false), "{stale}");
    third.ack().await.unwrap_err();
    for delivery in &mut again {
        delivery.ack().await.unwrap();
    }
    assert_eq!(lane(&client).await.start.get(), 3);
    // Nothing is in its hands: the broker does not wait for it.
    let restarted = timeout(Duration::from_secs(4), broker.restart()).await;
    restarted.expect("a restart before the time for members is over").unwrap();
    let producer = client.producer().build().unwrap();
    producer.send(Record::new("orders").value("3")).await.unwrap();
    assert_eq!(shape(&next(&mut queue).await), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_there_is_told_at_once_and_one_with_members_is_not_deleted() {
    let (_broker, client) = shop(1, &[]).await;
    let error = client.queue("nobody").subscribe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = client.queue("mail").credit(0).subscribe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    let error = client.queue("mail").credit(100_001).subscribe().await.unwrap_err();
    assert!(error.message().contains("credit_records"), "{error}");
    let mut queue = client.queue("mail").subscribe().await.unwrap();
    next(&mut queue).await.ack().await.unwrap();
    let error = client.admin().delete_group("mail").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    queue.close(PATIENCE).await.unwrap();
    let deleted = async {
        // The broker hears of the end of the stream a moment later.
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while client.admin().delete_group("mail").await.is_err() {
            look.tick().await;
        }
    };
    timeout(PATIENCE, deleted).await.expect("a group without members is deleted");
    let error = client.queue("mail").subscribe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
