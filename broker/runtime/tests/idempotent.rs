//! Idempotent producers through the `Broker` API: a batch that is sent again is stored once, also when the
//! broker died in between, and answers do not outrun the batches that they rest on.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{
    ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicName,
};
use tidelog_runtime::{Acks, Appended, Broker, BrokerError, BrokerOptions, CreateTopic, Partition};

fn options(dir: &Path) -> BrokerOptions {
    BrokerOptions { disk_reserve_bytes: 0, ..BrokerOptions::new(dir) }
}

fn name() -> TopicName {
    TopicName::new("orders").unwrap()
}

async fn create(broker: &Broker) {
    let configs = BTreeMap::new();
    let spec = CreateTopic { name: name(), partitions: Some(1), configs, validate_only: false };
    broker.create_topic(spec).await.unwrap();
}

fn orders(broker: &Broker) -> Arc<Partition> {
    broker.partition(&name(), PartitionIndex::ZERO).unwrap()
}

/// A batch of two records.
fn batch(id: i64, epoch: i16, sequence: i32) -> RecordBatch {
    let mut builder = BatchBuilder::new(Compression::None, 1024);
    for n in 0..2 {
        let value = format!("{id}/{epoch}/{}", sequence + n);
        builder.append(Timestamp::from_millis(1000), None, Some(value.as_bytes()), &[]);
    }
    builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)).build().unwrap()
}

fn append(partition: &Partition, id: i64, epoch: i16, sequence: i32) -> Result<Appended, BrokerError> {
    partition.append(batch(id, epoch, sequence), Acks::Durable, None)
}

/// The first offset, and whether the batch was there already.
async fn stored(partition: &Partition, id: i64, epoch: i16, sequence: i32) -> Result<(i64, bool), ErrorCode> {
    let appended = append(partition, id, epoch, sequence).map_err(|error| error.code)?;
    let (base, duplicate) = (appended.base_offset.get(), appended.duplicate);
    appended.ack.await.map_err(|error| error.code)?;
    Ok((base, duplicate))
}

#[tokio::test]
async fn a_batch_sent_again_is_stored_once_across_crashes_and_clean_ends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    for n in 0..3 {
        assert_eq!(stored(&orders(&broker), 7, 0, n * 2).await, Ok((i64::from(n) * 2, false)));
    }
    drop(broker);
    let mut end = 6;
    for round in 0..6 {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        let partition = orders(&broker);
        // All of the last batches are known, whatever of them a snapshot holds.
        for back in 1..=3 {
            let first = end - back * 2;
            assert_eq!(stored(&partition, 7, 0, first).await, Ok((first.into(), true)), "round {round}");
        }
        assert_eq!(stored(&partition, 7, 0, end + 2).await, Err(ErrorCode::OutOfOrderSequence));
        assert_eq!(stored(&partition, 7, 0, end).await, Ok((end.into(), false)));
        end += 2;
        assert_eq!(partition.watermarks().high_watermark, Offset::new(end.into()).unwrap());
        if round % 2 == 0 {
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_broken_or_missing_snapshot_costs_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    for n in 0..3 {
        stored(&orders(&broker), 7, 0, n * 2).await.unwrap();
    }
    broker.shutdown().await.unwrap();
    drop(broker);
    let snapshots = || {
        let files = walk(dir.path());
        files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "snapshot")).collect::<Vec<_>>()
    };
    assert_eq!(snapshots().len(), 1);
    std::fs::write(&snapshots()[0], b"\x00\x01 not a snapshot").unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    assert_eq!(stored(&orders(&broker), 7, 0, 2).await, Ok((2, true)));
    broker.shutdown().await.unwrap();
    drop(broker);
    snapshots().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let broker = Broker::open(options(dir.path())).await.unwrap();
    assert_eq!(stored(&orders(&broker), 7, 0, 4).await, Ok((4, true)));
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn a_duplicate_in_flight_and_an_early_batch_wait_for_what_they_rest_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    let partition = orders(&broker);
    for round in 0..50 {
        let first = append(&partition, 7, 0, round * 2).unwrap();
        let again = append(&partition, 7, 0, round * 2).unwrap();
        assert!(!first.duplicate && again.duplicate);
        assert_eq!(first.base_offset, again.base_offset);
        let early = append(&partition, 7, 0, round * 2 + 6);
        again.ack.await.unwrap();
        assert!(partition.watermarks().high_watermark > again.base_offset);
        let early = match early {
            Ok(early) => early.ack.await.map_err(|error| error.code),
            Err(error) => Err(error.code),
        };
        assert_eq!(early, Err(ErrorCode::OutOfOrderSequence));
        first.ack.await.unwrap();
    }
    assert_eq!(partition.watermarks().log_end, Offset::new(100).unwrap());
}

