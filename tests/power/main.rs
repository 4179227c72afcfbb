//! Cuts the power of the disk at random moments under load, restarts the broker on what is left each time,
//! and judges what its clients were told: nothing acknowledged is lost, nothing changed, no offset is reused,
//! no reader ever saw a record that later vanished, and what idempotent producers send again is stored once. The same load on topics that are not synced proves
//! that the cuts lose data.
//!
//! `TIDELOG_SEED` replays a run's choices, `TIDELOG_CUTS` sets how often the power is cut on each file system.
//! Where root, loop devices or a program is missing, the test says so and proves nothing.
//!
//! **Invariant:** the broker is frozen before the cut and never runs on a dead disk, as no program does when
//! the power goes out: an answer that it gives is given while what it synced counts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: a failure is a panic with its cause")]

mod disk;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use disk::{Disk, FileSystem, Switch};
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, say, seed};
use tidelog_tests::checker::{Invariant, Verdict, check};
use tidelog_tests::run::{LoadTopic, Run};
use tidelog_tests::wait::{pause, wait_until};

/// Cuts of a run by default: what fits into the test suite.
const CUTS: u64 = 6;
/// Cuts of the control: one loses enough.
const CONTROL_CUTS: u64 = 2;
/// The size of a disk: the broker's journal, and what the load writes between two cuts.
const DISK_BYTES: u64 = 384 << 20;
const DISK_BYTES_PER_CUT: u64 = 12 << 20;
/// One topic rolls its segments all the time; one has so many partitions that the commit journal is made.
const TOPICS: [LoadTopic<'_>; 3] = [
    LoadTopic { name: "rolling", partitions: 6, configs: &[("segment.bytes", "65536")] },
    LoadTopic { name: "plain", partitions: 2, configs: &[] },
    LoadTopic { name: "many", partitions: 48, configs: &[] },
];
const JOURNAL: [&str; 2] = ["journal-0", "journal-1"];
/// How long the broker may take to make its journal under load: it fills two files first.
const JOURNAL_DEADLINE: Duration = Duration::from_secs(30);
const UNSYNCED: &[(&str, &str)] = &[("tidelog.flush.policy", "os")];
const UNSYNCED_TOPICS: [LoadTopic<'_>; 2] = [
    LoadTopic { name: "plain", partitions: 2, configs: UNSYNCED },
    LoadTopic { name: "many", partitions: 48, configs: UNSYNCED },
];

/// A broker, and the disk below it that outlives it.
struct Rig {
    broker: BrokerProcess,
    disk: Disk,
    /// After how many cuts there was something in the commit journal.
    journaled: u64,
}

impl Rig {
    /// A broker on a new disk, or nothing on a machine that cannot do this.
    fn start(file_system: FileSystem, home: &Path, cuts: u64) -> Result<Option<Self>> {
        let disk = match file_system.missing() {
            None => Disk::new(file_system, home, DISK_BYTES + cuts * DISK_BYTES_PER_CUT),
            Some(missing) => Err(anyhow!(missing)),
        };
        let disk = match disk {
            Ok(disk) => disk,
            Err(missing) => {
                say(&format!("SKIPPED: power cuts on {file_system:?}: {missing:#}"));
                return Ok(None);
            }
        };
        // What the broker says must not be on the disk that dies.
        let command = BrokerCommand::new(disk.place().join("data"))?.log(home.join("broker.log"));
        Ok(Some(Self { broker: command.start()?, disk, journaled: 0 }))
    }

    /// Waits until the load goes to the commit journal.
    fn use_journal(&self) -> Result<()> {
        let data = self.broker.command().data_dir();
        wait_until("the journal is in use", JOURNAL_DEADLINE, || Ok(journal_is_used(data))).map(drop)
    }

    /// Cuts the power at a random moment and restarts the broker; one time in four the power goes out again
    /// during that start.
    fn cut_under_load(self, run: &mut Run) -> Result<Self> {
        let switch = self.disk.switch()?;
        pause(Duration::from_millis(150) + run.draw(1_000));
        run.note_down();
        let mut off = self.cut(switch)?;
        if run.one_in(4) {
            let switch = off.disk.switch()?;
            let starting = Self { broker: off.command.launch()?, disk: off.disk, journaled: off.journaled };
            pause(run.draw(100));
            off = starting.cut(switch)?;
            run.note_down();
        }
        let on = off.start()?;
        run.note_up();
        Ok(on)
    }

    fn cut(self, switch: Switch) -> Result<Off> {
        // The broker is dropped first.
        let Self { mut disk, broker, journaled } = self;
        broker.freeze()?;
        switch.cut()?;
        let command = broker.kill9()?;
        disk.come_back()?;
        let journaled = journaled + u64::from(journal_is_used(command.data_dir()));
        Ok(Off { command, disk, journaled })
    }

    /// Ends the load, cuts the power once more and judges what is on the disk then.
    fn judge(self, run: Run, kept: &Path) -> Result<Verdict> {
        let (run, well) = run.stop();
        well.with_context(|| self.broker.log_tail())?;
        let switch = self.disk.switch()?;
        let on = self.cut(switch)?.start()?;
        let finals = run.final_read(&on.broker).with_context(|| on.broker.log_tail())?;
        run.judge(finals, kept)
    }
}

/// A disk after a cut, and the broker to start on it.
struct Off {
    command: BrokerCommand,
    disk: Disk,
    journaled: u64,
}

