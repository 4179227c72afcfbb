//! `tidelog produce` and `tidelog consume`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rustix::process::Signal;
use tidelog_client::{Bytes, Record, Timestamp, TopicName};
use tidelog_tests::broker::run_to_end;

use crate::bench::{Bench, Done, end_with};

/// Runs the command line with a file as standard input.
fn with_input(bench: &Bench, words: &[&str], input: &[u8]) -> Done {
    fs::write(bench.path("input"), input).unwrap();
    let mut command = bench.command(words);
    let output = run_to_end(command.stdin(File::open(bench.path("input")).unwrap())).unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn values(bench: &Bench, topic: &str) -> Vec<String> {
    let mut values: Vec<String> = bench
        .records(topic)
        .into_values()
        .flatten()
        .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        .collect();
    values.sort();
    values
}

#[test]
fn lines_become_records_and_records_lines() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let lines: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    let done = with_input(&bench, &["produce", "orders"], lines.as_bytes()).ok();
    assert!(done.stderr.starts_with("50000 records stored in orders"), "{done:?}");
    let read = bench.tidelog(&["consume", "orders"]).ok();
    assert!(read.stdout == lines, "{} bytes came back", read.stdout.len());
    assert_eq!(read.stderr, "50000 records\n");
    let part = bench.tidelog(&["consume", "orders", "--from", "10", "--until", "12", "-f", r"%o %v\n"]).ok();
    assert_eq!(part.stdout, "10 line 10\n11 line 11\n");
    assert_eq!(bench.tidelog(&["consume", "orders", "--from", "12", "--until", "10"]).ok().stdout, "");
    assert_eq!(bench.tidelog(&["consume", "orders", "-n", "0"]).ok().stdout, "");
}

#[test]
fn an_empty_topic_and_an_empty_input_are_no_failures() {
    let bench = Bench::new();
    bench.create("orders", 2);
    assert_eq!(with_input(&bench, &["produce", "orders"], b"").ok().stdout, "");
    assert_eq!(bench.tidelog(&["consume", "orders"]).ok().stdout, "");
}

#[test]
fn any_record_goes_out_and_comes_back_as_json_without_loss() {
    let bench = Bench::new();
    bench.create("orders", 3);
    bench.create("copy", 3);
    let bytes = |bytes: &'static [u8]| Bytes::from_static(bytes);
    bench.produce((0..300).map(|number: i32| {
        let record = Record::new("orders").partition(number % 3);
        let record = record.timestamp(Timestamp::from_millis(1_700_000_000_000 + i64::from(number)));
        match number % 4 {
            0 => record.key(bytes(b"\xff\x00key")),
            1 => record.key("").value("line\nline"),
            2 => record.value(bytes(b"\xc3\x28")).header("a", "1").header("a", "2"),
            _ => record.value("").null_header(bytes(b"\xfe")),
        }
    }));
    let json = bench.tidelog(&["consume", "orders", "--output", "json"]).ok();
    with_input(&bench, &["produce", "copy", "-i", "json", "--partition-by", "same"], json.stdout.as_bytes())
        .ok();
    let (mut there, back) = (bench.records("orders"), bench.records("copy"));
    for record in there.values_mut().flatten() {
        record.topic = TopicName::new("copy").unwrap();
    }
    assert_eq!(there, back);
}

#[test]
fn a_bad_line_is_named_and_costs_no_other() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let large = "x".repeat(2 << 20);
    let input = format!("a:1\nno separator\n{large}:{large}\nb:2\n");
    let done = with_input(&bench, &["produce", "orders", "-K", ":"], input.as_bytes());
    let done =
        done.failed(3, &["line 2: no \":\"", "line 3:", "max.message.bytes", "2 records stored", "2 not"]);
    assert!(!done.stderr.contains("line 4"), "{}", done.stderr);
    assert_eq!(values(&bench, "orders"), ["1", "2"]);

    let json = b"{\"value\":\"3\"}\n{\"vlaue\":\"4\"}\n";
    with_input(&bench, &["produce", "orders", "-i", "json"], json).failed(3, &["line 2", "vlaue"]);
    assert_eq!(values(&bench, "orders"), ["1", "2", "3"]);
}

