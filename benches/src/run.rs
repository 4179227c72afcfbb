//! The order of a run: warm the disk, then subject and limit in turn, repetition by repetition.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tidelog_client::Client;

use crate::figures::Figures;
use crate::limits::{self, PlainServer};
use crate::report::Goal;
use crate::scenario::{self, RECORD_BYTES};
use crate::stats::{lossy, millis};
use crate::subject::{Subject, broker_binary};
use crate::{Arguments, Scenario};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;

const SYNC_4K: &str = "limit: append + fdatasync of 4 KiB, p50";
const APPEND_1M: &str = "limit: append + fdatasync of 1 MiB";
const CLIENT_STREAM: &str = "limit: plain tonic client stream, 1 MiB messages";
const SERVER_STREAM: &str = "limit: plain tonic server stream, 1 MiB messages";
const UNARY: &str = "limit: plain tonic unary round trip of 1 KiB, p50";
const DURABLE: &str = "durable produce of 1 KiB records, one partition";

/// How many files the data of the restart scenario is spread over.
const RESTART_PARTITIONS: i32 = 100;
/// Sends that are not measured before the latency of single ones is.
const WARM_UP_SENDS: usize = 300;
const MEASURED_SENDS: usize = 2000;
/// What start-up left behind has settled after this long.
const SETTLED: Duration = Duration::from_secs(3);

/// A run in progress.
struct Run<'a> {
    arguments: &'a Arguments,
    dir: &'a Path,
    binary: PathBuf,
    plain: PlainServer,
    figures: Figures,
}

/// Runs what the arguments ask for.
pub(crate) async fn all(arguments: &Arguments) -> Result<Figures> {
    std::fs::create_dir_all(&arguments.dir)?;
    let dir = TempDir::with_prefix_in("benches-", &arguments.dir)?;
    let binary = broker_binary(arguments.broker.as_deref())?;
    let plain = PlainServer::start().await?;
    let mut run = Run { arguments, dir: dir.path(), binary, plain, figures: Figures::default() };
    let warm = run.total().saturating_mul(3);
    note(&format!(
        "writing {} MB once: fresh blocks of a virtual disk are slower than used ones",
        warm / 1_000_000
    ))?;
    limits::warm(run.dir, warm)?;
    for round in 1..=arguments.repeat {
        note(&format!("repetition {round} of {}", arguments.repeat))?;
        run.round().await?;
    }
    if arguments.wants(Scenario::Restart) {
        run.restart().await?;
    }
    run.compare();
    #[cfg(feature = "kafka")]
    crate::kafka::compare(&mut run.figures);
    Ok(run.figures)
}

