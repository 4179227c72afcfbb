//! Records as every reader must see them.

use std::process::{Command, Output};

use futures::StreamExt as _;
use serde_json::Value as Json;
use tidelog_client::Client;
use tidelog_tests::binaries;

/// A record with all that a protocol carries of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The records that every client must carry unharmed: `records.json`.
pub(crate) fn shapes() -> Vec<Plain> {
    let file = binaries::root().join("tests/interop/records.json");
    let rows: Vec<Json> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let plain = |(offset, row): (usize, &Json)| Plain {
        offset: i64::try_from(offset).unwrap(),
        timestamp: row["timestamp"].as_i64().unwrap(),
        key: bytes(&row["key"]),
        value: bytes(&row["value"]),
        headers: row["headers"].as_array().unwrap().iter().map(header).collect(),
    };
    rows.iter().enumerate().map(plain).collect()
}

fn header(pair: &Json) -> (String, Option<Vec<u8>>) {
    (pair[0].as_str().unwrap().to_owned(), bytes(&pair[1]))
}

/// What a program printed as base64, or null.
pub(crate) fn bytes(value: &Json) -> Option<Vec<u8>> {
    value.as_str().map(|text| from_base64(text.as_bytes()))
}

fn from_base64(text: &[u8]) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not base64"),
    };
    let mut bytes = Vec::new();
    for group in text.chunks(4) {
        let letters: Vec<u32> =
            group.iter().filter(|letter| **letter != b'=').map(|letter| u32::from(value(*letter))).collect();
        let bits = letters.iter().fold(0, |bits, letter| bits << 6 | letter) << (6 * (4 - letters.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..letters.len()]);
    }
    bytes
}

/// All records that a topic's partitions hold now, as our own consumer reads them.
pub(crate) async fn consume(client: &Client, topic: &str) -> Vec<Plain> {
    let mut consumer = client.consumer().topic(topic).until_end().build().await.unwrap();
    let mut records = Vec::new();
    while let Some(record) = consumer.next().await {
        let record = record.unwrap();
        let headers = record.headers.iter().map(|(key, value)| {
            (String::from_utf8(key.to_vec()).unwrap(), value.as_ref().map(|value| value.to_vec()))
        });
        records.push(Plain {
            offset: record.offset.get(),
            timestamp: record.timestamp.millis(),
            headers: headers.collect(),
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
        });
    }
    records
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{complaint}", output.status);
    output
}