#[tokio::test]
async fn a_newer_epoch_ends_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    let partition = orders(&broker);
    assert_eq!(stored(&partition, 7, 0, 0).await, Ok((0, false)));
    assert_eq!(stored(&partition, 7, 1, 2).await, Err(ErrorCode::OutOfOrderSequence));
    assert_eq!(stored(&partition, 7, 1, 0).await, Ok((2, false)));
    assert_eq!(stored(&partition, 7, 0, 2).await, Err(ErrorCode::InvalidProducerEpoch));
}

#[tokio::test]
async fn a_producer_id_is_given_out_once_in_the_life_of_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..4 {
        let broker = Broker::open(options(dir.path())).await.unwrap();
        for _ in 0..3 {
            let (id, epoch) = broker.init_producer_id().unwrap();
            assert!(id.0 >= 0 && epoch == ProducerEpoch(0));
            all.push(id.0);
        }
        if round == 1 {
            broker.shutdown().await.unwrap();
            assert_eq!(broker.init_producer_id().unwrap_err().code, ErrorCode::ShuttingDown);
        }
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[tokio::test]
async fn a_busy_partition_writes_its_producers_down_without_waiting_for_maintenance() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    let partition = orders(&broker);
    stored(&partition, 7, 0, 0).await.unwrap();
    let mut builder = BatchBuilder::new(Compression::None, 100);
    builder.append(Timestamp::from_millis(1000), None, Some(b"plain"), &[]);
    let plain = builder.build().unwrap();
    let mut last = None;
    for _ in 0..5_000 {
        last = Some(partition.append(plain.clone(), Acks::Durable, None).unwrap().ack);
    }
    last.unwrap().await.unwrap();
    let written = || walk(dir.path()).iter().any(|path| path.extension().is_some_and(|e| e == "snapshot"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !written() {
        assert!(std::time::Instant::now() < deadline, "no snapshot");
        tokio::task::yield_now().await;
    }
    drop((partition, broker));
    let broker = Broker::open(options(dir.path())).await.unwrap();
    assert_eq!(stored(&orders(&broker), 7, 0, 0).await, Ok((0, true)));
}

#[tokio::test]
async fn deleting_records_does_not_forget_who_wrote_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    let configs = BTreeMap::from([("segment.bytes".to_owned(), "16384".to_owned())]);
    let spec = CreateTopic { name: name(), partitions: Some(1), configs, validate_only: false };
    broker.create_topic(spec).await.unwrap();
    for n in 0..400 {
        stored(&orders(&broker), 7, 0, n * 2).await.unwrap();
    }
    orders(&broker).delete_records(None).await.unwrap();
    drop(broker);
    let broker = Broker::open(options(dir.path())).await.unwrap();
    let partition = orders(&broker);
    assert_eq!(partition.watermarks().log_start, Offset::new(800).unwrap());
    assert_eq!(stored(&partition, 7, 0, 798).await, Ok((798, true)));
    assert_eq!(stored(&partition, 7, 0, 802).await, Err(ErrorCode::OutOfOrderSequence));
}

#[tokio::test]
async fn a_source_of_the_broker_finds_where_it_stood_and_no_client_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let source = ProducerId::source(3).unwrap();
    let broker = Broker::open(options(dir.path())).await.unwrap();
    create(&broker).await;
    let refused = append(&orders(&broker), source.0, 0, 0).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRecord, "{refused}");
    assert_eq!(orders(&broker).source_position(source).unwrap(), None);
    for n in 0..3 {
        let partition = orders(&broker);
        let appended = partition.append_from_source(batch(source.0, 0, n * 2), Acks::Durable, None).unwrap();
        appended.ack.await.unwrap();
    }
    drop(broker);
    let broker = Broker::open(options(dir.path())).await.unwrap();
    let partition = orders(&broker);
    let newest = partition.source_position(source).unwrap().unwrap();
    assert_eq!((newest.last_sequence, newest.last_offset), (Sequence(5), Offset::new(5).unwrap()));
    // What does not follow on the position is not taken: a lost request that comes late cannot be skipped.
    let early = partition.append_from_source(batch(source.0, 0, 8), Acks::Durable, None);
    assert_eq!(early.unwrap_err().code, ErrorCode::OutOfOrderSequence);
    let again = partition.append_from_source(batch(source.0, 0, 4), Acks::Durable, None).unwrap();
    assert!(again.duplicate);
}
