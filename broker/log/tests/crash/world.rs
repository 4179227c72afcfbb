//! A data directory on a simulated disk, its partitions, and everything that can be done to them.

use std::path::Path;
use std::sync::Arc;

use tidelog_log::disk::Disk;
use tidelog_log::sim_disk::{SimDisk, SimRng};
use tidelog_log::{
    CommitListener, LogConfig, LogDir, LogDirOptions, PartitionId, PartitionLog, ReadError, ReadOutcome,
    ReadWait, RecoveryReport, Threads,
};
use tidelog_model::{PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

use super::model::{Broken, Cut, Ear, Found, Model, at, ensure, offset};
use super::planted::{Plant, PlantedDisk};
use super::reached::Reached;
use super::transactions;
use super::workload::{config, send_of};

const ROOT: &str = "/data/log";
const TOPICS: u128 = 2;
const PARTITIONS: i32 = 2;

/// Something did not work. Whether it may is for the caller to say.
#[derive(Debug)]
pub(crate) enum Trouble {
    Failed(String),
    Broken(Broken),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

pub(crate) fn failed(error: impl ToString) -> Trouble {
    Trouble::Failed(error.to_string())
}

/// A partition's owner.
pub(crate) struct Part {
    id: PartitionId,
    topic: TopicName,
    pub(crate) exists: bool,
    pub(crate) log: Option<Arc<dyn PartitionLog>>,
    ear: Arc<Ear>,
    pub(crate) model: Model,
    pub(crate) config: LogConfig,
}

/// A partition's log as it was opened.
type OpenedPart = (Arc<dyn PartitionLog>, RecoveryReport, Arc<Ear>);

/// An opened data directory with those partitions that exist.
struct Opened {
    dir: LogDir,
    logs: Vec<Option<OpenedPart>>,
}

/// The simulated world.
pub(crate) struct World {
    pub(crate) rng: SimRng,
    pub(crate) sim: SimDisk,
    plant: Plant,
    pub(crate) dir: Option<LogDir>,
    pub(crate) parts: Vec<Part>,
    now: i64,
    epoch: i32,
    cluster: Option<Uuid>,
    /// Calls may fail for reasons other than a full disk.
    pub(crate) faulty: bool,
    pub(crate) full: bool,
    pub(crate) reached: Reached,
    /// What was done, told when `TIDELOG_TRACE` is set.
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant) -> Self {
        let mut rng = SimRng::new(seed);
        let sim = SimDisk::new(rng.next());
        sim.set_uncached_one_in(4);
        let ids = (0..TOPICS).flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)));
        let parts = ids.map(|(topic, partition)| {
            let id = PartitionId {
                topic_id: TopicId::from_uuid(Uuid::from_u128(topic + 1)),
                partition: PartitionIndex::new(partition).unwrap(),
            };
            Part {
                id,
                topic: TopicName::new(&format!("topic-{topic}")).unwrap(),
                exists: false,
                log: None,
                ear: Arc::default(),
                model: Model::new(plant.owner()),
                config: config(&mut rng),
            }
        });
        let parts = parts.collect();
        let (dir, cluster) = (None, None);
        Self {
            rng,
            sim,
            plant,
            dir,
            parts,
            now: 1_000_000,
            epoch: -1,
            cluster,
            faulty: false,
            full: false,
            reached: Reached::default(),
            trace: std::env::var_os("TIDELOG_TRACE").is_some(),
        }
    }

    fn disk(&self, sim: &SimDisk) -> Arc<PlantedDisk> {
        Arc::new(PlantedDisk::new(sim.clone(), self.plant))
    }

    fn open_all(&self, sim: &SimDisk) -> Result<Opened, Trouble> {
        let disk = self.disk(sim);
        disk.set_recovering(true);
        let options = LogDirOptions {
            sync_threads: 0,
            threads: Threads::None,
            journal_bytes: 64 << 10,
            journal_parts_min: 2,
        };
        let dir =
            LogDir::open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new(ROOT), options).map_err(failed)?;
        let epoch = dir.leader_epoch().get();
        ensure!(epoch > self.epoch, "leader epoch {epoch} was used before");
        let cluster = self.cluster.unwrap_or(dir.cluster_id());
        ensure!(cluster == dir.cluster_id(), "the cluster got another id");
        let mut logs = Vec::new();
        for part in &self.parts {
            logs.push(if part.exists { Some(open_one(&dir, part, self.now)?) } else { None });
        }
        disk.set_recovering(false);
        Ok(Opened { dir, logs })
    }

    /// Whether what is found on `sim` is what may be found after such an end.
    fn check_all(&mut self, opened: &Opened, cut: Cut) -> Result<Vec<Option<Found>>, Broken> {
        let mut found = Vec::new();
        for (part, log) in self.parts.iter().zip(&opened.logs) {
            found.push(match log {
                None => None,
                Some((log, report, _)) => {
                    self.reached.torn_tails += u64::from(report.torn_tail.is_some());
                    let checked = part.model.check(log.as_ref(), report, cut);
                    Some(
                        checked
                            .map_err(|broken| format!("{} {:?}: {broken}", part.topic, part.id.partition))?,
                    )
                }
            });
        }
        Ok(found)
    }

    /// Recovers from a disk without going on from it, and once more after another end at once. Answers how many
    /// ends that were.
    pub(crate) fn try_recovery(&mut self, sim: &SimDisk, cut: Cut) -> Result<(), Broken> {
        let (sim, cut, ends) = self.end_inside_recovery(sim, cut)?;
        self.tell(|| format!("branch after {cut:?}, {ends} inside recovery"));
        let opened = self.must_open(&sim)?;
        let found = self.check_all(&opened, cut)?;
        if self.rng.one_in(2) {
            let again = if self.rng.one_in(4) { sim.kill() } else { sim.crash(self.rng.next()) };
            self.reached.crash_points += 1;
            let opened = self.must_open(&again)?;
            for ((part, log), found) in self.parts.iter().zip(&opened.logs).zip(found) {
                let (Some((log, report, _)), Some(found)) = (log, found) else { continue };
                let now = Found { start: report.log_start.get(), end: report.log_end.get() };
                ensure!(report.corrupt.is_none(), "called broken at the second start: {:?}", report.corrupt);
                ensure!(
                    now == found,
                    "{} {:?}: {found:?} was served and {now:?} is there after the next crash",
                    part.topic,
                    part.id.partition
                );
                part.model.check_content(log.as_ref(), now)?;
            }
        }
        self.reached.crash_points += ends + 1;
        self.reached.ends_inside_recovery += ends;
        Ok(())
    }

    /// Sometimes lets the machine stop while it recovers, once or more; the disk that is left.
    fn end_inside_recovery(&mut self, sim: &SimDisk, cut: Cut) -> Result<(SimDisk, Cut, u64), Broken> {
        let (mut sim, mut cut, mut ends) = (sim.clone(), cut, 0);
        while self.rng.one_in(3) {
            sim.stop_after(self.rng.below(30) + 1);
            match self.open_all(&sim) {
                Ok(_) | Err(Trouble::Failed(_)) => {}
                Err(Trouble::Broken(broken)) => return Err(broken),
            }
            ends += 1;
            if self.rng.one_in(4) {
                sim = sim.kill();
            } else {
                sim = sim.crash(self.rng.next());
                cut = Cut::Power;
            }
        }
        Ok((sim, cut, ends))
    }

    /// Opens what must open: there is nothing wrong with the disk any more, but that it may be full.
    fn must_open(&self, sim: &SimDisk) -> Result<Opened, Broken> {
        match self.open_all(sim) {
            Ok(opened) => return Ok(opened),
            Err(Trouble::Broken(broken)) => return Err(broken),
            Err(Trouble::Failed(error)) if !self.full => return Err(format!("cannot start: {error}")),
            Err(Trouble::Failed(_)) => sim.set_capacity(None),
        }
        self.open_all(sim).map_err(|trouble| format!("cannot start: {trouble:?}"))
    }

    /// Goes on from this disk.
    pub(crate) fn restart(&mut self, sim: SimDisk, cut: Cut) -> Result<(), Broken> {
        self.sim = sim;
        if self.full {
            self.sim.set_capacity(None);
            self.full = false;
        }
        let opened = self.must_open(&self.sim)?;
        let found = self.check_all(&opened, cut)?;
        self.tell(|| format!("goes on after {cut:?} from {found:?}"));
        let Opened { dir, logs } = opened;
        self.epoch = dir.leader_epoch().get();
        self.cluster = Some(dir.cluster_id());
        self.dir = Some(dir);
        for ((part, log), found) in self.parts.iter_mut().zip(logs).zip(found) {
            part.log = None;
            let (Some((log, _, ear)), Some(found)) = (log, found) else { continue };
            part.model.adopt(found);
            part.log = Some(log);
            part.ear = ear;
        }
        Ok(())
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.sim.mutations(), what());
        }
    }

    /// Lets go of the data directory as the end of the process does.
    pub(crate) fn let_go(&mut self) {
        for part in &mut self.parts {
            part.log = None;
        }
        self.dir = None;
    }

    /// Does something. `Err(Trouble::Failed)` is for the caller to judge.
    pub(crate) fn step(&mut self) -> Result<(), Trouble> {
        self.now += i64::try_from(self.rng.below(500)).unwrap_or(0);
        let at = usize::try_from(self.rng.below(self.parts.len() as u64)).unwrap_or(0);
        if self.parts[at].log.is_none() {
            return self.create(at);
        }
        let chosen = self.rng.below(100);
        self.tell(|| {
            let Part { id, model, config, .. } = &self.parts[at];
            let id = (id.topic_id.uuid().as_u128(), id.partition.get());
            format!("{chosen} of {id:?} at {}..{} {:?}", model.committed, model.next(), config.flush)
        });
        match chosen {
            0..45 => self.append(at),
            45..72 => self.commit(),
            72..76 => self.trim(at),
            76..82 => self.maintain(at),
            82..86 => self.reconfigure(at),
            86..88 => self.remove(at),
            88..90 => self.toggle_full(),
            90..93 => self.look(at),
            93 => self.look_committed(at),
            94..96 => self.save_producers(at),
            96..98 => self.sync_loose(),
            _ => self.close(),
        }
    }

    fn create(&mut self, at: usize) -> Result<(), Trouble> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let part = &mut self.parts[at];
        let (log, report, ear) = open_one(dir, part, self.now)?;
        let empty = report.log_end.get() == 0 && report.log_start.get() == 0;
        ensure!(empty, "a new partition is not empty: {report:?}");
        part.exists = true;
        part.log = Some(log);
        part.ear = ear;
        part.model = Model::new(part.model.owner);
        Ok(())
    }

    pub(crate) fn append(&mut self, at: usize) -> Result<(), Trouble> {
        for _ in 0..=self.rng.below(3) {
            let part = &mut self.parts[at];
            let Some(log) = part.log.as_ref().filter(|_| !part.model.failed) else { return Ok(()) };
            let txn = transactions::choose(&mut self.rng);
            let sent = send_of(
                txn,
                part.model.next(),
                self.epoch,
                self.now,
                &mut self.rng,
                log,
                part.model.incarnation,
            )?;
            part.model.batches.push(sent);
        }
        Ok(())
    }

    /// A round of group commit, after which all that was sent is committed or refused.
    pub(crate) fn commit(&mut self) -> Result<(), Trouble> {
        let Some(dir) = &self.dir else { return Ok(()) };
        dir.commit_round();
        self.hear()?;
        let sound = !self.faulty && !self.sim.is_stopped();
        for part in self.parts.iter().filter(|part| part.log.is_some()) {
            let model = &part.model;
            ensure!(!sound || !model.failed, "a partition failed on a sound disk");
            let all = model.failed || self.sim.is_stopped() || model.committed == model.next();
            ensure!(all, "{} is committed of {}", model.committed, model.next());
        }
        Ok(())
    }

    pub(crate) fn hear(&mut self) -> Result<(), Broken> {
        for part in &mut self.parts {
            let sent = part.model.batches.len();
            part.model.hear(part.ear.take(), part.config.flush)?;
            self.reached.refused_on_full_disk += u64::from(part.model.batches.len() < sent);
        }
        Ok(())
    }

    fn trim(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &mut self.parts[at];
        let Some(log) = &part.log else { return Ok(()) };
        let span = u64::try_from(part.model.committed - part.model.start_min).unwrap_or(0);
        let to = part.model.start_min + i64::try_from(self.rng.below(span + 1)).unwrap_or(0);
        part.model.start_max = part.model.start_max.max(to);
        let start = log.trim(offset(to)).map_err(failed)?.get();
        self.reached.trims += 1;
        ensure!(start >= to && start <= part.model.start_max, "trimmed to {start}, not {to}");
        part.model.start_min = start;
        part.model.start_max = start;
        Ok(())
    }

    fn maintain(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &mut self.parts[at];
        let Some(log) = &part.log else { return Ok(()) };
        let (up_to, bounds) = (part.model.committed, part.model.bounds());
        part.model.start_max = part.model.start_max.max(up_to);
        if part.config.cleanup.compact {
            part.model.compacted_to = part.model.compacted_to.max(bounds.last_stable.get());
        }
        let done = log.maintain(super::model::at(self.now), bounds).map_err(failed)?;
        self.reached.retained += u64::from(done.deleted_bytes > 0);
        self.reached.compactions += u64::from(done.compacted_bytes > 0);
        let start = done.log_start.get();
        let allowed = part.model.start_min..=part.model.start_max;
        ensure!(allowed.contains(&start), "retention moved the start to {start}, outside {allowed:?}");
        part.model.start_min = start;
        part.model.start_max = start;
        Ok(())
    }

    fn reconfigure(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &mut self.parts[at];
        let Some(log) = &part.log else { return Ok(()) };
        part.config = config(&mut self.rng);
        log.reconfigure(part.config.clone());
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Result<(), Trouble> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let topic = self.parts[at].id.topic_id;
        let whole_topic = self.rng.one_in(4);
        let id = self.parts[at].id;
        let gone = |part: &Part| if whole_topic { part.id.topic_id == topic } else { part.id == id };
        for part in self.parts.iter_mut().filter(|part| gone(part)) {
            part.log = None;
            part.model.removing = true;
        }
        self.reached.removals += 1;
        if whole_topic { dir.remove_topic(topic) } else { dir.remove_partition(id) }.map_err(failed)?;
        for part in self.parts.iter_mut().filter(|part| gone(part)) {
            part.exists = false;
            part.model = Model::new(part.model.owner);
            part.ear = Arc::default();
        }
        Ok(())
    }

    fn toggle_full(&mut self) -> Result<(), Trouble> {
        self.full = !self.full;
        let room = self.sim.used_bytes() + self.rng.below(2500);
        self.sim.set_capacity(self.full.then_some(room));
        Ok(())
    }

    /// Reads as consumers do, and compares.
    fn look(&mut self, at: usize) -> Result<(), Trouble> {
        let part = &self.parts[at];
        let Some(log) = &part.log else { return Ok(()) };
        let (model, start) = (&part.model, log.log_start().get());
        let end = model.committed;
        if start > end {
            return Ok(());
        }
        let from =
            start + i64::try_from(self.rng.below(u64::try_from(end - start).unwrap_or(0) + 1)).unwrap_or(0);
        let checked = model.check_content(log.as_ref(), Found { start: from, end });
        let may_fail = self.faulty || self.sim.is_stopped();
        match checked {
            Err(broken) if may_fail && !broken.contains("another one") => {
                return Err(Trouble::Failed(broken));
            }
            checked => checked?,
        }
        match log.read(offset(from), offset(end), 1000, ReadWait::CachedOnly) {
            Ok(ReadOutcome::WouldBlock) => {}
            Ok(ReadOutcome::Batches(slice)) => {
                let read = Found { start: from, end: slice.next_offset.get() };
                if !slice.bytes.is_empty() {
                    let whole = model.batches.iter().any(|sent| sent.next == read.end);
                    ensure!(whole, "a cached read ends inside a batch");
                }
            }
            Err(ReadError::Storage(error)) => return Err(failed(error)),
            Err(error) => return Err(Trouble::Broken(error.to_string())),
        }
        let target = self.now - i64::try_from(self.rng.below(20_000)).unwrap_or(0);
        if model.compacted_to > 0 {
            return Ok(());
        }
        let found = log.offset_for_timestamp(super::model::at(target), offset(end)).map_err(failed)?;
        let found = found.map(|(offset, time)| (offset.get(), time.millis()));
        let expected = model.first_at(target, start, end);
        ensure!(found == expected, "time {target} leads to {found:?}, not to {expected:?}");
        Ok(())
    }

    fn close(&mut self) -> Result<(), Trouble> {
        let Some(dir) = self.dir.take() else { return Ok(()) };
        let closed = dir.close();
        drop(dir);
        self.hear()?;
        self.let_go();
        closed.map_err(failed)?;
        self.reached.clean_ends += 1;
        for part in &mut self.parts {
            part.model.closed();
        }
        let sim = self.sim.kill();
        let cut = if self.rng.one_in(2) { Cut::Clean } else { Cut::Power };
        let sim = if cut == Cut::Power { sim.crash(self.rng.next()) } else { sim };
        for part in &mut self.parts {
            ensure!(
                cut == Cut::Power
                    || part.model.failed
                    || part.model.committed == part.model.next()
                    || self.full,
                "closed with {} of {} committed",
                part.model.committed,
                part.model.next()
            );
        }
        self.restart(sim, cut).map_err(Trouble::Broken)
    }
}

fn open_one(dir: &LogDir, part: &Part, now: i64) -> Result<OpenedPart, Trouble> {
    let ear = Arc::new(Ear::default());
    let listener = Arc::clone(&ear) as Arc<dyn CommitListener>;
    let opened =
        dir.open_partition(part.id, &part.topic, part.config.clone(), at(now), listener).map_err(failed)?;
    Ok((opened.log, opened.recovery, ear))
}
