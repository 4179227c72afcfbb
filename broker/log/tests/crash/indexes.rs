//! Index files are hints, and what they hint at must be there: also after they could not be written at a start.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_log::disk::Disk;
use tidelog_log::sim_disk::{CallKind, Fault, SimDisk, SimRng};
use tidelog_log::{
    CommitListener, FlushPolicy, LogConfig, LogDir, LogDirOptions, OpenError, OpenedLog, PartitionId,
    PartitionLog, ReadOutcome, ReadWait, Threads,
};
use tidelog_model::batch::RecordBatch;
use tidelog_model::{Offset, PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::model::{Ear, at};
use super::workload::send;

fn config(flush: FlushPolicy) -> LogConfig {
    LogConfig { index_interval_bytes: 100, flush, ..LogConfig::default() }
}

fn open(sim: &SimDisk, flush: FlushPolicy) -> Result<(LogDir, OpenedLog), OpenError> {
    let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
    let dir = LogDir::open(Arc::new(sim.clone()) as Arc<dyn Disk>, Path::new("/data"), options)?;
    let topic_id = TopicId::from_uuid(Uuid::from_u128(1));
    let id = PartitionId { topic_id, partition: PartitionIndex::ZERO };
    let listener = Arc::new(Ear::default()) as Arc<dyn CommitListener>;
    let opened = dir.open_partition(id, &TopicName::new("t").unwrap(), config(flush), at(0), listener)?;
    Ok((dir, opened))
}

fn fill(dir: &LogDir, opened: &OpenedLog, rng: &mut SimRng, now: i64) {
    let mut next = opened.recovery.log_end.get();
    for round in 0..12 {
        next = send(next, dir.leader_epoch().get(), now + round * 200, rng, &opened.log, 0).unwrap().next;
        dir.commit_round();
    }
}

/// All records' offsets and times, read from the front.
fn times(log: &dyn PartitionLog, end: Offset) -> Vec<(i64, i64)> {
    let (mut from, mut all) = (log.log_start(), Vec::new());
    while from < end {
        let ReadOutcome::Batches(slice) = log.read(from, end, 500, ReadWait::MayBlock).unwrap() else {
            break;
        };
        from = slice.next_offset;
        for batch in RecordBatch::split(Bytes::from(slice.bytes.to_vec())) {
            for record in batch.unwrap().records().unwrap() {
                let record = record.unwrap();
                all.push((record.offset.get(), record.timestamp.millis()));
            }
        }
    }
    all
}

fn assert_times_lead_right(sim: &SimDisk, context: &str) {
    let (_dir, opened) = open(sim, FlushPolicy::Sync).unwrap();
    assert_eq!(opened.recovery.corrupt, None, "{context}");
    let end = opened.recovery.log_end;
    let all = times(opened.log.as_ref(), end);
    assert_eq!(all.len(), usize::try_from(end.get()).unwrap(), "{context}");
    for target in (0..12_000).step_by(50) {
        let found = opened.log.offset_for_timestamp(at(target), end).unwrap();
        let found = found.map(|(offset, time)| (offset.get(), time.millis()));
        let expected = all.iter().find(|(_, time)| *time >= target).copied();
        assert_eq!(found, expected, "{context}: time {target}");
    }
    let largest = all.iter().map(|(_, time)| *time).max().map(at);
    assert_eq!(opened.log.max_timestamp(end).unwrap(), largest, "{context}");
}

/// A disk whose index files tell of records that a power cut took.
fn crashed(seed: u64) -> SimDisk {
    let sim = SimDisk::new(seed);
    let mut rng = SimRng::new(seed);
    let (dir, opened) = open(&sim, FlushPolicy::Os).unwrap();
    fill(&dir, &opened, &mut rng, 8000);
    sim.crash(seed)
}

#[test]
fn an_index_that_could_not_be_written_at_a_start_does_not_tell_of_what_was_cut_off() {
    let mut opened_all_the_same = 0;
    for seed in 0..20 {
        let probe = crashed(seed);
        probe.record();
        drop(open(&probe, FlushPolicy::Sync).unwrap());
        let kinds = probe.take_recorded();
        let fails = |kind: &CallKind| {
            matches!(kind, CallKind::Create | CallKind::Open | CallKind::SetSize | CallKind::Write)
        };
        for (call, kind) in (0..).zip(&kinds).filter(|(_, kind)| fails(kind)) {
            let sim = crashed(seed);
            sim.fail_call(call, if *kind == CallKind::Open { Fault::NoFiles } else { Fault::Full });
            let Ok((dir, opened)) = open(&sim, FlushPolicy::Sync) else { continue };
            opened_all_the_same += 1;
            fill(&dir, &opened, &mut SimRng::new(seed + 1), 1000);
            drop((dir, opened));
            for after in [sim.kill(), sim.crash(1), sim.crash(2)] {
                assert_times_lead_right(&after, &format!("seed {seed}, {kind:?} {call}"));
            }
        }
    }
    assert!(opened_all_the_same > 50, "{opened_all_the_same}");
}
