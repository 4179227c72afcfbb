//! What crashes have found, each by itself.

use std::path::Path;
use std::sync::Arc;

use tidelog_log::disk::Disk;
use tidelog_log::sim_disk::{SimDisk, SimRng};
use tidelog_log::{
    CommitListener, FlushPolicy, LogConfig, LogDir, LogDirOptions, OpenedLog, PartitionId, PartitionLog,
    RecoveryReport, Threads,
};
use tidelog_model::{PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::model::{Ear, Heard, at, offset};
use super::workload::send;

const SEEDS: u64 = 100;

/// One partition on a simulated disk.
struct Rig {
    sim: SimDisk,
    dir: LogDir,
    log: Arc<dyn PartitionLog>,
    ear: Arc<Ear>,
    found: RecoveryReport,
    next: i64,
    rng: SimRng,
}

impl Rig {
    fn open(sim: SimDisk, config: LogConfig) -> Self {
        let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
        let disk = Arc::new(sim.clone()) as Arc<dyn Disk>;
        let dir = LogDir::open(disk, Path::new("/data"), options).unwrap();
        let ear = Arc::new(Ear::default());
        let topic_id = TopicId::from_uuid(Uuid::from_u128(1));
        let id = PartitionId { topic_id, partition: PartitionIndex::ZERO };
        let topic = TopicName::new("orders").unwrap();
        let listener = Arc::clone(&ear) as Arc<dyn CommitListener>;
        let OpenedLog { log, recovery } = dir.open_partition(id, &topic, config, at(0), listener).unwrap();
        let next = recovery.log_end.get();
        Self { sim, dir, log, ear, found: recovery, next, rng: SimRng::new(7) }
    }

    /// Appends a batch and runs a round; whether it was committed.
    fn append(&mut self, incarnation: u64) -> bool {
        let epoch = self.dir.leader_epoch().get();
        let sent = send(self.next, epoch, 1000, &mut self.rng, &self.log, incarnation).unwrap();
        self.dir.commit_round();
        let committed =
            self.ear.take().iter().any(|heard| matches!(heard, Heard::Committed(end) if *end == sent.next));
        if committed {
            self.next = sent.next;
        }
        committed
    }
}

#[test]
fn a_batch_refused_on_a_full_disk_does_not_come_back_after_a_power_cut() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut rig = Rig::open(SimDisk::new(seed), LogConfig::default());
        rig.rng = SimRng::new(seed);
        assert!(rig.append(0));
        // Of a round of two batches the first one may fit.
        rig.sim.set_capacity(Some(rig.sim.used_bytes() + 10 * seed));
        let (end, epoch) = (rig.next, rig.dir.leader_epoch().get());
        rig.next = send(end, epoch, 1000, &mut rig.rng, &rig.log, 0).unwrap().next;
        if rig.append(0) {
            continue;
        }
        refused += 1;
        rig.sim.set_capacity(None);
        for cut in 0..20 {
            assert_eq!(Rig::open(rig.sim.crash(cut), LogConfig::default()).next, end);
        }
    }
    assert!(refused > 10);
}

#[test]
fn a_segment_that_could_not_be_created_does_not_stand_in_the_way_of_the_one_before_it() {
    let small = LogConfig { segment_bytes: 400, ..LogConfig::default() };
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut rig = Rig::open(SimDisk::new(seed), small.clone());
        while rig.next < 10 {
            assert!(rig.append(0));
        }
        // Of the files of the next segment only some can be created.
        rig.sim.set_capacity(Some(rig.sim.used_bytes() + 64 * (seed % 4)));
        let refused_here = !rig.append(0);
        refused += u64::from(refused_here);
        rig.sim.set_capacity(None);
        rig.log.reconfigure(LogConfig::default());
        for _ in 0..4 {
            assert!(rig.append(u64::from(refused_here)));
        }
        let after = Rig::open(rig.sim.crash(seed), small.clone());
        assert_eq!((after.found.corrupt, after.next), (None, rig.next));
    }
    assert!(refused > 10);
}

#[test]
fn offsets_that_were_trimmed_and_lost_before_a_flush_are_not_given_out_again() {
    let relaxed = LogConfig { flush: FlushPolicy::Os, ..LogConfig::default() };
    for seed in 0..SEEDS {
        let mut rig = Rig::open(SimDisk::new(seed), relaxed.clone());
        for _ in 0..6 {
            assert!(rig.append(0));
        }
        let start = rig.next;
        rig.log.trim(offset(start)).unwrap();
        let mut after = Rig::open(rig.sim.crash(seed), relaxed.clone());
        assert_eq!((after.next, after.log.log_start().get()), (start, start));
        assert!(after.append(0));
        let again = Rig::open(after.sim.kill(), relaxed.clone());
        assert_eq!((again.next, again.log.log_start().get()), (after.next, start));
    }
}

#[test]
fn a_partition_created_under_the_id_of_a_removed_one_gets_nothing_of_it() {
    let mut rig = Rig::open(SimDisk::new(1), LogConfig::default());
    assert!(rig.append(0));
    let epoch = rig.dir.leader_epoch().get();
    send(rig.next, epoch, 1000, &mut rig.rng, &rig.log, 0).unwrap();
    let topic_id = TopicId::from_uuid(Uuid::from_u128(1));
    let id = PartitionId { topic_id, partition: PartitionIndex::ZERO };
    rig.dir.remove_partition(id).unwrap();
    let topic = TopicName::new("orders").unwrap();
    let listener = Arc::clone(&rig.ear) as Arc<dyn CommitListener>;
    let opened = rig.dir.open_partition(id, &topic, LogConfig::default(), at(0), listener).unwrap();
    rig.dir.commit_round();
    assert_eq!(opened.log.stats().size_bytes, 0);
    for seed in 0..SEEDS {
        assert_eq!(Rig::open(rig.sim.crash(seed), LogConfig::default()).next, 0);
    }
}
