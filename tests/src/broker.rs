//! The real broker in a process of its own: started, killed with -9, started again on the same data.
//!
//! **Invariant:** the API port is chosen below the range from which the kernel takes ports for outgoing
//! connections. A client that keeps trying a dead port within that range ends up connected to itself, and
//! the restarted broker finds its port taken.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::binaries;
use crate::payload::mixed;
use crate::wait::{pause, wait_until};

/// How long the broker may take to become ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to stop by itself; the promise is 10 s.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// Ports that no outgoing connection takes by itself on Linux.
const PORTS: std::ops::Range<u64> = 12_000..32_000;

/// How to start a broker.
#[derive(Clone, Debug)]
pub struct BrokerCommand {
    data_dir: PathBuf,
    log: PathBuf,
    api_addr: SocketAddr,
    kafka_addr: SocketAddr,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl BrokerCommand {
    /// A broker over `data_dir` on free ports; its log is `data_dir` with `.log` appended.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(data_dir: impl Into<PathBuf>) -> Result<Self> {
        let data_dir = data_dir.into();
        let mut log = data_dir.clone().into_os_string();
        log.push(".log");
        Ok(Self {
            data_dir,
            log: log.into(),
            api_addr: free_address()?,
            kafka_addr: free_address()?,
            arguments: Vec::new(),
            environment: Vec::new(),
        })
    }

    /// Listens here instead.
    #[must_use]
    pub const fn api_addr(mut self, address: SocketAddr) -> Self {
        self.api_addr = address;
        self
    }

    /// Listens for Kafka clients here instead.
    #[must_use]
    pub const fn kafka_addr(mut self, address: SocketAddr) -> Self {
        self.kafka_addr = address;
        self
    }

    /// Writes the broker's log here instead.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = file.into();
        self
    }

    /// Adds a command-line argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Where the data is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(binaries::broker()?);
        command.arg("--data-dir").arg(&self.data_dir).arg("--api-addr").arg(self.api_addr.to_string());
        command.arg("--kafka-addr").arg(self.kafka_addr.to_string());
        command.args(&self.arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the broker and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not; the end of its log is in the error.
    pub fn start(&self) -> Result<BrokerProcess> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "--- start")?;
        // May build the binary first, which is not part of the start.
        let mut command = self.command()?;
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("starting the broker")?;
        let lines = lines(&mut child)?;
        let mut process = BrokerProcess { child, command: self.clone(), ready_in: Duration::ZERO };
        let Ok(line) = lines.recv_timeout(READY_DEADLINE) else {
            let status = process.child.try_wait()?;
            bail!("no ready line ({status:?}); the log ends with:\n{}", process.log_tail());
        };
        process.ready_in = begin.elapsed();
        let ready: Json = serde_json::from_str(&line)
            .with_context(|| format!("{line:?} is no ready line\n{}", process.log_tail()))?;
        let address = |name| {
            let address = ready.get(name).and_then(Json::as_str).unwrap_or_default();
            address.parse().with_context(|| format!("no address {name} in {line:?}"))
        };
        process.command.api_addr = address("api")?;
        process.command.kafka_addr = address("kafka")?;
        Ok(process)
    }

    /// Starts the broker and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self) -> Result<BrokerProcess> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "--- start, not to become ready")?;
        let child =
            self.command()?.stdout(Stdio::null()).stderr(log).spawn().context("starting the broker")?;
        Ok(BrokerProcess { child, command: self.clone(), ready_in: Duration::ZERO })
    }

    /// Starts the broker and kills it with -9 after `delay`, wherever in its start-up it is then.
    ///
    /// # Errors
    /// When it cannot be started or ends by itself.
    pub fn start_and_kill9(&self, delay: Duration) -> Result<()> {
        let process = self.launch()?;
        pause(delay);
        process.kill9().map(drop)
    }

    /// Runs a broker that is expected to end by itself, and returns what it said.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn run_to_end(&self) -> Result<Output> {
        let mut command = self.command()?;
        run_to_end(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }
}

