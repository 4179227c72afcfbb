//! What crashes have found, each by itself.

use std::path::Path;
use std::sync::Arc;

use tidelog_log::disk::Disk;
use tidelog_log::sim_disk::{Fault, SimDisk, SimRng};
use tidelog_log::{
    AppendFailureKind, CommitListener, FlushPolicy, LogConfig, LogDir, LogDirOptions, OpenedLog, PartitionId,
    PartitionLog, RecoveryReport, Threads,
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

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 400, ..LogConfig::default() }
}

/// A log whose next batches do not fit into its segment.
fn before_a_roll(seed: u64) -> Rig {
    let mut rig = Rig::open(SimDisk::new(seed), small_segments());
    while rig.log.stats().size_bytes < 300 {
        assert!(rig.append(0));
    }
    rig
}

/// The calls until a segment was rolled that open something.
fn opens_of_a_roll(seed: u64) -> Vec<u64> {
    let mut rig = before_a_roll(seed);
    rig.sim.record();
    let before = rig.log.stats().segments;
    while rig.log.stats().segments == before {
        assert!(rig.append(0));
    }
    let kinds = rig.sim.take_recorded();
    let calls = (0..).zip(&kinds).filter(|(_, kind)| kind.faults().contains(&Fault::NoFiles));
    calls.map(|(call, _)| call).collect()
}

/// Appends in a row, in the incarnations that the log asks for; how many were refused.
fn append_through_a_shortage(rig: &mut Rig) -> u32 {
    let (mut incarnation, mut refused) = (0, 0);
    for _ in 0..12 {
        let epoch = rig.dir.leader_epoch().get();
        let sent = send(rig.next, epoch, 1000, &mut rig.rng, &rig.log, incarnation).unwrap();
        rig.dir.commit_round();
        let heard = rig.ear.take();
        let rejected = heard.iter().find_map(|heard| match heard {
            Heard::Rejected(failure) => Some(failure.clone()),
            _ => None,
        });
        let Some(failure) = rejected else {
            assert!(heard.iter().any(|heard| matches!(heard, Heard::Committed(end) if *end == sent.next)));
            rig.next = sent.next;
            continue;
        };
        let remedy =
            matches!(&failure.kind, AppendFailureKind::OutOfFiles { reason } if reason.contains("ulimit"));
        assert!(remedy && failure.end.get() == rig.next, "{failure:?}");
        incarnation = failure.incarnation;
        refused += 1;
    }
    refused
}

#[test]
fn too_many_open_files_at_a_roll_refuse_batches_with_the_remedy_and_nothing_else() {
    let mut refused = 0;
    for seed in 0..10 {
        let opens = opens_of_a_roll(seed).into_iter();
        for calls in opens.flat_map(|from| [1, 3, 10, 40].map(|length| from..from + length)) {
            let mut rig = before_a_roll(seed);
            let first = rig.sim.calls();
            rig.sim.no_files(first + calls.start..first + calls.end);
            refused += append_through_a_shortage(&mut rig);
            let after = Rig::open(rig.sim.crash(seed), small_segments());
            assert_eq!((after.found.corrupt, after.next), (None, rig.next), "seed {seed}, {calls:?}");
        }
    }
    assert!(refused > 20, "{refused}");
}
