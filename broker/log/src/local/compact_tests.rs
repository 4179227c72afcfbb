//! Compaction against a model, with a map that is too small, and with tombstones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use tidelog_model::batch::Compression;
use tidelog_model::{PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::*;
use crate::config::CleanupPolicy;
use crate::engine::{AppendFailure, Bounds, CommitListener, OpenedLog, PartitionId, ReadOutcome};
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::os_disk::OsDisk;

#[path = "compact_crash_tests.rs"]
mod crash;

#[derive(Debug)]
struct Deaf;

impl CommitListener for Deaf {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, failure: AppendFailure) {
        panic!("{failure:?}");
    }
}

fn id() -> PartitionId {
    let topic_id = TopicId::from_uuid(Uuid::from_u128(9));
    PartitionId { topic_id, partition: PartitionIndex::new(0).unwrap() }
}

fn offset(value: u64) -> Offset {
    Offset::new(i64::try_from(value).unwrap()).unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1024,
        index_interval_bytes: 100,
        cleanup: CleanupPolicy { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: i64::MAX / 4,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

/// What a record holds: offset, time, key, value.
type Row = (u64, i64, u8, Option<Vec<u8>>);

/// A partition and everything that was ever appended to it.
struct Rig {
    /// Kept until the end, where the disk is the real one.
    _temporary: Option<TempDir>,
    disk: Arc<dyn Disk>,
    root: PathBuf,
    dir: Option<LogDir>,
    log: Arc<LocalLog>,
    config: LogConfig,
    appended: Vec<Row>,
    now: i64,
}

impl Rig {
    fn new(config: LogConfig) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().to_owned();
        Self { _temporary: Some(temporary), ..Self::on(Arc::new(OsDisk), root, config) }
    }

    fn on(disk: Arc<dyn Disk>, root: PathBuf, config: LogConfig) -> Self {
        let (dir, log) = open(&disk, &root, &config);
        Self { _temporary: None, disk, root, dir: Some(dir), log, config, appended: Vec::new(), now: 1000 }
    }

    /// Ends without a clean shutdown and starts again.
    fn reopen(&mut self) {
        drop(self.dir.take());
        let (dir, log) = open(&self.disk, &self.root, &self.config);
        self.dir = Some(dir);
        self.log = log;
        assert_eq!(self.log.tail().writer.end(), self.end());
    }

    fn end(&self) -> Offset {
        offset(wide(self.appended.len()))
    }

    fn append(&mut self, records: &[(u8, Option<u16>)], compression: Compression) {
        let mut builder = BatchBuilder::new(compression, 100);
        let base = self.end();
        for (key, size) in records {
            self.now += 1;
            let here = wide(self.appended.len());
            let value = size.map(|size| {
                let mut value = here.to_be_bytes().to_vec();
                value.resize(usize::from(size).max(8), *key);
                value
            });
            builder.append(at(self.now), Some(&[*key]), value.as_deref(), &[(b"h", Some(&[*key]))]);
            self.appended.push((here, self.now, *key, value));
        }
        let epoch = self.dir.as_ref().unwrap().leader_epoch();
        self.log.append(builder.build().unwrap().assign(base, epoch), 0, at(self.now));
        while self.dir.as_ref().unwrap().commit_round() {}
    }

    /// Appends single records of these keys, so many bytes each that a segment takes a few of them.
    fn fill(&mut self, keys: impl IntoIterator<Item = u8>) {
        for key in keys {
            self.append(&[(key, Some(200))], Compression::None);
        }
    }

    fn compact(&self, slots: usize) -> u64 {
        compact(&self.log, at(self.now), self.end(), slots * SLOT_BYTES).unwrap()
    }

    /// Everything there is, read batch by batch.
    fn rows(&self) -> Vec<Row> {
        self.rows_from(Offset::ZERO)
    }

    fn rows_from(&self, from: Offset) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut next = from;
        while next < self.end() {
            let ReadOutcome::Batches(slice) =
                self.log.read(next, self.end(), 700, ReadWait::MayBlock).unwrap()
            else {
                unreachable!("asked to wait")
            };
            assert!(slice.next_offset > next);
            next = slice.next_offset;
            for batch in RecordBatch::split(slice.bytes) {
                for record in batch.unwrap().records().unwrap().map(Result::unwrap) {
                    let key = record.key.unwrap()[0];
                    assert_eq!(record.headers[0].1.as_deref(), Some([key].as_slice()));
                    let row = (record.offset.unsigned(), record.timestamp.millis(), key);
                    rows.push((row.0, row.1, row.2, record.value.map(|value| value.to_vec())));
                }
            }
        }
        rows.retain(|row| row.0 >= from.unsigned());
        rows
    }

    /// What has to be there when everything below `to` is compacted and no tombstone has expired.
    fn expected(&self, to: Offset) -> Vec<Row> {
        let below = self.appended.iter().filter(|row| row.0 < to.unsigned());
        let last: BTreeMap<u8, u64> = below.map(|row| (row.2, row.0)).collect();
        let stays = |row: &&Row| row.0 >= to.unsigned() || last.get(&row.2) == Some(&row.0);
        self.appended.iter().filter(stays).cloned().collect()
    }

    fn first_dirty(&self) -> Offset {
        self.log.compacted.lock().unwrap().first_dirty
    }

    fn active_base(&self) -> Offset {
        self.log.segments().last().unwrap().base
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(&self.log.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn set_files(&self, files: &[(PathBuf, Vec<u8>)]) {
        for (path, _) in self.files() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, content) in files {
            std::fs::write(path, content).unwrap();
        }
    }
}

fn open(disk: &Arc<dyn Disk>, root: &Path, config: &LogConfig) -> (LogDir, Arc<LocalLog>) {
    let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
    let dir = LogDir::open(Arc::clone(disk), root, options).unwrap();
    let topic = TopicName::new("accounts").unwrap();
    let OpenedLog { log: opened, recovery } =
        dir.open_partition(id(), &topic, config.clone(), at(0), Arc::new(Deaf)).unwrap();
    assert_eq!(recovery.corrupt, None);
    assert_eq!(recovery.truncated_bytes, 0);
    let log = dir.open_log(id()).unwrap();
    drop(opened);
    (dir, log)
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 7));
    let before = rig.log.stats();
    let saved = rig.compact(1000);
    assert_eq!(rig.rows(), rig.expected(rig.active_base()));
    assert_eq!(rig.log.stats().size_bytes, before.size_bytes - saved);
    assert!(saved > before.size_bytes / 2, "{saved} of {before:?}");
    assert_eq!(rig.compact(1000), 0, "nothing is dirty any more");
    rig.log.verify().unwrap();
    rig.reopen();
    assert_eq!(rig.rows(), rig.expected(rig.active_base()));
}

