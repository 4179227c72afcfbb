//! Kafka's own command-line tools, from its published artefacts: each as its script runs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidelog_tests::broker::BrokerProcess;

use crate::installed::{installed, on_path};
use crate::program::broker;
use crate::records::run;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";

/// A broker and the tools beside it.
struct Tools {
    java: PathBuf,
    class_path: String,
    broker: BrokerProcess,
    home: TempDir,
}

impl Tools {
    fn start() -> Option<Self> {
        let (java, jars) = (on_path("java")?, installed("kafka-jars")?);
        let home = tempfile::tempdir().unwrap();
        let broker = broker(home.path());
        Some(Self { java, class_path: jars.join("*").display().to_string(), broker, home })
    }

    fn command(&self, tool: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.java);
        // The quick start of a tool that runs for a second.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &self.class_path, tool]);
        command.args(["--bootstrap-server", &self.broker.bootstrap_servers()]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a tool to its end and returns what it printed.
    #[track_caller]
    fn run(&self, tool: &str, words: &[&str]) -> String {
        String::from_utf8(run(&mut self.command(tool, words)).stdout).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[track_caller]
fn says(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word:?} is not in:\n{output}");
    }
}

#[test]
fn kafka_topics_and_kafka_configs_administer_topics() {
    let Some(tools) = Tools::start() else { return };
    let created = ["--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=123000"];
    says(&tools.run(TOPICS, &created), &["Created topic orders."]);
    let described = tools.run(TOPICS, &["--describe", "--topic", "orders"]);
    says(&described, &["PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=123000", "Partition: 2"]);
    tools.run(TOPICS, &["--alter", "--topic", "orders", "--partitions", "5"]);
    says(&tools.run(TOPICS, &["--describe", "--topic", "orders"]), &["PartitionCount: 5"]);
    says(&tools.run(TOPICS, &["--list"]), &["orders\n"]);

    let entity = ["--entity-type", "topics", "--entity-name", "orders"];
    let alter = |words: &[&str]| tools.run(CONFIGS, &[&entity[..], &["--alter"], words].concat());
    alter(&["--add-config", "retention.ms=456000,cleanup.policy=[compact,delete]"]);
    let described = tools.run(CONFIGS, &[&entity[..], &["--describe"]].concat());
    says(&described, &["retention.ms=456000", "cleanup.policy=compact,delete"]);
    alter(&["--delete-config", "retention.ms"]);
    let described = tools.run(CONFIGS, &[&entity[..], &["--describe", "--all"]].concat());
    says(&described, &["retention.ms=604800000", "segment.bytes="]);
    let brokers = ["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"];
    says(&tools.run(CONFIGS, &brokers), &["log.retention.ms="]);

    tools.run(TOPICS, &["--delete", "--topic", "orders"]);
    assert!(!tools.run(TOPICS, &["--list"]).contains("orders"));
    assert!(tools.broker.terminate().unwrap().success());
}

#[test]
fn the_console_producer_and_consumer_offsets_and_delete_records_work() {
    let Some(tools) = Tools::start() else { return };
    tools.run(TOPICS, &["--create", "--topic", "lines", "--partitions", "1"]);
    let lines: String = (0..100).map(|number| format!("key {number}:value {number}\n")).collect();
    let input = std::fs::File::open(tools.file("lines", &lines)).unwrap();
    let keys = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    run(tools.command(PRODUCER, &[&["--topic", "lines"], &keys[..]].concat()).stdin(input));
    let read = ["--topic", "lines", "--partition", "0", "--offset", "earliest", "--max-messages", "100"];
    let keys = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
    assert_eq!(tools.run(CONSUMER, &[&read[..], &keys].concat()), lines);

    assert_eq!(tools.run(OFFSETS, &["--topic", "lines", "--time", "latest"]), "lines:0:100\n");
    let before = r#"{"version": 1, "partitions": [{"topic": "lines", "partition": 0, "offset": 40}]}"#;
    let file = tools.file("before.json", before).display().to_string();
    says(&tools.run(DELETE_RECORDS, &["--offset-json-file", &file]), &["low_watermark: 40"]);
    assert_eq!(tools.run(OFFSETS, &["--topic", "lines", "--time", "earliest"]), "lines:0:40\n");

    let load = ["--topic", "lines", "--num-records", "20000", "--record-size", "200", "--throughput", "-1"];
    says(&tools.run(PERFORMANCE, &load), &["20000 records sent"]);
    assert_eq!(tools.run(OFFSETS, &["--topic", "lines", "--time", "latest"]), "lines:0:20100\n");
    assert!(tools.broker.terminate().unwrap().success());
}

#[test]
fn kafka_consumer_groups_shows_resets_and_deletes_groups() {
    let Some(tools) = Tools::start() else { return };
    tools.run(TOPICS, &["--create", "--topic", "lines", "--partitions", "1"]);
    let input = std::fs::File::open(tools.file("lines", &"line\n".repeat(50))).unwrap();
    run(tools.command(PRODUCER, &["--topic", "lines"]).stdin(input));
    let group = ["--group", "readers"];
    let read = ["--topic", "lines", "--from-beginning", "--max-messages", "50", "--timeout-ms", "60000"];
    assert_eq!(tools.run(CONSUMER, &[&read[..], &group].concat()), "line\n".repeat(50));
    says(&tools.run(GROUPS, &["--list"]), &["readers"]);
    let describe = [&["--describe"], &group[..]].concat();
    let row = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("readers")).unwrap_or_default();
        line.split_whitespace().take(6).map(str::to_owned).collect::<Vec<_>>()
    };
    let described = tools.run(GROUPS, &describe);
    assert_eq!(row(&described), ["readers", "lines", "0", "50", "50", "0"], "{described}");
    let reset = ["--reset-offsets", "--topic", "lines", "--to-offset", "20", "--execute"];
    tools.run(GROUPS, &[&reset[..], &group].concat());
    let described = tools.run(GROUPS, &describe);
    assert_eq!(row(&described), ["readers", "lines", "0", "20", "50", "30"], "{described}");
    says(&tools.run(GROUPS, &[&["--delete"], &group[..]].concat()), &["readers"]);
    assert!(!tools.run(GROUPS, &["--list"]).contains("readers"));
    assert!(tools.broker.terminate().unwrap().success());
}
