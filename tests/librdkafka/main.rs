//! librdkafka's own regression suite, as it is published, against the real broker.
//!
//! `./test` builds it below `target/interop/librdkafka`; without a C and C++ compiler, make, node and npm it is
//! skipped and said so. Each of its tests runs in a process of its own, several at a time, all against one
//! broker with the settings that the suite asks for: topics are made on first use, with four partitions.
//!
//! **Invariant:** a test that fails is either a fault or stands in `EXCEPTIONS` with its reason, and one of those
//! that passes all the same fails here until it is moved.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: a failure is a panic with its cause")]

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tidelog_tests::broker::{BrokerCommand, say};
use tidelog_tests::wait::wait_until;

/// Tests of producers, consumers, groups and metadata. Further ones are left out by the suite itself in its quick
/// form, or need a library or brokers that are not here.
const TESTS: &[&str] = &[
    "0001", "0002", "0003", "0005", "0007", "0008", "0012", "0013", "0014", "0015", "0017", "0018", "0019",
    "0020", "0021", "0022", "0026", "0029", "0030", "0031", "0033", "0034", "0035", "0036", "0038", "0039",
    "0040", "0041", "0042", "0044", "0045", "0048", "0050", "0051", "0054", "0056", "0057", "0059", "0060",
    "0061", "0063", "0065", "0067", "0069", "0070", "0073", "0083", "0084", "0085", "0086", "0089", "0090",
    "0091", "0093", "0099", "0102", "0112", "0113", "0114", "0118", "0122", "0123", "0125", "0127", "0130",
    "0132", "0137", "0140",
];

/// Tests of consumers that are run again with groups of the consumer protocol (KIP-848).
const CONSUMER_PROTOCOL: &[&str] =
    &["0018", "0029", "0030", "0033", "0045", "0050", "0099", "0102", "0113", "0137"];

/// Tests that fail, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("0011", "counts the records at fault in a refused batch; the answer names the first one only"),
    ("0081", "asks for ACLs to be created; there is no authorizer, as in a Kafka without one"),
];

/// How many run at the same time: they wait more than they work.
const WORKERS: usize = 6;
/// How long one may take; the suite's own limits are shorter.
const DEADLINE: Duration = Duration::from_secs(180);

/// The built suite, or nothing when it is not there and may be missing.
fn suite() -> Option<PathBuf> {
    let exe = env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap().join("interop");
    let interop = env::var_os("TIDELOG_INTEROP").map_or(target, PathBuf::from);
    let suite = interop.join("librdkafka");
    if suite.join("stamp").exists() {
        return Some(suite);
    }
    let missing = format!("{} is not built; ./test builds it", suite.display());
    assert!(env::var_os("TIDELOG_INTEROP_ALL").is_none(), "{missing}");
    say(&format!("SKIPPED: {missing}"));
    None
}

/// Runs one test, with groups of the protocol of this name; the error is the end of what it said.
fn run(suite: &Path, home: &Path, protocol: &str, test: &str) -> Result<Duration, String> {
    let log = home.join(test);
    let output = File::create(&log).unwrap();
    let libraries = env::join_paths([suite.join("src"), suite.join("src-cpp")]).unwrap();
    let mut command = Command::new(suite.join("tests/test-runner"));
    // -E: no simulated networks, -L: only tests that use a broker, -Q: the quick form of each.
    command.args(["-p1", "-Q", "-E", "-L"]).current_dir(suite.join("tests")).stdin(Stdio::null());
    command.stdout(output.try_clone().unwrap()).stderr(output);
    command.env("LD_LIBRARY_PATH", libraries).env("RDKAFKA_TEST_CONF", home.join("test.conf"));
    command.env("TESTS", test).env("TEST_KAFKA_VERSION", "4.2.0.0");
    command.env("TEST_CONSUMER_GROUP_PROTOCOL", protocol);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let took = wait_until("the test ends", DEADLINE, || Ok(child.try_wait()?.is_some()));
    if took.is_err() {
        // Fails only when it has just ended.
        drop(child.kill());
    }
    let status = child.wait().unwrap();
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    // One that skips itself succeeds, too: what counts is its line in the summary.
    let named = |line: &&str| line.starts_with('|') && line.contains(&format!("{test}_"));
    let passed = status.success() && said.lines().filter(named).any(|line| line.contains("PASSED"));
    match took {
        Ok(took) if passed => Ok(took),
        _ => Err(format!("{test} ({status}):\n{}", complaint(&said))),
    }
}

/// What a test says of its failure, or its last lines.
fn complaint(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.iter().position(|line| line.contains("### Test"));
    let from = from.unwrap_or_else(|| lines.len().saturating_sub(10));
    lines.iter().skip(from).take(6).copied().collect::<Vec<_>>().join("\n")
}

/// Runs these and returns what became of each.
fn run_all(
    suite: &Path,
    home: &Path,
    protocol: &str,
    tests: Vec<&'static str>,
) -> BTreeMap<&'static str, Result<Duration, String>> {
    let pending = Mutex::new(tests);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        // Locked only to take the next: the others go on while one runs.
        let next = || pending.lock().unwrap().pop();
        while let Some(test) = next() {
            let outcome = run(suite, home, protocol, test);
            outcomes.lock().unwrap().insert(test, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap()
}

#[test]
fn librdkafkas_own_tests_pass() {
    let tests = TESTS.iter().chain(EXCEPTIONS.iter().map(|(test, _)| test));
    judge("classic", tests.copied().collect());
}

#[test]
fn librdkafkas_own_tests_of_consumers_pass_with_the_consumer_protocol() {
    judge("consumer", CONSUMER_PROTOCOL.to_vec());
}

/// Runs these tests against a broker of their own and fails for each outcome that is not the one expected.
fn judge(protocol: &str, tests: Vec<&'static str>) {
    let Some(suite) = suite() else { return };
    let home = tempfile::tempdir().unwrap();
    let command = BrokerCommand::new(home.path().join("data")).unwrap();
    let broker = command.argument("--set").argument("topics.default_partitions=4").start().unwrap();
    let servers = broker.bootstrap_servers();
    let conf = format!("bootstrap.servers={servers}\nbroker.address.family=v4\ntest.timeout.multiplier=2\n");
    fs::write(home.path().join("test.conf"), conf).unwrap();

    let outcomes = run_all(&suite, home.path(), protocol, tests);
    let mut complaints = Vec::new();
    for (test, outcome) in &outcomes {
        let reason = EXCEPTIONS.iter().find(|(known, _)| known == test).map(|(_, reason)| reason);
        match (outcome, reason) {
            (Ok(took), None) => say(&format!("{test}: ok in {took:?}")),
            (Err(_), Some(reason)) => say(&format!("{test}: fails as known: {reason}")),
            (Err(complaint), None) => complaints.push(complaint.clone()),
            (Ok(_), Some(_)) => complaints.push(format!("{test} passes: move it from EXCEPTIONS to TESTS")),
        }
    }
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n\n"), broker.log_tail());
    assert!(broker.terminate().unwrap().success());
}
