//! One bit flips in one byte of one file while nobody looks. Whatever the next start finds: nothing panics, and
//! what is served is what was written, or the file is named.
//!
//! `TIDELOG_ROT_STEP=1` breaks each byte of each file in turn, which takes some minutes; without it every so
//! many bytes are broken. What nobody can tell is left out, and said in `Blind`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_log::disk::{Disk, OpenMode};
use tidelog_log::sim_disk::{SimDisk, SimRng};
use tidelog_log::{
    AbortedTransaction, Bounds, CleanupPolicy, CommitListener, LogConfig, LogDir, LogDirOptions, OpenError,
    OpenedLog, PartitionId, PartitionLog, ProducerEntry, ReadOutcome, ReadWait, Threads,
};
use tidelog_model::batch::{ControlKind, RecordBatch};
use tidelog_model::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicName,
};
use uuid::Uuid;

use super::model::{Broken, Ear, at, ensure, offset};
use super::transactions::Txn;
use super::workload::send_of;

const ROOT: &str = "/data";
/// Rolled and trimmed, compacted, and two with batches in the journal.
const PARTITIONS: i32 = 4;

type Record = (i64, i64, Vec<u8>, Option<Vec<u8>>);

/// What one partition is like when nothing is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    start: Offset,
    end: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    records: Vec<Record>,
    producers: Option<Offset>,
    aborted: Vec<AbortedTransaction>,
}

impl Whole {
    /// Without those of the first batch that were trimmed.
    fn kept(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.0 >= self.start.get())
    }
}

fn id(partition: i32) -> PartitionId {
    let topic_id = TopicId::from_uuid(Uuid::from_u128(1));
    PartitionId { topic_id, partition: PartitionIndex::new(partition).unwrap() }
}

fn config(partition: i32) -> LogConfig {
    let small = LogConfig { index_interval_bytes: 150, file_delete_delay_ms: 0, ..LogConfig::default() };
    match partition {
        0 => LogConfig { segment_bytes: 900, retention_ms: None, ..small },
        1 => LogConfig {
            segment_bytes: 600,
            cleanup: CleanupPolicy { delete: false, compact: true },
            min_cleanable_dirty_ratio: 0.0,
            ..small
        },
        _ => small,
    }
}

fn open_dir(sim: &SimDisk) -> Result<LogDir, OpenError> {
    let options = LogDirOptions {
        sync_threads: 0,
        threads: Threads::None,
        journal_bytes: 16 << 10,
        journal_parts_min: 2,
    };
    LogDir::open(Arc::new(sim.clone()) as Arc<dyn Disk>, Path::new(ROOT), options)
}

fn open_log(dir: &LogDir, partition: i32) -> Result<OpenedLog, OpenError> {
    let listener = Arc::new(Ear::default()) as Arc<dyn CommitListener>;
    let topic = TopicName::new("orders").unwrap();
    dir.open_partition(id(partition), &topic, config(partition), at(5000), listener)
}

/// Two runs: the first one ends cleanly, the second one is left in the middle.
fn lived(clean: bool) -> SimDisk {
    let sim = SimDisk::new(3);
    let mut rng = SimRng::new(5);
    for run in 0..2 {
        let dir = open_dir(&sim).unwrap();
        let logs: Vec<OpenedLog> = (0..PARTITIONS).map(|at| open_log(&dir, at).unwrap()).collect();
        let mut last = 0;
        let mut ends: Vec<i64> = logs.iter().map(|opened| opened.recovery.log_end.get()).collect();
        for round in 0..7 {
            // The first two are synced by themselves.
            let now = 1000 + run * 2000 + round * 100;
            for (opened, end) in logs.iter().zip(&mut ends).skip(if round < 5 { 0 } else { 2 }) {
                let epoch = dir.leader_epoch().get();
                last = *end;
                let txn = if Arc::ptr_eq(&opened.log, &logs[3].log) { transaction(round) } else { None };
                *end = send_of(txn, *end, epoch, now, &mut rng, &opened.log, 0).unwrap().next;
            }
            dir.commit_round();
        }
        if run == 1 {
            logs[0].log.trim(offset(ends[0] / 3)).unwrap();
            logs[1].log.maintain(at(9000), Bounds::stable(offset(ends[1]))).unwrap();
            logs[2].log.save_producers(offset(ends[2]), &[producer(ends[2] - 1)]).unwrap();
            // The transaction that its last batch begins goes on.
            let open = ProducerEntry { transaction_start: Some(offset(last)), ..producer(ends[3] - 1) };
            logs[3].log.save_producers(offset(ends[3]), &[open]).unwrap();
        }
        if run == 0 || clean {
            dir.close().unwrap();
        }
    }
    sim.kill()
}

