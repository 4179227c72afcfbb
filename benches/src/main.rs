//! Tidelog's benchmarks, each beside a limit of the machine measured in the same run.
//!
//! `cargo run --release -p tidelog-benches` builds the broker, runs them all and prints a Markdown table;
//! README.md explains the lines. Every figure is the median of `--repeat` repetitions, limit and subject
//! taken in turn within each, so that a drift of the machine touches both.

mod figures;
#[cfg(feature = "kafka")]
mod kafka;
mod limits;
mod report;
mod run;
mod scenario;
mod stats;
mod subject;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

/// Measures Tidelog and the machine under it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// Scenarios to run; all when absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Repetitions of each measurement.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// The broker's binary; without it the release build is made and taken.
    #[arg(long)]
    broker: Option<PathBuf>,
    /// Megabytes sent through one partition in each repetition.
    #[arg(long, default_value_t = 1024)]
    megabytes: u64,
    /// Partitions of the scenarios with many.
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// Seconds of the open-loop scenario.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Gigabytes on disk for the restart after a kill.
    #[arg(long, default_value_t = 10)]
    restart_gigabytes: u64,
    /// Where the jars of Apache Kafka are kept.
    #[cfg(feature = "kafka")]
    #[arg(long, default_value = "target")]
    jars_dir: PathBuf,
    /// Where data goes; a new directory below it is used and removed. It names the disk that is measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// The server that does nothing, for the limits of tonic.
    #[command(hide = true)]
    PlainServer,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Loopback TCP, CRC32C, plain tonic, append and fdatasync.
    Limits,
    /// Produce to and consume from one partition.
    Throughput,
    /// One durable record at a time.
    Latency,
    /// Many partitions at full speed.
    Many,
    /// Many partitions with one small record each a second.
    Trickle,
    /// Memory and start-up.
    Footprint,
    /// Start after a kill with much data.
    Restart,
    /// Beside Apache Kafka, through librdkafka. Needs Maven and a JDK.
    #[cfg(feature = "kafka")]
    Kafka,
}

impl Arguments {
    fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Some(Hidden::PlainServer)) {
        return limits::serve().await;
    }
    let figures = run::all(&arguments).await?;
    write!(std::io::stdout(), "{}", report::markdown(&figures))?;
    Ok(())
}
