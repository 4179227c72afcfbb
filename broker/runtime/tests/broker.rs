//! The broker through its API: what it promised is there after it was dropped without a goodbye.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::Path;

use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_runtime::group::GroupMember;
use tidelog_runtime::{Acks, Broker, BrokerOptions, CommitOffsets, CreateTopic, FetchOffsets, OffsetCommit};

fn options(dir: &Path) -> BrokerOptions {
    BrokerOptions { disk_reserve_bytes: 0, ..BrokerOptions::new(dir) }
}

fn name(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn partition(index: i32) -> PartitionIndex {
    PartitionIndex::new(index).unwrap()
}

fn create(topic: &str, partitions: i32) -> CreateTopic {
    CreateTopic {
        name: name(topic),
        partitions: Some(partitions),
        configs: BTreeMap::new(),
        validate_only: false,
    }
}

fn batch(values: &[&str]) -> RecordBatch {
    let mut builder = BatchBuilder::new(Compression::Lz4, 1024);
    for value in values {
        builder.append(Timestamp::from_millis(1000), None, Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap()
}

async fn read(broker: &Broker, topic: &str, index: i32) -> Vec<(i64, String)> {
    let partition = broker.partition(&name(topic), partition(index)).unwrap();
    let mut records = Vec::new();
    let mut from = partition.watermarks().log_start;
    while from < partition.watermarks().high_watermark {
        let slice = partition.read(from, 1 << 20).await.unwrap();
        let batches = RecordBatch::split(slice.bytes).flat_map(|batch| batch.unwrap().records().unwrap());
        records.extend(batches.map(|record| {
            let record = record.unwrap();
            (record.offset.get(), String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        }));
        from = slice.next_offset;
    }
    records
}

#[tokio::test]
async fn acknowledged_records_topics_and_offsets_are_there_after_a_crash_and_after_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_i64 {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        if round == 0 {
            broker.create_topic(create("orders", 3)).await.unwrap();
            let again = broker.create_topic(create("orders", 3)).await.unwrap_err();
            assert_eq!(again.code, ErrorCode::TopicAlreadyExists);
        }
        let orders = broker.partition(&name("orders"), partition(1)).unwrap();
        let appended = orders.append(batch(&["a", "b"]), Acks::Durable, None).unwrap();
        assert_eq!(appended.base_offset.get(), 2 * round);
        appended.ack.await.unwrap();
        assert_eq!(read(&broker, "orders", 1).await.len(), usize::try_from(2 * round + 2).unwrap());
        let group = GroupId::new("billing").unwrap();
        let found = broker.fetch_offsets(FetchOffsets::all(group.clone())).await.unwrap();
        assert_eq!(found.first().map(|found| found.offset.get()), (round > 0).then_some(round - 1));
        let commit = OffsetCommit {
            topic: name("orders").into(),
            partition: partition(1),
            offset: Offset::new(round).unwrap(),
            leader_epoch: None,
            metadata: String::new(),
        };
        let commit = CommitOffsets { group, member: GroupMember::none(), offsets: vec![commit] };
        let committed = broker.commit_offsets(commit).await.unwrap();
        assert!(committed.iter().all(Result::is_ok));
        if round % 2 == 1 {
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn many_appends_in_flight_keep_their_order_and_are_all_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    broker.create_topic(create("t", 1)).await.unwrap();
    let partition = broker.partition(&name("t"), partition(0)).unwrap();
    let mut acks = Vec::new();
    for number in 0..500 {
        let value = number.to_string();
        acks.push(partition.append(batch(&[&value]), Acks::Durable, None).unwrap().ack);
    }
    for ack in acks {
        ack.await.unwrap();
    }
    let expected: Vec<_> = (0..500).map(|number| (number, number.to_string())).collect();
    assert_eq!(read(&broker, "t", 0).await, expected);
    broker.shutdown().await.unwrap();
    assert_eq!(
        partition.append(batch(&["x"]), Acks::Durable, None).map(|_| ()).unwrap_err().code,
        ErrorCode::ShuttingDown
    );
}

#[tokio::test]
async fn added_partitions_deleted_topics_and_changed_configs_survive() {
    let dir = tempfile::tempdir().unwrap();
    {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        broker.create_topic(create("keep", 1)).await.unwrap();
        broker.create_topic(create("drop", 5)).await.unwrap();
        broker.add_partitions(&name("keep"), 4, false).await.unwrap();
        let set = BTreeMap::from([("retention.ms".to_owned(), "1234".to_owned())]);
        broker.alter_topic(&name("keep"), set, Vec::new(), false).await.unwrap();
        broker.delete_topic(&name("drop")).await.unwrap();
        let bad = BTreeMap::from([("retention.msx".to_owned(), "1".to_owned())]);
        let refused = broker.alter_topic(&name("keep"), bad, Vec::new(), false).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
    }
    let broker = Broker::open(options(dir.path())).await.unwrap();
    let info = broker.describe_topic(&name("keep")).unwrap();
    assert_eq!(info.partitions.len(), 4);
    assert!(info.configs.iter().any(|entry| entry.key == "retention.ms" && entry.value == "1234"));
    assert_eq!(broker.describe_topic(&name("drop")).unwrap_err().code, ErrorCode::UnknownTopicOrPartition);
    broker.create_topic(create("drop", 1)).await.unwrap();
    assert_eq!(read(&broker, "drop", 0).await, []);
}

#[tokio::test]
async fn deleted_records_stay_deleted_and_reads_outside_the_log_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        if round == 0 {
            broker.create_topic(create("t", 1)).await.unwrap();
        }
        let partition = broker.partition(&name("t"), partition(0)).unwrap();
        if round == 0 {
            partition.append(batch(&["a", "b", "c"]), Acks::Durable, None).unwrap().ack.await.unwrap();
            assert_eq!(partition.delete_records(Offset::new(2)).await.unwrap().get(), 2);
        }
        assert_eq!(partition.watermarks().log_start.get(), 2);
        let before = partition.read(Offset::ZERO, 100).await.unwrap_err();
        assert_eq!((before.code, before.limit), (ErrorCode::OffsetOutOfRange, Some(2)));
        let behind = partition.read(Offset::new(4).unwrap(), 100).await.unwrap_err();
        assert_eq!((behind.code, behind.limit), (ErrorCode::OffsetOutOfRange, Some(3)));
        let found = partition.offset_for_timestamp(Timestamp::from_millis(0)).await.unwrap();
        assert_eq!(found.map(|(offset, _)| offset.get()), Some(2));
    }
}
