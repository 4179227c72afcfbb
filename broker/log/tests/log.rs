//! A partition's log on a real file system: what goes in comes out, across rolls, ends and starts.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use tidelog_log::{
    AppendFailure, AppendFailureKind, Bounds, CleanupPolicy, CommitListener, FlushPolicy, LogConfig, LogDir,
    LogDirOptions, OpenedLog, OsDisk, PartitionId, PartitionLog, ReadError, ReadOutcome, ReadWait, Threads,
};
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

/// What the log told its owner.
#[derive(Debug, Default)]
struct Heard {
    committed: Mutex<Vec<Offset>>,
    rejected: Mutex<Vec<AppendFailure>>,
}

impl CommitListener for Heard {
    fn written(&self, _end: Offset) {}

    fn committed(&self, end: Offset) {
        self.committed.lock().unwrap().push(end);
    }

    fn rejected(&self, failure: AppendFailure) {
        self.rejected.lock().unwrap().push(failure);
    }
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn id() -> PartitionId {
    PartitionId {
        topic_id: TopicId::from_uuid(Uuid::from_u128(5)),
        partition: PartitionIndex::new(0).unwrap(),
    }
}

/// A data directory with one partition, driven by hand.
struct Rig {
    dir: LogDir,
    log: Arc<dyn PartitionLog>,
    heard: Arc<Heard>,
    opened: tidelog_log::RecoveryReport,
    next: Offset,
}

impl Rig {
    fn open(root: &Path, config: LogConfig) -> Self {
        let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
        let dir = LogDir::open(Arc::new(OsDisk), root, options).unwrap();
        let heard = Arc::new(Heard::default());
        let topic = TopicName::new("orders").unwrap();
        let listener = Arc::clone(&heard) as Arc<dyn CommitListener>;
        let OpenedLog { log, recovery } = dir.open_partition(id(), &topic, config, at(0), listener).unwrap();
        let next = recovery.log_end;
        Self { dir, log, heard, opened: recovery, next }
    }

    /// Appends one batch of `count` records and returns its base offset.
    fn append(&mut self, count: usize, millis: i64, size: usize) -> Offset {
        let base = self.next;
        let batch = batch(count, base, millis, size).assign(base, self.dir.leader_epoch());
        self.next = batch.header().next_offset();
        self.log.append(batch, 0, at(millis));
        base
    }

    fn commit(&self) {
        while self.dir.commit_round() {}
    }

    fn read_all(&self, from: Offset) -> Vec<(i64, Vec<u8>)> {
        let mut records = Vec::new();
        let mut from = from;
        while from < self.next {
            let outcome = self.log.read(from, self.next, 10_000, ReadWait::MayBlock).unwrap();
            let ReadOutcome::Batches(slice) = outcome else { unreachable!("asked to wait") };
            if slice.bytes.is_empty() {
                return records;
            }
            records.extend(unpack(slice.bytes).into_iter().filter(|(offset, _)| *offset >= from.get()));
            assert!(slice.next_offset > from);
            from = slice.next_offset;
        }
        records
    }
}

fn unpack(bytes: bytes::Bytes) -> Vec<(i64, Vec<u8>)> {
    let batches = RecordBatch::split(bytes).flat_map(|batch| batch.unwrap().records().unwrap());
    let records = batches.map(|record| record.unwrap());
    records.map(|record| (record.offset.get(), record.value.unwrap().to_vec())).collect()
}

fn value(offset: i64, size: usize) -> Vec<u8> {
    let mut value = offset.to_string().into_bytes();
    value.resize(value.len().max(size), b'.');
    value
}

fn batch(count: usize, base: Offset, millis: i64, size: usize) -> RecordBatch {
    let mut builder = BatchBuilder::new(Compression::None, 1024);
    for index in 0..count {
        let here = base.get() + i64::try_from(index).unwrap();
        let value = value(here, size);
        builder.append(at(millis), Some(here.to_string().as_bytes()), Some(&value), &[]);
    }
    builder.build().unwrap()
}

fn expect(range: std::ops::Range<i64>, size: usize) -> Vec<(i64, Vec<u8>)> {
    range.map(|offset| (offset, value(offset, size))).collect()
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 4096, index_interval_bytes: 256, ..LogConfig::default() }
}

