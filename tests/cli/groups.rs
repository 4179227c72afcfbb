//! `tidelog group`: groups without members, and groups whose members read.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use tidelog_client::Record;

use crate::bench::{Bench, end_with};

/// A broker with the values 0 to 9 in each of the two partitions of `orders`.
fn shop() -> Bench {
    let bench = Bench::new();
    bench.create("orders", 2);
    bench
        .produce((0..20).map(|number| Record::new("orders").partition(number % 2).value(number.to_string())));
    bench
}

fn offsets(bench: &Bench) -> Vec<i64> {
    let rows = bench.tidelog(&["group", "show", "billing", "-o", "json"]).ok().json_lines();
    rows.iter().map(|row| row["offset"].as_i64().unwrap()).collect()
}

fn commit(bench: &Bench, to: &str) {
    bench.tidelog(&["offsets", "reset", "billing", "orders", "--to", to, "--yes"]).ok();
}

#[test]
fn groups_are_listed_with_what_is_left_for_them() {
    let bench = shop();
    commit(&bench, "0=4,1=10");
    let group = bench.tidelog(&["group", "ls", "-o", "json"]).ok().json();
    let facts = ["state", "protocol", "members", "partitions", "lag"].map(|name| group[name].to_string());
    assert_eq!(facts, ["\"Empty\"", "\"classic\"", "0", "2", "6"]);
    let text = bench.tidelog(&["group", "ls"]).ok().stdout;
    assert!(text.starts_with("GROUP") && text.contains("billing"), "{text}");
}

