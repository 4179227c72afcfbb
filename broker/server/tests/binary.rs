//! The binary: what it prints, which signals it follows, and how it exits.

#![expect(clippy::unwrap_used, reason = "a test program: a failure is a panic with its cause")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A call whose body never comes.
const ENDLESS_CALL: &[u8] = b"POST /tidelog.v1.Topics/ListTopics HTTP/1.1\r\nhost: tidelog\r\n\
    content-type: application/grpc\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n";

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog-broker"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDELOG_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// A broker that is killed when the test ends, however that is.
struct Running {
    child: Child,
    ready: serde_json::Value,
}

impl Running {
    fn start(data_dir: &Path) -> Self {
        let mut command = command();
        command
            .args(["--api-addr", "127.0.0.1:0", "--kafka-addr", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready }
    }

    fn api(&self) -> &str {
        self.ready.get("api").and_then(|api| api.as_str()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end: the exit code and the log.
    fn wait(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn it_says_where_it_listens_and_stops_cleanly_when_asked() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Running::start(&data_dir);
        assert_eq!(broker.ready["ready"], true);
        assert_eq!(broker.ready["version"], env!("CARGO_PKG_VERSION"));
        TcpStream::connect(broker.api()).unwrap();
        broker.signal(signal);
        let (code, log) = broker.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(data_dir.join("clean-shutdown").exists(), "{log}");
        for line in log.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(["INFO", "WARN"].contains(&entry["level"].as_str().unwrap()), "{line}");
        }
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut broker = Running::start(home.path());
    // A call whose body never comes keeps the first signal waiting for the grace of 5 s. The server asks for
    // the body when it has begun to serve the call.
    let mut stuck = TcpStream::connect(broker.api()).unwrap();
    stuck.write_all(ENDLESS_CALL).unwrap();
    let mut asked = String::new();
    BufReader::new(&stuck).read_line(&mut asked).unwrap();
    assert!(asked.starts_with("HTTP/1.1 100"), "{asked}");
    let mut log = BufReader::new(broker.child.stderr.take().unwrap()).lines();
    broker.signal(Signal::TERM);
    assert!(log.by_ref().map_while(Result::ok).any(|line| line.contains("asked to stop")));
    broker.signal(Signal::TERM);
    let last = log.map_while(Result::ok).last().unwrap();
    assert!(last.contains("twice"), "{last}");
    assert_eq!(broker.child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_printed_configuration_gives_the_same_values_again() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tidelog.toml");
    let printed = run(&["--print-config", "--data-dir", "/somewhere", "--set", "storage.sync_threads=7"]);
    assert!(printed.status.success());
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = run(&["--print-config", "--config", file.to_str().unwrap()]);
    let values = |output: &Output| {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(values(&printed).contains(&"sync_threads = 7".to_owned()), "{:?}", values(&printed));
    assert_eq!(values(&printed), values(&again));
}

#[test]
fn wrong_flags_and_wrong_values_have_the_exit_code_of_usage() {
    for (arguments, names) in [
        (&["--set", "storage.sync_thread=7"] as &[&str], "did you mean storage.sync_threads?"),
        (&["--set", "nothing"], "KEY=VALUE"),
        (&["--log-level", "loud"], "--log-level"),
        (&["--log-format", "xml"], "--log-format"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(names), "{arguments:?}: {text}");
    }
}
