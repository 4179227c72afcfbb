//! A broker that speaks Kafka's protocol, in a process of its own: Tidelog, or Apache Kafka from its published
//! jars.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a broker may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// How often a starting broker is asked.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// The unit of processor time in `/proc`, in seconds: fixed on Linux for programs.
const TICK_SECONDS: f64 = 0.01;

/// A running broker, killed when the value is dropped.
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
    /// From the start of the process to its first answer.
    pub(crate) started_in: Duration,
}

impl Peer {
    /// Starts Tidelog's binary on `data_dir`; what is durable is decided by `flush`.
    pub(crate) fn tidelog(binary: &Path, data_dir: &Path, flush: &str) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command
            .args(["--api-addr", "127.0.0.1:0", "--log-level", "warn", "--kafka-addr"])
            .arg(address.to_string());
        command
            .args(["--set", &format!("topics.defaults.tidelog.flush.policy={flush}"), "--data-dir"])
            .arg(data_dir);
        Self::start(command, address)
    }

    /// Starts Apache Kafka from the jars in `jars`, as one node that is broker and controller, with the defaults
    /// of its own quick start: nothing is flushed before it is acknowledged.
    pub(crate) fn kafka(jars: &Path, data_dir: &Path) -> Result<Self> {
        let (address, controller) = (free_address()?, free_address()?);
        let properties = data_dir.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n",
            data_dir.join("logs").display()
        );
        std::fs::write(&properties, text)?;
        let formatted = java(jars, "kafka.tools.StorageTool")
            .args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
            .arg(&properties)
            .stdout(Stdio::null())
            .status()?;
        ensure!(formatted.success(), "Kafka's storage cannot be formatted");
        let mut command = java(jars, "kafka.Kafka");
        command.arg(&properties);
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        let begun = Instant::now();
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("starting a broker")?;
        let mut peer = Self { child, address, started_in: Duration::ZERO };
        while !answers(address) {
            ensure!(begun.elapsed() < START_MAX, "the broker at {address} does not answer");
            ensure!(peer.child.try_wait()?.is_none(), "the broker at {address} ended");
            std::thread::sleep(ASK_EVERY);
        }
        peer.started_in = begun.elapsed();
        Ok(peer)
    }

    /// What clients take as `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Resident memory in MB.
    pub(crate) fn resident_megabytes(&self) -> Result<f64> {
        crate::subject::resident_megabytes(self.child.id())
    }

    /// Processor time used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no process name in its stat")?;
        // After the name: the state is the first field, user and system time are the 12th and 13th.
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? * TICK_SECONDS)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The jars of Apache Kafka, fetched by Maven unless they are there.
pub(crate) fn kafka_jars(dir: &Path) -> Result<PathBuf> {
    let jars = std::path::absolute(dir.join("kafka-jars"))?;
    if !jars.exists() {
        let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("pom.xml");
        let fetched = Command::new("mvn")
            .args(["-q", "-f"])
            .arg(pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", jars.display()))
            .stdout(Stdio::null())
            .status()
            .context("Maven fetches Apache Kafka: install `mvn` and a JDK of 17 or later")?;
        ensure!(fetched.success(), "Maven could not fetch Apache Kafka");
    }
    Ok(jars)
}

/// A Java program with the memory Kafka's own start script gives a broker.
fn java(jars: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx1G", "-Xms1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true"]);
    command.arg("-Dlog4j2.level=ERROR").arg("-cp").arg(format!("{}/*", jars.display())).arg(class);
    command.stderr(Stdio::null());
    command
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Whether a broker answers the first question of every client, ApiVersions in version 0.
fn answers(address: SocketAddr) -> bool {
    const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let asked = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&QUESTION)?;
        stream.read_exact(&mut [0; 10])
    };
    asked().is_ok()
}