#[test]
fn what_is_appended_is_read_back_from_every_offset_across_segments() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), small_segments());
    for round in 0..60 {
        rig.append(1 + round % 4, 1000, 100);
        if round % 7 == 0 {
            rig.commit();
        }
    }
    rig.commit();
    let end = rig.next.get();
    assert!(rig.log.stats().segments > 3);
    assert_eq!(rig.heard.committed.lock().unwrap().last(), Some(&rig.next));
    for from in 0..end {
        assert_eq!(rig.read_all(offset(from)), expect(from..end, 100));
    }
    assert_eq!(rig.log.verify().unwrap().records, end.unsigned_abs());
    let beyond = rig.log.read(offset(end + 1), rig.next, 1, ReadWait::MayBlock);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
}

#[test]
fn nothing_above_the_bound_is_read() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), LogConfig::default());
    rig.append(3, 1, 10);
    rig.append(3, 1, 10);
    rig.commit();
    let ReadOutcome::Batches(slice) =
        rig.log.read(offset(0), offset(5), 1 << 20, ReadWait::MayBlock).unwrap()
    else {
        unreachable!("asked to wait")
    };
    assert_eq!(slice.next_offset, offset(3));
}

#[test]
fn a_clean_end_is_known_and_everything_is_there() {
    let root = tempfile::tempdir().unwrap();
    let (end, epoch) = {
        let mut rig = Rig::open(root.path(), small_segments());
        for _ in 0..40 {
            rig.append(3, 5, 50);
        }
        rig.commit();
        rig.dir.close().unwrap();
        (rig.next, rig.dir.leader_epoch())
    };
    let rig = Rig::open(root.path(), small_segments());
    assert!(rig.opened.clean);
    assert_eq!(rig.opened.log_end, end);
    assert!(rig.dir.leader_epoch() > epoch);
    assert_eq!(rig.read_all(offset(0)), expect(0..end.get(), 50));
}

#[test]
fn after_a_kill_the_log_goes_on_where_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let mut end = Offset::ZERO;
    for round in 0..5 {
        let mut rig = Rig::open(root.path(), small_segments());
        assert_eq!(rig.opened.log_end, end, "round {round}");
        assert!(!rig.opened.clean || round == 0);
        for _ in 0..17 {
            rig.append(2, 5, 50);
        }
        rig.commit();
        end = rig.next;
        assert_eq!(rig.read_all(offset(0)), expect(0..end.get(), 50));
    }
}

#[test]
fn a_torn_tail_is_cut_kept_and_named() {
    let root = tempfile::tempdir().unwrap();
    let end = {
        let mut rig = Rig::open(root.path(), LogConfig::default());
        rig.append(5, 5, 50);
        rig.commit();
        rig.next
    };
    let partition = root.path().join("topics").join(Uuid::from_u128(5).as_simple().to_string()).join("0");
    let segment = partition.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let torn = batch(2, end, 5, 50).assign(end, tidelog_model::LeaderEpoch::new(0).unwrap()).to_bytes();
    bytes.extend_from_slice(&torn[..torn.len() - 1]);
    std::fs::write(&segment, &bytes).unwrap();
    let rig = Rig::open(root.path(), LogConfig::default());
    assert_eq!(rig.opened.log_end, end);
    assert_eq!(rig.opened.truncated_bytes, u64::try_from(torn.len() - 1).unwrap());
    assert_eq!(std::fs::read(rig.opened.torn_tail.as_ref().unwrap()).unwrap(), torn[..torn.len() - 1]);
    assert_eq!(rig.read_all(offset(0)), expect(0..5, 50));
}

#[test]
fn broken_bytes_below_the_floor_are_named_and_what_lies_before_them_is_served() {
    let root = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(root.path(), LogConfig::default());
        rig.append(5, 5, 50);
        rig.append(5, 5, 50);
        rig.commit();
    }
    let partition = root.path().join("topics").join(Uuid::from_u128(5).as_simple().to_string()).join("0");
    let segment = partition.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let second = bytes.len() / 2;
    bytes[second + 7] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let mut rig = Rig::open(root.path(), LogConfig::default());
    assert!(rig.opened.corrupt.as_ref().unwrap().contains("00000000000000000000.log"), "{:?}", rig.opened);
    assert_eq!(rig.opened.log_end, offset(5));
    assert_eq!(rig.read_all(offset(0)), expect(0..5, 50));
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "nothing was cut off");
    rig.append(1, 5, 5);
    rig.commit();
    assert!(rig.heard.committed.lock().unwrap().is_empty());
    let rejected = rig.heard.rejected.lock().unwrap();
    assert!(matches!(rejected.first().unwrap().kind, AppendFailureKind::Failed { .. }));
}

