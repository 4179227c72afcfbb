use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use crate::config::LogConfig;
use crate::disk::{Disk, OpenMode};
use crate::engine::{AppendFailure, CommitListener, OpenedLog, PartitionId};
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::sim_disk::SimDisk;

#[derive(Debug)]
struct Deaf;

impl CommitListener for Deaf {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, _failure: AppendFailure) {}
}

const ROOT: &str = "/data";
/// A frame in each file.
const JOURNAL_BYTES: u64 = 4096;

fn id() -> PartitionId {
    PartitionId { topic_id: TopicId::from_uuid(Uuid::from_u128(3)), partition: PartitionIndex::ZERO }
}

fn segment() -> PathBuf {
    super::partition_path(Path::new(ROOT), id()).join("00000000000000000000.log")
}

fn open(disk: &SimDisk) -> (LogDir, OpenedLog) {
    let options = LogDirOptions {
        sync_threads: 0,
        threads: Threads::None,
        journal_bytes: JOURNAL_BYTES,
        journal_parts_min: 1,
    };
    let dir = LogDir::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap();
    let (topic, now) = (TopicName::new("orders").unwrap(), Timestamp::from_millis(0));
    let opened = dir.open_partition(id(), &topic, LogConfig::default(), now, Arc::new(Deaf)).unwrap();
    (dir, opened)
}

/// One record of 100 bytes in each round; the bytes of the segment after each.
fn rounds(disk: &SimDisk, count: i64) -> Vec<u64> {
    let (dir, opened) = open(disk);
    let mut sizes = Vec::new();
    for base in 0..count {
        let now = Timestamp::from_millis(base);
        let mut builder = BatchBuilder::new(Compression::None, 200);
        builder.append(now, None, Some(&[7; 100]), &[]);
        let batch = builder.build().unwrap().assign(Offset::new(base).unwrap(), dir.leader_epoch());
        opened.log.append(batch, 0, now);
        dir.commit_round();
        sizes.push(opened.log.stats().size_bytes);
    }
    sizes
}

/// As a power cut leaves it that came before the kernel wrote it.
fn lose_floor(disk: &SimDisk) {
    let floor = disk.open(&Path::new(ROOT).join("floor"), OpenMode::ReadWrite).unwrap();
    let zeros = vec![0; usize::try_from(floor.size().unwrap()).unwrap()];
    floor.write_at(&[IoSlice::new(&zeros)], 0).unwrap();
}

fn cut(disk: &SimDisk, size: u64) {
    let file = disk.open(&segment(), OpenMode::ReadWrite).unwrap();
    file.set_size(size).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn a_segment_that_ends_before_what_the_journal_holds_of_it_is_named_as_damage() {
    let disk = SimDisk::new(1);
    let sizes = rounds(&disk, 8);
    let disk = disk.kill();
    lose_floor(&disk);
    cut(&disk, sizes[2] + 5);
    // It is not forgotten when the journal is empty.
    for _ in 0..3 {
        let (_dir, opened) = open(&disk);
        let corrupt = opened.recovery.corrupt.clone().unwrap_or_default();
        assert!(corrupt.contains(&*segment().to_string_lossy()), "{:?}", opened.recovery);
        assert!(corrupt.contains(&format!("byte {}", sizes[2])), "{corrupt}");
        assert_eq!(opened.recovery.log_end, Offset::new(3).unwrap());
        assert_eq!(opened.recovery.truncated_bytes, 0);
    }
}

#[test]
fn broken_bytes_in_front_of_what_the_journal_holds_are_not_taken_for_a_torn_tail() {
    let disk = SimDisk::new(1);
    let sizes = rounds(&disk, 8);
    let disk = disk.kill();
    lose_floor(&disk);
    disk.corrupt(&segment(), sizes[2] + 3, 1).unwrap();
    let (_dir, opened) = open(&disk);
    let corrupt = opened.recovery.corrupt.clone().unwrap_or_default();
    assert!(corrupt.contains(&format!("byte {}", sizes[2])), "{:?}", opened.recovery);
    assert_eq!(opened.recovery.truncated_bytes, 0);
}

#[test]
fn what_the_journal_holds_is_known_to_be_durable_from_then_on() {
    let disk = SimDisk::new(1);
    let sizes = rounds(&disk, 8);
    let disk = disk.kill();
    lose_floor(&disk);
    let (dir, opened) = open(&disk);
    assert_eq!((opened.recovery.log_end, &opened.recovery.corrupt), (Offset::new(8).unwrap(), &None));
    drop((dir, opened));
    for seed in 0..20 {
        let disk = disk.crash(seed);
        disk.corrupt(&segment(), sizes[6] + 3, 1).unwrap();
        let (_dir, opened) = open(&disk);
        assert!(opened.recovery.corrupt.is_some(), "seed {seed}: {:?}", opened.recovery);
    }
}
