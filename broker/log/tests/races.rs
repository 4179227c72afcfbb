//! Appends, rolls, retention, deletions and reads at the same time, on real files and with real threads: offsets have
//! no gap, and below the high watermark every reader sees what was appended.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidelog_log::{
    AppendFailure, Bounds, CommitListener, LogConfig, LogDir, LogDirOptions, OpenedLog, OsDisk, PartitionId,
    PartitionLog, ReadError, ReadOutcome, ReadWait, Threads,
};
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

const PARTITIONS: i32 = 3;
const APPENDERS: usize = 3;
/// How many records may wait for their commit.
const IN_FLIGHT_MAX: i64 = 400;

#[derive(Debug, Default)]
struct Mark {
    committed: AtomicI64,
    rejected: AtomicBool,
    went_back: AtomicBool,
}

impl CommitListener for Mark {
    fn written(&self, _end: Offset) {}
    fn committed(&self, end: Offset) {
        let before = self.committed.swap(end.get(), Ordering::AcqRel);
        self.went_back.fetch_or(before > end.get(), Ordering::AcqRel);
    }
    fn rejected(&self, _failure: AppendFailure) {
        self.rejected.store(true, Ordering::Release);
    }
}

/// A partition and its owner, who gives out offsets under a lock.
struct Part {
    log: Arc<dyn PartitionLog>,
    mark: Arc<Mark>,
    next: Mutex<i64>,
    read: AtomicU64,
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn open(dir: &LogDir, partition: i32) -> (OpenedLog, Arc<Mark>) {
    let topic_id = TopicId::from_uuid(Uuid::from_u128(9));
    let id = PartitionId { topic_id, partition: PartitionIndex::new(partition).unwrap() };
    let mark = Arc::new(Mark::default());
    let listener = Arc::clone(&mark) as Arc<dyn CommitListener>;
    let config = LogConfig {
        segment_bytes: 6000,
        index_interval_bytes: 500,
        retention_bytes: Some(60_000),
        file_delete_delay_ms: 1000,
        ..LogConfig::default()
    };
    let now = Timestamp::from_millis(0);
    (dir.open_partition(id, &TopicName::new("races").unwrap(), config, now, listener).unwrap(), mark)
}

fn open_dir(root: &Path) -> LogDir {
    let options = LogDirOptions {
        sync_threads: 2,
        threads: Threads::Own,
        journal_bytes: 256 << 10,
        journal_parts_min: 2,
    };
    LogDir::open(Arc::new(OsDisk), root, options).unwrap()
}

/// What the record at an offset holds.
fn value(at: i64) -> Vec<u8> {
    at.to_be_bytes().repeat(usize::try_from(1 + at % 12).unwrap())
}

fn append(part: &Part, epoch: LeaderEpoch) {
    let mut next = part.next.lock().unwrap();
    if *next - part.mark.committed.load(Ordering::Acquire) > IN_FLIGHT_MAX {
        drop(next);
        std::thread::yield_now();
        return;
    }
    let count = 1 + *next % 3;
    let mut builder = BatchBuilder::new(Compression::None, 1000);
    for at in *next..*next + count {
        builder.append(Timestamp::from_millis(at), None, Some(&value(at)), &[]);
    }
    part.log.append(builder.build().unwrap().assign(offset(*next), epoch), 0, Timestamp::from_millis(*next));
    *next += count;
}

/// Reads everything from the log's start to `end`, unless it is dropped meanwhile.
fn read_to(part: &Part, end: i64, wait: ReadWait) {
    let mut from = part.log.log_start();
    while from < offset(end) {
        let slice = match part.log.read(from, offset(end), 3000, wait) {
            Ok(ReadOutcome::Batches(slice)) => slice,
            Ok(ReadOutcome::WouldBlock) => return,
            Err(ReadError::OutOfRange { offset, log_start, .. }) => {
                assert!(offset < log_start, "{offset} is out of range of {log_start}..{end}");
                return;
            }
            Err(error) => {
                assert!(from < part.log.log_start(), "{error}");
                return;
            }
        };
        assert!(slice.next_offset > from, "a read at {from} of ..{end} leads nowhere");
        let mut expected = None;
        for batch in RecordBatch::split(Bytes::from(slice.bytes.to_vec())) {
            for record in batch.unwrap().records().unwrap() {
                let record = record.unwrap();
                let at = record.offset.get();
                assert_eq!(expected.unwrap_or(at), at, "a gap");
                assert_eq!(record.value.as_deref(), Some(value(at).as_slice()), "offset {at}");
                expected = Some(at + 1);
                part.read.fetch_add(1, Ordering::Relaxed);
            }
        }
        assert_eq!(expected, Some(slice.next_offset.get()));
        from = slice.next_offset;
    }
}

fn drop_some(part: &Part, round: i64) {
    let committed = part.mark.committed.load(Ordering::Acquire);
    part.log
        .maintain(Timestamp::from_millis(committed + round * 500), Bounds::stable(offset(committed)))
        .unwrap();
    if round % 3 == 0 {
        part.log.trim(offset((committed - 300).max(0))).unwrap();
    }
}

fn while_true(go_on: impl Fn() -> bool, act: impl Fn()) {
    while go_on() {
        act();
    }
}

#[test]
fn readers_see_every_byte_below_the_high_watermark_while_segments_come_and_go() {
    let root = tempfile::tempdir().unwrap();
    let dir = open_dir(root.path());
    let part = |at| {
        let (OpenedLog { log, .. }, mark) = open(&dir, at);
        Part { log, mark, next: Mutex::new(0), read: AtomicU64::new(0) }
    };
    let parts: Vec<Part> = (0..PARTITIONS).map(part).collect();
    let until = Instant::now() + Duration::from_secs(2);
    let epoch = dir.leader_epoch();
    let go_on = || Instant::now() < until;
    std::thread::scope(|scope| {
        for part in &parts {
            for _ in 0..APPENDERS {
                scope.spawn(|| while_true(go_on, || append(part, epoch)));
            }
            for wait in [ReadWait::MayBlock, ReadWait::CachedOnly] {
                let committed = &part.mark.committed;
                scope.spawn(move || {
                    while_true(go_on, || read_to(part, committed.load(Ordering::Acquire), wait));
                });
            }
            scope.spawn(|| (0..).take_while(|_| go_on()).for_each(|round| drop_some(part, round)));
        }
    });
    dir.close().unwrap();
    drop(dir);
    let dir = open_dir(root.path());
    for (at, part) in (0..).zip(parts) {
        let Part { mark, next, read, .. } = part;
        let next = next.into_inner().unwrap();
        assert!(!mark.rejected.load(Ordering::Acquire) && !mark.went_back.load(Ordering::Acquire));
        assert_eq!(mark.committed.load(Ordering::Acquire), next, "all of it is committed at the end");
        let (OpenedLog { log, recovery }, mark) = open(&dir, at);
        assert_eq!((recovery.log_end, recovery.corrupt, recovery.clean), (offset(next), None, true));
        assert!(log.log_start() > Offset::ZERO, "nothing was dropped");
        log.verify().unwrap();
        let reread = Part { log, mark, next: Mutex::new(next), read: AtomicU64::new(0) };
        read_to(&reread, next, ReadWait::MayBlock);
        assert!(reread.read.into_inner() > 0);
        eprintln!("{next} records appended, {} read", read.into_inner());
    }
}
