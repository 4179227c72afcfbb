//! Members of groups that are killed with -9 or sought while they read: where the others go on, record by record.
//!
//! A member is a program of its own, which `python/member.py` describes; kcat is one without a program.
//!
//! **Invariant:** records are compared with all that have been read, by whom and how often, never with a sample.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;
use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerProcess, say};
use tidelog_tests::wait::wait_until;

use crate::clients::source;
use crate::installed::{installed, on_path};
use crate::program::broker_with;
use crate::records::run;

const PARTITIONS: i64 = 4;
/// How many records a round writes to each partition.
const ROUND: i64 = 25;
/// What a member that is killed has committed of each of its partitions.
const COMMITTED: i64 = 10;
/// More than there are records: all is committed.
const ALL: i64 = 1_000_000;
/// How long a member may be silent before its partitions move, as members and broker are told.
const SESSION: Duration = Duration::from_secs(6);
const SETTING: &str = "groups.consumer_session_timeout=6s";
/// Generous, for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(150);

/// Where a record is, and what it holds.
type Read = (i64, i64, String);

/// Makes the command of a member of `topic`'s group, which commits what it reads below an offset.
type Program<'a> = &'a dyn Fn(&Group, i64) -> Command;

/// A topic of four partitions with a group of its name, on a broker of their own.
struct Group {
    topic: String,
    broker: BrokerProcess,
    home: TempDir,
}

impl Group {
    fn start(topic: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let broker = broker_with(home.path(), &[SETTING]);
        let group = Self { topic: topic.to_owned(), broker, home };
        run(&mut group.tidelog(&["topic", "create", topic, "--partitions", "4"]));
        group
    }

    fn tidelog(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::cli().unwrap());
        command.args(["--broker", &self.broker.url()]).args(words);
        command
    }

    /// Writes the records that have these offsets in each partition.
    fn write(&self, offsets: std::ops::Range<i64>) {
        let path = self.home.path().join("input");
        let mut input = File::create(&path).unwrap();
        for (partition, _, value) in expected(0..PARTITIONS, offsets) {
            writeln!(input, "{}", serde_json::json!({ "partition": partition, "value": value })).unwrap();
        }
        let mut produce =
            self.tidelog(&["produce", &self.topic, "--input", "json", "--partition-by", "same"]);
        run(produce.stdin(File::open(&path).unwrap()));
    }

    /// The committed offset of each partition that has one.
    fn committed(&self) -> BTreeMap<i64, i64> {
        let mut lag = self.tidelog(&["group", "lag", &self.topic, "--output", "json"]);
        let output = lag.stdin(Stdio::null()).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        lines.filter_map(|line| Some((line["partition"].as_i64()?, line["offset"].as_i64()?))).collect()
    }

    /// Waits until each partition is committed as far as `wanted` says.
    #[track_caller]
    fn wait_committed(&self, wanted: impl Fn(i64) -> i64) {
        let wanted: BTreeMap<i64, i64> =
            (0..PARTITIONS).map(|partition| (partition, wanted(partition))).collect();
        let met = wait_until("all is committed", DEADLINE, || Ok(self.committed() == wanted));
        assert!(met.is_ok(), "committed {:?}, not {wanted:?}", self.committed());
    }

    fn join(&self, name: &str, command: Command) -> Member {
        Member::start(self.home.path(), name, command)
    }

    fn end(self) {
        assert!(self.broker.terminate().unwrap().success());
    }
}

/// The records that have these offsets in these partitions.
fn expected(partitions: impl IntoIterator<Item = i64>, offsets: std::ops::Range<i64>) -> Vec<Read> {
    let record = |partition, offset| (partition, offset, format!("{partition}/{offset}"));
    partitions.into_iter().flat_map(|part| offsets.clone().map(move |offset| record(part, offset))).collect()
}

