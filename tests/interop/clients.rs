//! The clients, and the cases that each of them has.

use std::process::Command;

use tidelog_tests::binaries;

use crate::installed::{installed, on_path};
use crate::program::{Headers, check};

/// What every client can do.
const BASIC: &[&str] = &[
    "compressed-none",
    "compressed-gzip",
    "compressed-snappy",
    "compressed-lz4",
    "compressed-zstd",
    "acks-0",
    "acks-1",
    "acks-all",
    "record-shapes",
    "write-for-grpc",
    "read-from-grpc",
    "large-message",
    "too-large-message",
    "automatic-topic",
    "seek-and-times",
];

/// Admin operations that every client has.
const ADMIN: &[&str] = &["admin-topics", "admin-partitions", "admin-configs", "admin-delete-records"];

/// What Kafka's Java client can do without a producer id, which it asks for by default.
const JAVA_BASIC: &[&str] = &["acks-0", "acks-1", "acks-all", "read-from-grpc"];

fn source(path: &str) -> String {
    binaries::root().join("tests/interop").join(path).display().to_string()
}

fn python(program: &str, cases: &[&[&str]], headers: Headers) {
    let Some(python) = installed("venv/bin/python3") else { return };
    let mut command = Command::new(python);
    command.arg(source(program)).env("PYTHONDONTWRITEBYTECODE", "1");
    check(command, &[], &cases.concat(), headers);
}

fn java(jars: &str, cases: &[&[&str]]) {
    let (Some(java), Some(jars)) = (on_path("java"), installed(jars)) else { return };
    let mut command = Command::new(java);
    command.arg("-cp").arg(jars.join("*")).arg(source("java/Matrix.java"));
    check(command, &[&source("records.json")], &cases.concat(), Headers::Any);
}

fn node(program: &str, cases: &[&[&str]], headers: Headers) {
    let (Some(node), Some(modules)) = (on_path("node"), installed("node/node_modules")) else { return };
    let mut command = Command::new(node);
    command.arg(source(program)).env("NODE_PATH", modules);
    check(command, &[&source("records.json")], &cases.concat(), headers);
}

fn go(client: &str, cases: &[&[&str]]) {
    let Some(program) = installed("go/matrix") else { return };
    let mut command = Command::new(program);
    command.arg(client);
    check(command, &[&source("records.json")], &cases.concat(), Headers::Any);
}

#[test]
fn confluent_kafka_python_finds_a_kafka_broker() {
    python(
        "python/confluent.py",
        &[BASIC, ADMIN, &["admin-broker-configs", "admin-list-offsets"]],
        Headers::Any,
    );
}

#[test]
fn kafka_python_finds_a_kafka_broker() {
    python("python/kafka_python.py", &[BASIC, ADMIN, &["admin-list-offsets"]], Headers::WithValues);
}

#[test]
fn aiokafka_finds_a_kafka_broker() {
    python("python/aio.py", &[BASIC, ADMIN], Headers::Any);
}

#[test]
fn kafkas_java_client_finds_a_kafka_broker() {
    java(
        "kafka-jars",
        &[JAVA_BASIC, &["admin-topics", "admin-partitions", "admin-configs", "admin-broker-configs"]],
    );
}

#[test]
fn kafkas_java_client_of_3_9_finds_a_kafka_broker() {
    java(
        "kafka-jars-3.9",
        &[JAVA_BASIC, &["admin-topics", "admin-partitions", "admin-configs", "admin-broker-configs"]],
    );
}

#[test]
fn franz_go_finds_a_kafka_broker() {
    go("franz", &[BASIC, ADMIN, &["admin-broker-configs", "admin-list-offsets"]]);
}

#[test]
fn sarama_finds_a_kafka_broker() {
    go("sarama", &[BASIC, ADMIN]);
}

#[test]
fn kafkajs_finds_a_kafka_broker() {
    let cases = ["too-large-message", "write-for-grpc", "admin-topics", "admin-partitions", "admin-configs"];
    node("node/kafkajs.js", &[&cases, &["admin-delete-records"]], Headers::Grouped);
}
