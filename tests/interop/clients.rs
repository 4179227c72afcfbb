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
    "idempotent",
    "automatic-topic",
    "seek-and-times",
];

/// Admin operations that every client has.
const ADMIN: &[&str] = &["admin-topics", "admin-partitions", "admin-configs", "admin-delete-records"];

/// Consumer groups of the classic protocol, and their administration.
const GROUPS: &[&str] = &["group-commit", "group-members", "group-static", "admin-groups"];

/// Consumer groups of the protocol of KIP-848.
const CONSUMER_GROUPS: &[&str] = &["group-consumer-commit", "group-consumer-members"];

/// A program of the suite.
pub(crate) fn source(path: &str) -> String {
    binaries::root().join("tests/interop").join(path).display().to_string()
}

fn python(program: &str, cases: &[&[&str]], headers: Headers) {
    let Some(python) = installed("venv/bin/python3") else { return };
    let command = || {
        let mut command = Command::new(&python);
        command.arg(source(program)).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    check(command, &[], &cases.concat(), headers);
}

/// Every version has the same cases.
fn java(jars: &str) {
    let cases = [
        BASIC,
        ADMIN,
        GROUPS,
        CONSUMER_GROUPS,
        &[
            "group-roundrobin",
            "group-cooperative",
            "group-consumer-range",
            "group-consumer-static",
            "admin-broker-configs",
            "admin-list-offsets",
        ],
    ];
    let (Some(java), Some(jars)) = (on_path("java"), installed(jars)) else { return };
    let command = || {
        let mut command = Command::new(&java);
        command.arg("-cp").arg(jars.join("*")).arg(source("java/Matrix.java"));
        command
    };
    check(command, &[&source("records.json")], &cases.concat(), Headers::Any);
}

fn node(program: &str, cases: &[&[&str]], headers: Headers) {
    let (Some(node), Some(modules)) = (on_path("node"), installed("node/node_modules")) else { return };
    let command = || {
        let mut command = Command::new(&node);
        command.arg(source(program)).env("NODE_PATH", &modules);
        command
    };
    check(command, &[&source("records.json")], &cases.concat(), headers);
}

fn go(client: &str, cases: &[&[&str]]) {
    let Some(program) = installed("go/matrix") else { return };
    let command = || {
        let mut command = Command::new(&program);
        command.arg(client);
        command
    };
    check(command, &[&source("records.json")], &cases.concat(), Headers::Any);
}

/// rdkafka, which links a librdkafka of its own.
fn rust(cases: &[&[&str]]) {
    let Some(program) = installed("rust/debug/matrix") else { return };
    check(|| Command::new(&program), &[&source("records.json")], &cases.concat(), Headers::Any);
}

#[test]
fn confluent_kafka_python_finds_a_kafka_broker() {
    python(
        "python/confluent.py",
        &[
            BASIC,
            ADMIN,
            GROUPS,
            CONSUMER_GROUPS,
            &[
                "group-roundrobin",
                "group-cooperative",
                "group-consumer-range",
                "group-consumer-static",
                "group-sought",
                "group-cooperative-sought",
                "group-consumer-sought",
                "admin-broker-configs",
                "admin-list-offsets",
            ],
        ],
        Headers::Any,
    );
}

#[test]
fn kafka_python_finds_a_kafka_broker() {
    python(
        "python/kafka_python.py",
        &[BASIC, ADMIN, GROUPS, &["group-roundrobin", "group-cooperative", "admin-list-offsets"]],
        Headers::WithValues,
    );
}

#[test]
fn aiokafka_finds_a_kafka_broker() {
    python("python/aio.py", &[BASIC, ADMIN, GROUPS, &["group-sticky"]], Headers::Any);
}

#[test]
fn kafkas_java_client_finds_a_kafka_broker() {
    java("kafka-jars");
}

#[test]
fn kafkas_java_client_of_3_9_finds_a_kafka_broker() {
    java("kafka-jars-3.9");
}

#[test]
fn franz_go_finds_a_kafka_broker() {
    go(
        "franz",
        &[
            BASIC,
            ADMIN,
            GROUPS,
            CONSUMER_GROUPS,
            &["group-range", "group-cooperative", "admin-broker-configs", "admin-list-offsets"],
        ],
    );
}

#[test]
fn sarama_finds_a_kafka_broker() {
    go("sarama", &[BASIC, ADMIN, GROUPS, &["group-roundrobin", "group-sticky"]]);
}

#[test]
fn rdkafka_finds_a_kafka_broker() {
    rust(&[
        BASIC,
        ADMIN,
        GROUPS,
        CONSUMER_GROUPS,
        &[
            "group-roundrobin",
            "group-cooperative",
            "group-consumer-range",
            "group-consumer-static",
            "admin-broker-configs",
        ],
    ]);
}

#[test]
fn kafkajs_finds_a_kafka_broker() {
    // It has no lz4 of its own, and no static members.
    let has = |case: &&str| !["compressed-lz4", "group-static"].contains(case);
    let cases: Vec<&str> = [BASIC, ADMIN, GROUPS].concat().into_iter().filter(has).collect();
    node("node/kafkajs.js", &[&cases], Headers::Grouped);
}

#[test]
fn confluents_kafka_javascript_finds_a_kafka_broker() {
    if installed("node/binding").is_none() {
        return;
    }
    node(
        "node/confluent.js",
        &[
            BASIC,
            GROUPS,
            CONSUMER_GROUPS,
            // Its admin has no partitions and no configs.
            &["admin-topics", "admin-delete-records", "group-cooperative", "group-consumer-static"],
        ],
        Headers::Grouped,
    );
}