#[test]
fn a_missing_or_wrong_index_changes_no_answer() {
    let root = tempfile::tempdir().unwrap();
    let end = {
        let mut rig = Rig::open(root.path(), small_segments());
        for round in 0..50 {
            rig.append(2, 100 + round, 80);
        }
        rig.commit();
        rig.dir.close().unwrap();
        rig.next
    };
    let partition = root.path().join("topics").join(Uuid::from_u128(5).as_simple().to_string()).join("0");
    for (number, entry) in std::fs::read_dir(&partition).unwrap().enumerate() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "index" || extension == "timeindex") {
            match number % 3 {
                0 => std::fs::remove_file(&path).unwrap(),
                1 => std::fs::write(&path, [1; 77]).unwrap(),
                _ => {
                    let mut bytes = std::fs::read(&path).unwrap();
                    for byte in bytes.iter_mut().skip(3).step_by(8) {
                        *byte = byte.wrapping_add(1);
                    }
                    std::fs::write(&path, bytes).unwrap();
                }
            }
        }
    }
    let rig = Rig::open(root.path(), small_segments());
    for from in 0..end.get() {
        assert_eq!(rig.read_all(offset(from)), expect(from..end.get(), 80), "from {from}");
    }
}

#[test]
fn a_time_leads_to_the_first_record_at_or_after_it() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), small_segments());
    for round in 0..50 {
        rig.append(2, 1000 + 10 * round, 80);
    }
    rig.commit();
    for _ in 0..2 {
        for (millis, expected) in [(0, 0), (1000, 0), (1001, 2), (1010, 2), (1255, 52), (1490, 98)] {
            let found = rig.log.offset_for_timestamp(at(millis), rig.next).unwrap();
            assert_eq!(found.map(|(offset, _)| offset.get()), Some(expected), "{millis}");
        }
        assert_eq!(rig.log.offset_for_timestamp(at(1491), rig.next).unwrap(), None);
        assert_eq!(rig.log.offset_for_timestamp(at(1490), offset(98)).unwrap(), None);
        for (up_to, expected) in [(rig.next, Some(at(1490))), (offset(98), Some(at(1480))), (offset(0), None)]
        {
            assert_eq!(rig.log.max_timestamp(up_to).unwrap(), expected, "below {up_to}");
        }
        drop(rig);
        rig = Rig::open(root.path(), small_segments());
    }
}

#[test]
fn a_backfill_of_old_records_does_not_get_a_segment_for_each_batch() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), LogConfig::default());
    let now = at(1_700_000_000_000);
    for round in 0..50 {
        let base = rig.next;
        let batch = batch(1, base, 1000 + round, 10).assign(base, rig.dir.leader_epoch());
        rig.next = batch.header().next_offset();
        rig.log.append(batch, 0, now);
    }
    rig.commit();
    assert_eq!(rig.log.stats().segments, 1);
    let week = LogConfig::default().segment_ms;
    rig.append(1, 1000 + week, 10);
    rig.commit();
    assert_eq!(rig.log.stats().segments, 2);
}

#[test]
fn trimmed_records_stay_gone_and_their_files_go() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), small_segments());
    for _ in 0..60 {
        rig.append(2, 5, 80);
    }
    rig.commit();
    let segments = rig.log.stats().segments;
    assert_eq!(rig.log.trim(offset(61)).unwrap(), offset(61));
    assert_eq!(rig.log.trim(offset(7)).unwrap(), offset(61), "the start never moves back");
    assert!(rig.log.stats().segments < segments);
    assert_eq!(rig.read_all(offset(61)), expect(61..120, 80));
    assert!(matches!(
        rig.log.read(offset(60), rig.next, 1, ReadWait::MayBlock),
        Err(ReadError::OutOfRange { .. })
    ));
    drop(rig);
    let rig = Rig::open(root.path(), small_segments());
    assert_eq!(rig.opened.log_start, offset(61));
    assert_eq!(rig.read_all(offset(61)), expect(61..120, 80));
}

