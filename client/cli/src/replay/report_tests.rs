use tidelog_client::{Offset, PartitionIndex, TopicName, TopicPartition};

use super::*;
use crate::replay::ledger::{Limits, Share};

fn id(partition: i32) -> TopicPartition {
    let partition = PartitionIndex::new(partition).unwrap();
    TopicPartition { topic: TopicName::new("orders").unwrap(), partition }
}

fn at(value: u64) -> Offset {
    Offset::ZERO.plus(value)
}

fn plan(partitions: i32) -> Plan {
    let range = |partition| Range {
        id: id(partition),
        start: at(100),
        end: at(150),
        first_timestamp: Some(Timestamp::from_millis(1_764_000_000_123)),
        last_timestamp: None,
        bytes: 2_048,
    };
    Plan { ranges: (0..partitions).map(range).collect(), ..Plan::default() }
}

#[test]
fn a_plan_shows_every_range_and_the_total() {
    let plan = plan(2);
    let report = PlanReport {
        plan: &plan,
        name: "orders into copy",
        filtered: true,
        duration: Some(Duration::from_secs(9)),
        scanned: None,
    };
    let text = report.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "replay orders into copy");
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words, ["orders", "1", "100", "150", "2025-11-24T16:00:00.123Z", "-", "50", "2.0", "KiB"]);
    assert_eq!(lines[4], "total: at most 100 records, about 4.0 KiB on disk, at least 9 s");
    assert_eq!(lines[5], "filter: fewer records may pass; --scan reads them and counts");
    assert_eq!(lines[6], "nothing was written (dry run)");
    let json = report.json();
    assert_eq!((&json["records_max"], &json["bytes_estimated"]), (&json!(100), &json!(4_096)));
    assert_eq!(json["partitions"][1]["start"], 100);
}

#[test]
fn a_scan_says_how_many_pass() {
    let plan = plan(1);
    let counts = Counts { read: 50, matched: 1, written: 0, skipped: 49 };
    let report =
        PlanReport { plan: &plan, name: "orders", filtered: true, duration: None, scanned: Some(counts) };
    assert!(report.text().contains("\nfilter: 1 record of 50 pass\n"), "{}", report.text());
    assert_eq!(report.json()["matched"], 1);
}

#[test]
fn ranges_are_told_in_one_line() {
    assert_eq!(ranges(&plan(2)), "orders-0 100..150, orders-1 100..150: at most 100 records");
    assert!(ranges(&plan(10)).ends_with("orders-7 100..150 and 2 more: at most 500 records"));
}

#[test]
fn a_summary_has_the_counts_of_each_partition() {
    let share = |partition| Share { id: id(partition), start: at(5), next: at(5), end: at(9), written: 0 };
    let mut ledger = Ledger::new(vec![share(0), share(1)], Limits::default());
    ledger.take(0, at(5));
    ledger.confirm(0, at(5));
    ledger.take(1, at(6));
    let summary = Summary {
        replay_id: "r-1",
        outcome: "interrupted",
        ledger: &ledger,
        elapsed: Duration::from_millis(1_250),
        checkpoint: Some("point".to_owned()),
    };
    assert_eq!(summary.text(), "interrupted: read 3, matched 2, written 1, skipped 1 in 1.2 s");
    let json = summary.json();
    assert_eq!((&json["written"], &json["checkpoint"]), (&json!(1), &json!("point")));
    let second = &json["partitions"][1];
    // 6 was not confirmed, so the next run begins there.
    assert_eq!((&second["next"], &second["read"], &second["written"]), (&json!(6), &json!(2), &json!(0)));
}

#[test]
fn the_command_to_go_on_can_be_pasted() {
    let words = ["replay", "orders", "--contains", "it's", "--resume", "--out", "a b"].map(str::to_owned);
    assert_eq!(
        resume_command(words.into_iter()),
        r"tidelog replay orders --contains 'it'\''s' --out 'a b' --resume"
    );
}
