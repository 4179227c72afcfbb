//! Queue groups on the command line: made, altered and shown, their retries hurried, their dead letters found,
//! redriven and resolved.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidelog_client::Record;
use tidelog_proto::v1::queue_client::QueueClient;
use tidelog_proto::v1::settle_range::Verb;
use tidelog_proto::v1::{
    Deliveries, Reason, ReceiveRequest, SettleAck, SettleNack, SettleRange, SettleReject, SettleRequest,
};
use tonic::transport::Channel;

use crate::bench::Bench;

/// The values 0 to 4 in the one partition of `orders`, and a queue group `mail` that reads them all.
fn shop() -> Bench {
    let bench = Bench::new();
    bench.create("orders", 1);
    bench.produce((0..5).map(|number| Record::new("orders").key("k").value(number.to_string())));
    let words = ["group", "create", "mail", "--topic", "orders", "-c", "share.auto.offset.reset=earliest"];
    let text = bench.tidelog(&words).ok().stdout;
    assert_eq!(text, "queue group mail created: reads orders\n");
    bench
}

/// A consumer that is told what to do with each record.
struct Hands(QueueClient<Channel>);

impl Hands {
    fn of(bench: &Bench) -> Self {
        let endpoint = Channel::from_shared(bench.url.clone()).unwrap();
        Self(QueueClient::new(bench.runtime.block_on(endpoint.connect()).unwrap()))
    }

    fn take(&mut self, bench: &Bench, wait_ms: i32) -> Option<Deliveries> {
        let request = ReceiveRequest { group: "mail".to_owned(), records_max: 10, wait_ms, lease_ms: 0 };
        bench.runtime.block_on(self.0.receive(request)).unwrap().into_inner().deliveries.pop()
    }

    fn settle(&mut self, bench: &Bench, of: &Deliveries, verbs: BTreeMap<i64, Verb>) {
        let range = |(offset, verb)| SettleRange {
            topic: of.topic.clone(),
            partition: of.partition,
            lease_id: of.lease_id,
            first_offset: offset,
            last_offset: offset,
            verb: Some(verb),
        };
        let ranges = verbs.into_iter().map(range).collect();
        let request = SettleRequest { group: "mail".to_owned(), request_id: 0, ranges };
        let settled = bench.runtime.block_on(self.0.settle(request)).unwrap().into_inner();
        assert!(settled.results.iter().all(|result| result.error.is_none()), "{settled:?}");
    }
}

fn ack() -> Verb {
    Verb::Ack(SettleAck {})
}

fn reject(code: &str) -> Verb {
    Verb::Reject(SettleReject { reason: Some(Reason { code: code.to_owned(), text: String::new() }) })
}

/// Takes all five records: two become dead letters, one waits for an hour, two are done.
fn fail_some(bench: &Bench) -> Hands {
    let mut hands = Hands::of(bench);
    let taken = hands.take(bench, 20_000).unwrap();
    assert_eq!(taken.records.len(), 5);
    let nack = Verb::Nack(SettleNack { delay_ms: Some(3_600_000), reason: None });
    let verbs = [ack(), reject("no-stock"), nack, reject("declined"), ack()];
    hands.settle(bench, &taken, (0..).zip(verbs).collect());
    let dead = |bench: &Bench| letters(bench, &[]).len() == 2 && letters(bench, &[])[0]["lost"] == false;
    bench.wait("two dead letters", dead);
    hands
}

fn letters(bench: &Bench, flags: &[&str]) -> Vec<Json> {
    let words = [&["dlq", "ls", "mail", "-o", "json"], flags].concat();
    bench.tidelog(&words).ok().json_lines()
}

fn offsets(letters: &[Json]) -> Vec<i64> {
    letters.iter().map(|letter| letter["offset"].as_i64().unwrap()).collect()
}

#[test]
fn a_queue_group_is_made_altered_and_shown() {
    let bench = shop();
    bench.tidelog(&["group", "create", "mail", "-t", "orders"]).failed(6, &["mail"]);
    bench
        .tidelog(&["group", "create", "post", "-t", "orders", "--order", "size"])
        .failed(1, &["order", "size"]);
    bench.tidelog(&["group", "create", "post"]).failed(2, &["--topic"]);
    bench.tidelog(&["group", "create", "post", "-t", "orders", "--dry-run"]).ok();
    bench.tidelog(&["group", "show", "post"]).failed(4, &["there is no group post"]);

    bench.tidelog(&["group", "alter", "mail"]).failed(2, &["nothing to change"]);
    bench.tidelog(&["group", "alter", "nobody", "--add-topic", "orders"]).failed(4, &["nobody"]);
    let words = ["group", "alter", "mail", "--add-topic", "refunds", "-c", "share.delivery.count.limit=3"];
    let altered = bench.tidelog(&[&words[..], &["-o", "json"]].concat()).ok().json();
    assert_eq!(altered["topics"], serde_json::json!(["orders", "refunds"]));
    assert_eq!(altered["configs"]["share.delivery.count.limit"]["value"], "3");

    let lanes = bench.tidelog(&["group", "show", "mail", "-o", "json"]).ok().json_lines();
    let facts = ["topic", "start", "backlog", "leased", "dead"].map(|name| lanes[0][name].to_string());
    assert_eq!(facts, ["\"orders\"", "0", "5", "0", "0"]);
    let text = bench.tidelog(&["group", "show", "mail"]).ok().stdout;
    assert!(text.starts_with("mail: queue group, breaker closed") && text.contains("BACKLOG"), "{text}");
    assert_eq!(bench.tidelog(&["group", "show", "mail", "--members", "-o", "json"]).ok().stdout, "");
    bench.tidelog(&["group", "lag", "mail"]).failed(6, &["queue group", "group show mail"]);
    bench.tidelog(&["group", "rm", "mail", "--yes"]).ok();
    bench.tidelog(&["group", "show", "mail"]).failed(4, &["there is no group mail"]);
}