#[test]
fn retention_drops_what_is_too_old_and_what_is_too_much() {
    let root = tempfile::tempdir().unwrap();
    let config = LogConfig { retention_ms: Some(1000), file_delete_delay_ms: 10, ..small_segments() };
    let mut rig = Rig::open(root.path(), config.clone());
    for round in 0..60 {
        rig.append(2, 100 * round, 80);
    }
    rig.commit();
    rig.log.reconfigure(LogConfig { retention_ms: None, retention_bytes: Some(9_000), ..config.clone() });
    assert!(rig.log.maintain(at(6000), Bounds::stable(rig.next)).unwrap().deleted_bytes > 0);
    assert!((9_000..13_500).contains(&rig.log.stats().size_bytes), "{:?}", rig.log.stats());
    rig.log.reconfigure(config);
    assert!(rig.log.maintain(at(6000), Bounds::stable(rig.next)).unwrap().deleted_bytes > 0);
    let first = rig.log.offset_for_timestamp(at(0), rig.next).unwrap().unwrap();
    assert!(first.1 >= at(4000) && first.1 <= at(5000), "{first:?}");
    rig.log.maintain(at(1_000_000), Bounds::stable(rig.next)).unwrap();
    assert_eq!(rig.log.log_start(), rig.next, "the active segment goes too when all of it has expired");
    rig.log.maintain(at(1_000_100), Bounds::stable(rig.next)).unwrap();
    let partition = root.path().join("topics").join(Uuid::from_u128(5).as_simple().to_string()).join("0");
    let left = std::fs::read_dir(&partition)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".deleted"));
    assert_eq!(left.count(), 0);
    assert_eq!(rig.append(1, 1_000_200, 5), rig.log.log_start());
    rig.commit();
}

#[test]
fn relaxed_flush_policies_commit_what_is_written() {
    for flush in [FlushPolicy::Os, FlushPolicy::Interval { ms: 1 }] {
        let root = tempfile::tempdir().unwrap();
        let mut rig = Rig::open(root.path(), LogConfig { flush, ..LogConfig::default() });
        rig.append(2, 5, 5);
        rig.commit();
        assert_eq!(rig.heard.committed.lock().unwrap().last(), Some(&offset(2)));
        drop(rig);
        let rig = Rig::open(root.path(), LogConfig { flush, ..LogConfig::default() });
        assert_eq!(rig.read_all(offset(0)), expect(0..2, 5));
    }
}

#[test]
fn a_second_owner_is_refused_and_a_foreign_or_newer_directory_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::open(root.path(), LogConfig::default());
    let again = LogDir::open(Arc::new(OsDisk), root.path(), LogDirOptions::default());
    assert!(matches!(again, Err(tidelog_log::OpenError::Locked { .. })));
    drop(rig);
    std::fs::write(root.path().join("FORMAT"), "7\n").unwrap();
    let newer = LogDir::open(Arc::new(OsDisk), root.path(), LogDirOptions::default());
    assert!(matches!(newer, Err(tidelog_log::OpenError::NewerFormat { found: 7, known: 1, .. })));
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("photo.jpg"), "x").unwrap();
    let refused = LogDir::open(Arc::new(OsDisk), foreign.path(), LogDirOptions::default());
    assert!(matches!(refused, Err(tidelog_log::OpenError::Foreign { .. })), "{refused:?}");
}

#[test]
fn removed_partitions_and_topics_leave_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(root.path(), LogConfig::default());
    rig.append(2, 5, 5);
    rig.commit();
    rig.dir.remove_partition(id()).unwrap();
    let topic = TopicName::new("orders").unwrap();
    let listener = Arc::new(Heard::default());
    let opened =
        rig.dir.open_partition(id(), &topic, LogConfig::default(), at(0), listener).unwrap().recovery;
    assert_eq!((opened.log_end, opened.corrupt), (Offset::ZERO, None));
    assert_eq!(rig.dir.topics_on_disk().unwrap(), [id().topic_id]);
    rig.dir.remove_topic(id().topic_id).unwrap();
    assert!(rig.dir.topics_on_disk().unwrap().is_empty());
}

#[test]
fn the_commit_thread_commits_without_being_asked() {
    let root = tempfile::tempdir().unwrap();
    let dir = LogDir::open(Arc::new(OsDisk), root.path(), LogDirOptions::default()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    struct Tell(Mutex<std::sync::mpsc::Sender<Offset>>);
    impl CommitListener for Tell {
        fn written(&self, _end: Offset) {}
        fn committed(&self, end: Offset) {
            self.0.lock().unwrap().send(end).unwrap();
        }
        fn rejected(&self, _failure: AppendFailure) {}
    }
    let config =
        LogConfig { cleanup: CleanupPolicy { delete: true, compact: false }, ..LogConfig::default() };
    let topic = TopicName::new("orders").unwrap();
    let log =
        dir.open_partition(id(), &topic, config, at(0), Arc::new(Tell(Mutex::new(sender)))).unwrap().log;
    let batch = batch(3, Offset::ZERO, 5, 5).assign(Offset::ZERO, dir.leader_epoch());
    log.append(batch, 0, at(5));
    assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap(), offset(3));
    dir.close().unwrap();
}
