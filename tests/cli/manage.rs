//! `tidelog topic`, `group` and `offsets`.

use tidelog_client::Record;

use crate::bench::Bench;

/// A broker with the values 0 to 9 in each of the two partitions of `orders`.
fn shop() -> Bench {
    let bench = Bench::new();
    bench.create("orders", 2);
    bench
        .produce((0..20).map(|number| Record::new("orders").partition(number % 2).value(number.to_string())));
    bench
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let bench = Bench::new();
    let words = ["topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=5000"];
    assert_eq!(bench.tidelog(&words).ok().stdout, "topic orders created: 3 partitions\n");
    bench.tidelog(&words).failed(6, &["orders", "exists"]);
    bench.tidelog(&[&words[..], &["--if-not-exists"]].concat()).ok();
    assert!(bench.tidelog(&["topic", "ls"]).ok().stdout.contains("orders"));

    bench.tidelog(&["topic", "alter", "orders", "--set", "retention.ms=6000"]).ok();
    bench.tidelog(&["topic", "add-partitions", "orders", "--total", "5"]).ok();
    let topic = bench.tidelog(&["topic", "show", "orders", "--output", "json"]).ok().json();
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 5);
    let configs = topic["configs"].as_array().unwrap();
    let retention = configs.iter().find(|config| config["key"] == "retention.ms").unwrap();
    assert_eq!((&retention["value"], &retention["source"]), (&"6000".into(), &"topic".into()));

    bench.tidelog(&["topic", "delete", "orders"]).failed(2, &["--yes"]);
    bench.tidelog(&["topic", "delete", "orders", "--yes"]).ok();
    bench.tidelog(&["topic", "delete", "orders", "--yes"]).failed(4, &["orders"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = Bench::new();
    bench.tidelog(&["topic", "create", "orders", "--dry-run"]).ok();
    assert!(bench.tidelog(&["topic", "list", "-o", "json"]).ok().stdout.is_empty());
    bench.create("orders", 1);
    let alter = ["topic", "alter", "orders", "--set", "retention.ms=7", "--dry-run"];
    bench.tidelog(&alter).ok();
    assert!(!bench.tidelog(&["topic", "show", "orders"]).ok().stdout.contains(" 7 "));
    bench.tidelog(&["topic", "alter", "orders", "--set", "retentoin.ms=7"]).failed(1, &["retention.ms"]);
}

#[test]
fn the_oldest_records_are_deleted_up_to_a_position() {
    let bench = shop();
    let words = ["topic", "delete-records", "orders", "--before", "-3"];
    bench.tidelog(&words).failed(2, &["14 records", "--yes"]);
    assert_eq!(bench.records("orders")[&0].len(), 10, "nothing was deleted without consent");
    bench.tidelog(&[&words[..], &["--yes"]].concat()).ok();
    assert!(bench.records("orders").values().all(|records| records.len() == 3));
    let beyond = ["topic", "delete-records", "orders", "--before", "11", "--yes"];
    bench.tidelog(&beyond).failed(4, &["11", "10", "orders-0"]);
    bench.tidelog(&["topic", "truncate", "orders", "--before", "end", "-p", "1", "--yes"]).ok();
    assert_eq!(bench.records("orders").into_keys().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_group_is_shown_with_what_is_left_for_it() {
    let bench = shop();
    bench.tidelog(&["group", "show", "billing"]).failed(4, &["billing"]);
    bench.tidelog(&["consume", "orders", "--group", "billing", "--partition", "0", "--max", "4"]).ok();
    bench.tidelog(&["consume", "orders", "--group", "billing", "--partition", "1"]).ok();
    let rows = bench.tidelog(&["group", "describe", "billing", "-o", "json"]).ok().json_lines();
    let lags: Vec<_> = rows.iter().map(|row| row["lag"].as_i64().unwrap()).collect();
    assert_eq!(lags, [6, 0]);
    assert_eq!(bench.tidelog(&["group", "ls", "-o", "json"]).ok().json()["partitions"], 2);

    bench.tidelog(&["group", "rm", "billing"]).failed(2, &["--yes"]);
    bench.tidelog(&["group", "rm", "billing", "--yes"]).ok();
    assert!(bench.tidelog(&["groups", "ls", "-o", "json"]).ok().stdout.is_empty());
}

#[test]
fn a_group_goes_on_where_it_is_set() {
    let bench = shop();
    let reset = |to| ["offsets", "reset", "billing", "orders", "--to", to];
    bench.tidelog(&[&reset("5")[..], &["--dry-run"]].concat()).ok();
    bench.tidelog(&reset("5")).failed(2, &["--yes"]);
    bench.tidelog(&["group", "show", "billing"]).failed(4, &["billing"]);
    bench.tidelog(&[&reset("0=5,1=-2")[..], &["--yes"]].concat()).ok();
    let offset = |partition| {
        let rows = bench.tidelog(&["group", "show", "billing", "-o", "json"]).ok().json_lines();
        rows.iter().find(|row| row["partition"] == partition).unwrap()["offset"].as_i64().unwrap()
    };
    assert_eq!((offset(0), offset(1)), (5, 8));
    bench.tidelog(&[&reset("11")[..], &["--yes"]].concat()).failed(4, &["11", "0 to 10"]);
    bench.tidelog(&[&reset("2=0")[..], &["--yes"]].concat()).failed(4, &["no partition 2"]);
    assert_eq!((offset(0), offset(1)), (5, 8), "what fails changes nothing");
    assert_eq!(
        bench.tidelog(&["consume", "orders", "-g", "billing", "-n", "7"]).ok().stdout.lines().count(),
        7
    );
    assert_eq!((offset(0), offset(1)), (10, 10));
}

#[test]
fn positions_are_found_and_found_again_from_a_file() {
    let bench = shop();
    let rows = bench.tidelog(&["offsets", "list", "orders", "--at", "0=3,1=end", "-o", "json"]).ok();
    let offsets: Vec<_> = rows.json_lines().iter().map(|row| row["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [3, 10]);
    std::fs::write(bench.path("places"), &rows.stdout).unwrap();
    let read = bench.tidelog(&["consume", "orders", "--from", "file:places"]).ok();
    assert_eq!(read.stdout.lines().collect::<Vec<_>>(), ["6", "8", "10", "12", "14", "16", "18"]);
    let soon = bench.tidelog(&["offsets", "list", "orders", "--at", "-1h"]).ok();
    assert_eq!(soon.stdout.lines().count(), 3);
    bench.tidelog(&["offsets", "list", "orders", "--at", "11"]).failed(4, &["11"]);
    bench.tidelog(&["offsets", "list", "orders", "--at", "file:nowhere"]).failed(1, &["nowhere"]);
}