#[test]
fn retries_are_listed_and_hurried_over_a_kill() {
    let mut bench = shop();
    drop(fail_some(&bench));
    bench.restart_broker();
    let retry = bench.tidelog(&["retry", "ls", "mail", "-o", "json"]).ok().json();
    assert_eq!((retry["offset"].as_i64(), retry["attempts"].as_i64()), (Some(2), Some(1)));
    assert!(retry["due_in_ms"].as_i64().unwrap() > 3_000_000, "{retry}");
    let text = bench.tidelog(&["retry", "ls", "mail"]).ok().stdout;
    assert!(text.starts_with("TOPIC") && text.contains("orders"), "{text}");
    bench.tidelog(&["retry", "ls", "nobody"]).failed(4, &["nobody"]);
    bench.tidelog(&["retry", "run-now", "mail", "-p", "0"]).failed(2, &["--topic"]);
    let did =
        bench.tidelog(&["retry", "run-now", "mail", "-t", "orders", "-p", "0", "-o", "json"]).ok().json();
    assert_eq!(did["records"], 1);
    let taken = Hands::of(&bench).take(&bench, 20_000).unwrap();
    assert_eq!((taken.records.len(), taken.records[0].offset, taken.records[0].attempt), (1, 2, 2));
    assert_eq!(bench.tidelog(&["retry", "ls", "mail", "-o", "json"]).ok().stdout, "");
}

#[test]
fn dead_letters_are_found_redriven_and_resolved() {
    let bench = shop();
    let mut hands = fail_some(&bench);
    assert_eq!(offsets(&letters(&bench, &[])), [1, 3]);
    assert_eq!(offsets(&letters(&bench, &["--reason", "declined"])), [3]);
    assert_eq!(offsets(&letters(&bench, &["--cause", "REJECTED", "--key", "k"])), [1, 3]);
    assert_eq!(offsets(&letters(&bench, &["--key", "other"])), [0; 0]);
    assert_eq!(offsets(&letters(&bench, &["-t", "orders", "-p", "0", "--offset", "0-1"])), [1]);
    assert_eq!(offsets(&letters(&bench, &["--until", "-1h"])), [0; 0]);
    assert_eq!(offsets(&letters(&bench, &["--since", "-1h", "-n", "1"])), [1]);
    let letter = &letters(&bench, &["--reason", "no-stock"])[0];
    assert_eq!(
        (&letter["key"], &letter["value"], &letter["attempts"]),
        (&"k".into(), &"1".into(), &1.into())
    );
    let text = bench.tidelog(&["dlq", "ls", "mail"]).ok().stdout;
    assert!(text.starts_with("TOPIC") && text.contains("no-stock"), "{text}");
    bench.tidelog(&["dlq", "ls", "mail", "--cause", "LUCK"]).failed(1, &["cause", "REJECTED"]);
    bench.tidelog(&["dlq", "ls", "mail", "--since", "17"]).failed(2, &["--since", "17"]);
    bench.tidelog(&["dlq", "ls", "mail", "--offset", "1"]).failed(2, &["--partition"]);
    bench.tidelog(&["dlq", "ls", "nobody"]).failed(4, &["nobody"]);

    let text = bench.tidelog(&["dlq", "redrive", "mail", "--dry-run"]).ok().stdout;
    assert_eq!(text, "2 dead letters of 2 would be redriven to mail\n");
    let did = bench.tidelog(&["dlq", "redrive", "mail", "--reason", "declined", "-o", "json"]).ok().json();
    assert_eq!((&did["selected"], &did["redriven"]), (&1.into(), &1.into()));
    let id = did["redrive_id"].to_string();
    let again = ["dlq", "redrive", "mail", "--reason", "declined", "--id", &id, "-o", "json"];
    assert_eq!(bench.tidelog(&again).ok().json()["redriven"], 0);
    let taken = hands.take(&bench, 20_000).unwrap();
    let records: Vec<_> = taken.records.iter().map(|it| (it.offset, it.attempt, it.redrives)).collect();
    assert_eq!(records, [(3, 1, 1)]);
    hands.settle(&bench, &taken, [(3, ack())].into());

    bench.tidelog(&["dlq", "resolve", "mail"]).failed(2, &["--yes", "1 dead letter"]);
    let text = bench.tidelog(&["dlq", "resolve", "mail", "--dry-run"]).ok().stdout;
    assert_eq!(text, "1 dead letter of group mail would be resolved\n");
    let text = bench.tidelog(&["dlq", "resolve", "mail", "--yes"]).ok().stdout;
    assert_eq!(text, "1 dead letter of group mail resolved\n");
    assert_eq!(offsets(&letters(&bench, &[])), [0; 0]);
}

#[test]
fn a_dead_letter_whose_record_was_deleted_is_not_redriven_and_not_lost() {
    let bench = shop();
    drop(fail_some(&bench));
    // The record that waits for its next attempt keeps what follows it, and the first letter lies before.
    bench.tidelog(&["topic", "truncate", "orders", "--before", "2", "--yes"]).ok();
    let did = bench.tidelog(&["dlq", "redrive", "mail", "-o", "json"]).ok().json();
    let counts = ["selected", "redriven", "gone"].map(|name| did[name].as_i64().unwrap());
    assert_eq!(counts, [2, 1, 1]);
    let kept = letters(&bench, &[]);
    assert_eq!((offsets(&kept), &kept[0]["value"]), (vec![1], &"1".into()));
}
