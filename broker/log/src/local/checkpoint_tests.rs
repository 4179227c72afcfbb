use std::path::Path;
use std::sync::{Arc, Mutex};

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use crate::config::LogConfig;
use crate::engine::{AppendFailure, CommitListener, PartitionId, PartitionLog, ReadOutcome, ReadWait};
use crate::local::journal::{self, Appended};
use crate::local::local_log::{Checkpoint, LocalLog};
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

const TOPIC: TopicId = TopicId::from_uuid(Uuid::from_u128(3));

fn id() -> PartitionId {
    PartitionId { topic_id: TOPIC, partition: PartitionIndex::new(0).unwrap() }
}

fn open(disk: &SimDisk) -> (LogDir, Arc<LocalLog>, Arc<Rejected>) {
    let options = LogDirOptions {
        sync_threads: 0,
        threads: Threads::None,
        journal_bytes: 64 << 10,
        journal_parts_min: 1,
    };
    let dir = LogDir::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let heard = Arc::new(Rejected::default());
    let listener = Arc::clone(&heard) as Arc<dyn CommitListener>;
    let (topic, now) = (TopicName::new("orders").unwrap(), Timestamp::from_millis(0));
    let opened = dir.open_partition(id(), &topic, LogConfig::default(), now, listener).unwrap();
    let log = dir.open_log(id()).unwrap();
    drop(opened);
    (dir, log, heard)
}

/// Appends one record in a round of its own.
fn append(dir: &LogDir, log: &LocalLog, base: i64) {
    let now = Timestamp::from_millis(base);
    let mut builder = BatchBuilder::new(Compression::None, 100);
    builder.append(now, None, Some(b"value"), &[]);
    let batch = builder.build().unwrap().assign(Offset::new(base).unwrap(), dir.leader_epoch());
    log.append(batch, 0, now);
    dir.commit_round();
}

fn in_journal_only(disk: &SimDisk) -> (LogDir, Arc<LocalLog>, Arc<Rejected>) {
    let (dir, log, heard) = open(disk);
    // The first one asks for the journal.
    append(&dir, &log, 0);
    append(&dir, &log, 1);
    assert!(log.tail().journaled);
    (dir, log, heard)
}

#[test]
fn a_segment_that_cannot_be_opened_now_is_no_failure_of_the_device() {
    let disk = SimDisk::new(1);
    let (dir, log, heard) = in_journal_only(&disk);
    disk.fail_always(CallKind::Open, Some(Fault::Io));
    assert_eq!(log.checkpoint(), Checkpoint::Later);
    disk.fail_always(CallKind::Open, None);
    append(&dir, &log, 2);
    assert_eq!(*heard.0.lock().unwrap(), []);
    assert_eq!(log.checkpoint(), Checkpoint::Durable);
    assert!(!log.tail().journaled);
}

#[test]
fn a_partition_removed_meanwhile_does_not_hold_up_the_journal() {
    let disk = SimDisk::new(1);
    let (dir, log, heard) = in_journal_only(&disk);
    dir.remove_topic(TOPIC).unwrap();
    assert_eq!(log.checkpoint(), Checkpoint::Durable);
    assert_eq!(*heard.0.lock().unwrap(), []);
}

/// The owner may let go of a log before the data directory is closed.
#[test]
fn what_only_the_journal_holds_of_a_dropped_log_outlives_a_clean_end() {
    let disk = SimDisk::new(1);
    let (dir, log, _heard) = in_journal_only(&disk);
    drop(log);
    dir.close().unwrap();
    drop(dir);
    for seed in 0..20 {
        let (_dir, log, _heard) = open(&disk.crash(seed));
        let end = Offset::new(2).unwrap();
        let read = log.read(Offset::new(1).unwrap(), end, 1000, ReadWait::MayBlock).unwrap();
        assert!(matches!(read, ReadOutcome::Batches(slice) if slice.next_offset == end), "seed {seed}");
    }
}

/// A round or a checkpoint may be under way while its partition is removed.
#[test]
fn what_ends_after_a_removal_leaves_nothing_to_a_partition_of_the_same_id() {
    let disk = SimDisk::new(1);
    let (dir, log, _heard) = in_journal_only(&disk);
    dir.remove_partition(id()).unwrap();
    log.note_floor(&log.tail());
    assert_eq!(log.floors.get(id()), None);
    let batch = {
        let mut builder = BatchBuilder::new(Compression::None, 100);
        builder.append(Timestamp::from_millis(1), None, Some(b"late"), &[]);
        builder.build().unwrap().assign(Offset::ZERO, dir.leader_epoch())
    };
    let late = Appended { id: id(), segment: Offset::ZERO, position: 0, batches: vec![batch] };
    assert!(!dir.shared_journal().commit(&[(Arc::clone(&log), late)]));
    assert!(journal::read_back(&disk, Path::new("/data")).unwrap().is_empty());
}
