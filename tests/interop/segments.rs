//! Segment files are Kafka's: an independent reader (kafka-python) and Kafka's own dump-log tool read what the
//! broker wrote, without a complaint and with the same records as our consumer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use tidelog_client::{Client, Compression, NewTopic, Record, Timestamp};
use tidelog_tests::binaries;
use tidelog_tests::broker::BrokerCommand;

use crate::installed::installed;
use crate::records::{Plain, bytes, consume, run};

const COMPRESSIONS: [(&str, Compression, i64); 5] = [
    ("plain", Compression::None, 0),
    ("gzip", Compression::Gzip, 1),
    ("snappy", Compression::Snappy, 2),
    ("lz4", Compression::Lz4, 3),
    ("zstd", Compression::Zstd, 4),
];
/// Records of a topic: enough for several segments and index entries.
const RECORDS: usize = 3_000;

/// A record with every shape that the format has: no key, empty key, tombstone, headers with and without value.
fn record(topic: &str, index: usize) -> Record {
    let number = i64::try_from(index).unwrap();
    let mut record = Record::new(topic)
        .partition(0)
        .timestamp(Timestamp::from_millis(1_357_000_000_000 + number * 1000 - (number % 7) * 5_000));
    if !index.is_multiple_of(3) {
        record = record.key(if index % 3 == 1 { String::new() } else { format!("key {index}") });
    }
    if !index.is_multiple_of(11) {
        record = record.value(format!("value {index} ").repeat(index % 40));
    }
    for header in 0..index % 4 {
        record = record.header(format!("header {header}").as_str(), vec![0xff; header]);
    }
    if index.is_multiple_of(5) { record.null_header("nothing") } else { record }
}

/// Writes all topics and returns what our own consumer reads of each.
async fn write(url: &str) -> Vec<(String, Vec<Plain>)> {
    let client = Client::connect(url).await.unwrap();
    let mut topics = Vec::new();
    for (topic, compression, _) in COMPRESSIONS {
        let new = NewTopic::new(topic)
            .partitions(1)
            .config("segment.bytes", "65536")
            .config("index.interval.bytes", "1024")
            .config("retention.ms", "-1");
        client.admin().create_topic(new).await.unwrap();
        let producer = client.producer().compression(compression).batch_bytes(4096).build().unwrap();
        let mut receipts = Vec::new();
        for index in 0..RECORDS {
            receipts.push(producer.enqueue(record(topic, index)).await.unwrap());
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        topics.push((topic.to_owned(), read(&client, topic).await));
    }
    topics
}

async fn read(client: &Client, topic: &str) -> Vec<Plain> {
    let records = consume(client, topic).await;
    assert_eq!(records.len(), RECORDS, "{topic}");
    records
}

/// The directory of a topic's only partition, found by the name in its `topic.properties`.
fn partition_dir(data: &Path, topic: &str) -> PathBuf {
    let named = |dir: &PathBuf| {
        let properties = fs::read_to_string(dir.join("topic.properties")).unwrap();
        properties.lines().any(|line| line.trim() == format!("name={topic}"))
    };
    let dirs = fs::read_dir(data.join("topics")).unwrap().map(|entry| entry.unwrap().path());
    dirs.filter(|dir| dir.is_dir()).find(named).unwrap_or_else(|| panic!("no directory of {topic}")).join("0")
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn read_with_kafka_python(python: &Path, segments: &[PathBuf], codec: i64) -> Vec<Plain> {
    let script = binaries::root().join("tests/interop/python/read_segments.py");
    let output = run(Command::new(python).arg(script).args(segments));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let plain = lines.map(|line| {
        let line: Json = serde_json::from_slice(line).unwrap();
        assert_eq!(line["codec"], codec, "batches are stored as the producer compressed them");
        let headers = line["headers"].as_array().unwrap();
        Plain {
            offset: line["offset"].as_i64().unwrap(),
            timestamp: line["timestamp"].as_i64().unwrap(),
            key: bytes(&line["key"]),
            value: bytes(&line["value"]),
            headers: headers
                .iter()
                .map(|pair| (pair[0].as_str().unwrap().to_owned(), bytes(&pair[1])))
                .collect(),
        }
    });
    plain.collect()
}

/// Kafka's tool checks batches, records and both indexes against each other and prints what does not fit.
fn check_with_dump_log(jars: &Path, dir: &Path) {
    let report =
        dump_log(jars, dir, &["log", "index", "timeindex"], &["--deep-iteration", "--verify-index-only"]);
    check_report(&report, dir);
    let records = report.lines().filter(|line| line.starts_with("| offset:")).count();
    assert_eq!(records, RECORDS, "{}", dir.display());
}

/// What Kafka's tool says of the files with these endings.
pub(crate) fn dump_log(jars: &Path, dir: &Path, extensions: &[&str], options: &[&str]) -> String {
    let files: Vec<String> = extensions
        .iter()
        .flat_map(|extension| files(dir, extension))
        .map(|path| path.display().to_string())
        .collect();
    let class_path = format!("{}/*", jars.display());
    let mut java = Command::new("java");
    java.args(["-cp", &class_path, "kafka.tools.DumpLogSegments"]).args(options);
    let output = run(java.args(["--files", &files.join(",")]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn check_report(report: &str, dir: &Path) {
    let complaints =
        ["mismatch", "corrupt", "isvalid: false", "non-consecutive", "out of order", "exception"];
    let complains = |line: &&str| complaints.iter().any(|word| line.to_lowercase().contains(word));
    let found: Vec<&str> = report.lines().filter(complains).collect();
    assert!(found.is_empty(), "{}:\n{}", dir.display(), found.join("\n"));
}

#[test]
fn kafkas_own_readers_find_the_same_records_in_the_segments() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let broker = BrokerCommand::new(&data).unwrap().start().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let topics = runtime.block_on(write(&broker.url()));
    // Killed, not stopped: the segments are as a crash leaves them.
    let broker = broker.kill9().unwrap().start().unwrap();
    assert!(broker.terminate().unwrap().success());

    for ((topic, ours), (_, _, codec)) in topics.iter().zip(COMPRESSIONS) {
        let dir = partition_dir(&data, topic);
        let segments = files(&dir, "log");
        assert!(topic != "plain" || segments.len() > 1, "segments roll: {segments:?}");
        if let Some(venv) = installed("venv/bin/python3") {
            let theirs = read_with_kafka_python(&venv, &segments, codec);
            assert_eq!(theirs.len(), ours.len(), "{topic}");
            for (theirs, ours) in theirs.iter().zip(ours) {
                assert_eq!(theirs, ours, "{topic}");
            }
        }
        if let Some(jars) = installed("kafka-jars") {
            check_with_dump_log(&jars, &dir);
        }
    }
}