impl Run<'_> {
    /// One repetition of every scenario but the long one.
    async fn round(&mut self) -> Result<()> {
        if self.arguments.wants(Scenario::Limits) {
            self.machine()?;
        }
        if self.arguments.wants(Scenario::Throughput) {
            self.throughput().await?;
        }
        if self.arguments.wants(Scenario::Many) {
            self.many().await?;
        }
        if self.arguments.wants(Scenario::Latency) {
            self.latency().await?;
        }
        if self.arguments.wants(Scenario::Trickle) {
            self.trickle().await?;
        }
        if self.arguments.wants(Scenario::Footprint) {
            self.footprint().await?;
        }
        #[cfg(feature = "kafka")]
        if self.arguments.wants(Scenario::Kafka) {
            tokio::task::block_in_place(|| self.beside_kafka())?;
        }
        Ok(())
    }

    #[cfg(feature = "kafka")]
    fn beside_kafka(&mut self) -> Result<()> {
        let (records, seconds) = (self.records()?, u64::from(self.arguments.seconds));
        let setting =
            crate::kafka::Setting::new(self.dir, &self.binary, &self.arguments.jars_dir, records, seconds)?;
        setting.round(&mut self.figures)
    }

    /// Bytes sent through one partition in a repetition.
    const fn total(&self) -> u64 {
        self.arguments.megabytes.saturating_mul(1_000_000)
    }

    fn records(&self) -> Result<u64> {
        Ok(self.total() / u64::try_from(RECORD_BYTES)?)
    }

    /// A broker on an empty data directory, and a client of it. The directory goes with the first value.
    async fn fresh(&self) -> Result<(TempDir, Subject, Client)> {
        // What earlier scenarios left to be written would be written during this one.
        tokio::task::spawn_blocking(rustix::fs::sync).await?;
        let data = TempDir::with_prefix_in("data-", self.dir)?;
        let subject = Subject::start(&self.binary, data.path())?;
        let client = subject.client().await?;
        Ok((data, subject, client))
    }

    fn add(&mut self, what: &str, unit: &'static str, value: f64) {
        self.figures.add(what, unit, value);
    }

    /// The limits that no scenario below measures beside itself.
    fn machine(&mut self) -> Result<()> {
        let total = self.total();
        self.add("limit: loopback TCP, 64 KiB writes", "MB/s", limits::loopback(64 * KIBIBYTE, total)?);
        self.add("limit: loopback TCP, 1 MiB writes", "MB/s", limits::loopback(MEBIBYTE, total)?);
        self.add("limit: CRC32C", "MB/s", limits::checksum(total));
        let figures = limits::append_and_sync(self.dir, 4 * MEBIBYTE, total / 4)?;
        self.add("limit: append + fdatasync of 4 MiB", "MB/s", figures.megabytes);
        self.add("limit: append + fdatasync of 4 MiB, p50", "ms", millis(figures.p50));
        self.add("limit: append + fdatasync of 4 MiB, p99", "ms", millis(figures.p99));
        Ok(())
    }

    async fn throughput(&mut self) -> Result<()> {
        let (total, count) = (self.total(), self.records()?);
        limits::warm_memory(total + total / 4)?;
        let figures = limits::append_and_sync(self.dir, MEBIBYTE, total)?;
        self.add(APPEND_1M, "MB/s", figures.megabytes);
        self.add("limit: append + fdatasync of 1 MiB, p50", "ms", millis(figures.p50));
        self.add("limit: append + fdatasync of 1 MiB, p99", "ms", millis(figures.p99));
        let (_data, subject, client) = self.fresh().await?;
        scenario::topic(&client, "durable", 1, "sync").await?;
        limits::warm_memory(total + total / 4)?;
        let rate = scenario::produce(&client, "durable", 1, count).await?;
        self.add(DURABLE, "MB/s", rate);
        let rate = self.plain.client_stream(MEBIBYTE, total).await?;
        self.add(CLIENT_STREAM, "MB/s", rate);
        limits::warm_memory(total + total / 4)?;
        let rate = limits::append_unsynced(self.dir, MEBIBYTE, total)?;
        self.add("limit: append of 1 MiB without a sync", "MB/s", rate);
        scenario::topic(&client, "relaxed", 1, "os").await?;
        limits::warm_memory(total + total / 4)?;
        let rate = scenario::produce(&client, "relaxed", 1, count).await?;
        self.add("produce with tidelog.flush.policy=os", "MB/s", rate);
        let rate = self.plain.server_stream(MEBIBYTE, total).await?;
        self.add(SERVER_STREAM, "MB/s", rate);
        self.add("consume, record by record", "MB/s", scenario::consume(&client, "durable", count).await?);
        self.add(
            "consume, batch by batch",
            "MB/s",
            scenario::consume_batches(&client, "durable", count).await?,
        );
        self.add("memory of the broker after that", "MB", subject.resident_megabytes()?);
        Ok(())
    }

    async fn many(&mut self) -> Result<()> {
        let count = self.records()?;
        let partitions = self.arguments.partitions;
        let (_data, _subject, client) = self.fresh().await?;
        if !self.arguments.wants(Scenario::Throughput) {
            scenario::topic(&client, "durable", 1, "sync").await?;
            self.add(DURABLE, "MB/s", scenario::produce(&client, "durable", 1, count).await?);
        }
        scenario::topic(&client, "many", partitions, "sync").await?;
        let rate = scenario::produce(&client, "many", partitions, count).await?;
        self.add(&self.many_name(), "MB/s", rate);
        Ok(())
    }

    fn many_name(&self) -> String {
        format!("durable produce of 1 KiB records, {} partitions", self.arguments.partitions)
    }

    fn sync_4k(&mut self) -> Result<()> {
        let figures = limits::append_and_sync(self.dir, 4 * KIBIBYTE, 4 << 20)?;
        self.add(SYNC_4K, "ms", millis(figures.p50));
        self.add("limit: append + fdatasync of 4 KiB, p99", "ms", millis(figures.p99));
        self.add("limit: append + fdatasync of 4 KiB", "MB/s", figures.megabytes);
        Ok(())
    }

    async fn latency(&mut self) -> Result<()> {
        self.sync_4k()?;
        let (p50, p99) = self.plain.unary(RECORD_BYTES, MEASURED_SENDS).await?;
        self.add(UNARY, "ms", millis(p50));
        self.add("limit: plain tonic unary round trip of 1 KiB, p99", "ms", millis(p99));
        let (_data, _subject, client) = self.fresh().await?;
        scenario::topic(&client, "single", 1, "sync").await?;
        scenario::one_at_a_time(&client, "single", WARM_UP_SENDS).await?;
        let (p50, p99) = scenario::one_at_a_time(&client, "single", MEASURED_SENDS).await?;
        self.add("one durable record at a time, p50", "ms", millis(p50));
        self.add("one durable record at a time, p99", "ms", millis(p99));
        Ok(())
    }

    async fn trickle(&mut self) -> Result<()> {
        if !self.arguments.wants(Scenario::Latency) {
            self.sync_4k()?;
        }
        let partitions = self.arguments.partitions;
        let (_data, _subject, client) = self.fresh().await?;
        scenario::topic(&client, "trickle", partitions, "sync").await?;
        scenario::trickle(&client, "trickle", partitions, 2).await?;
        let histogram = scenario::trickle(&client, "trickle", partitions, self.arguments.seconds).await?;
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let micros = lossy(histogram.value_at_quantile(quantile));
            self.add(&format!("{}, {name}", self.trickle_name()), "ms", micros / 1e3);
        }
        Ok(())
    }

    fn trickle_name(&self) -> String {
        format!("{} partitions, one durable record a second each", self.arguments.partitions)
    }

    async fn footprint(&mut self) -> Result<()> {
        let data = TempDir::with_prefix_in("data-", self.dir)?;
        let subject = Subject::start(&self.binary, data.path())?;
        self.add("start on empty data", "ms", millis(subject.started_in));
        tokio::time::sleep(SETTLED).await;
        self.add("memory of an idle broker", "MB", subject.resident_megabytes()?);
        Ok(())
    }

    /// Every start follows a kill in the middle of unsynced writes.
    async fn restart(&mut self) -> Result<()> {
        note(&format!("writing {} GB for the restarts", self.arguments.restart_gigabytes))?;
        let data = TempDir::with_prefix_in("data-", self.dir)?;
        let mut subject = Subject::start(&self.binary, data.path())?;
        let client = subject.client().await?;
        scenario::topic(&client, "big", RESTART_PARTITIONS, "sync").await?;
        let count = self.arguments.restart_gigabytes * 1_000_000_000 / u64::try_from(RECORD_BYTES)?;
        scenario::produce(&client, "big", RESTART_PARTITIONS, count).await?;
        for _ in 0..self.arguments.repeat {
            let client = subject.client().await?;
            scenario::produce(&client, "big", RESTART_PARTITIONS, 100_000).await?;
            subject.kill()?;
            subject = Subject::start(&self.binary, data.path())?;
            self.add(&self.restart_name(), "ms", millis(subject.started_in));
        }
        Ok(())
    }

    fn restart_name(&self) -> String {
        format!(
            "start after kill -9, {} GB in {RESTART_PARTITIONS} partitions",
            self.arguments.restart_gigabytes
        )
    }

    /// What each figure has to reach.
    fn compare(&mut self) {
        let (many, trickle, restart) = (self.many_name(), self.trickle_name(), self.restart_name());
        let figures = &mut self.figures;
        figures.compare(DURABLE, &[APPEND_1M], Goal::AtLeast(0.8));
        figures.compare("produce with tidelog.flush.policy=os", &[CLIENT_STREAM], Goal::AtLeast(0.5));
        figures.compare("consume, record by record", &[SERVER_STREAM], Goal::AtLeast(0.6));
        figures.compare("consume, batch by batch", &[SERVER_STREAM], Goal::AtLeast(0.6));
        figures.compare("one durable record at a time, p50", &[SYNC_4K, UNARY], Goal::AtMost(1.5));
        figures.compare(&many, &[DURABLE], Goal::AtLeast(0.6));
        figures.compare(&format!("{trickle}, p99"), &[SYNC_4K], Goal::AtMost(10.0));
        figures.compare("start on empty data", &[], Goal::AtMost(50.0));
        figures.compare("memory of an idle broker", &[], Goal::AtMost(20.0));
        figures.compare(&restart, &[], Goal::AtMost(1000.0));
    }
}

fn note(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "benches: {text}")?;
    Ok(())
}
