//! Several producers' transactions, interleaved by chance, against a look at all batches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{LeaderEpoch, PartitionIndex, ProducerEpoch, Sequence, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::*;
use crate::config::{CleanupPolicy, FlushPolicy, LogConfig};
use crate::disk::{Disk, OpenMode};
use crate::engine::{AppendFailure, Bounds, CommitListener, PartitionId, ReadOutcome, ReadWait};
use crate::local::compact;
use crate::local::compact_map::SLOT_BYTES;
use crate::local::{LogDir, LogDirOptions, Threads};
use crate::sim_disk::SimDisk;

const NONE: i64 = -1;

#[derive(Debug)]
struct Deaf;

impl CommitListener for Deaf {
    fn written(&self, _end: Offset) {}
    fn committed(&self, _end: Offset) {}
    fn rejected(&self, failure: AppendFailure) {
        panic!("{failure:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Plain,
    Data,
    Commit,
    Abort,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    id: i64,
    what: What,
    base: i64,
    next: i64,
}

fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

/// What a look at all batches tells: the aborted transactions, and where the open ones begin.
fn naive(items: &[Item]) -> (Vec<AbortedTransaction>, BTreeMap<i64, i64>) {
    let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
    for item in items {
        match item.what {
            What::Plain => {}
            What::Data => drop(open.entry(item.id).or_insert(item.base)),
            What::Commit => drop(open.remove(&item.id)),
            What::Abort => {
                if let Some(first) = open.remove(&item.id) {
                    aborted.push(AbortedTransaction {
                        producer_id: ProducerId(item.id),
                        first_offset: at(first),
                        last_offset: at(item.base),
                        last_stable: at(open.values().min().copied().unwrap_or(item.next)),
                    });
                }
            }
        }
    }
    (aborted, open)
}

struct Rig {
    sim: SimDisk,
    dir: Option<LogDir>,
    log: Option<Arc<LocalLog>>,
    config: LogConfig,
    items: Vec<Item>,
    start: i64,
    epoch: LeaderEpoch,
}

impl Rig {
    fn new(flush: FlushPolicy, compact: bool) -> Self {
        let config = LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 100,
            flush,
            cleanup: CleanupPolicy { delete: false, compact },
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: 0,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        let (sim, epoch) = (SimDisk::new(7), LeaderEpoch::new(0).unwrap());
        let mut rig = Self { sim, dir: None, log: None, config, items: Vec::new(), start: 0, epoch };
        rig.open();
        rig
    }

    fn log(&self) -> &Arc<LocalLog> {
        self.log.as_ref().unwrap()
    }

    fn open(&mut self) {
        let options = LogDirOptions { sync_threads: 0, threads: Threads::None, ..LogDirOptions::default() };
        let disk = Arc::new(self.sim.clone()) as Arc<dyn Disk>;
        let dir = LogDir::open(disk, Path::new("/data"), options).unwrap();
        let topic_id = TopicId::from_uuid(Uuid::from_u128(1));
        let id = PartitionId { topic_id, partition: PartitionIndex::ZERO };
        let (name, now) = (TopicName::new("t").unwrap(), Timestamp::from_millis(0));
        let opened = dir.open_partition(id, &name, self.config.clone(), now, Arc::new(Deaf)).unwrap();
        assert_eq!(opened.recovery.corrupt, None);
        let end = opened.recovery.log_end.get();
        self.items.retain(|item| item.next <= end);
        assert_eq!(self.end(), end);
        self.epoch = dir.leader_epoch();
        self.log = dir.open_log(id);
        self.dir = Some(dir);
    }

    fn end(&self) -> i64 {
        self.items.last().map_or(0, |item| item.next)
    }

    fn append(&mut self, id: i64, what: What, records: usize) {
        let (epoch, now) = (ProducerEpoch(0), Timestamp::from_millis(0));
        let batch = match what {
            What::Plain | What::Data => {
                let mut builder = BatchBuilder::new(Compression::None, 100);
                builder = builder.producer(ProducerId(id), epoch, Sequence(0));
                if what == What::Data {
                    builder = builder.transactional();
                }
                for _ in 0..records {
                    let value = format!("{id} {}", self.end());
                    builder.append(
                        now,
                        Some(&[u8::try_from(self.end() % 3).unwrap()]),
                        Some(value.as_bytes()),
                        &[],
                    );
                }
                builder.build().unwrap()
            }
            What::Commit | What::Abort => {
                let kind = if what == What::Abort { ControlKind::Abort } else { ControlKind::Commit };
                ControlMarker { kind, coordinator_epoch: 0 }.batch(ProducerId(id), epoch, now).unwrap()
            }
        };
        let batch = batch.assign(at(self.end()), self.epoch);
        let item = Item { id, what, base: self.end(), next: batch.header().next_offset().get() };
        self.items.push(item);
        self.log().append(batch, 0, now);
        self.dir.as_ref().unwrap().commit_round();
    }

    fn save(&self) {
        let (_, open) = naive(&self.items);
        let entry = |id| ProducerEntry {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            last_sequence: Sequence(0),
            last_offset: Some(Offset::ZERO),
            offset_delta: 0,
            timestamp: Timestamp::from_millis(0),
            coordinator_epoch: 0,
            transaction_start: open.get(&id).copied().map(at),
        };
        let entries: Vec<_> = (0..4).map(entry).collect();
        self.log().save_producers(at(self.end()), &entries).unwrap();
    }

    fn restart(&mut self, power: Option<u64>, damage: u8) {
        self.log = None;
        self.dir = None;
        self.sim = power.map_or_else(|| self.sim.kill(), |seed| self.sim.crash(seed));
        let dir = PathBuf::from("/data/topics/00000000000000000000000000000001/0");
        let names: Vec<String> = self.sim.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
        let mut files = names.iter().filter(|name| name.contains("txnindex")).map(|name| dir.join(name));
        let file = files.nth(usize::from(damage / 4));
        match file.filter(|_| damage % 4 < 2) {
            Some(path) if damage.is_multiple_of(4) => self.sim.remove_file(&path).unwrap(),
            Some(path) => {
                let file = self.sim.open(&path, OpenMode::ReadWrite).unwrap();
                let mut byte = [0];
                file.read_at(&mut byte, 5).unwrap();
                file.write_at(&[std::io::IoSlice::new(&[byte[0] ^ 1])], 5).unwrap();
            }
            None => {}
        }
        self.open();
    }

    fn stable(&self) -> i64 {
        naive(&self.items).1.values().min().copied().unwrap_or_else(|| self.end())
    }

    /// Reads as a client that wants committed records only; the offsets of the batches it takes.
    fn committed(&self, from: i64, to: i64) -> Vec<i64> {
        let mut coming = self.log().aborted_transactions(at(from), at(to)).unwrap();
        assert!(coming.is_sorted_by_key(|entry| entry.first_offset));
        coming.reverse();
        let (mut aborting, mut taken, mut from) = (BTreeSet::new(), Vec::new(), at(from));
        while from < at(to) {
            let ReadOutcome::Batches(slice) = self.log().read(from, at(to), 300, ReadWait::MayBlock).unwrap()
            else {
                panic!("it may block")
            };
            for batch in RecordBatch::split(slice.bytes.clone()) {
                let batch = batch.unwrap();
                let header = *batch.header();
                while let Some(entry) = coming.pop_if(|entry| entry.first_offset <= header.last_offset()) {
                    aborting.insert(entry.producer_id.0);
                }
                let abort =
                    ControlMarker::parse(&batch).is_ok_and(|marker| marker.kind == ControlKind::Abort);
                if abort {
                    aborting.remove(&header.producer_id.0);
                }
                let hidden = header.is_transactional() && aborting.contains(&header.producer_id.0);
                if !header.is_control() && !hidden {
                    taken.extend(batch.records().unwrap().map(|record| record.unwrap().offset.get()));
                }
            }
            from = slice.next_offset;
        }
        taken
    }

    /// The records that are committed in a range, by a look at all batches.
    fn expected(&self, from: i64, to: i64) -> Vec<i64> {
        let (aborted, _) = naive(&self.items);
        let gone = |item: &Item| {
            aborted.iter().any(|entry| {
                entry.producer_id.0 == item.id
                    && (entry.first_offset.get()..entry.last_offset.get()).contains(&item.base)
            })
        };
        let data = self.items.iter().filter(|item| item.next > from && item.next <= to);
        let data = data.filter(|item| match item.what {
            What::Plain => true,
            What::Data => !gone(item),
            What::Commit | What::Abort => false,
        });
        data.flat_map(|item| item.base..item.next).collect()
    }

    fn check(&self, exact: bool) {
        let (aborted, open) = naive(&self.items);
        let (start, stable) = (self.start.min(self.stable()), self.stable());
        for from in (start..=stable).step_by(3) {
            for to in [from + 1, from + 9, stable] {
                let to = to.min(stable).max(from);
                assert_eq!(self.committed(from, to), self.expected(from, to), "{from}..{to}");
                if exact {
                    let mut overlapping: Vec<_> = aborted
                        .iter()
                        .filter(|entry| entry.last_offset.get() >= from && entry.first_offset.get() < to)
                        .copied()
                        .collect();
                    overlapping.sort_by_key(|entry| entry.first_offset);
                    assert_eq!(self.log().aborted_transactions(at(from), at(to)).unwrap(), overlapping);
                }
            }
        }
        let known: BTreeMap<i64, i64> = {
            let tail = self.log().tail();
            let ongoing = tail.writer.ongoing.as_ref().unwrap();
            assert_eq!(ongoing.first_of.len(), ongoing.firsts.len());
            ongoing.first_of.iter().map(|(id, first)| (*id, first.get())).collect()
        };
        assert_eq!(known.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
        assert!(!exact || known == open);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(i64, What, usize),
    Save,
    Restart(Option<u64>, u8),
    Trim(u8),
    /// With a map of so many slots, and an end of the process after so many changes.
    Compact(usize, Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let data = (0..4_i64, 1..4_usize).prop_map(|(id, records)| Step::Append(id, What::Data, records));
    prop_oneof![
        12 => data,
        4 => (0..4_i64).prop_map(|id| Step::Append(id, What::Abort, 1)),
        3 => (0..4_i64).prop_map(|id| Step::Append(id, What::Commit, 1)),
        3 => Just(Step::Append(NONE, What::Plain, 2)),
        2 => Just(Step::Save),
        2 => (prop::option::of(any::<u64>()), any::<u8>()).prop_map(|(power, damage)| Step::Restart(power, damage)),
        1 => any::<u8>().prop_map(Step::Trim),
        2 => (2..40_usize, prop::option::of(1..40_u64)).prop_map(|(slots, stop)| Step::Compact(slots, stop)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_a_look_at_all_batches_says(
        steps in prop::collection::vec(step(), 1..90),
        relaxed in any::<bool>(),
        trims in any::<bool>(),
    ) {
        let flush = if relaxed { FlushPolicy::Os } else { FlushPolicy::Sync };
        let mut rig = Rig::new(flush, false);
        let mut exact = true;
        for step in steps {
            match step {
                Step::Append(id, what, records) => rig.append(id, what, records),
                Step::Save => rig.save(),
                Step::Restart(power, damage) => {
                    rig.restart(power, damage);
                    if rig.start <= rig.end() && rig.start <= rig.stable() {
                        rig.log().aborted_transactions(at(rig.start), at(rig.stable())).unwrap();
                        rig.check(exact);
                    }
                }
                Step::Trim(part) if trims && !relaxed => {
                    let to = rig.stable() * i64::from(part) / 255;
                    rig.start = rig.log().trim(at(to)).unwrap().get();
                    exact &= rig.start == 0;
                }
                Step::Trim(_) | Step::Compact(..) => {}
            }
        }
        rig.log().aborted_transactions(at(rig.start), at(rig.start)).unwrap();
        rig.check(exact);
    }
}

/// The newest committed value of each key, as offsets.
fn newest(rig: &Rig, offsets: &[i64]) -> BTreeMap<i64, i64> {
    let key = |offset: &i64| {
        let item = rig.items.iter().find(|item| (item.base..item.next).contains(offset)).unwrap();
        item.base % 3
    };
    offsets.iter().map(|offset| (key(offset), *offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn compaction_keeps_the_newest_committed_record_of_each_key_and_shows_no_aborted_one(
        steps in prop::collection::vec(step(), 1..90),
    ) {
        let mut rig = Rig::new(FlushPolicy::Sync, true);
        for (now, step) in (1..).zip(steps) {
            match step {
                Step::Append(id, what, records) => rig.append(id, what, records),
                Step::Save => rig.save(),
                Step::Restart(power, damage) => rig.restart(power, damage),
                Step::Trim(_) => {}
                Step::Compact(slots, stop) => {
                    stop.into_iter().for_each(|calls| rig.sim.stop_after(calls));
                    let (now, up_to) = (Timestamp::from_millis(now), at(rig.stable()));
                    let compacted = compact::compact(rig.log(), now, up_to, slots * SLOT_BYTES);
                    prop_assert!(stop.is_some() || compacted.is_ok());
                    if stop.is_some() {
                        rig.restart(None, 3);
                    }
                }
            }
            let (all, left) = (rig.expected(0, rig.stable()), rig.committed(0, rig.stable()));
            prop_assert!(left.iter().all(|offset| all.contains(offset)), "{:?} of {:?}", left, all);
            prop_assert_eq!(newest(&rig, &left), newest(&rig, &all));
        }
    }
}

#[test]
fn a_marker_and_its_entry_go_when_nothing_of_the_transaction_is_left() {
    let mut rig = Rig::new(FlushPolicy::Sync, true);
    rig.append(1, What::Data, 2);
    rig.append(1, What::Abort, 1);
    for _ in 0..20 {
        rig.append(NONE, What::Plain, 2);
    }
    let (end, mut left) = (at(rig.end()), Vec::new());
    for pass in 1..=4 {
        for _ in 0..12 {
            rig.append(NONE, What::Plain, 2);
        }
        rig.log().maintain(Timestamp::from_millis(pass * 1000), Bounds::stable(at(rig.end()))).unwrap();
        let mut kinds = Vec::new();
        rig.log()
            .for_each_header(Offset::ZERO, &mut |header| {
                if header.producer_id.0 == 1 {
                    kinds.push((header.is_control(), header.has_delete_horizon()));
                }
            })
            .unwrap();
        left.push((kinds, rig.log().aborted_transactions(Offset::ZERO, end).unwrap().len()));
    }
    let marker = |horizon| vec![(true, horizon)];
    assert_eq!(left, [(marker(false), 1), (marker(true), 0), (vec![], 0), (vec![], 0)]);
}
