//! What the log keeps of transactions is Kafka's: its dump-log tool reads markers, transaction index and producer
//! snapshot. Written with the log itself, because no client can begin a transaction yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_log::{
    AppendFailure, CommitListener, LogConfig, LogDir, LogDirOptions, OsDisk, PartitionId, ProducerEntry,
    Threads,
};
use tidelog_model::batch::{BatchBuilder, Compression, ControlKind, ControlMarker, RecordBatch};
use tidelog_model::{
    Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId, TopicName,
};
use uuid::Uuid;

use crate::installed::installed;
use crate::segments::{check_report, dump_log};

const EPOCH: ProducerEpoch = ProducerEpoch(3);
const NOW: Timestamp = Timestamp::from_millis(1_357_000_000_000);

#[derive(Debug)]
struct Deaf;

impl CommitListener for Deaf {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, failure: AppendFailure) {
        panic!("{failure:?}");
    }
}

fn data(id: i64, sequence: i32) -> RecordBatch {
    let mut builder = BatchBuilder::new(Compression::None, 600).transactional().producer(
        ProducerId(id),
        EPOCH,
        Sequence(sequence),
    );
    for record in 0..2 {
        builder.append(NOW, Some(b"key"), Some(&[record; 250]), &[]);
    }
    builder.build().unwrap()
}

fn end(id: i64, kind: ControlKind) -> RecordBatch {
    ControlMarker { kind, coordinator_epoch: 5 }.batch(ProducerId(id), EPOCH, NOW).unwrap()
}

/// Two producers' transactions in turns, over several segments; the offset after the last one.
fn write(root: &Path) -> i64 {
    let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
    let dir = LogDir::open(Arc::new(OsDisk), root, options).unwrap();
    let id = PartitionId { topic_id: topic_id(), partition: PartitionIndex::ZERO };
    let config = LogConfig { segment_bytes: 4096, index_interval_bytes: 600, ..LogConfig::default() };
    let log = dir.open_partition(id, &TopicName::new("t").unwrap(), config, NOW, Arc::new(Deaf)).unwrap().log;
    let mut next = Offset::ZERO;
    let mut append = |batch: RecordBatch| {
        let batch = batch.assign(next, dir.leader_epoch());
        next = batch.header().next_offset();
        log.append(batch, 0, NOW);
        dir.commit_round();
    };
    for round in 0..8 {
        append(data(1, round * 4));
        append(data(2, round * 2));
        append(data(1, round * 4 + 2));
        append(end(1, if round % 2 == 0 { ControlKind::Abort } else { ControlKind::Commit }));
        append(end(2, ControlKind::Abort));
    }
    append(data(1, 32));
    let entry = ProducerEntry {
        id: ProducerId(1),
        epoch: EPOCH,
        last_sequence: Sequence(33),
        last_offset: Offset::new(next.get() - 1),
        offset_delta: 1,
        timestamp: NOW,
        coordinator_epoch: 5,
        transaction_start: Offset::new(next.get() - 2),
    };
    log.save_producers(next, &[entry]).unwrap();
    dir.close().unwrap();
    next.get()
}

fn topic_id() -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(1))
}

fn partition_dir(root: &Path) -> PathBuf {
    root.join("topics").join(topic_id().uuid().as_simple().to_string()).join("0")
}

#[test]
fn kafkas_dump_log_tool_reads_markers_transaction_index_and_producer_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let next = write(home.path());
    let dir = partition_dir(home.path());
    let Some(jars) = installed("kafka-jars") else { return };

    let report = dump_log(&jars, &dir, &["log", "index", "timeindex"], &["--deep-iteration"]);
    check_report(&report, &dir);
    let markers = report.matches("endTxnMarker: ABORT coordinatorEpoch: 5").count();
    assert_eq!(markers, 12, "{report}");

    let report = dump_log(&jars, &dir, &["txnindex"], &[]);
    check_report(&report, &dir);
    let entries: Vec<&str> = report.lines().filter(|line| line.contains("producerId")).collect();
    assert_eq!(entries.len(), 12, "{report}");
    let first = "version: 0 producerId: 1 firstOffset: 0 lastOffset: 6 lastStableOffset: 2";
    assert_eq!(entries[0], first, "{report}");
    assert!(
        entries[1].contains("producerId: 2 firstOffset: 2 lastOffset: 7 lastStableOffset: 8"),
        "{report}"
    );

    let report = dump_log(&jars, &dir, &["snapshot"], &[]);
    check_report(&report, &dir);
    for expected in [
        "producerId: 1",
        "coordinatorEpoch: 5",
        &format!("currentTxnFirstOffset: OptionalLong[{}]", next - 2),
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
}