#[test]
fn segments_that_got_small_are_merged() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 3));
    for _ in 0..6 {
        rig.fill([7, 7, 7, 7]);
        rig.compact(1000);
    }
    assert!(rig.log.stats().segments <= 4, "{:?}", rig.log.stats());
    assert_eq!(rig.rows(), rig.expected(rig.active_base()));
}

#[test]
fn compaction_waits_for_enough_dirt_but_not_for_ever() {
    let lazy = LogConfig { min_cleanable_dirty_ratio: 0.5, ..config() };
    let mut rig = Rig::new(lazy.clone());
    rig.fill(0..40);
    rig.compact(1000);
    assert_eq!(rig.first_dirty(), rig.active_base());
    let before = rig.first_dirty();
    rig.fill(0..8);
    rig.compact(1000);
    assert_eq!(rig.first_dirty(), before, "a fifth of the log is dirty");
    rig.log.reconfigure(LogConfig { max_compaction_lag_ms: 5, ..lazy.clone() });
    rig.now += 100;
    rig.compact(1000);
    assert_eq!(rig.first_dirty(), rig.active_base());
    let before = rig.first_dirty();
    rig.fill(0..60);
    rig.log.reconfigure(LogConfig { min_compaction_lag_ms: 1000, ..config() });
    assert_eq!((rig.compact(1000), rig.first_dirty()), (0, before), "all of it is too young");
    rig.now += 970;
    rig.compact(1000);
    assert!(rig.first_dirty() > before && rig.first_dirty() < rig.active_base(), "some of it is old enough");
}

#[test]
fn nothing_above_the_bound_is_compacted() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 7));
    compact(&rig.log, at(rig.now), offset(30), 1 << 20).unwrap();
    assert!(rig.first_dirty() <= offset(30) && rig.first_dirty() > offset(20));
    assert_eq!(rig.rows(), rig.expected(rig.first_dirty()));
}

