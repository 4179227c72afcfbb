//! rdkafka, librdkafka for Rust, against a broker: the program that `../python/common.py` describes.
//!
//! ```text
//! matrix BOOTSTRAP RECORDS.JSON [CASE...]
//! ```
//!
//! Runs the named cases (all without names) and prints one JSON line for each.
//!
//! **Invariant:** every case ends with its line: what takes too long or panics is reported as not ok.

mod admin;
mod client;
mod groups;
mod records;

use std::io::Write as _;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::client::Kafka;

/// How long one case may take. Generous, for a loaded machine: what goes well ends long before.
const CASE_DEADLINE: Duration = Duration::from_secs(180);

/// What runs a case; it is told its name, whose last word may be its parameter.
type Case = fn(&Kafka, &str) -> Result<()>;

const CASES: &[(&str, Case)] = &[
    ("compressed-none", records::compressed),
    ("compressed-gzip", records::compressed),
    ("compressed-snappy", records::compressed),
    ("compressed-lz4", records::compressed),
    ("compressed-zstd", records::compressed),
    ("acks-0", records::acks),
    ("acks-1", records::acks),
    ("acks-all", records::acks),
    ("record-shapes", records::shapes),
    ("write-for-grpc", records::write_for_grpc),
    ("read-from-grpc", records::read_from_grpc),
    ("large-message", records::large),
    ("too-large-message", records::too_large),
    ("idempotent", records::idempotent),
    ("automatic-topic", records::automatic_topic),
    ("seek-and-times", records::seek_and_times),
    ("admin-topics", admin::topics),
    ("admin-partitions", admin::partitions),
    ("admin-configs", admin::configs),
    ("admin-broker-configs", admin::broker_configs),
    ("admin-delete-records", admin::delete_records),
    ("admin-groups", admin::groups),
    ("group-commit", groups::commit_and_restart),
    ("group-members", groups::join_and_leave),
    ("group-static", groups::static_member),
    ("group-roundrobin", groups::join_and_leave),
    ("group-cooperative", groups::join_and_leave),
    ("group-consumer-commit", groups::commit_and_restart),
    ("group-consumer-members", groups::join_and_leave),
    ("group-consumer-range", groups::join_and_leave),
    ("group-consumer-static", groups::static_member),
];

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let bootstrap = arguments.next().context("the first argument is the broker's address")?;
    let records = arguments.next().context("the second argument is the file of records")?;
    let kafka = Arc::new(Kafka::new(bootstrap, &records)?);
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    for name in names {
        let begin = Instant::now();
        let outcome = run(&kafka, &name);
        let ms = begin.elapsed().as_millis();
        let line = match outcome {
            Ok(()) => json!({ "case": name, "ok": true, "ms": ms }),
            Err(error) => json!({ "case": name, "ok": false, "error": format!("{error:?}"), "ms": ms }),
        };
        println!("{line}");
    }
    std::io::stdout().flush()?;
    // A case that took too long is still there.
    process::exit(0)
}

fn run(kafka: &Arc<Kafka>, name: &str) -> Result<()> {
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).context("no such case")?;
    let (kafka, name) = (Arc::clone(kafka), name.to_owned());
    let (done, outcome) = mpsc::channel();
    // Nobody may listen any more when it is done.
    thread::spawn(move || drop(done.send(case(&kafka, &name))));
    outcome.recv_timeout(CASE_DEADLINE).context("the case panicked or took too long")?
}
