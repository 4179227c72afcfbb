//! What a client can do wrong: the broker says which rule was broken, keeps what it has, and goes on.

use futures::StreamExt as _;
use tidelog_client::{Bytes, Client, Error, ErrorKind, NewTopic, Offset, Position, Record};
use tidelog_model::Timestamp;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::{PartitionBatch, ProduceRequest};
use tidelog_tests::broker::{BrokerCommand, BrokerProcess};
use tokio::runtime::Runtime;

use crate::assert_one_clear_line;

const TOPIC: &str = "orders";

/// A broker with one topic of one partition that holds three records.
struct Fixture {
    runtime: Runtime,
    broker: BrokerProcess,
    client: Client,
    _home: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let client = Client::connect(&broker.url()).await.unwrap();
            client.admin().create_topic(NewTopic::new(TOPIC).partitions(1)).await.unwrap();
            let producer = client.producer().build().unwrap();
            for value in ["one", "two", "three"] {
                producer.send(Record::new(TOPIC).value(value)).await.unwrap();
            }
            client
        });
        Self { runtime, broker, client, _home: home }
    }

    /// The three records are there and a fourth one can be written: the error cost nothing.
    fn assert_unharmed(&self, what: &str) {
        self.runtime.block_on(async {
            let mut consumer = self.client.consumer().topic(TOPIC).until_end().build().await.unwrap();
            let mut values = Vec::new();
            while let Some(record) = consumer.next().await {
                values.push(record.unwrap().value.unwrap());
            }
            assert_eq!(values, ["one", "two", "three"].map(Bytes::from), "after {what}");
            let mut topics = self.client.admin().topics().await.unwrap();
            topics.retain(|topic| topic.name.as_str() != TOPIC);
            assert!(topics.is_empty(), "after {what}: {topics:?}");
        });
    }
}

fn assert_error(what: &str, error: &Error, kind: ErrorKind, names: &[&str]) {
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert!(!error.may_have_been_written(), "{what}: nothing was written: {error}");
    assert_one_clear_line(what, &error.to_string(), names);
}

#[test]
fn an_unknown_topic_is_named() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(async {
        let client = &fixture.client;
        let error = client.admin().describe_topic("ordres").await.unwrap_err();
        assert_error("describe", &error, ErrorKind::NotFound, &["ordres"]);
        let error = client.consumer().topic("ordres").build().await.unwrap_err();
        assert_error("consume", &error, ErrorKind::NotFound, &["ordres"]);
        let producer = client.producer().build().unwrap();
        let error = producer.send(Record::new("ordres").value("x")).await.unwrap_err();
        assert_error("produce", error.error(), ErrorKind::NotFound, &["ordres"]);
        assert!(error.into_record().is_some(), "the record comes back");
        let error = producer.send(Record::new(TOPIC).partition(7).value("x")).await.unwrap_err();
        assert_error("partition", error.error(), ErrorKind::NotFound, &[TOPIC, "7"]);
    });
    fixture.assert_unharmed("unknown topics");
}

#[test]
fn an_offset_out_of_range_is_answered_with_the_range() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(async {
        let position = Position::Offset(Offset::new(1_000).unwrap());
        let mut consumer = fixture.client.consumer().partition(TOPIC, 0, position).build().await.unwrap();
        let error = consumer.next().await.unwrap().unwrap_err();
        assert_error("offset", &error, ErrorKind::OutOfRange, &["1000", "3", TOPIC]);
    });
    fixture.assert_unharmed("an offset out of range");
}

#[test]
fn a_message_too_large_is_answered_with_both_sizes() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(async {
        let producer = fixture.client.producer().build().unwrap();
        let error = producer.send(Record::new(TOPIC).value(vec![7; 3 << 20])).await.unwrap_err();
        assert_error("large", error.error(), ErrorKind::TooLarge, &["max.message.bytes"]);
        assert!(error.error().limit() < error.error().actual(), "{error:?}");
        assert_eq!(error.into_record().unwrap().get_value().unwrap().len(), 3 << 20);
    });
    fixture.assert_unharmed("a message too large");
}

#[test]
fn a_topic_that_breaks_a_rule_is_refused_with_the_rule() {
    let fixture = Fixture::new();
    let cases: [(&str, NewTopic, ErrorKind, &[&str]); 6] = [
        ("taken name", NewTopic::new(TOPIC), ErrorKind::Conflict, &[TOPIC]),
        ("bad name", NewTopic::new("a/b"), ErrorKind::InvalidRequest, &["a/b"]),
        ("dots", NewTopic::new(".."), ErrorKind::InvalidRequest, &[".."]),
        ("too many", NewTopic::new("t").partitions(1_000_000), ErrorKind::InvalidRequest, &["1000000"]),
        (
            "unknown config",
            NewTopic::new("t").config("retentoin.ms", "5"),
            ErrorKind::InvalidRequest,
            &["retentoin.ms", "retention.ms"],
        ),
        (
            "bad value",
            NewTopic::new("t").config("retention.ms", "a week"),
            ErrorKind::InvalidRequest,
            &["retention.ms", "a week"],
        ),
    ];
    for (what, topic, kind, names) in cases {
        let error = fixture.runtime.block_on(fixture.client.admin().create_topic(topic)).unwrap_err();
        assert_error(what, &error, kind, names);
    }
    fixture.assert_unharmed("bad topics");
}

/// One good batch as the broker takes it.
fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, 256);
    builder.append(Timestamp::from_millis(1_700_000_000_000), Some(b"key"), Some(b"value"), &[]);
    builder.build().unwrap().bytes().to_vec()
}

#[test]
fn a_broken_batch_is_refused_whichever_byte_is_broken() {
    let fixture = Fixture::new();
    let good = batch();
    fixture.runtime.block_on(async {
        let mut log = LogClient::connect(fixture.broker.url()).await.unwrap();
        for position in 0..good.len() {
            let mut broken = good.clone();
            broken[position] ^= 0x55;
            let batch = PartitionBatch { topic: TOPIC.to_owned(), partition: 0, record_batch: broken.into() };
            let request = ProduceRequest { request_id: 9, acks: 1, batches: vec![batch] };
            // The whole request may be refused, or only its batch.
            let text = match log.produce_batches(request).await {
                Err(status) => status.message().to_owned(),
                Ok(response) => {
                    let result = response.into_inner().results.remove(0);
                    let Some(error) = result.error else {
                        // The leader epoch is the broker's to write and lies outside of the checksum.
                        assert!((12..16).contains(&position), "byte {position} was changed and accepted");
                        continue;
                    };
                    assert!(!error.may_have_been_written, "byte {position}: {error:?}");
                    error.message
                }
            };
            assert_one_clear_line(&format!("byte {position}"), &text, &[]);
        }
    });
}

#[test]
fn a_cut_batch_is_refused_at_every_length() {
    let fixture = Fixture::new();
    let good = batch();
    fixture.runtime.block_on(async {
        let mut log = LogClient::connect(fixture.broker.url()).await.unwrap();
        for length in 0..good.len() {
            let record_batch = good[..length].to_vec().into();
            let batch = PartitionBatch { topic: TOPIC.to_owned(), partition: 0, record_batch };
            let request = ProduceRequest { request_id: 9, acks: 1, batches: vec![batch] };
            let refused = match log.produce_batches(request).await {
                Err(_) => true,
                Ok(response) => response.into_inner().results[0].error.is_some(),
            };
            assert!(refused, "{length} of {} bytes were accepted", good.len());
        }
    });
    fixture.assert_unharmed("cut batches");
}
