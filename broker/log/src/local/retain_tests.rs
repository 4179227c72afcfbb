use std::sync::Mutex;

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::*;
use crate::config::FlushPolicy;
use crate::engine::{AppendFailure, AppendFailureKind, CommitListener, PartitionId};
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::sim_disk::{CallKind, Fault, SimDisk};

#[derive(Debug, Default)]
struct Rejected(Mutex<Vec<AppendFailure>>);

impl CommitListener for Rejected {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, failure: AppendFailure) {
        self.0.lock().unwrap().push(failure);
    }
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A log of five segments with two records each, at 0, 10, 20 and so on milliseconds.
fn five_segments(disk: &SimDisk, config: LogConfig) -> (LogDir, Arc<LocalLog>, Arc<Rejected>) {
    let options =
        LogDirOptions { sync_threads: 0, threads: Threads::None, journal_bytes: 0, journal_parts_min: 1 };
    let dir = LogDir::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let topic_id = TopicId::from_uuid(Uuid::from_u128(3));
    let id = PartitionId { topic_id, partition: PartitionIndex::new(0).unwrap() };
    let heard = Arc::new(Rejected::default());
    let listener = Arc::clone(&heard) as Arc<dyn CommitListener>;
    let topic = TopicName::new("orders").unwrap();
    let opened = dir.open_partition(id, &topic, config, at(0), listener).unwrap();
    let log = dir.open_log(id).unwrap();
    drop(opened);
    for base in 0..10 {
        let mut builder = BatchBuilder::new(Compression::None, 400);
        builder.append(at(10 * base), None, Some(&[7; 300]), &[]);
        let batch = builder.build().unwrap().assign(offset(base), dir.leader_epoch());
        log.append(batch, 0, at(10 * base));
        dir.commit_round();
    }
    assert_eq!(log.stats().segments, 5);
    (dir, log, heard)
}

fn small() -> LogConfig {
    LogConfig { segment_bytes: 800, retention_ms: None, file_delete_delay_ms: 5, ..LogConfig::default() }
}

fn names(disk: &SimDisk, log: &LocalLog) -> Vec<String> {
    // A fault that has struck nothing yet may strike here.
    let entries = disk.list(&log.dir).or_else(|_| disk.list(&log.dir)).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.contains(".log")).collect()
}

#[test]
fn what_a_failing_device_kept_from_being_dropped_is_dropped_by_the_next_pass() {
    let mut failed = 0;
    for call in 1..60 {
        let disk = SimDisk::new(call);
        let (_dir, log, _heard) = five_segments(&disk, small());
        disk.fail_call(disk.calls() + call, Fault::Io);
        failed += u32::from(log.trim(offset(6)).is_err());
        // Past the fault, wherever it has struck: a trim that did not take hold is asked for again.
        for now in [1000, 2000, 3000] {
            if log.trim(offset(6)).is_ok() {
                drop(log.maintain(at(now), Bounds::stable(offset(10))));
            }
        }
        let left = names(&disk, &log);
        assert_eq!(left, ["00000000000000000006.log", "00000000000000000008.log"], "call {call}");
        assert_eq!((log.log_start(), log.stats().segments), (offset(6), 2), "call {call}");
    }
    assert!(failed > 5, "only {failed} of the faults struck");
}

#[test]
fn an_owner_hears_of_a_sync_that_fails_when_retention_closes_a_segment() {
    let disk = SimDisk::new(1);
    let config = LogConfig { flush: FlushPolicy::Os, retention_ms: Some(100), ..small() };
    let (_dir, log, heard) = five_segments(&disk, config);
    disk.fail_always(CallKind::SyncData, Some(Fault::Io));
    assert!(log.maintain(at(100_000), Bounds::stable(offset(10))).is_err());
    let heard = heard.0.lock().unwrap();
    assert!(matches!(heard.first().unwrap().kind, AppendFailureKind::Failed { .. }), "{heard:?}");
}

#[test]
fn retention_keeps_what_is_held_and_says_what_it_would_have_dropped() {
    let disk = SimDisk::new(7);
    let config = LogConfig { retention_ms: Some(1_000), ..small() };
    let (_dir, log, _) = five_segments(&disk, config);
    let held = |from| Bounds { held_from: offset(from), ..Bounds::stable(offset(10)) };
    let maintained = log.maintain(at(5_000), held(5)).unwrap();
    // All have expired, and retention drops whole segments of two records.
    assert_eq!((maintained.log_start, maintained.wanted_start), (offset(4), offset(10)));
    let maintained = log.maintain(at(5_000), Bounds::stable(offset(10))).unwrap();
    assert_eq!((maintained.log_start, maintained.wanted_start), (offset(10), offset(10)));
}

#[test]
fn a_start_removes_what_is_remembered_of_producers_beyond_the_end_before_records_come() {
    let disk = SimDisk::new(7);
    let (dir, log, heard) = five_segments(&disk, small());
    let id = PartitionId {
        topic_id: TopicId::from_uuid(Uuid::from_u128(3)),
        partition: PartitionIndex::new(0).unwrap(),
    };
    // As a power cut leaves it when the records were not flushed and the snapshot was.
    for at in [8, 50] {
        super::super::producers::save(&disk, &log.dir, offset(at), &[]).unwrap();
    }
    drop((dir, log));
    let options =
        LogDirOptions { sync_threads: 0, threads: Threads::None, journal_bytes: 0, journal_parts_min: 1 };
    let dir = LogDir::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let topic = TopicName::new("orders").unwrap();
    let _opened = dir.open_partition(id, &topic, small(), at(0), heard).unwrap();
    let entries = disk.list(&dir.open_log(id).unwrap().dir).unwrap();
    let names = entries.iter().map(|entry| entry.name.clone());
    let snapshots: Vec<String> = names.filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, ["00000000000000000008.snapshot"]);
}