/// Two transactions that are aborted, one that is committed, and one that goes on.
fn transaction(round: i64) -> Option<Txn> {
    match round {
        1 | 4 => Some(Txn::End(7, ControlKind::Abort)),
        2 => None,
        5 => Some(Txn::End(7, ControlKind::Commit)),
        _ => Some(Txn::Data(7)),
    }
}

fn producer(last_offset: i64) -> ProducerEntry {
    ProducerEntry {
        id: ProducerId(7),
        epoch: ProducerEpoch(0),
        last_sequence: Sequence(3),
        last_offset: Some(offset(last_offset)),
        offset_delta: 0,
        timestamp: at(1),
        coordinator_epoch: -1,
        transaction_start: None,
    }
}

fn files(sim: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in sim.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir { files.extend(self::files(sim, &path)) } else { files.push(path) }
    }
    files
}

fn content(sim: &SimDisk, path: &Path) -> Vec<u8> {
    let file = sim.open(path, OpenMode::Read).unwrap();
    let mut content = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(&mut content, 0).unwrap();
    content
}

/// A byte to break, and what cannot be told when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blind {
    Nothing,
    /// Where compaction leaves gaps, an offset is as good as another one in the same gap.
    Offset,
    /// The leader epoch of a batch is as good as another one between those of its neighbours.
    Epoch,
    /// The last frame of the journal may be torn, and what lies above the floor after a power cut.
    Tail,
}

/// The bytes to break: all of a file, but of the journal only what was written.
fn places(content: &[u8], path: &Path, last_frame: Option<u64>) -> Vec<(u64, Blind)> {
    let step: usize = std::env::var("TIDELOG_ROT_STEP").map_or(67, |step| step.parse().unwrap());
    let name = path.to_string_lossy();
    let (journal, log) = (name.contains("/journal-"), name.ends_with(".log"));
    let mut blind = vec![Blind::Nothing; content.len()];
    let mut at = 0;
    while log && at + 16 <= content.len() {
        blind[at + 12..at + 16].fill(Blind::Epoch);
        if name.contains("/1/") {
            blind[at..at + 8].fill(Blind::Offset);
        }
        let length = i32::from_be_bytes(content[at + 8..at + 12].try_into().unwrap());
        // A power cut may have left no batch here.
        at += 12 + usize::try_from(length).unwrap_or(content.len());
    }
    if journal {
        // A file that is used again looks as if its first header were broken.
        blind[..64].fill(Blind::Tail);
    }
    let last_frame = last_frame.map(|at| usize::try_from(at).unwrap());
    last_frame.into_iter().for_each(|at| blind[at..].fill(Blind::Tail));
    // More of the small files, and of the first batch's header.
    let more = |at: usize| (content.len() < 300 && !journal) || (log && at < 64);
    let taken = |at: usize| at.is_multiple_of(step) || (more(at) && at.is_multiple_of(step.min(5)));
    let written = |at: usize| !journal || content[at] != 0 || at.is_multiple_of(512);
    (0..content.len()).filter(|at| taken(*at) && written(*at)).map(|at| (at as u64, blind[at])).collect()
}

/// The file of the journal that was written last, and where its last frame is.
fn last_frame(sim: &SimDisk, files: &[PathBuf]) -> Option<(PathBuf, u64)> {
    let journals = files.iter().filter(|path| path.to_string_lossy().contains("/journal-"));
    let frames = journals.flat_map(|path| {
        let blocks = content(sim, path).chunks(4096).map(<[u8]>::to_vec).collect::<Vec<_>>();
        (0..).zip(blocks).map(|(at, block)| (block, path.clone(), at * 4096))
    });
    let frames = frames.filter(|(block, ..)| block.starts_with(b"tidelogj"));
    frames.max_by_key(|(block, ..)| block[16..24].to_vec()).map(|(_, path, at)| (path, at))
}

