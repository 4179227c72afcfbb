use std::path::Path;
use std::sync::{Arc, Mutex};

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use crate::config::{FlushPolicy, LogConfig};
use crate::engine::{
    AppendFailure, AppendFailureKind, CommitListener, PartitionId, PartitionLog, ReadOutcome, ReadWait,
};
use crate::local::checkpoint::Checkpoint;
use crate::local::journal::Appended;
use crate::local::journal_read;
use crate::local::local_log::LocalLog;
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
    let dir = open_dir(disk, 64 << 10);
    let (log, heard) = open_log(&dir, id());
    (dir, log, heard)
}

fn open_dir(disk: &SimDisk, journal_bytes: u64) -> LogDir {
    let options =
        LogDirOptions { sync_threads: 0, threads: Threads::None, journal_bytes, journal_parts_min: 1 };
    LogDir::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap()
}

fn open_log(dir: &LogDir, id: PartitionId) -> (Arc<LocalLog>, Arc<Rejected>) {
    let heard = Arc::new(Rejected::default());
    let listener = Arc::clone(&heard) as Arc<dyn CommitListener>;
    let (topic, now) = (TopicName::new("orders").unwrap(), Timestamp::from_millis(0));
    let opened = dir.open_partition(id, &topic, LogConfig::default(), now, listener).unwrap();
    let log = dir.open_log(id).unwrap();
    drop(opened);
    (log, heard)
}

const OTHER: TopicId = TopicId::from_uuid(Uuid::from_u128(4));

fn other() -> PartitionId {
    PartitionId { topic_id: OTHER, partition: PartitionIndex::new(0).unwrap() }
}

/// Two partitions whose batches lie in the journal, which has no room left: a frame is in each file.
fn full_journal(disk: &SimDisk) -> (LogDir, Arc<LocalLog>, Arc<LocalLog>) {
    let dir = open_dir(disk, 4096);
    let ((log, _), (kept, _)) = (open_log(&dir, id()), open_log(&dir, other()));
    // The first one asks for the journal.
    append(&dir, &log, 0);
    append(&dir, &log, 1);
    disk.fail_always(CallKind::Open, Some(Fault::Io));
    append(&dir, &kept, 0);
    assert!(log.tail().journaled && kept.tail().journaled);
    (dir, log, kept)
}

fn in_journal(disk: &SimDisk) -> Vec<PartitionId> {
    let held = journal_read::read_back(disk, Path::new("/data")).unwrap();
    held.iter().map(|held| held.id).collect()
}

#[test]
fn a_removal_of_a_topic_that_is_tried_again_is_finished() {
    let disk = SimDisk::new(1);
    let (dir, _log, kept) = full_journal(&disk);
    dir.remove_topic(TOPIC).unwrap_err();
    assert!(dir.remove_topic(TOPIC).is_err(), "nothing has changed");
    disk.fail_always(CallKind::Open, None);
    dir.remove_topic(TOPIC).unwrap();
    assert_eq!(in_journal(&disk), []);
    append(&dir, &kept, 1);
    assert_eq!(in_journal(&disk), [other()], "the journal is of use again");
    // Nothing of the removed one gets into one of the same id.
    drop((_log, dir));
    let disk = disk.kill();
    let (_dir, log, _heard) = open(&disk);
    assert_eq!(log.stats().size_bytes, 0);
}

#[test]
fn a_removal_that_could_not_be_finished_does_not_take_the_journal_from_others() {
    let disk = SimDisk::new(1);
    let (dir, _log, kept) = full_journal(&disk);
    dir.remove_topic(TOPIC).unwrap_err();
    disk.fail_always(CallKind::Open, None);
    // Its files get free.
    append(&dir, &kept, 1);
    append(&dir, &kept, 2);
    let held = journal_read::read_back(&disk, Path::new("/data")).unwrap();
    assert!(held.iter().any(|held| held.id == other() && held.position > 0), "{held:?}");
}

/// Its segment could not be synced, so the journal is all there is.
#[test]
fn what_only_the_journal_holds_of_a_failed_partition_outlives_the_removal_of_another() {
    let disk = SimDisk::new(1);
    let (dir, log, kept) = full_journal(&disk);
    disk.fail_always(CallKind::Open, None);
    disk.fail_always(CallKind::SyncData, Some(Fault::Io));
    assert_eq!(kept.checkpoint(), Checkpoint::Never);
    disk.fail_always(CallKind::SyncData, None);
    for base in 2..6 {
        append(&dir, &log, base);
    }
    drop(dir.remove_topic(TOPIC));
    drop((dir, log, kept));
    for seed in 0..20 {
        let disk = disk.crash(seed);
        let dir = open_dir(&disk, 4096);
        let (kept, _heard) = open_log(&dir, other());
        let end = Offset::new(1).unwrap();
        let read = kept.read(Offset::ZERO, end, 1000, ReadWait::MayBlock).unwrap();
        assert!(matches!(read, ReadOutcome::Batches(slice) if slice.next_offset == end), "seed {seed}");
    }
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
    assert!(journal_read::read_back(&disk, Path::new("/data")).unwrap().is_empty());
}

fn relaxed(disk: &SimDisk) -> (LogDir, Arc<LocalLog>, Arc<Rejected>) {
    let (dir, log, heard) = open(disk);
    log.reconfigure(LogConfig { flush: FlushPolicy::Os, ..LogConfig::default() });
    (dir, log, heard)
}

#[test]
fn what_a_relaxed_policy_has_written_is_durable_and_known_to_be_after_a_pass_of_syncs() {
    let disk = SimDisk::new(1);
    let (dir, log, _heard) = relaxed(&disk);
    append(&dir, &log, 0);
    append(&dir, &log, 1);
    assert_eq!(dir.sync_loose().unwrap(), 1);
    assert_eq!(dir.sync_loose().unwrap(), 0, "nothing was written since");
    append(&dir, &log, 2);
    let path = log.tail().writer.segment.path.clone();
    let end = log.tail().writer.end();
    assert_eq!(dir.sync_loose().unwrap(), 1);
    drop((log, dir));
    for ended in [disk.kill(), disk.crash(1), disk.crash(2)] {
        let (_dir, log, _heard) = open(&ended);
        assert_eq!(log.tail().writer.end(), end);
    }
    // Below the floor a start takes no broken byte for a torn tail.
    let broken = disk.kill();
    broken.corrupt(&path, 3, 1).unwrap();
    let (_dir, log, _heard) = open(&broken);
    assert!(log.is_damaged());
}

#[test]
fn a_pass_of_syncs_that_fails_ends_the_partition_and_promises_nothing() {
    let disk = SimDisk::new(1);
    let (dir, log, heard) = relaxed(&disk);
    append(&dir, &log, 0);
    let floor = dir.floors.get(id());
    disk.fail_always(CallKind::SyncData, Some(Fault::Io));
    assert_eq!(dir.sync_loose().unwrap(), 0);
    disk.fail_always(CallKind::SyncData, None);
    assert_eq!(dir.sync_loose().unwrap(), 0, "it is not tried again");
    assert_eq!(dir.floors.get(id()), floor);
    let failed = heard.0.lock().unwrap();
    assert!(matches!(failed.as_slice(), [AppendFailure { kind: AppendFailureKind::Failed { .. }, .. }]));
}