impl Off {
    fn start(self) -> Result<Rig> {
        Ok(Rig { broker: self.command.start()?, disk: self.disk, journaled: self.journaled })
    }
}

fn cuts() -> u64 {
    std::env::var("TIDELOG_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS)
}

/// Whether a frame of the commit journal is on the disk: a start empties it.
fn journal_is_used(data: &Path) -> bool {
    let mut magic = [0; 8];
    let read = File::open(data.join(JOURNAL[0])).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"tidelogj"
}

fn nothing_is_lost(file_system: FileSystem) {
    let (seed, cuts) = (seed(), cuts());
    let home = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let Some(mut rig) = Rig::start(file_system, home.path(), cuts).unwrap() else { return };
    say(&format!("power: {file_system:?} TIDELOG_SEED={seed} TIDELOG_CUTS={cuts}"));
    let mut run = Run::start(&rig.broker, &TOPICS, seed).unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..cuts {
        // Every other run of the broker is long enough for that; the cuts of the others meet its making too.
        if run.one_in(2) {
            rig.use_journal().unwrap();
        }
        rig = rig.cut_under_load(&mut run).unwrap();
        slowest = slowest.max(rig.broker.ready_in());
        run.clients_are_well().unwrap_or_else(|error| panic!("{error:#}\n{}", rig.broker.log_tail()));
    }
    let kept = std::env::temp_dir().join(format!("tidelog-power-{seed}.history"));
    let journaled = rig.journaled;
    let verdict = rig.judge(run, &kept).unwrap();
    let (figures, elapsed) = (verdict.figures, begin.elapsed());
    say(&format!(
        "power: {file_system:?} {figures:?}, {journaled} with a journal, slowest start {slowest:?}, {elapsed:?}"
    ));
    assert!(verdict.is_clean(), "TIDELOG_SEED={seed}, history in {}\n{verdict}", kept.display());
    assert!(journaled > 0, "the load does not get to the journal");
    // A run in which little happened proves little.
    assert!(figures.kills >= cuts, "{figures:?}");
    assert!(figures.acked > 40 * cuts, "too few acks: {figures:?}");
    assert!(figures.observed > 40 * cuts, "too few reads: {figures:?}");
}

/// What was acknowledged by the journal alone is lost with it.
fn the_loss_is_seen_without_the_journal(file_system: FileSystem) {
    let seed = seed();
    let home = tempfile::tempdir().unwrap();
    let Some(rig) = Rig::start(file_system, home.path(), CONTROL_CUTS).unwrap() else { return };
    say(&format!("power, control: {file_system:?} TIDELOG_SEED={seed}"));
    let mut run = Run::start(&rig.broker, &TOPICS, seed).unwrap();
    rig.use_journal().unwrap();
    let switch = rig.disk.switch().unwrap();
    pause(Duration::from_millis(500) + run.draw(500));
    run.note_down();
    let off = rig.cut(switch).unwrap();
    for name in JOURNAL {
        fs::remove_file(off.command.data_dir().join(name)).unwrap();
    }
    let rig = off.start().unwrap();
    run.note_up();
    assert_guilty(&format!("without the journal, {file_system:?}"), run, &rig.broker);
}

/// The same cuts on topics whose acks do not wait for a sync.
fn the_loss_is_seen_without_syncs(file_system: FileSystem) {
    let seed = seed();
    let home = tempfile::tempdir().unwrap();
    let Some(mut rig) = Rig::start(file_system, home.path(), CONTROL_CUTS).unwrap() else { return };
    say(&format!("power, control: {file_system:?} TIDELOG_SEED={seed}"));
    let mut run = Run::start(&rig.broker, &UNSYNCED_TOPICS, seed).unwrap();
    for _ in 0..CONTROL_CUTS {
        rig = rig.cut_under_load(&mut run).unwrap();
    }
    assert_guilty(&format!("without syncs, {file_system:?}"), run, &rig.broker);
}

fn assert_guilty(what: &str, run: Run, broker: &BrokerProcess) {
    // That a reader gives up where its records vanished is right; the judge must see it all the same.
    let (run, _) = run.stop();
    let finals = run.final_read(broker).unwrap();
    let verdict = check(&run.history(finals));
    say(&format!("power, control: {what}: {:?}, broken: {:?}", verdict.figures, verdict.counts));
    assert!(verdict.counts.contains_key(&Invariant::NoLostAck), "nothing was lost: {verdict}");
}

#[test]
fn nothing_acknowledged_or_seen_is_lost_when_the_power_goes_out_on_ext4() {
    nothing_is_lost(FileSystem::Ext4);
}

#[test]
fn nothing_acknowledged_or_seen_is_lost_when_the_power_goes_out_on_xfs() {
    nothing_is_lost(FileSystem::Xfs);
}

#[test]
fn without_syncs_the_same_cuts_on_ext4_lose_what_was_acknowledged() {
    the_loss_is_seen_without_syncs(FileSystem::Ext4);
}

#[test]
fn without_syncs_the_same_cuts_on_xfs_lose_what_was_acknowledged() {
    the_loss_is_seen_without_syncs(FileSystem::Xfs);
}

#[test]
fn a_power_cut_that_takes_the_journal_along_loses_what_was_acknowledged() {
    the_loss_is_seen_without_the_journal(FileSystem::Ext4);
}
