//! The broker under test: the release binary in a process of its own, killed when the value is dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidelog_client::Client;

/// A running broker.
pub(crate) struct Subject {
    child: Child,
    /// Held open: a broker that cannot write to its standard output is not the one to measure.
    _stdout: BufReader<ChildStdout>,
    url: String,
    /// From the start of the process to its ready line.
    pub(crate) started_in: Duration,
}

impl Subject {
    /// Starts the broker binary `binary` on `data_dir` with free ports.
    pub(crate) fn start(binary: &Path, data_dir: &Path) -> Result<Self> {
        let begun = Instant::now();
        let mut child = Command::new(binary)
            .args([
                "--api-addr",
                "127.0.0.1:0",
                "--kafka-addr",
                "127.0.0.1:0",
                "--log-level",
                "warn",
                "--data-dir",
            ])
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("the broker has no standard output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let started_in = begun.elapsed();
        let ready: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("the broker's ready line is {line:?}"))?;
        let api = ready.get("api").and_then(|api| api.as_str()).context("the ready line names no api")?;
        Ok(Self { child, _stdout: stdout, url: format!("http://{api}"), started_in })
    }

    /// A connection to the broker.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.url).await?)
    }

    /// The broker's resident memory, in MB.
    pub(crate) fn resident_megabytes(&self) -> Result<f64> {
        resident_megabytes(self.child.id())
    }

    /// Kills the broker as a crash would and waits for its end.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The resident memory of a process, in MB.
pub(crate) fn resident_megabytes(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS line")?;
    let kilobytes = line.split_whitespace().nth(1).context("an empty VmRSS line")?;
    Ok(kilobytes.parse::<f64>()? / 1e3)
}

impl Drop for Subject {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The broker to measure: `given`, or the release build beside this program, made now.
pub(crate) fn broker_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        anyhow::ensure!(given.exists(), "{} does not exist", given.display());
        return Ok(given.to_path_buf());
    }
    let own = std::env::current_exe()?;
    let cargo = std::env::var_os("CARGO")
        .context("run this through `cargo run --release -p tidelog-benches`, or name a --broker")?;
    let build = Command::new(cargo).args(["build", "--release", "-p", "tidelog-broker"]).status()?;
    anyhow::ensure!(build.success(), "the broker does not build");
    let binary = own.with_file_name("tidelog-broker");
    anyhow::ensure!(binary.exists(), "{} does not exist: is this program a release build?", binary.display());
    Ok(binary)
}