/// A running member; killed when dropped.
struct Member {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Member {
    fn start(home: &Path, name: &str, mut command: Command) -> Self {
        let file = |end: &str| home.join(format!("{name}.{end}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, stdout, stderr }
    }

    /// What it has printed, line by line; one that it has begun does not count.
    fn lines(&self) -> Vec<Json> {
        let said = fs::read_to_string(&self.stdout).unwrap();
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The partitions that it has now.
    fn assigned(&self) -> BTreeSet<i64> {
        let lines = self.lines();
        if let Some(last) = lines.iter().rev().find_map(|line| line["assigned"].as_array()) {
            return last.iter().filter_map(Json::as_i64).collect();
        }
        // kcat tells people: "% Group g rebalanced (memberid m): assigned: topic [0], topic [1]".
        let said = fs::read_to_string(&self.stderr).unwrap();
        let last = said.lines().rev().find_map(|line| line.split_once(" rebalanced "));
        let numbers = last.and_then(|(_, what)| what.split_once("assigned: ")).map(|(_, parts)| parts);
        let number = |part: &str| part.rsplit_once('[')?.1.trim_end_matches(']').parse().ok();
        numbers.unwrap_or_default().split(", ").filter_map(number).collect()
    }

    /// All that it has read, in order of place.
    fn read(&self) -> Vec<Read> {
        let record = |line: &Json| {
            let read = line["read"].as_array()?;
            Some((read[0].as_i64()?, read[1].as_i64()?, read[2].as_str()?.to_owned()))
        };
        let mut records: Vec<Read> = self.lines().iter().filter_map(record).collect();
        records.sort();
        records
    }

    #[track_caller]
    fn wait(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let met = wait_until(what, DEADLINE, || Ok(condition(self)));
        let complaint = || fs::read_to_string(&self.stderr).unwrap_or_default();
        let had = || format!("has {:?}, read {:?}", self.assigned(), self.read().len());
        assert!(met.is_ok(), "waited {DEADLINE:?} in vain: {what}; {}\n{}", had(), complaint());
    }

    /// It has no time to say that it goes.
    fn kill9(mut self) -> Vec<Read> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Fails only when it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn all() -> BTreeSet<i64> {
    (0..PARTITIONS).collect()
}

/// Whether both have some of the partitions, and together each of them once.
fn shared(one: &Member, other: &Member) -> bool {
    let (one, other) = (one.assigned(), other.assigned());
    !one.is_empty() && !other.is_empty() && one.is_disjoint(&other) && &one | &other == all()
}

/// One of two members is killed when it has committed so much of each of its partitions: the rest is read once more
/// by the other, and nothing else.
fn survive(topic: &str, program: Program<'_>, committed: i64) {
    let group = Group::start(topic);
    let victim = group.join("victim", program(&group, committed));
    let survivor = group.join("survivor", program(&group, ALL));
    survivor.wait("two members share the partitions", |survivor| shared(&victim, survivor));
    let (lost, kept) = (victim.assigned(), survivor.assigned());
    group.write(0..ROUND);
    let mut seen = expected(kept.iter().copied(), 0..ROUND);
    victim.wait("it has read all of its own", |victim| victim.read() == expected(lost.clone(), 0..ROUND));
    survivor.wait("the other too", |survivor| survivor.read() == seen);
    group.wait_committed(|partition| if lost.contains(&partition) { committed } else { ROUND });

    let killed = Instant::now();
    assert_eq!(victim.kill9(), expected(lost.clone(), 0..ROUND));
    survivor.wait("it has all partitions", |survivor| survivor.assigned() == all());
    let took = killed.elapsed();
    say(&format!("{topic}: the partitions of a killed member have moved after {took:?}"));
    // Its last call may have been a while before its end, and a loaded machine takes its time; without the setting it
    // would be 45 s.
    assert!(took > SESSION / 2 && took < SESSION * 6, "{took:?} with a session of {SESSION:?}");
    group.write(ROUND..2 * ROUND);
    seen.extend(expected(lost, committed..ROUND));
    seen.extend(expected(0..PARTITIONS, ROUND..2 * ROUND));
    seen.sort();
    survivor.wait("it has read on", |survivor| survivor.read().len() >= seen.len());
    group.wait_committed(|_| 2 * ROUND);
    assert_eq!(survivor.kill9(), seen);
    group.end();
}

/// A group is sought to its start while two members read: each record comes once more, and all is committed again.
fn sought(topic: &str, program: Program<'_>) {
    let group = Group::start(topic);
    let one = group.join("one", program(&group, ALL));
    let other = group.join("other", program(&group, ALL));
    other.wait("two members share the partitions", |other| shared(&one, other));
    group.write(0..ROUND);
    let read = |times: usize| {
        let mut records = [one.read(), other.read()].concat();
        records.sort();
        let once = expected(0..PARTITIONS, 0..ROUND);
        let wanted: Vec<Read> = once.into_iter().flat_map(|record| vec![record; times]).collect();
        records == wanted
    };
    other.wait("all is read", |_| read(1));
    group.wait_committed(|_| ROUND);
    run(group.tidelog(&["group", "seek", topic, "--to", "start", "--active", "--yes"]).stdin(Stdio::null()));
    other.wait("all is read again", |_| read(2));
    group.wait_committed(|_| ROUND);
    assert!(shared(&one, &other), "{:?} {:?}", one.assigned(), other.assigned());
    let before = (one.read().len(), other.read().len());
    assert_eq!((one.kill9().len(), other.kill9().len()), before, "something was read a third time");
    group.end();
}

fn python(protocol: &'static str) -> Option<impl Fn(&Group, i64) -> Command> {
    let python = installed("venv/bin/python3")?;
    Some(move |group: &Group, limit: i64| {
        let mut command = Command::new(&python);
        command.arg(source("python/member.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args([&group.broker.bootstrap_servers(), &group.topic, protocol, &limit.to_string()]);
        command
    })
}

fn java(protocol: &'static str) -> Option<impl Fn(&Group, i64) -> Command> {
    let (java, jars) = (on_path("java")?, installed("kafka-jars")?);
    Some(move |group: &Group, limit: i64| {
        let mut command = Command::new(&java);
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(jars.join("*"));
        command.arg(source("java/Member.java"));
        command.args([&group.broker.bootstrap_servers(), &group.topic, protocol, &limit.to_string()]);
        command
    })
}

/// It commits by itself whatever it has printed.
fn kcat() -> Option<impl Fn(&Group, i64) -> Command> {
    let kcat = on_path("kcat")?;
    Some(move |group: &Group, _| {
        let mut command = Command::new(&kcat);
        command.args(["-u", "-b", &group.broker.bootstrap_servers(), "-f", "{\"read\": [%p, %o, \"%s\"]}\n"]);
        for setting in [
            "auto.offset.reset=earliest",
            "auto.commit.interval.ms=200",
            "session.timeout.ms=6000",
            "heartbeat.interval.ms=500",
        ] {
            command.args(["-X", setting]);
        }
        command.args(["-G", &group.topic, &group.topic]);
        command
    })
}

#[test]
fn kcats_partitions_outlive_a_killed_member() {
    let Some(program) = kcat() else { return };
    survive("kcat-killed", &program, ROUND);
}

#[test]
fn librdkafkas_partitions_outlive_a_killed_member() {
    let Some(program) = python("classic") else { return };
    survive("librdkafka-killed", &program, COMMITTED);
}

#[test]
fn librdkafkas_partitions_outlive_a_killed_member_of_the_consumer_protocol() {
    let Some(program) = python("consumer") else { return };
    survive("librdkafka-consumer-killed", &program, COMMITTED);
}

#[test]
fn javas_partitions_outlive_a_killed_member() {
    let Some(program) = java("classic") else { return };
    survive("java-killed", &program, COMMITTED);
}

#[test]
fn javas_partitions_outlive_a_killed_member_of_the_consumer_protocol() {
    let Some(program) = java("consumer") else { return };
    survive("java-consumer-killed", &program, COMMITTED);
}

#[test]
fn a_group_of_java_members_is_sought_while_it_reads() {
    let Some(program) = java("classic") else { return };
    sought("java-sought", &program);
}

#[test]
fn a_group_of_java_members_of_the_consumer_protocol_is_sought_while_it_reads() {
    let Some(program) = java("consumer") else { return };
    sought("java-consumer-sought", &program);
}