/// The records that a reader who checks what it gets takes for good, from the log's start; and whether it was
/// told or saw that something is broken.
fn read(log: &dyn PartitionLog, end: Offset, broken: &Path) -> Result<(Vec<Record>, bool), Broken> {
    let (mut from, mut records) = (log.log_start(), Vec::new());
    while from < end {
        let slice = match log.read(from, end, 400, ReadWait::MayBlock) {
            Ok(ReadOutcome::Batches(slice)) => slice,
            Ok(ReadOutcome::WouldBlock) => return Err("it may block".to_owned()),
            Err(error) => {
                ensure!(names(&error.to_string(), broken), "a read failed without the file's name: {error}");
                return Ok((records, true));
            }
        };
        ensure!(slice.next_offset > from, "a read at {from} of ..{end} leads nowhere");
        for batch in RecordBatch::split(Bytes::from(slice.bytes.to_vec())) {
            let Ok(batch) = batch else { return Ok((records, true)) };
            let Ok(all) = batch.records() else { return Ok((records, true)) };
            for record in all {
                let Ok(record) = record else { return Ok((records, true)) };
                let (key, value) = (record.key.unwrap_or_default(), record.value);
                let value = value.map(|value| value.to_vec());
                records.push((record.offset.get(), record.timestamp.millis(), key.to_vec(), value));
            }
        }
        from = slice.next_offset;
    }
    Ok((records, false))
}

fn names(error: &str, path: &Path) -> bool {
    error.contains(&*path.to_string_lossy())
}

fn whole(opened: &OpenedLog) -> Whole {
    let OpenedLog { log, recovery } = opened;
    let (records, broken) = read(log.as_ref(), recovery.log_end, Path::new("none")).unwrap();
    assert!(!broken && recovery.corrupt.is_none(), "{recovery:?}");
    log.verify().unwrap();
    let producers = log.load_producers().unwrap().map(|snapshot| snapshot.at);
    let epochs = log.leader_epochs();
    let aborted = log.aborted_transactions(log.log_start(), recovery.log_end).unwrap();
    Whole { start: log.log_start(), end: recovery.log_end, epochs, records, producers, aborted }
}

/// A broken byte, and what was there before.
struct Flip<'a> {
    path: &'a Path,
    place: u64,
    blind: Blind,
    /// The floor is known to the last byte.
    exact: bool,
    epoch: LeaderEpoch,
    expected: &'a [Whole],
}

impl Flip<'_> {
    /// What a start finds.
    fn look(&self, sim: &SimDisk) -> Result<(), Broken> {
        let flipped = content(sim, self.path);
        let dir = match open_dir(sim) {
            Ok(dir) => dir,
            Err(error) => {
                ensure!(names(&error.to_string(), self.path), "refused without the file's name: {error}");
                return Ok(());
            }
        };
        let epoch = dir.leader_epoch();
        ensure!(epoch >= self.epoch, "the leader epoch {epoch} was used before");
        // What the journal holds of it is written again.
        let at = usize::try_from(self.place).unwrap();
        let healed = files(sim, Path::new(ROOT)).contains(&self.path.to_owned())
            && content(sim, self.path).get(at) != flipped.get(at);
        for (partition, whole) in (0..).zip(self.expected) {
            match open_log(&dir, partition) {
                Ok(opened) => self
                    .look_at(&opened, whole, healed)
                    .map_err(|broken| format!("partition {partition}: {broken}"))?,
                Err(error) => {
                    ensure!(names(&error.to_string(), self.path), "off without the file's name: {error}");
                }
            }
        }
        Ok(())
    }

    fn is_segment_of(&self, log: &dyn PartitionLog) -> bool {
        let here = self.path.parent().is_some_and(|dir| names(&format!("{log:?}"), dir));
        here && self.path.extension().is_some_and(|extension| extension == "log")
    }

    fn look_at(&self, opened: &OpenedLog, whole: &Whole, healed: bool) -> Result<(), Broken> {
        let OpenedLog { log, recovery } = opened;
        let here = self.is_segment_of(log.as_ref());
        let about = |reason: &str| {
            (names(reason, self.path) || (self.blind == Blind::Epoch && here)) && reason.contains("byte")
        };
        let told = recovery.corrupt.as_ref().is_some_and(|reason| about(reason));
        ensure!(told || recovery.corrupt.is_none(), "called broken without file and byte: {recovery:?}");
        ensure!(log.log_start() == whole.start || told, "starts at {}", log.log_start());
        let (records, seen) = read(log.as_ref(), recovery.log_end, self.path)?;
        for (record, expected) in records.iter().zip(&whole.records) {
            let same = record == expected || (self.blind == Blind::Offset && record.1 == expected.1);
            ensure!(same, "{record:?} was read where {expected:?} was written");
        }
        // What a power cut leaves above the floor may be torn, so it is cut off, and kept.
        let cut = !self.exact && (self.blind == Blind::Tail || recovery.torn_tail.is_some());
        let all = records.len() == whole.records.len() && recovery.log_end == whole.end;
        ensure!(all || told || seen || cut, "{} records, {recovery:?}", records.len());
        if here && !cut && !healed && self.blind == Blind::Nothing {
            let error = log.verify().err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(about(&error), "verify finds nothing wrong: {error}");
        }
        if told || seen || cut || self.blind != Blind::Nothing {
            Ok(())
        } else {
            self.ask(log.as_ref(), whole)
        }
    }

    /// What else a log is asked for.
    fn ask(&self, log: &dyn PartitionLog, whole: &Whole) -> Result<(), Broken> {
        for target in (900..6000).step_by(100) {
            let found = match log.offset_for_timestamp(at(target), whole.end) {
                Ok(found) => found.map(|(offset, time)| (offset.get(), time.millis())),
                Err(error) => {
                    ensure!(names(&error.to_string(), self.path), "{error}");
                    return Ok(());
                }
            };
            let first = whole.kept().find(|record| record.1 >= target);
            let first = first.map(|record| (record.0, record.1));
            ensure!(found == first, "time {target} leads to {found:?}, not to {first:?}");
        }
        let largest = match log.max_timestamp(whole.end) {
            Ok(largest) => largest,
            Err(error) => {
                ensure!(names(&error.to_string(), self.path), "{error}");
                return Ok(());
            }
        };
        let expected = whole.kept().map(|record| record.1).max().map(at);
        ensure!(largest >= expected, "the largest time is {largest:?}, not {expected:?}");
        let producers = log.load_producers().map_err(|error| error.to_string())?.map(|snapshot| snapshot.at);
        ensure!(producers.is_none() || producers == whole.producers, "other producers: {producers:?}");
        let aborted = log.aborted_transactions(whole.start, whole.end).map_err(|error| error.to_string())?;
        ensure!(aborted == whole.aborted, "aborted: {aborted:?}, not {:?}", whole.aborted);
        let epochs = log.leader_epochs();
        let checkpoint = self.path.ends_with("leader-epoch-checkpoint");
        let same = epochs_before(&epochs) == epochs_before(&whole.epochs);
        ensure!(same || checkpoint, "other epochs: {epochs:?}, not {:?}", whole.epochs);
        let mut headers = 0;
        log.for_each_header(whole.start, &mut |_| headers += 1).map_err(|error| error.to_string())?;
        ensure!(headers > 0, "no headers");
        Ok(())
    }
}