/// Runs a program that is expected to end by itself.
///
/// # Errors
/// When it does not end in time; it is killed then.
pub fn run_to_end(command: &mut Command) -> Result<Output> {
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    // A program whose pipes are full does not end.
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = wait_until(&format!("{command:?} ends"), READY_DEADLINE, || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let read = |pipe: JoinHandle<io::Result<Vec<u8>>>| -> Result<Vec<u8>> {
        Ok(pipe.join().map_err(|_| anyhow!("the reader of a pipe panicked"))??)
    };
    let output = Output { status, stdout: read(stdout)?, stderr: read(stderr)? };
    match ended {
        Ok(_) => Ok(output),
        Err(error) => Err(error.context(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Reads a pipe to its end on a thread of its own.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

/// A running broker; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    command: BrokerCommand,
    ready_in: Duration,
}

impl BrokerProcess {
    /// Its address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.command.api_addr)
    }

    /// The address it listens on.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.command.api_addr
    }

    /// The address on which it listens for Kafka clients.
    #[must_use]
    pub const fn kafka_addr(&self) -> SocketAddr {
        self.command.kafka_addr
    }

    /// What Kafka clients take as `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.command.kafka_addr.to_string()
    }

    /// How long it took from its start to the ready line.
    #[must_use]
    pub const fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How to start it again: same data, same address.
    #[must_use]
    pub const fn command(&self) -> &BrokerCommand {
        &self.command
    }

    /// Kills it with -9 and waits until it is gone.
    ///
    /// # Errors
    /// When it had ended by itself before: then it is not the kill that is tested.
    pub fn kill9(mut self) -> Result<BrokerCommand> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the broker ended by itself ({status}); its log ends with:\n{}", self.log_tail());
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() != Some(9) {
            bail!("the broker ended by itself ({status}) before the kill:\n{}", self.log_tail());
        }
        Ok(self.command.clone())
    }

    /// Freezes it: when this returns, no thread of it runs a further instruction of its own.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let threads = format!("/proc/{}/task", self.child.id());
        wait_until("every thread of the broker is stopped", STOP_DEADLINE, || {
            for thread in std::fs::read_dir(&threads)? {
                let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
                // What follows the name, which may hold anything: the state. A thread that waits for the
                // disk stops on its way out of the kernel.
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                if !matches!(state, Some('T' | 'D')) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("the broker has no process id")?, signal)?;
        Ok(())
    }

    /// Asks it to stop as an operator does, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut status = None;
        let waited = wait_until("the broker stops after SIGTERM", STOP_DEADLINE, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        });
        waited.with_context(|| self.log_tail())?;
        status.context("the broker has no exit status")
    }

    /// All of its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.command.log).unwrap_or_default()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines of its standard output, read until it ends so that it never blocks on a full pipe.
fn lines(child: &mut Child) -> Result<mpsc::Receiver<String>> {
    let stdout = child.stdout.take().context("the broker's output is not captured")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens after the first line.
            drop(sender.send(line));
        }
    });
    Ok(receiver)
}

fn free_address() -> Result<SocketAddr> {
    let mut random = entropy();
    for _ in 0..100 {
        let port = PORTS.start + mixed(&mut random) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("found no free port");
}

/// The seed of a random test: `TIDELOG_SEED` replays one, else it is new.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("TIDELOG_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(entropy)
}

fn entropy() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut state = since.map_or(0, |since| u64::from(since.subsec_nanos()) << 32 | since.as_secs());
    state ^= u64::from(std::process::id()).rotate_left(40);
    mixed(&mut state)
}

/// Writes a line that the test runner does not swallow: for skipped tests and for figures.
pub fn say(line: &str) {
    // A closed stderr is no reason to fail a test.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// An empty file, for tests that need one in the way.
///
/// # Errors
/// When it cannot be made.
pub fn touch(path: &Path) -> Result<()> {
    File::create(path).map(drop).with_context(|| path.display().to_string())
}
