//! `tidelog replay`: interrupted, killed, and resumed to exactly what an uninterrupted replay gives.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;
use serde_json::Value as Json;
use tidelog_client::Record;

use crate::bench::{Bench, end_with};

const EVENTS: usize = 2_000;
/// Slow enough that a run does not end before it is interrupted.
const RATE: &str = "1000/s";

fn shop() -> Bench {
    let bench = Bench::new();
    bench.create("orders", 3);
    bench.produce((0..EVENTS).map(|number| {
        Record::new("orders").key(format!("k{}", number % 50)).value(format!("event {number}"))
    }));
    bench
}

/// How much a file holds.
fn size(bench: &Bench, name: &str) -> u64 {
    fs::metadata(bench.path(name)).map_or(0, |metadata| metadata.len())
}

/// How many records a checkpoint covers.
fn covered(bench: &Bench, name: &str) -> u64 {
    // It is replaced as a whole: what is there can be read.
    let Ok(text) = fs::read_to_string(bench.path(name)) else { return 0 };
    let checkpoint: Json = serde_json::from_str(&text).unwrap();
    let partitions = checkpoint["partitions"].as_array().unwrap();
    partitions.iter().map(|partition| partition["written"].as_u64().unwrap()).sum()
}

/// The origins of all records in a topic, each of which must be there once.
fn origins(bench: &Bench, topic: &str) -> BTreeSet<String> {
    let mut origins = BTreeSet::new();
    for record in bench.records(topic).into_values().flatten() {
        let header = record.headers.iter().find(|(name, _)| name == "x-tidelog-origin").unwrap();
        let origin = String::from_utf8(header.1.as_ref().unwrap().to_vec()).unwrap();
        assert!(origins.insert(origin.clone()), "{origin} was written twice");
    }
    origins
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn ctrl_c_and_resume_write_the_same_file_as_one_run() {
    let bench = shop();
    bench.tidelog(&["replay", "orders", "--out", "whole"]).ok();
    let words = ["replay", "orders", "--out", "parts", "--output", "json"];
    let paced = [&words[..], &["--rate", RATE]].concat();
    let mut size_before = 0;
    for (run, resume) in [(1, &[][..]), (2, &["--resume"][..])] {
        let child = bench.start(&[&paced[..], resume].concat());
        bench.wait("the file grows", |bench| size(bench, "parts") > size_before);
        let done = end_with(child, Signal::INT).failed(130, &["parts.checkpoint", "--resume"]);
        let summary = done.json();
        assert_eq!(summary["outcome"], "interrupted", "run {run}");
        assert_eq!(summary["written"], covered(&bench, "parts.checkpoint"), "run {run}");
        assert_eq!(bench.read("parts").lines().count() as u64, covered(&bench, "parts.checkpoint"));
        size_before = size(&bench, "parts");
    }
    let summary = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok().json();
    assert_eq!((&summary["written"], &summary["read"]), (&EVENTS.into(), &EVENTS.into()));
    let (whole, parts) = (bench.read("whole"), bench.read("parts"));
    assert_eq!(sorted_lines(&parts), sorted_lines(&whole));
    assert!(!bench.path("parts.checkpoint").exists());
}

#[test]
fn a_killed_replay_into_a_file_goes_on_without_a_gap_or_a_double() {
    let bench = shop();
    let words = ["replay", "orders", "--out", "parts", "--format", r"%p/%o\n", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    // Killed with records in the file that no checkpoint covers.
    bench.wait("the replay goes on after a checkpoint", |bench| {
        let covered = covered(bench, "parts.checkpoint");
        covered > 0 && bench.read("parts").lines().count() as u64 > covered
    });
    assert_eq!(end_with(child, Signal::KILL).code, None);
    let summary = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok().json();
    assert_eq!(summary["written"], EVENTS);
    let parts = bench.read("parts");
    let unique: BTreeSet<&str> = parts.lines().collect();
    assert_eq!((parts.lines().count(), unique.len()), (EVENTS, EVENTS));
}

#[test]
fn ctrl_c_and_resume_write_each_record_into_a_topic_once() {
    let bench = shop();
    bench.create("copy", 4);
    let words = ["replay", "orders", "--into", "copy", "--yes", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the topic fills", |bench| !bench.records("copy").is_empty());
    let done = end_with(child, Signal::INT).failed(130, &["orders-into-copy.checkpoint", "--resume"]);
    assert_eq!(done.json()["written"], origins(&bench, "copy").len());
    // Without --resume nothing is begun anew by accident.
    bench.tidelog(&words).failed(6, &["orders-into-copy.checkpoint", "--resume"]);
    let summary = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok().json();
    assert_eq!(summary["written"], EVENTS);
    assert_eq!(origins(&bench, "copy").len(), EVENTS);
}

#[test]
fn a_killed_replay_into_a_topic_goes_on_without_a_gap_or_a_double() {
    let bench = shop();
    bench.create("copy", 4);
    let words = ["replay", "orders", "--into", "copy", "--yes", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    // Killed with records in the topic that no checkpoint covers.
    bench.wait("the replay goes on after a checkpoint", |bench| {
        let covered = covered(bench, "orders-into-copy.checkpoint");
        covered > 0 && origins(bench, "copy").len() as u64 > covered
    });
    assert_eq!(end_with(child, Signal::KILL).code, None);
    let summary = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok().json();
    assert_eq!(summary["written"], EVENTS);
    assert_eq!(origins(&bench, "copy").len(), EVENTS);
}

#[test]
fn a_limit_counts_over_all_runs() {
    let bench = shop();
    let words = ["replay", "orders", "--out", "parts", "--limit", "700", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    end_with(child, Signal::TERM).failed(130, &["parts.checkpoint"]);
    let summary = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok().json();
    assert_eq!(summary["written"], 700);
    assert_eq!(bench.read("parts").lines().collect::<BTreeSet<_>>().len(), 700);
}

#[test]
fn a_checkpoint_is_refused_with_other_arguments_and_says_which() {
    let bench = shop();
    let words = ["replay", "orders", "--out", "parts"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    end_with(child, Signal::INT).failed(130, &[]);
    let other = [&words[..], &["--key", "k1", "--from", "-5", "--resume"]].concat();
    let complaints = ["--key was not given, is k1", "--from was start, is -5"];
    bench.tidelog(&other).failed(6, &complaints);
    // The same names, but not the same topic.
    bench.tidelog(&["topic", "delete", "orders", "--yes"]).ok();
    bench.create("orders", 3);
    bench.tidelog(&[&words[..], &["--resume"]].concat()).failed(6, &["orders was created again"]);
}

#[test]
fn a_file_that_was_changed_is_not_gone_on_with() {
    let bench = shop();
    let words = ["replay", "orders", "--out", "parts"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    end_with(child, Signal::INT).failed(130, &[]);
    fs::write(bench.path("parts"), "short").unwrap();
    let resume = [&words[..], &["--resume"]].concat();
    bench.tidelog(&resume).failed(6, &["parts holds 5 bytes"]);
    fs::remove_file(bench.path("parts")).unwrap();
    bench.tidelog(&resume).failed(6, &["parts is gone"]);
    fs::remove_file(bench.path("parts.checkpoint")).unwrap();
    bench.tidelog(&resume).failed(4, &["no checkpoint at parts.checkpoint"]);
}

#[test]
fn a_checkpoint_of_ones_own_is_kept_and_says_that_all_was_done() {
    let bench = shop();
    let words = ["replay", "orders", "--checkpoint", "point", "--format", r"%o\n"];
    assert_eq!(bench.tidelog(&words).ok().stdout.lines().count(), EVENTS);
    let again = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok();
    assert!(again.stdout.is_empty() && again.stderr.contains("was completed before"), "{again:?}");
    // A new replay may take its place.
    assert_eq!(bench.tidelog(&words).ok().stdout.lines().count(), EVENTS);
}

#[test]
fn a_replay_outlives_its_broker() {
    let mut bench = shop();
    let words = ["replay", "orders", "--out", "parts", "--format", r"%p/%o\n", "--rate", RATE];
    let child = bench.start(&words);
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    bench.restart_broker();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let parts = bench.read("parts");
    let unique: BTreeSet<&str> = parts.lines().collect();
    assert_eq!((parts.lines().count(), unique.len()), (EVENTS, EVENTS));
}

#[test]
fn a_replay_into_a_topic_outlives_its_broker() {
    let mut bench = shop();
    bench.create("copy", 4);
    let child = bench.start(&["replay", "orders", "--into", "copy", "--yes", "--rate", RATE]);
    bench.wait("the topic fills", |bench| !bench.records("copy").is_empty());
    bench.restart_broker();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // A batch whose answer was lost is sent again; none is left out.
    let copies = bench.records("copy").into_values().flatten();
    let values: BTreeSet<_> = copies.map(|record| record.value.unwrap()).collect();
    assert_eq!(values.len(), EVENTS);
}

#[test]
fn two_runs_never_go_on_with_one_checkpoint() {
    let bench = shop();
    bench.create("copy", 1);
    let words = ["replay", "orders", "--into", "copy", "--yes", "--rate", RATE];
    let child = bench.start(&words);
    bench.wait("a checkpoint is there", |bench| size(bench, "orders-into-copy.checkpoint") > 0);
    let resume = [&words[..], &["--resume"]].concat();
    bench.tidelog(&resume).failed(6, &["another run of the replay is using orders-into-copy.checkpoint"]);
    end_with(child, Signal::INT).failed(130, &[]);
    bench.tidelog(&["replay", "orders", "--into", "copy", "--yes", "--resume"]).ok();
    assert_eq!(origins(&bench, "copy").len(), EVENTS);
}

#[test]
fn records_deleted_while_a_replay_was_interrupted_are_told_and_passed_over() {
    let bench = Bench::new();
    bench.create("orders", 1);
    bench.produce((0..EVENTS).map(|number| Record::new("orders").value(format!("event {number}"))));
    let words = ["replay", "orders", "--out", "parts", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    let written = end_with(child, Signal::INT).failed(130, &[]).json()["written"].as_u64().unwrap();
    let kept = EVENTS as u64 - 5;
    bench.tidelog(&["topic", "delete-records", "orders", "--before", &kept.to_string(), "--yes"]).ok();
    let done = bench.tidelog(&[&words[..], &["--resume"]].concat()).ok();
    assert!(done.stderr.contains(&format!("orders-0: {written}..{kept} were deleted")), "{done:?}");
    let summary = done.json();
    assert_eq!((&summary["written"], &summary["read"]), (&(written + 5).into(), &EVENTS.into()));
    assert_eq!(bench.read("parts").lines().count() as u64, written + 5);
}

#[test]
fn a_later_replay_goes_on_where_the_checkpoint_of_an_earlier_one_stands() {
    let bench = shop();
    let replay = |from: &str| {
        let words = ["replay", "orders", "--from", from, "--checkpoint", "point", "--format", r"%v\n"];
        bench.tidelog(&words).ok().stdout
    };
    assert_eq!(replay("start").lines().count(), EVENTS);
    bench.produce([Record::new("orders").value("late")]);
    assert_eq!(replay("file:point"), "late\n");
    assert_eq!(replay("file:point"), "");
}

#[test]
fn the_plan_of_a_resumed_replay_is_what_is_left() {
    let bench = shop();
    let words = ["replay", "orders", "--out", "parts", "--output", "json"];
    let child = bench.start(&[&words[..], &["--rate", RATE]].concat());
    bench.wait("the file grows", |bench| size(bench, "parts") > 0);
    let summary = end_with(child, Signal::INT).failed(130, &[]).json();
    let plan = bench.tidelog(&[&words[..], &["--resume", "--dry-run"]].concat()).ok().json();
    assert_eq!(plan["records_max"], EVENTS as u64 - summary["written"].as_u64().unwrap());
}