#[test]
fn a_small_map_takes_more_passes_to_the_same_end() {
    let mut rig = Rig::new(config());
    for round in 0..30_u8 {
        let batch: Vec<_> = (0..6).map(|index| (round.wrapping_mul(7 + index) % 50, Some(20))).collect();
        rig.append(&batch, Compression::Lz4);
    }
    rig.compact(5);
    assert_eq!(rig.first_dirty(), rig.active_base());
    assert_eq!(rig.rows(), rig.expected(rig.active_base()));
    rig.reopen();
    assert_eq!(rig.rows(), rig.expected(rig.active_base()));
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_pass_that_saw_it_and_then_goes() {
    let config = LogConfig { delete_retention_ms: 10_000, ..config() };
    let mut rig = Rig::new(config);
    rig.fill([1, 2, 1, 2, 1, 2]);
    rig.append(&[(1, None), (9, Some(10))], Compression::None);
    rig.fill([2, 3, 4, 5, 6]);
    rig.compact(1000);
    let tombstone = |rig: &Rig| rig.rows().iter().filter(|row| row.3.is_none()).count();
    assert_eq!(tombstone(&rig), 1, "the value is gone, the tombstone tells of it");
    assert!(!rig.rows().iter().any(|row| row.2 == 1 && row.3.is_some()));
    rig.now += 9_000;
    rig.fill([7; 12]);
    rig.compact(1000);
    assert_eq!(tombstone(&rig), 1, "its time is not over");
    rig.reopen();
    rig.now += 2_000;
    rig.fill([8; 12]);
    rig.compact(1000);
    assert_eq!(tombstone(&rig), 0);
    assert!(rig.rows().iter().any(|row| row.2 == 9), "its neighbour in the batch stays");
}

#[test]
fn times_lead_to_the_first_record_that_is_left() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 7));
    rig.compact(1000);
    for _ in 0..2 {
        let rows = rig.rows();
        for millis in 1000..=rig.now + 1 {
            let found = rig.log.offset_for_timestamp(at(millis), rig.end()).unwrap();
            let expected = rows.iter().find(|row| row.1 >= millis).map(|row| (offset(row.0), at(row.1)));
            assert_eq!(found, expected, "{millis}");
        }
        // Indexes are made again from what the segments hold.
        for (path, _) in rig.files() {
            if path.extension().is_some_and(|ending| ending == "index" || ending == "timeindex") {
                std::fs::remove_file(path).unwrap();
            }
        }
        rig.reopen();
    }
}

#[test]
fn a_reader_that_has_begun_goes_on_in_the_old_segments() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 7));
    let old = rig.log.segments();
    rig.compact(1000);
    rig.log.maintain(at(rig.now + 1), Bounds::stable(rig.end())).unwrap();
    for segment in old.iter() {
        let mut batches = 0;
        segment
            .walk(None, &mut |placed| {
                batch_at(segment, placed).unwrap();
                batches += 1;
                true
            })
            .unwrap();
        assert!(batches > 1);
    }
    assert!(!rig.files().iter().any(|(path, _)| path.extension().is_some_and(|ending| ending == "deleted")));
}

#[test]
fn broken_bytes_are_not_compacted_away() {
    let mut rig = Rig::new(config());
    rig.fill((0..60).map(|round| round % 7));
    let path = rig.log.segments()[2].path.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(rig.compact(1000), 0);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(!rig.files().iter().any(|(path, _)| path.extension().is_some_and(|ending| ending == "cleaned")));
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u8, Option<u16>)>, Compression),
    Compact(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![1 => Just(None), 5 => (8_u16..300).prop_map(Some)];
    let records = prop::collection::vec((0_u8..12, value), 1..6);
    let compression = prop::sample::select(vec![Compression::None, Compression::Zstd, Compression::Snappy]);
    prop_oneof![
        12 => (records, compression).prop_map(|(records, compression)| Step::Append(records, compression)),
        2 => (3_usize..40).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_as_the_model_says(steps in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::new(config());
        let mut compacted_to = Offset::ZERO;
        for step in steps {
            match step {
                Step::Append(records, compression) => rig.append(&records, compression),
                Step::Compact(slots) => {
                    rig.compact(slots);
                    compacted_to = rig.active_base();
                }
                Step::Reopen => rig.reopen(),
            }
        }
        let expected = rig.expected(compacted_to);
        prop_assert_eq!(rig.rows(), expected.clone());
        for from in 0..rig.end().unsigned() {
            let rest: Vec<Row> = expected.iter().filter(|row| row.0 >= from).cloned().collect();
            prop_assert_eq!(rig.rows_from(offset(from)), rest);
        }
        rig.log.verify().unwrap();
    }
}
