//! A broker with an empty data directory, a client of it, and the command line beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tidelog_client::{Client, ConsumerRecord, NewTopic, Position, Record};
use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, run_to_end};
use tidelog_tests::wait::wait_until;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The broker, a client, and a directory to work in.
pub(crate) struct Bench {
    home: TempDir,
    /// Always there, but for the moment in which it is restarted.
    broker: Option<BrokerProcess>,
    pub(crate) url: String,
    pub(crate) runtime: Runtime,
    client: Client,
}

/// A member of a group, in the background.
pub(crate) struct Member {
    values: Arc<Mutex<Vec<String>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Member {
    /// What it has read so far.
    pub(crate) fn values(&self) -> Vec<String> {
        self.values.lock().unwrap().clone()
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Asserts that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Asserts that it failed with this code and said these things.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, names: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for name in names {
            assert!(self.stderr.contains(name), "does not name {name:?}: {self:?}");
        }
        self
    }

    /// The lines of its output as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Json> {
        json_lines(&self.stdout)
    }

    /// The one line of its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        let lines = self.json_lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.into_iter().next().unwrap()
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Bench {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(Client::connect(&broker.url())).unwrap();
        Self { home, url: broker.url(), broker: Some(broker), runtime, client }
    }

    /// Kills the broker with -9 and starts it again on the same data and address.
    pub(crate) fn restart_broker(&mut self) {
        let command = self.broker.take().unwrap().kill9().unwrap();
        self.broker = Some(command.start().unwrap());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let admin = self.client.admin();
        self.runtime.block_on(admin.create_topic(NewTopic::new(topic).partitions(partitions))).unwrap();
    }

    pub(crate) fn produce(&self, records: impl IntoIterator<Item = Record>) {
        self.runtime.block_on(async {
            let producer = self.client.producer().build().unwrap();
            for record in records {
                drop(producer.enqueue(record).await.unwrap());
            }
            producer.close(DEADLINE).await.unwrap();
        });
    }

    /// All records of a topic, by partition.
    pub(crate) fn records(&self, topic: &str) -> BTreeMap<i32, Vec<ConsumerRecord>> {
        let records: Vec<ConsumerRecord> = self.runtime.block_on(async {
            let builder = self.client.consumer().topic(topic).start(Position::Earliest).until_end();
            builder.build().await.unwrap().try_collect().await.unwrap()
        });
        let mut partitions = BTreeMap::<i32, Vec<ConsumerRecord>>::new();
        for record in records {
            partitions.entry(record.partition.get()).or_default().push(record);
        }
        partitions
    }

    /// Reads a topic as a member of a group, and commits, until it is stopped.
    pub(crate) fn member(&self, topic: &str, group: &str) -> Member {
        let builder = self.client.consumer().topic(topic).join_group(group);
        let mut consumer =
            self.runtime.block_on(builder.auto_commit(Duration::from_millis(50)).build()).unwrap();
        let values = Arc::new(Mutex::new(Vec::new()));
        let (seen, (stop, mut stopped)) = (Arc::clone(&values), oneshot::channel::<()>());
        let task = self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    record = consumer.next() => {
                        let value = record.unwrap().unwrap().value.unwrap();
                        seen.lock().unwrap().push(String::from_utf8(value.to_vec()).unwrap());
                    }
                    _ = &mut stopped => return consumer.close().await.unwrap(),
                }
            }
        });
        Member { values, stop, task }
    }

    /// Lets it leave its group.
    pub(crate) fn stop(&self, member: Member) {
        member.stop.send(()).unwrap();
        self.runtime.block_on(member.task).unwrap();
    }

    /// Where Kafka clients connect.
    pub(crate) fn kafka(&self) -> String {
        self.broker.as_ref().unwrap().bootstrap_servers()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::cli().unwrap());
        command.env("TIDELOG_BROKER", &self.url).args(words).current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command line to its end, in the directory.
    pub(crate) fn tidelog(&self, words: &[&str]) -> Done {
        done(run_to_end(&mut self.command(words)).unwrap())
    }

    /// Starts it only.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().unwrap()
    }

    /// Waits until a condition on the files or topics here holds.
    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        wait_until(what, DEADLINE, || Ok(condition(self))).unwrap();
    }
}

/// Sends a signal to a command and waits for its end.
pub(crate) fn end_with(child: Child, signal: Signal) -> Done {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
    done(child.wait_with_output().unwrap())
}

fn done(output: std::process::Output) -> Done {
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
