//! The client against a real broker in the same process.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod groups;
mod queues;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use tidelog_client::testing::Broker;
use tidelog_client::{
    Acks, Client, Compression, ErrorKind, NewTopic, Offset, PartitionIndex, Position, ReadFilter, Record,
    Timestamp, TopicChanges, TopicName, TopicPartition,
};

async fn broker_with(topic: &str, partitions: i32) -> (Broker, Client) {
    let broker = Broker::start().await.unwrap();
    let client = broker.client().await.unwrap();
    client.admin().create_topic(NewTopic::new(topic).partitions(partitions)).await.unwrap();
    (broker, client)
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new(topic).unwrap(),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

/// Reads everything there is, as (partition, offset, value).
async fn read_all(client: &Client, topic: &str) -> Vec<(i32, i64, String)> {
    let consumer =
        client.consumer().topic(topic).start(Position::Earliest).until_end().build().await.unwrap();
    let records: Vec<_> = consumer.try_collect().await.unwrap();
    let text = |bytes: tidelog_client::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    records
        .into_iter()
        .map(|record| (record.partition.get(), record.offset.get(), text(record.value.unwrap())))
        .collect()
}

#[tokio::test]
async fn records_come_back_in_order_with_key_headers_and_time_under_every_codec() {
    let (_broker, client) = broker_with("orders", 3).await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs {
        let producer = client.producer().compression(codec).linger(Duration::from_millis(5)).build().unwrap();
        let mut receipts = Vec::new();
        for number in 0..200 {
            let record = Record::new("orders")
                .key(format!("key-{}", number % 7))
                .value(format!("{codec:?} {number}"))
                .header("kind", "test")
                .timestamp(Timestamp::from_millis(1000 + number));
            receipts.push(producer.enqueue(record).await.unwrap());
        }
        producer.flush().await.unwrap();
        for receipt in receipts {
            receipt.await.unwrap();
        }
        producer.close(Duration::from_secs(5)).await.unwrap();
    }
    let consumer =
        client.consumer().topic("orders").start(Position::Earliest).until_end().build().await.unwrap();
    let records: Vec<_> = consumer.try_collect().await.unwrap();
    assert_eq!(records.len(), 1000);
    let mut of_key: BTreeMap<Vec<u8>, Vec<i64>> = BTreeMap::new();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &records {
        assert_eq!(record.headers, [("kind".into(), Some("test".into()))]);
        let expected = next.entry(record.partition.get()).or_default();
        assert_eq!(record.offset.get(), *expected);
        *expected += 1;
        of_key.entry(record.key.clone().unwrap().to_vec()).or_default().push(record.timestamp.millis());
    }
    assert_eq!(of_key.len(), 7);
    for times in of_key.values() {
        let per_codec = times.len() / codecs.len();
        assert!(times.chunks(per_codec).all(<[i64]>::is_sorted), "{times:?}");
    }
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed_after_a_restart_of_the_broker() {
    let (mut broker, client) = broker_with("orders", 1).await;
    let producer = client.producer().build().unwrap();
    for number in 0..10 {
        producer.send(Record::new("orders").value(number.to_string())).await.unwrap();
    }
    let mut consumer =
        client.consumer().topic("orders").group("billing").start(Position::Earliest).build().await.unwrap();
    for _ in 0..4 {
        consumer.try_next().await.unwrap().unwrap();
    }
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    broker.restart().await.unwrap();
    let mut consumer = client.consumer().topic("orders").group("billing").build().await.unwrap();
    assert_eq!(consumer.try_next().await.unwrap().unwrap().offset.get(), 4);
    let groups = client.admin().groups().await.unwrap();
    assert_eq!(groups.len(), 1);
    client.admin().delete_group("billing").await.unwrap();
    assert!(client.admin().group_offsets("billing").await.unwrap().is_empty());
}

#[tokio::test]
async fn producer_and_consumer_outlive_restarts_of_the_broker_and_each_record_is_stored_once() {
    let (mut broker, client) = broker_with("orders", 2).await;
    let producer = client.producer().linger(Duration::ZERO).build().unwrap();
    let mut consumer = client.consumer().topic("orders").start(Position::Earliest).build().await.unwrap();
    let mut seen = 0;
    for round in 0..6 {
        let mut receipts = Vec::new();
        for number in 0..50 {
            let record = Record::new("orders").key(number.to_string()).value(format!("{round} {number}"));
            receipts.push(producer.enqueue(record).await.unwrap());
        }
        broker.restart().await.unwrap();
        for receipt in receipts {
            receipt.await.unwrap();
        }
        // Also those whose answer was lost with the connection.
        let stored: i64 = ends(&client, "orders", 2).await;
        assert_eq!(stored, 50 * (round + 1));
        while seen < stored {
            consumer.try_next().await.unwrap().unwrap();
            seen += 1;
        }
    }
}

async fn ends(client: &Client, topic: &str, partitions: i32) -> i64 {
    let places: Vec<_> = (0..partitions).map(|index| (place(topic, index), Position::Latest)).collect();
    let offsets = client.admin().list_offsets(&places).await.unwrap();
    offsets.iter().map(|info| info.offset.get()).sum()
}

#[tokio::test]
async fn a_time_an_offset_and_a_filter_choose_what_is_read() {
    let (_broker, client) = broker_with("orders", 1).await;
    let producer = client.producer().build().unwrap();
    for number in 0..100_i64 {
        let record = Record::new("orders")
            .key(if number % 10 == 0 { "ten" } else { "other" })
            .value(number.to_string())
            .timestamp(Timestamp::from_millis(1_000 * number));
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    let first = |position| {
        let builder = client.consumer().partition("orders", 0, position).until_end();
        async { builder.build().await.unwrap().try_next().await.unwrap().map(|record| record.offset.get()) }
    };
    assert_eq!(first(Position::Timestamp(Timestamp::from_millis(41_500))).await, Some(42));
    assert_eq!(first(Position::Offset(Offset::new(17).unwrap())).await, Some(17));
    assert_eq!(first(Position::Timestamp(Timestamp::from_millis(1_000_000))).await, None);
    let filter = ReadFilter::new().key_equals("ten");
    let consumer = client.consumer().topic("orders").start(Position::Earliest).filter(filter).until_end();
    let found: Vec<_> = consumer.build().await.unwrap().try_collect().await.unwrap();
    let offsets: Vec<_> = found.iter().map(|record| record.offset.get()).collect();
    assert_eq!(offsets, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[tokio::test]
async fn what_the_broker_refuses_says_why_and_what_to_do() {
    let (_broker, client) = broker_with("orders", 1).await;
    let admin = client.admin();
    let taken = admin.create_topic(NewTopic::new("orders")).await.unwrap_err();
    assert_eq!((taken.kind(), taken.code()), (ErrorKind::Conflict, Some("TOPIC_ALREADY_EXISTS")));
    let unknown = admin.describe_topic("nope").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    admin.alter_topic("orders", TopicChanges::new().set("max.message.bytes", "2000")).await.unwrap();
    let producer = client.producer().build().unwrap();
    let large = producer.send(Record::new("orders").value(vec![7; 5000])).await.unwrap_err();
    assert_eq!((large.kind(), large.is_retryable()), (ErrorKind::TooLarge, false));
    assert_eq!(large.into_record().unwrap().get_value().map(|value| value.len()), Some(5000));
    let outside =
        client.consumer().partition("orders", 0, Position::Offset(Offset::new(5).unwrap())).build().await;
    let outside = match outside {
        Ok(mut consumer) => consumer.try_next().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(outside.kind(), ErrorKind::OutOfRange);
    producer.send(Record::new("orders").value("small")).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_acknowledgement_ends_in_the_log() {
    let (_broker, client) = broker_with("orders", 1).await;
    for acks in [Acks::None, Acks::Written, Acks::Durable] {
        let producer = client.producer().acks(acks).build().unwrap();
        producer.send(Record::new("orders").value(format!("{acks:?}"))).await.unwrap();
        producer.close(Duration::from_secs(5)).await.unwrap();
    }
    let mut consumer = client.consumer().topic("orders").start(Position::Earliest).build().await.unwrap();
    for expected in ["None", "Written", "Durable"] {
        assert_eq!(consumer.try_next().await.unwrap().unwrap().value.unwrap(), expected);
    }
    assert_eq!(read_all(&client, "orders").await.len(), 3);
}
