use std::path::PathBuf;

use proptest::prelude::*;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::*;
use crate::config::{CleanupPolicy, LogConfig};
use crate::engine::{AppendFailure, Bounds, CommitListener, PartitionId, PartitionLog};
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::os_disk::OsDisk;

fn entry(epoch: i32, start: i64) -> Entry {
    (LeaderEpoch::new(epoch).unwrap(), Offset::new(start).unwrap())
}

fn entries(all: &[(i32, i64)]) -> Vec<Entry> {
    all.iter().map(|(epoch, start)| entry(*epoch, *start)).collect()
}

#[test]
fn the_file_has_kafkas_format() {
    let history = entries(&[(0, 0), (3, 1200)]);
    assert_eq!(show(&history), "0\n2\n0 0\n3 1200\n");
    assert_eq!(parse(b"0\n2\n0 0\n3 1200\n"), Some(history));
    assert_eq!(parse(b"0\n0\n"), Some(Vec::new()));
    for broken in
        ["", "1\n0\n", "0\n2\n0 0\n", "0\n1\n0 0\n3 7\n", "0\n2\n3 0\n0 7\n", "0\n1\n-1 0\n", "0\n1\nx\n"]
    {
        assert_eq!(parse(broken.as_bytes()), None, "{broken:?}");
    }
}

#[test]
fn an_epoch_ends_where_the_next_one_begins() {
    let history = entries(&[(2, 10), (4, 30), (5, 70)]);
    let end = Offset::new(90).unwrap();
    let ask = |epoch| {
        let found = epoch_end(&history, end, LeaderEpoch::new(epoch).unwrap());
        found.map(|(epoch, offset)| (epoch.get(), offset.get()))
    };
    assert_eq!(ask(0), Some((0, 10)), "older than all: what it had ends where the first one begins");
    assert_eq!(ask(2), Some((2, 30)));
    assert_eq!(ask(3), Some((2, 30)), "an epoch that wrote nothing");
    assert_eq!(ask(4), Some((4, 70)));
    assert_eq!(ask(5), Some((5, 90)));
    assert_eq!(ask(6), None, "newer than all");
    assert_eq!(epoch_end(&[], end, LeaderEpoch::new(0).unwrap()), None);
}

#[test]
fn where_file_and_log_differ_the_log_is_right() {
    let stored = entries(&[(0, 0), (1, 10), (2, 20), (4, 40)]);
    assert_eq!(merge(&stored, &[]), stored);
    assert_eq!(
        merge(&stored, &entries(&[(4, 45), (6, 60)])),
        entries(&[(0, 0), (1, 10), (2, 20), (4, 40), (6, 60)])
    );
    assert_eq!(merge(&stored, &entries(&[(0, 0), (3, 15)])), entries(&[(0, 0), (1, 10), (3, 15), (4, 40)]));
    assert_eq!(merge(&stored, &entries(&[(1, 30), (5, 35)])), entries(&[(0, 0), (1, 10), (2, 20), (5, 35)]));
}

#[derive(Debug)]
struct Deaf;

impl CommitListener for Deaf {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, failure: AppendFailure) {
        panic!("{failure:?}");
    }
}

/// One run of a broker on `root`: appends so many batches and hands the log to `check`.
fn run<T>(root: &Path, batches: usize, check: impl FnOnce(&dyn PartitionLog, LeaderEpoch, Offset) -> T) -> T {
    let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
    let dir = LogDir::open(Arc::new(OsDisk), root, options).unwrap();
    let topic_id = TopicId::from_uuid(Uuid::from_u128(3));
    let id = PartitionId { topic_id, partition: PartitionIndex::new(0).unwrap() };
    let config = LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        retention_ms: None,
        cleanup: CleanupPolicy { delete: true, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    };
    let (topic, now) = (TopicName::new("orders").unwrap(), Timestamp::from_millis(7));
    let opened = dir.open_partition(id, &topic, config, now, Arc::new(Deaf)).unwrap();
    assert_eq!(opened.recovery.corrupt, None);
    let mut next = opened.recovery.log_end;
    for _ in 0..batches {
        let mut builder = BatchBuilder::new(Compression::None, 100);
        builder.append(now, Some(b"k"), Some(&[7; 60]), &[]);
        builder.append(now, Some(b"k"), Some(&[7; 60]), &[]);
        opened.log.append(builder.build().unwrap().assign(next, dir.leader_epoch()), 0, now);
        next = next.plus(2);
    }
    while dir.commit_round() {}
    check(opened.log.as_ref(), dir.leader_epoch(), next)
}

fn path(root: &Path) -> PathBuf {
    root.join("topics").join(Uuid::from_u128(3).as_simple().to_string()).join("0").join(CHECKPOINT)
}

fn shown(log: &dyn PartitionLog) -> Vec<(i32, i64)> {
    log.leader_epochs().iter().map(|(epoch, start)| (epoch.get(), start.get())).collect()
}

#[test]
fn history_outlives_the_records_it_tells_of() {
    let root = tempfile::tempdir().unwrap();
    for batches in [20, 0, 3, 30] {
        run(root.path(), batches, |_, _, _| ());
    }
    let all = [(0, 0), (2, 40), (3, 46)];
    run(root.path(), 5, |log, _, end| {
        assert_eq!(shown(log), [all.as_slice(), &[(4, 106)]].concat());
        assert!(!path(root.path()).exists(), "the log says it all");
        log.trim(Offset::new(100).unwrap()).unwrap();
        assert_eq!(log.log_start(), Offset::new(100).unwrap());
        assert_eq!(end, Offset::new(116).unwrap());
    });
    assert_eq!(std::fs::read_to_string(path(root.path())).unwrap(), "0\n3\n0 0\n2 40\n3 46\n");
    run(root.path(), 40, |log, _, end| {
        assert_eq!(shown(log), [all.as_slice(), &[(4, 106), (5, 116)]].concat());
        log.maintain(Timestamp::from_millis(8), Bounds::stable(end)).unwrap();
    });
    run(root.path(), 0, |log, _, _| {
        assert_eq!(shown(log), [all.as_slice(), &[(4, 106), (5, 116), (6, 196)]].concat());
        assert!(log.stats().size_bytes < 2000, "compaction has left the last records only");
    });
}

#[test]
fn without_its_file_the_history_begins_with_the_log() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 20, |_, _, _| ());
    run(root.path(), 20, |log, _, _| log.trim(Offset::new(60).unwrap()).unwrap());
    for content in [None, Some("0\n9\n"), Some("\0\0\0\0")] {
        match content {
            None => std::fs::remove_file(path(root.path())).unwrap(),
            Some(content) => std::fs::write(path(root.path()), content).unwrap(),
        }
        run(root.path(), 0, |log, current, end| {
            let found = shown(log);
            assert_eq!(found.first().map(|(epoch, _)| *epoch), Some(1));
            assert_eq!(found.last(), Some(&(current.get(), end.get())));
            assert_eq!(found.len(), 2);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_change_of_epoch_in_the_log_is_found(runs in prop::collection::vec(0_usize..25, 1..10)) {
        let root = tempfile::tempdir().unwrap();
        let (mut expected, mut end) = (Vec::new(), 0);
        for (epoch, batches) in (0..).zip(runs) {
            expected.retain(|(_, start)| *start < end);
            expected.push((epoch, end));
            end += 2 * i64::try_from(batches).unwrap();
            let found = run(root.path(), batches, |log, _, _| shown(log));
            prop_assert_eq!(&found, &expected);
        }
    }
}