/// Without that of this run.
fn epochs_before(epochs: &[(LeaderEpoch, Offset)]) -> &[(LeaderEpoch, Offset)] {
    epochs.split_last().map_or(epochs, |(_, before)| before)
}

/// Breaks bytes of each file in turn; what went wrong.
fn sweep(sim: &SimDisk, exact: bool) -> (usize, Vec<Broken>) {
    let pristine = sim.kill();
    let dir = open_dir(&pristine).unwrap();
    let epoch = dir.leader_epoch();
    let expected: Vec<Whole> = (0..PARTITIONS).map(|at| whole(&open_log(&dir, at).unwrap())).collect();
    assert!(expected.iter().all(|whole| whole.records.len() > 5));
    assert!(expected[3].aborted.len() > 1);
    let (mut flips, mut wrong) = (0, Vec::new());
    let listed = sim.kill();
    let files = files(&listed, Path::new(ROOT));
    let last_frame = last_frame(&listed, &files);
    for path in &files {
        let last_frame = last_frame.as_ref().filter(|(last, _)| last == path).map(|(_, at)| *at);
        for (place, blind) in places(&content(&listed, path), path, last_frame) {
            let broken = sim.kill();
            broken.corrupt(path, place, 1 << (place % 8)).unwrap();
            let flip = Flip { path, place, blind, exact, epoch, expected: &expected };
            let looked = catch_unwind(AssertUnwindSafe(|| flip.look(&broken)));
            let looked = looked.unwrap_or_else(|_| Err("a panic".to_owned()));
            wrong.extend(looked.err().map(|reason| format!("{} at {place}: {reason}", path.display())));
            flips += 1;
        }
    }
    (flips, wrong)
}

fn assert_nothing_wrong(sim: &SimDisk, exact: bool) {
    let (flips, wrong) = sweep(sim, exact);
    eprintln!("{flips} flipped bits");
    assert!(wrong.is_empty(), "{} of {flips}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_flipped_bit_after_a_clean_end_is_harmless_or_named() {
    assert_nothing_wrong(&lived(true), true);
}

#[test]
fn a_flipped_bit_after_a_kill_is_harmless_or_named() {
    assert_nothing_wrong(&lived(false), true);
}

#[test]
fn a_flipped_bit_after_a_power_cut_is_harmless_or_named() {
    let sim = lived(false);
    for seed in 0..2 {
        assert_nothing_wrong(&sim.crash(seed), false);
    }
}