#[test]
fn flags_say_what_every_record_gets() {
    let bench = Bench::new();
    bench.create("orders", 3);
    let words = ["produce", "orders", "one", "two", "-k", "k", "-H", "source=test", "-p", "2", "-z", "zstd"];
    let stored = bench.tidelog(&[&words[..], &["-o", "json"]].concat()).ok().json_lines();
    assert_eq!(stored.iter().map(|row| row["offset"].as_i64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    let records = &bench.records("orders")[&2];
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"k")));
    assert!(records.iter().all(|record| record.headers == [("source".into(), Some("test".into()))]));
    bench.tidelog(&["produce", "orders", "x", "-p", "3"]).failed(4, &["no partition 3"]);
    bench.tidelog(&["produce", "ordres", "x"]).failed(4, &["ordres"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let bench = Bench::new();
    bench.create("orders", 1);
    bench.produce((0..2_000).map(|_| Record::new("orders").value(vec![b'x'; 1_000])));
    let mut child = bench.start(&["consume", "orders", "--group", "billing"]);
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_full_disk_under_the_output_is_told() {
    let bench = Bench::new();
    bench.create("orders", 1);
    bench.produce([Record::new("orders").value("x")]);
    let words = ["consume", "orders", "--group", "billing"];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = run_to_end(bench.command(&words).stdout(full)).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    // What nobody has seen is not committed.
    assert_eq!(bench.tidelog(&words).ok().stdout, "x\n");
}

#[test]
fn a_producer_stores_every_line_although_nobody_reads_what_it_tells() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let lines: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    fs::write(bench.path("input"), lines).unwrap();
    let mut command = bench.command(&["produce", "orders", "-o", "json"]);
    let mut child = command.stdin(File::open(bench.path("input")).unwrap()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.starts_with("50000 records stored"), "{stderr}");
    assert_eq!(bench.records("orders")[&0].len(), 50_000);
}

#[test]
fn following_shows_records_as_they_come_and_commits_them_when_it_is_ended() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let mut command = bench.command(&["consume", "orders", "--follow", "--group", "billing"]);
    let child = command.stdout(File::create(bench.path("shown")).unwrap()).spawn().unwrap();
    let mut shown = String::new();
    for value in ["one\n", "two\n", "three\n"] {
        bench.produce([Record::new("orders").value(value.trim_end())]);
        shown.push_str(value);
        bench.wait("the record is shown", |bench| bench.read("shown") == shown);
    }
    let done = end_with(child, Signal::INT);
    assert_eq!((done.code, done.stderr.as_str()), (Some(130), "interrupted after 3 records\n"));
    let row = bench.tidelog(&["group", "show", "billing", "-o", "json"]).ok().json();
    assert_eq!((&row["offset"], &row["lag"]), (&3.into(), &0.into()));
}

#[test]
fn an_interrupted_producer_tells_what_was_stored() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let mut command = bench.command(&["produce", "orders", "-o", "json"]);
    let command = command.stdin(Stdio::piped()).stdout(File::create(bench.path("stored")).unwrap());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for number in 1..=3 {
        writeln!(input, "record {number}").unwrap();
        bench.wait("the record is stored", |bench| bench.read("stored").lines().count() == number);
    }
    let done = end_with(child, Signal::INT);
    assert_eq!(done.code, Some(130), "{done:?}");
    assert!(done.stderr.contains("3 records stored in orders, 0 not"), "{done:?}");
    assert_eq!(bench.records("orders")[&0].len(), 3);
    drop(input);
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_2() {
    let bench = Bench::new();
    for (words, name) in [
        (&["consume", "orders", "--form", "5"][..], "--from"),
        (&["consume", "orders", "--from", "yesterdya"], "yesterdya"),
        (&["consume", "orders", "--format", "%y"], "%y"),
        (&["produce"], "<TOPIC>"),
        (&["produce", "orders", "--acks", "all"], "durable"),
        (&["topic", "create", "x", "--partitions", "0"], "--partitions"),
        (&["topic", "create", "x", "--config", "retention.ms"], "KEY=VALUE"),
        (&["consmue", "x"], "consume"),
    ] {
        let done = bench.tidelog(words).failed(2, &["error: ", name]);
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        assert!(done.stdout.is_empty(), "{done:?}");
    }
}

#[test]
fn a_line_that_is_too_large_is_said_once_and_the_others_are_stored() {
    let bench = Bench::new();
    bench.create("orders", 1);
    let input = format!("one\n{}\nthree\n", "x".repeat(2_000_000));
    let done = with_input(&bench, &["produce", "orders"], input.as_bytes());
    let done = done.failed(
        3,
        &["line 2: the record takes 2000", "max.message.bytes = 1048588", "2 records stored", "1 not"],
    );
    assert_eq!(done.stderr.matches("max.message.bytes =").count(), 1, "{done:?}");
    assert_eq!(bench.records("orders")[&0].len(), 2);
    // What is read by a program has the reason in it.
    let done = with_input(&bench, &["produce", "orders", "-o", "json"], input.as_bytes());
    let last: serde_json::Value = serde_json::from_str(done.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["exit_code"], 3);
    assert!(last["error"]["message"].as_str().unwrap().contains("line 2: the record takes"), "{last}");
}

#[test]
fn an_address_that_is_not_that_of_the_api_is_said_to_be_wrong() {
    let bench = Bench::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for address in [bench.kafka(), closed] {
        let done = bench.tidelog(&["--broker", &address, "topic", "ls"]);
        let done = done.failed(7, &[&address, "not the one for Kafka clients"]);
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
    }
    let wrong = bench.tidelog(&["topic", "ls", "--nosuch", "-o", "json"]).failed(2, &[]);
    let said: serde_json::Value = serde_json::from_str(&wrong.stderr).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().contains("--nosuch"), "{said}");
}
