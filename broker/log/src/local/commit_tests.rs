use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use crate::config::LogConfig;
use crate::engine::{AppendFailure, AppendFailureKind, CommitListener, PartitionId, PartitionLog};
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::sim_disk::SimDisk;

#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<(Offset, Vec<AppendFailure>)>,
    changed: Condvar,
}

impl CommitListener for Ear {
    fn written(&self, _end: Offset) {}
    fn committed(&self, end: Offset) {
        self.heard.lock().unwrap().0 = end;
        self.changed.notify_all();
    }
    fn rejected(&self, failure: AppendFailure) {
        self.heard.lock().unwrap().1.push(failure);
        self.changed.notify_all();
    }
}

impl Ear {
    /// Waits until something was rejected since the last time; the last of it.
    fn rejected(&self) -> AppendFailure {
        let heard = self.heard.lock().unwrap();
        let wait =
            self.changed.wait_timeout_while(heard, Duration::from_secs(20), |heard| heard.1.is_empty());
        let (mut heard, _) = wait.unwrap();
        let last = heard.1.pop().expect("nobody was told");
        heard.1.clear();
        last
    }
}

fn id() -> PartitionId {
    PartitionId { topic_id: TopicId::from_uuid(Uuid::from_u128(3)), partition: PartitionIndex::ZERO }
}

fn open(disk: &SimDisk, threads: Threads) -> LogDir {
    let options = LogDirOptions { threads, ..LogDirOptions::default() };
    LogDir::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap()
}

fn open_log(dir: &LogDir) -> (Arc<dyn PartitionLog>, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let (topic, now) = (TopicName::new("orders").unwrap(), Timestamp::from_millis(0));
    let listener = Arc::clone(&ear) as Arc<dyn CommitListener>;
    (dir.open_partition(id(), &topic, LogConfig::default(), now, listener).unwrap().log, ear)
}

fn append(dir: &LogDir, log: &Arc<dyn PartitionLog>, base: i64, incarnation: u64) {
    let now = Timestamp::from_millis(base);
    let mut builder = BatchBuilder::new(Compression::None, 100);
    builder.append(now, None, Some(b"value"), &[]);
    let batch = builder.build().unwrap().assign(Offset::new(base).unwrap(), dir.leader_epoch());
    log.append(batch, incarnation, now);
}

#[test]
fn what_is_appended_after_the_end_of_the_data_directory_is_rejected() {
    for threads in [Threads::Own, Threads::None] {
        let dir = open(&SimDisk::new(1), threads);
        let (log, ear) = open_log(&dir);
        append(&dir, &log, 0, 0);
        dir.close().unwrap();
        assert_eq!(ear.heard.lock().unwrap().0.get(), 1, "what came before is committed");
        let mut incarnation = 0;
        for _ in 0..3 {
            append(&dir, &log, 1, incarnation);
            let failure = ear.rejected();
            assert_eq!((failure.kind, failure.end.get()), (AppendFailureKind::Gone, 1));
            assert!(failure.incarnation > incarnation);
            incarnation = failure.incarnation;
        }
        let epoch_of = dir;
        let late = |base| append(&epoch_of, &log, base, incarnation);
        epoch_of.close().unwrap();
        late(1);
        assert_eq!(ear.rejected().kind, AppendFailureKind::Gone, "closed twice");
    }
}

#[test]
fn what_waits_when_the_data_directory_is_dropped_is_rejected() {
    let dir = open(&SimDisk::new(1), Threads::None);
    let (log, ear) = open_log(&dir);
    append(&dir, &log, 0, 0);
    drop(dir);
    assert_eq!(ear.rejected().kind, AppendFailureKind::Gone);
}

#[test]
fn what_waits_or_comes_for_a_removed_partition_is_rejected_to_its_owner_alone() {
    let dir = open(&SimDisk::new(1), Threads::None);
    let (log, ear) = open_log(&dir);
    append(&dir, &log, 0, 0);
    dir.remove_partition(id()).unwrap();
    let (successor, successor_ear) = open_log(&dir);
    dir.commit_round();
    let failure = ear.rejected();
    assert_eq!(failure.kind, AppendFailureKind::Gone);
    append(&dir, &log, 0, failure.incarnation);
    append(&dir, &successor, 0, 0);
    dir.commit_round();
    assert_eq!(ear.rejected().kind, AppendFailureKind::Gone);
    let heard = successor_ear.heard.lock().unwrap();
    assert_eq!((heard.0.get(), heard.1.len()), (1, 0));
    assert_eq!(ear.heard.lock().unwrap().0, Offset::ZERO);
    assert_eq!(successor.stats().size_bytes, 73, "one batch");
}
