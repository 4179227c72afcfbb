//! `tidelog replay`: ranges, filters, sinks, plan and pace.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tidelog_client::{ConsumerRecord, Record, Timestamp};

use crate::bench::{Bench, json_lines};

/// 2025-11-24T16:00:00Z.
const START_MS: i64 = 1_764_000_000_000;
const HEADERS_ADDED: usize = 3;

/// Event `number` of a shop: one a second, keys of two regions, in partition `number % 3`.
fn event(number: i64) -> Record {
    let region = if number % 2 == 0 { "eu" } else { "us" };
    let record = Record::new("orders")
        .key(format!("{region}-{number}"))
        .timestamp(Timestamp::from_millis(START_MS + number * 1_000))
        .partition(i32::try_from(number % 3).unwrap());
    match number % 10 {
        9 => record,
        7 => record.value(format!(r#"{{"number":{number},"state":"refused"}}"#)).header("trace", "t-1"),
        _ => record.value(format!(r#"{{"number":{number},"state":"paid"}}"#)).header("source", "shop"),
    }
}

/// A broker with `count` events in `orders`.
fn shop(count: i64) -> Bench {
    let bench = Bench::new();
    bench.create("orders", 3);
    bench.produce((0..count).map(event));
    bench
}

/// The numbers of the events in lines of JSON, in order.
fn numbers(lines: &[Json]) -> Vec<i64> {
    let number = |line: &Json| line["key"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap();
    let mut numbers: Vec<i64> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[track_caller]
fn assert_replays(bench: &Bench, words: &[&str], expected: impl IntoIterator<Item = i64>) {
    let done = bench.tidelog(&[&["replay", "orders"], words].concat()).ok();
    let expected: Vec<i64> = expected.into_iter().collect();
    assert_eq!(numbers(&done.json_lines()), expected, "{words:?}");
}

#[test]
fn ranges_are_chosen_by_offset_time_and_partition() {
    let bench = shop(90);
    assert_replays(&bench, &[], 0..90);
    assert_replays(&bench, &["--from", "2025-11-24T16:00:30Z"], 30..90);
    let (from, to) = (format!("@{}", START_MS + 10_000), format!("@{}", START_MS + 20_000));
    assert_replays(&bench, &["--from", &from, "--to", &to], 10..20);
    // Offsets count in each partition: 10 and 11 of three of them are six events.
    assert_replays(&bench, &["--from", "10", "--until", "12"], 30..36);
    assert_replays(&bench, &["--from", "-2"], 84..90);
    assert_replays(&bench, &["--from", "+28"], 84..90);
    assert_replays(&bench, &["--partition", "1", "--until", "3"], [1, 4, 7]);
    assert_replays(&bench, &["--from", "0=28,2=29"], [84, 87, 89]);
    assert_replays(&bench, &["--since", "1s"], []);
    assert_replays(&bench, &["--limit", "7", "--partition", "0"], (0..21).step_by(3));
    assert_replays(&bench, &["--per-partition", "2"], 0..6);
}

#[test]
fn an_offset_outside_of_the_log_is_moved_and_said_or_refused() {
    let bench = shop(9);
    let done = bench.tidelog(&["replay", "orders", "--from", "500"]).ok();
    assert!(
        done.stdout.is_empty() && done.stderr.contains("orders-1 has no offset 500: using 3"),
        "{done:?}"
    );
    let strict = bench.tidelog(&["replay", "orders", "--from", "500", "--strict"]);
    strict.failed(4, &["orders-0 has no offset 500, the nearest is 3; without --strict"]);
}

#[test]
fn a_range_that_goes_backward_is_refused_before_anything_is_read() {
    let bench = shop(30);
    for words in
        [["--from", "9", "--until", "3"], ["--from", "-1h", "--to", "-2h"], ["--since", "1h", "--to", "-2h"]]
    {
        let refused = bench.tidelog(&[&["replay", "orders"], &words[..]].concat());
        refused.failed(2, &["lies before", "exchange them"]);
    }
    // From 28 s on, partition 0 has nothing before its end, and 1 and 2 have their last record, which is number 9.
    let from = format!("@{}", START_MS + 28_000);
    assert_replays(&bench, &["--from", &from, "--until", "10"], 28..30);
    let empty = bench.tidelog(&["replay", "orders", "--from", "4", "--until", "4"]).ok();
    assert!(empty.stdout.is_empty() && empty.stderr.contains("nothing to replay"), "{empty:?}");
    let out = bench.path("no/such/file");
    let refused = bench.tidelog(&["replay", "orders", "--out", &out.display().to_string()]);
    assert_eq!(refused.failed(1, &["cannot write"]).stderr.lines().count(), 1);
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_not_said_to_hold_anything() {
    let bench = shop(9);
    let done = bench.tidelog(&["replay", "orders", "--checkpoint", "/nonexistent/c"]);
    assert!(done.stderr.contains("/nonexistent/c"), "{done:?}");
    assert!(!done.stderr.contains("--resume"), "{done:?}");
}

#[test]
fn records_are_chosen_by_key_header_and_value() {
    let bench = shop(100);
    let sevens = || (0..100).filter(|number| number % 10 == 7);
    let paid = || (0..100).filter(|number| ![7, 9].contains(&(number % 10)));
    assert_replays(&bench, &["--key", "eu-42"], [42]);
    assert_replays(&bench, &["--key", "eu-42", "--key", "us-43", "--key", "us-42"], [42, 43]);
    assert_replays(&bench, &["--key-prefix", "us-"], (1..100).step_by(2));
    assert_replays(&bench, &["--key-regex", "^eu-.*2$"], (2..100).step_by(10));
    assert_replays(&bench, &["--header", "trace"], sevens());
    assert_replays(&bench, &["--header", "source=shop"], paid());
    assert_replays(&bench, &["--header", "trace~^t-[0-9]$"], sevens());
    assert_replays(&bench, &["--contains", "refused"], sevens());
    assert_replays(&bench, &["--match", r#""state":"r.*d""#], sevens());
    assert_replays(&bench, &["--json", ".number=33"], [33]);
    assert_replays(&bench, &["--tombstones", "only"], (9..100).step_by(10));
    assert_replays(&bench, &["--tombstones", "drop", "--invert"], (9..100).step_by(10));
    assert_replays(&bench, &["--contains", "paid", "--key-prefix", "eu-", "--json", ".number=4"], [4]);
}

#[test]
fn a_summary_counts_every_offset_of_every_partition_once() {
    let bench = shop(100);
    let words = ["replay", "orders", "--contains", "refused", "--out", "out.jsonl", "--output", "json"];
    let summary = bench.tidelog(&words).ok().json();
    assert_eq!(summary["outcome"], "complete");
    assert_eq!((&summary["read"], &summary["matched"]), (&100.into(), &10.into()));
    assert_eq!((&summary["written"], &summary["skipped"]), (&10.into(), &90.into()));
    let partitions = summary["partitions"].as_array().unwrap();
    let of = |partition: &Json, name: &str| partition[name].as_i64().unwrap();
    assert_eq!(partitions.len(), 3);
    for partition in partitions {
        let id = of(partition, "partition");
        let expected = (0..100).filter(|number| number % 10 == 7 && number % 3 == id).count();
        assert_eq!(of(partition, "written"), i64::try_from(expected).unwrap());
        assert_eq!(of(partition, "read"), of(partition, "end") - of(partition, "start"));
        assert_eq!(of(partition, "next"), of(partition, "end"));
        assert_eq!(of(partition, "read"), of(partition, "matched") + of(partition, "skipped"));
    }
    assert_eq!(json_lines(&bench.read("out.jsonl")).len(), 10);
    assert!(!bench.path("out.jsonl.checkpoint").exists(), "there is nothing to go on with");
}

#[test]
fn files_hold_the_records_and_are_not_overwritten_by_accident() {
    let bench = shop(30);
    bench.tidelog(&["replay", "orders", "--out", "all.jsonl"]).ok();
    assert_eq!(numbers(&json_lines(&bench.read("all.jsonl"))), (0..30).collect::<Vec<_>>());
    bench
        .tidelog(&["replay", "orders", "--out", "all.jsonl", "-n", "1"])
        .failed(6, &["all.jsonl", "--force"]);
    assert_eq!(json_lines(&bench.read("all.jsonl")).len(), 30);
    bench.tidelog(&["replay", "orders", "--out", "all.jsonl", "--force", "--json", ".number=4"]).ok();
    assert_eq!(numbers(&json_lines(&bench.read("all.jsonl"))), [4]);
    bench.tidelog(&["replay", "orders", "--out", "raw", "--format", "raw", "--key", "eu-4"]).ok();
    assert_eq!(bench.read("raw"), "{\"number\":4,\"state\":\"paid\"}\n");
    bench.tidelog(&["replay", "orders", "--out", "keys", "--format", r"%k@%o\n", "-p", "2", "-n", "2"]).ok();
    assert_eq!(bench.read("keys"), "eu-2@0\nus-5@1\n");
}

/// The headers that say where a record came from: id, origin, time.
fn provenance(record: &ConsumerRecord) -> (String, String, String) {
    let added = &record.headers[record.headers.len() - HEADERS_ADDED..];
    let text = |at: usize, name: &str| {
        assert_eq!(added[at].0, name);
        String::from_utf8(added[at].1.as_ref().unwrap().to_vec()).unwrap()
    };
    (text(0, "x-tidelog-replay-id"), text(1, "x-tidelog-origin"), text(2, "x-tidelog-replayed-at"))
}

#[test]
fn a_topic_gets_the_records_as_they_were_and_where_they_came_from() {
    let bench = shop(60);
    bench.create("copy", 3);
    let words = ["replay", "orders", "--into", "copy", "--partition-by", "same", "--yes", "-o", "json"];
    let summary = bench.tidelog(&words).ok().json();
    assert_eq!(summary["written"], 60);
    let (sources, copies) = (bench.records("orders"), bench.records("copy"));
    for (partition, sources) in &sources {
        let copies = &copies[partition];
        assert_eq!(copies.len(), sources.len());
        for (source, copy) in sources.iter().zip(copies) {
            assert_eq!(
                (&copy.key, &copy.value, copy.timestamp),
                (&source.key, &source.value, source.timestamp)
            );
            assert_eq!(copy.headers[..copy.headers.len() - HEADERS_ADDED], source.headers);
            let (id, origin, at) = provenance(copy);
            assert_eq!(Json::from(id), summary["replay_id"]);
            assert_eq!(origin, format!("orders/{partition}/{}", source.offset));
            assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");
        }
    }
}

#[test]
fn records_of_a_key_stay_in_order_whatever_the_number_of_partitions() {
    let bench = Bench::new();
    bench.create("orders", 3);
    bench.create("copy", 5);
    let record =
        |number: i64| Record::new("orders").key(format!("k{}", number % 7)).value(number.to_string());
    bench.produce((0..500).map(record));
    bench.tidelog(&["replay", "orders", "--into", "copy", "--yes"]).ok();
    let copies = bench.records("copy");
    assert_eq!(copies.values().map(Vec::len).sum::<usize>(), 500);
    for key in 0..7 {
        let is_of_key =
            |record: &&ConsumerRecord| record.key.as_deref() == Some(format!("k{key}").as_bytes());
        let homes: Vec<&Vec<ConsumerRecord>> =
            copies.values().filter(|records| records.iter().any(|record| is_of_key(&record))).collect();
        assert_eq!(homes.len(), 1, "key k{key} is in one partition");
        let values: Vec<i64> = homes[0]
            .iter()
            .filter(is_of_key)
            .map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).parse().unwrap())
            .collect();
        assert!(values.is_sorted(), "key k{key}: {values:?}");
    }
}

#[test]
fn a_topic_is_only_written_when_that_is_clearly_wanted() {
    let bench = shop(9);
    bench.create("copy", 1);
    bench.tidelog(&["replay", "orders", "--into", "copy"]).failed(2, &["copy", "--yes"]);
    bench.tidelog(&["replay", "orders", "--into", "nope", "--yes"]).failed(4, &["nope"]);
    let same = bench.tidelog(&["replay", "orders", "--into", "copy", "--partition-by", "same", "--yes"]);
    same.failed(2, &["1 partitions of 3"]);
    bench.tidelog(&["replay", "orders", "--into", "orders", "--yes"]).failed(2, &["--allow-same-topic"]);
    assert!(bench.records("copy").is_empty());
    // Its own records are behind the end that was fixed before the first was written.
    bench.tidelog(&["replay", "orders", "--into", "orders", "--allow-same-topic", "--yes"]).ok();
    assert_eq!(bench.records("orders").values().map(Vec::len).sum::<usize>(), 18);
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let bench = shop(60);
    bench.create("copy", 1);
    let words = ["replay", "orders", "--into", "copy", "--from", "5", "--contains", "refused", "--dry-run"];
    let text = bench.tidelog(&words).ok().stdout;
    assert!(text.contains("total: at most 45 records") && text.contains("nothing was written"), "{text}");
    let plan = bench.tidelog(&[&words[..], &["-o", "json"]].concat()).ok().json();
    assert_eq!((&plan["records_max"], &plan["matched"]), (&45.into(), &Json::Null));
    assert!(plan["bytes_estimated"].as_i64().unwrap() > 0);
    let second = &plan["partitions"][1];
    assert_eq!(
        (&second["start"], &second["end"], &second["records_max"]),
        (&5.into(), &20.into(), &15.into())
    );
    assert_eq!(second["first_timestamp"], "2025-11-24T16:00:16.000Z");
    assert_eq!(second["last_timestamp"], "2025-11-24T16:00:58.000Z");
    let scanned = bench.tidelog(&[&words[..], &["--scan", "-o", "json"]].concat()).ok().json();
    assert_eq!(scanned["matched"], (15..60).filter(|number| number % 10 == 7).count());
    assert!(bench.records("copy").is_empty());
    assert_eq!(std::fs::read_dir(bench.path(".")).unwrap().count(), 2, "only the broker's data and log");
}

#[test]
fn a_rate_and_a_speed_hold_a_replay_back() {
    let bench = shop(30);
    let timed = |words: &[&str]| {
        let start = Instant::now();
        assert_replays(&bench, words, 0..30);
        start.elapsed()
    };
    // 29 pauses of 20 ms.
    assert!(timed(&["--rate", "50/s"]) >= Duration::from_millis(570));
    // 29 s of events.
    assert!(timed(&["--speed", "50x"]) >= Duration::from_millis(570));
    // Gaps of 1 s cut to 10 ms.
    assert!(timed(&["--speed", "1x", "--max-gap", "10ms"]) >= Duration::from_millis(280));
}

#[test]
fn partitions_are_merged_by_time_on_request_and_with_a_speed() {
    let bench = shop(90);
    for words in [&["--merge"][..], &["--speed", "1000x"]] {
        let done = bench.tidelog(&[&["replay", "orders"], words].concat()).ok();
        let times: Vec<String> = done.json_lines().iter().map(|line| line["timestamp"].to_string()).collect();
        assert!(times.len() == 90 && times.is_sorted(), "{words:?}: {times:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_replay_quietly() {
    let bench = Bench::new();
    bench.create("orders", 1);
    // More than pipes and buffers hold.
    bench.produce((0..4_000).map(|number| Record::new("orders").value(format!("{number:01000}"))));
    let mut child = bench.start(&["replay", "orders", "--quiet"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"offset\":0"));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