#[test]
fn lag_is_told_in_records_and_time_once_or_again_and_again() {
    let bench = shop();
    bench.tidelog(&["group", "lag", "billing"]).failed(4, &["there is no group billing"]);
    commit(&bench, "0=4,1=10");
    let rows = bench.tidelog(&["group", "lag", "billing", "-o", "json"]).ok().json_lines();
    let lags: Vec<_> = rows.iter().map(|row| row["lag"].as_i64().unwrap()).collect();
    assert_eq!(lags, [6, 0]);
    assert!(rows[0]["behind_ms"].as_i64().unwrap() > 0 && rows[1]["behind_ms"] == 0, "{rows:?}");
    bench.tidelog(&["group", "lag", "billing", "--topic", "other"]).failed(4, &["other"]);
    bench.tidelog(&["group", "lag", "billing", "--watch", "0"]).failed(2, &["seconds"]);

    let mut child = bench.start(&["group", "lag", "billing", "--watch", "0.2"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).take(10).collect();
    let heads: Vec<_> = lines.iter().filter(|line| line.contains("lag 6")).collect();
    assert_eq!(heads.len(), 2, "{lines:?}");
    assert!(!lines.concat().contains('\u{1b}'), "a pipe is no terminal");
    end_with(child, Signal::TERM);
}

#[test]
fn a_group_without_members_is_sought_and_shows_the_change_first() {
    let bench = shop();
    bench.tidelog(&["group", "seek", "billing", "--to", "5", "--yes"]).failed(4, &["no group billing"]);
    commit(&bench, "0=4,1=10");
    let seek = |words: &[&str]| bench.tidelog(&[&["group", "seek", "billing"], words].concat());
    seek(&["--yes"]).failed(2, &["--to"]);
    seek(&["--to", "yonder", "--yes"]).failed(2, &["--to", "yonder"]);
    seek(&["--to", "5"]).failed(2, &["--yes"]);
    seek(&["--to", "11", "--yes"]).failed(4, &["0 to 10"]);
    assert_eq!(offsets(&bench), [4, 10], "what fails changes nothing");

    let plan = seek(&["--to", "5", "--dry-run", "-o", "json"]).ok();
    assert!(plan.stderr.contains("dry run"), "{plan:?}");
    let plan: Vec<_> = plan
        .json_lines()
        .iter()
        .map(|row| {
            [&row["from"], &row["offset"], &row["delta"], &row["lag_after"]].map(|n| n.as_i64().unwrap())
        })
        .collect();
    assert_eq!(plan, [[4, 5, 1, 5], [10, 5, -5, 5]]);
    assert_eq!(offsets(&bench), [4, 10]);
    seek(&["--to", "5", "--yes"]).ok();
    assert_eq!(offsets(&bench), [5, 5]);
    seek(&["--shift", "-3", "--partition", "1", "--yes"]).ok();
    assert_eq!(offsets(&bench), [5, 2]);
    seek(&["--shift", "100", "--topic", "orders", "--yes"]).ok();
    assert_eq!(offsets(&bench), [10, 10]);
}

#[test]
fn a_group_that_reads_is_moved_only_when_it_is_said_and_goes_on_there() {
    let mut bench = shop();
    let member = bench.member("orders", "billing");
    bench.wait("all is read", |_| member.values().len() == 20);
    bench.wait("all is committed", |bench| {
        let group = bench.tidelog(&["group", "ls", "-o", "json"]).ok().json();
        group["lag"] == 0 && group["partitions"] == 2
    });
    let members = bench.tidelog(&["group", "show", "billing", "--members", "-o", "json"]).ok().json();
    assert_eq!(members["partitions"].as_array().unwrap().len(), 2);
    let text = bench.tidelog(&["group", "show", "billing"]).ok().stdout;
    assert!(text.contains("orders[0,1]") && text.starts_with("billing: Stable, protocol consumer"), "{text}");

    let seek = ["group", "seek", "billing", "--to", "start", "--yes"];
    bench.tidelog(&seek).failed(6, &["1 member", "--active"]);
    bench.tidelog(&["group", "rm", "billing", "--yes"]).failed(6, &["1 member", "stop them first"]);
    bench
        .tidelog(&["offsets", "reset", "billing", "orders", "--to", "start", "--yes"])
        .failed(6, &["has members that read"]);
    assert_eq!(offsets(&bench), [10, 10]);

    let done = bench.tidelog(&[&seek[..], &["--active"]].concat()).ok();
    assert!(done.stderr.contains("done: set 2 offsets"), "{done:?}");
    bench.wait("all is read again", |_| member.values().len() == 40);
    bench.wait("all is committed again", |bench| offsets(bench) == [10, 10]);
    bench.stop(member);
    let mut empty = offsets(&bench);
    assert_eq!(empty, [10, 10]);
    bench.restart_broker();
    empty = offsets(&bench);
    assert_eq!(empty, [10, 10]);

    bench.tidelog(&["group", "rm", "billing", "--topic", "other", "--yes"]).failed(4, &["other"]);
    bench.tidelog(&["group", "rm", "billing", "--topic", "orders", "--yes"]).ok();
    assert_eq!(offsets(&bench), [0_i64; 0]);
    bench.tidelog(&["group", "rm", "billing", "--yes"]).ok();
    bench.tidelog(&["group", "rm", "billing", "--yes"]).failed(4, &["no group billing"]);
}

#[test]
fn a_seek_that_waits_for_members_outlives_a_killed_broker() {
    let mut bench = shop();
    let member = bench.member("orders", "billing");
    bench.wait("all is read", |_| member.values().len() == 20);
    bench.wait("all is committed", |bench| {
        let group = bench.tidelog(&["group", "ls", "-o", "json"]).ok().json();
        group["lag"] == 0 && group["partitions"] == 2
    });
    let seek = ["group", "seek", "billing", "--to", "start", "--active", "--wait", "0", "--yes"];
    let late = bench.tidelog(&seek);
    // The member may have been about to send its heartbeat.
    if late.code != Some(0) {
        late.failed(7, &["not given up within 0 s", "group show"]);
    }
    bench.restart_broker();
    bench.wait("all is read again", |_| member.values().len() >= 40);
    let again: BTreeSet<String> = member.values().into_iter().skip(20).collect();
    assert_eq!(again, (0..20).map(|number| number.to_string()).collect());
    bench.wait("all is committed again", |bench| offsets(bench) == [10, 10]);
    bench.stop(member);
}
