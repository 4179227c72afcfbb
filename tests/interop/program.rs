//! Runs one client's program against a broker of its own and judges its cases.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;
use tidelog_client::Client;
use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, say};
use tidelog_tests::wait::wait_until;

use crate::records::{Plain, consume, run, shapes};

/// How long a program may take for all of its cases. Generous, for a loaded machine: what goes well ends long before.
const DEADLINE: Duration = Duration::from_secs(600);
/// Filled by the command line over gRPC, read by Kafka clients, and the other way round.
const FROM_GRPC: &str = "grpc-to-kafka";
const TO_GRPC: &str = "kafka-to-grpc";

/// Which headers a client's producer can send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    Any,
    /// Each has a value.
    WithValues,
    /// Each has a value, and those of one key follow each other.
    Grouped,
}

impl Headers {
    fn allow(self, headers: &[(String, Option<Vec<u8>>)]) -> bool {
        let valued = headers.iter().all(|(_, value)| value.is_some());
        let mut keys: Vec<&str> = headers.iter().map(|(key, _)| key.as_str()).collect();
        keys.dedup();
        let runs = keys.len();
        keys.sort_unstable();
        keys.dedup();
        match self {
            Self::Any => true,
            Self::WithValues => valued,
            Self::Grouped => valued && runs == keys.len(),
        }
    }
}

/// What the interop suite sets. Its records are of the year 2020, which retention would rightly delete: it must not
/// come by between a write and its read. Groups wait less than by default for members that may come, and hear of
/// them sooner.
const SETTINGS: [&str; 4] = [
    "topics.default_partitions=1",
    "storage.maintenance_interval=1d",
    "groups.initial_rebalance_delay=1s",
    "groups.consumer_heartbeat_interval=1s",
];

/// A broker as the interop suite starts it.
pub(crate) fn broker(home: &Path) -> BrokerProcess {
    broker_with(home, &[])
}

/// As [`broker`], with these settings too.
pub(crate) fn broker_with(home: &Path, settings: &[&str]) -> BrokerProcess {
    let mut command = BrokerCommand::new(home.join("data")).unwrap();
    for setting in SETTINGS.iter().chain(settings) {
        command = command.argument("--set").argument(*setting);
    }
    command.start().unwrap()
}

/// Runs what `command` makes with the broker's address, then `arguments`, then the names of `cases`; every case must
/// be ok. Groups mostly wait, so their cases run in a process of their own beside the others.
pub(crate) fn check(
    command: impl Fn() -> Command + Sync,
    arguments: &[&str],
    cases: &[&str],
    headers: Headers,
) {
    let home = tempfile::tempdir().unwrap();
    let broker = broker(home.path());
    prepare(&broker, home.path());
    let run = |part: &str, cases: Vec<&str>| {
        let mut command = command();
        command.arg(broker.bootstrap_servers()).args(arguments).args(&cases);
        // For what Kafka's protocol has no words for.
        command.env("TIDELOG_CLI", binaries::cli().unwrap()).env("TIDELOG_BROKER", broker.url());
        let directory = home.path().join(part);
        fs::create_dir(&directory).unwrap();
        judge(&mut command, &directory, &cases)
    };
    let (groups, others): (Vec<&str>, Vec<&str>) = cases.iter().partition(|case| case.contains("group"));
    let complaints = thread::scope(|scope| {
        let groups = scope.spawn(|| run("groups", groups));
        let others = run("others", others);
        [groups.join().unwrap(), others].concat()
    });
    assert!(complaints.is_empty(), "{:?}\n{}\n{}", command(), complaints.join("\n"), broker.log_tail());
    if cases.contains(&"write-for-grpc") {
        assert_eq!(read_back(&broker), expected(headers), "what the client wrote, read over gRPC");
    }
    assert!(broker.terminate().unwrap().success());
}

fn prepare(broker: &BrokerProcess, home: &Path) {
    let tidelog = |words: &[&str]| {
        let mut command = Command::new(binaries::cli().unwrap());
        command.args(["--broker", &broker.url()]).args(words);
        command
    };
    for topic in [FROM_GRPC, TO_GRPC] {
        run(&mut tidelog(&["topic", "create", topic, "--partitions", "1", "--config", "retention.ms=-1"]));
    }
    let input = home.join("input");
    fs::write(&input, shapes().iter().map(|record| line(record) + "\n").collect::<String>()).unwrap();
    let mut produce = tidelog(&["produce", FROM_GRPC, "--input", "json"]);
    run(produce.stdin(File::open(&input).unwrap()));
}

/// A record as `tidelog produce --input json` reads it.
fn line(record: &Plain) -> String {
    let text = |bytes: &Option<Vec<u8>>| -> Json {
        let Some(bytes) = bytes else { return Json::Null };
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => serde_json::json!({ "base64": to_base64(bytes) }),
        }
    };
    let headers: Vec<Json> =
        record.headers.iter().map(|(key, value)| serde_json::json!([key, text(value)])).collect();
    serde_json::json!({
        "timestamp": record.timestamp,
        "key": text(&record.key),
        "value": text(&record.value),
        "headers": headers,
    })
    .to_string()
}

fn to_base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for letter in 0..4 {
            let index = bits >> (18 - 6 * letter) & 63;
            text.push(if letter > group.len() { '=' } else { char::from(letters[index]) });
        }
    }
    text
}

fn read_back(broker: &BrokerProcess) -> Vec<Plain> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { consume(&Client::connect(&broker.url()).await.unwrap(), TO_GRPC).await })
}

fn expected(headers: Headers) -> Vec<Plain> {
    let sent = |record: &Plain| headers.allow(&record.headers);
    let numbered =
        |(offset, record): (usize, Plain)| Plain { offset: i64::try_from(offset).unwrap(), ..record };
    shapes().into_iter().filter(sent).enumerate().map(numbered).collect()
}

/// The cases that are not ok, each with what the program said.
fn judge(command: &mut Command, home: &Path, cases: &[&str]) -> Vec<String> {
    let (stdout, stderr) = (home.join("stdout"), home.join("stderr"));
    command.stdin(Stdio::null());
    command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let ended = wait_until("the program ends", DEADLINE, || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        // Fails only when it has just ended.
        drop(child.kill());
    }
    let status = child.wait().unwrap();
    let mut complaints = Vec::new();
    let mut outcomes = outcomes(&fs::read_to_string(&stdout).unwrap());
    for case in cases {
        match outcomes.remove(*case) {
            Some(line) if line["ok"] == true => say(&format!("{case}: ok in {} ms", line["ms"])),
            Some(line) => complaints.push(format!("{case}: {}", line["error"].as_str().unwrap_or("not ok"))),
            None => {
                complaints.push(format!("{case}: the program ended ({status}) without saying anything of it"))
            }
        }
    }
    if !complaints.is_empty() {
        let said = fs::read_to_string(&stderr).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        complaints.push(lines[lines.len().saturating_sub(60)..].join("\n"));
    }
    complaints
}

/// The program's lines by their case; other lines are a client's chatter.
fn outcomes(stdout: &str) -> BTreeMap<String, Json> {
    let lines = stdout.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter_map(|line| Some((line["case"].as_str()?.to_owned(), line))).collect()
}
