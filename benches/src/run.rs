//! The order of a run: warm the disk, then limit and subject in turn, repetition by repetition.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::limits::{self, PlainServer};
use crate::report::{Goal, Line};
use crate::scenario::{self, RECORD_BYTES};
use crate::stats::{Series, lossy, millis};
use crate::subject::{Subject, broker_binary};
use crate::{Arguments, Scenario};

const MEBIBYTE: usize = 1 << 20;

/// The limits that figures are divided by; medians of the same run.
#[derive(Default)]
struct Limits {
    sync_4k_ms: f64,
    append_1m: f64,
    client_stream: f64,
    server_stream: f64,
    unary_ms: f64,
    one_partition: f64,
}

/// Runs what the arguments ask for.
pub(crate) async fn all(arguments: &Arguments) -> Result<Vec<Line>> {
    let dir = TempDir::with_prefix_in("benches-", &arguments.dir)?;
    let binary = broker_binary()?;
    note("warming the file area")?;
    limits::warm(dir.path(), arguments.megabytes * 3 * 1_000_000)?;
    let mut lines = Vec::new();
    let mut known = Limits::default();
    machine(arguments, dir.path(), &mut known, &mut lines).await?;
    if arguments.wants(Scenario::Throughput) || arguments.wants(Scenario::Many) {
        throughput(arguments, &binary, dir.path(), &mut known, &mut lines).await?;
    }
    if arguments.wants(Scenario::Latency) {
        latency(arguments, &binary, dir.path(), &known, &mut lines).await?;
    }
    if arguments.wants(Scenario::Many) {
        many(arguments, &binary, dir.path(), &known, &mut lines).await?;
    }
    if arguments.wants(Scenario::Trickle) {
        trickle(arguments, &binary, dir.path(), &known, &mut lines).await?;
    }
    if arguments.wants(Scenario::Footprint) {
        footprint(arguments, &binary, dir.path(), &mut lines).await?;
    }
    if arguments.wants(Scenario::Restart) {
        restart(arguments, &binary, dir.path(), &mut lines).await?;
    }
    Ok(lines)
}

async fn machine(
    arguments: &Arguments,
    dir: &Path,
    known: &mut Limits,
    lines: &mut Vec<Line>,
) -> Result<()> {
    note("limits of the machine")?;
    let total = arguments.megabytes * 1_000_000;
    let plain = PlainServer::start().await?;
    let (mut tcp_64k, mut tcp_1m, mut crc) = (Series::new(), Series::new(), Series::new());
    let (mut up, mut down, mut unary) = (Series::new(), Series::new(), Series::new());
    let mut disk: Vec<(usize, Series, Series)> =
        [4096, MEBIBYTE, 4 * MEBIBYTE].into_iter().map(|size| (size, Series::new(), Series::new())).collect();
    for _ in 0..arguments.repeat {
        tcp_64k.push(limits::loopback(64 << 10, total)?);
        tcp_1m.push(limits::loopback(MEBIBYTE, total)?);
        crc.push(limits::checksum(total));
        up.push(plain.client_stream(MEBIBYTE, total).await?);
        down.push(plain.server_stream(MEBIBYTE, total).await?);
        unary.push(millis(plain.unary(RECORD_BYTES, 2000).await?.0));
        for (size, p50, megabytes) in &mut disk {
            let bytes = if *size == 4096 { 4 << 20 } else { usize::try_from(total / 4)? };
            let figures = limits::append_and_sync(dir, *size, bytes)?;
            p50.push(millis(figures.p50));
            megabytes.push(figures.megabytes);
        }
    }
    known.client_stream = up.median();
    known.server_stream = down.median();
    known.unary_ms = unary.median();
    lines.push(limit("loopback TCP, 64 KiB writes", tcp_64k, "MB/s"));
    lines.push(limit("loopback TCP, 1 MiB writes", tcp_1m, "MB/s"));
    lines.push(limit("CRC32C", crc, "MB/s"));
    lines.push(limit("plain tonic client stream, 1 MiB", up, "MB/s"));
    lines.push(limit("plain tonic server stream, 1 MiB", down, "MB/s"));
    lines.push(limit("plain tonic unary, 1 KiB, p50", unary, "ms"));
    for (size, p50, megabytes) in disk {
        if size == 4096 {
            known.sync_4k_ms = p50.median();
        }
        if size == MEBIBYTE {
            known.append_1m = megabytes.median();
        }
        let name = format!("append + fdatasync, {} KiB", size >> 10);
        lines.push(limit(&format!("{name}, p50"), p50, "ms"));
        lines.push(limit(&name, megabytes, "MB/s"));
    }
    Ok(())
}

async fn throughput(
    arguments: &Arguments,
    binary: &Path,
    dir: &Path,
    known: &mut Limits,
    lines: &mut Vec<Line>,
) -> Result<()> {
    note("one partition: produce and consume")?;
    let count = arguments.megabytes * 1_000_000 / u64::try_from(RECORD_BYTES)?;
    let (mut durable, mut relaxed, mut consume) = (Series::new(), Series::new(), Series::new());
    for _ in 0..arguments.repeat {
        let data = TempDir::with_prefix_in("data-", dir)?;
        let subject = Subject::start(binary, data.path())?;
        let client = subject.client().await?;
        scenario::topic(&client, "durable", 1, "sync").await?;
        durable.push(scenario::produce(&client, "durable", 1, count).await?);
        consume.push(scenario::consume(&client, "durable", count).await?);
        scenario::topic(&client, "relaxed", 1, "os").await?;
        relaxed.push(scenario::produce(&client, "relaxed", 1, count).await?);
    }
    known.one_partition = durable.median();
    let against = |name: &str, value| Some((name.to_owned(), value));
    lines.push(Line {
        what: "durable produce, 1 KiB records, one partition".to_owned(),
        series: durable,
        unit: "MB/s",
        against: against("append + fdatasync, 1 MiB", known.append_1m),
        goal: Some(Goal::AtLeast(0.8)),
    });
    lines.push(Line {
        what: "produce with flush.policy=os".to_owned(),
        series: relaxed,
        unit: "MB/s",
        against: against("plain tonic client stream", known.client_stream),
        goal: Some(Goal::AtLeast(0.5)),
    });
    lines.push(Line {
        what: "consume, 1 KiB records, one partition".to_owned(),
        series: consume,
        unit: "MB/s",
        against: against("plain tonic server stream", known.server_stream),
        goal: Some(Goal::AtLeast(0.6)),
    });
    Ok(())
}

async fn latency(
    arguments: &Arguments,
    binary: &Path,
    dir: &Path,
    known: &Limits,
    lines: &mut Vec<Line>,
) -> Result<()> {
    note("one durable record at a time")?;
    let (mut p50, mut p99) = (Series::new(), Series::new());
    for _ in 0..arguments.repeat {
        let data = TempDir::with_prefix_in("data-", dir)?;
        let subject = Subject::start(binary, data.path())?;
        let client = subject.client().await?;
        scenario::topic(&client, "single", 1, "sync").await?;
        scenario::one_at_a_time(&client, "single", 200).await?;
        let (median, tail) = scenario::one_at_a_time(&client, "single", 2000).await?;
        p50.push(millis(median));
        p99.push(millis(tail));
    }
    lines.push(Line {
        what: "one durable record at a time, p50".to_owned(),
        series: p50,
        unit: "ms",
        against: Some(("4 KiB fdatasync + unary".to_owned(), known.sync_4k_ms + known.unary_ms)),
        goal: Some(Goal::AtMost(1.5)),
    });
    lines.push(limit("one durable record at a time, p99", p99, "ms"));
    Ok(())
}

async fn many(
    arguments: &Arguments,
    binary: &Path,
    dir: &Path,
    known: &Limits,
    lines: &mut Vec<Line>,
) -> Result<()> {
    note("many partitions at full speed")?;
    let count = arguments.megabytes * 1_000_000 / u64::try_from(RECORD_BYTES)?;
    let mut series = Series::new();
    for _ in 0..arguments.repeat {
        let data = TempDir::with_prefix_in("data-", dir)?;
        let subject = Subject::start(binary, data.path())?;
        let client = subject.client().await?;
        scenario::topic(&client, "many", arguments.partitions, "sync").await?;
        series.push(scenario::produce(&client, "many", arguments.partitions, count).await?);
    }
    lines.push(Line {
        what: format!("durable produce over {} partitions", arguments.partitions),
        series,
        unit: "MB/s",
        against: Some(("one partition".to_owned(), known.one_partition)),
        goal: Some(Goal::AtLeast(0.6)),
    });
    Ok(())
}

async fn trickle(
    arguments: &Arguments,
    binary: &Path,
    dir: &Path,
    known: &Limits,
    lines: &mut Vec<Line>,
) -> Result<()> {
    note("one small durable record a second to each of many partitions")?;
    let (mut p50, mut p99) = (Series::new(), Series::new());
    for _ in 0..arguments.repeat {
        let data = TempDir::with_prefix_in("data-", dir)?;
        let subject = Subject::start(binary, data.path())?;
        let client = subject.client().await?;
        scenario::topic(&client, "trickle", arguments.partitions, "sync").await?;
        scenario::trickle(&client, "trickle", arguments.partitions, 2).await?;
        let histogram =
            scenario::trickle(&client, "trickle", arguments.partitions, arguments.seconds).await?;
        p50.push(lossy(histogram.value_at_quantile(0.5)) / 1e3);
        p99.push(lossy(histogram.value_at_quantile(0.99)) / 1e3);
    }
    let name = format!("{} partitions, one durable record a second each", arguments.partitions);
    lines.push(limit(&format!("{name}, p50"), p50, "ms"));
    lines.push(Line {
        what: format!("{name}, p99"),
        series: p99,
        unit: "ms",
        against: Some(("4 KiB fdatasync".to_owned(), known.sync_4k_ms)),
        goal: Some(Goal::AtMost(10.0)),
    });
    Ok(())
}

async fn footprint(arguments: &Arguments, binary: &Path, dir: &Path, lines: &mut Vec<Line>) -> Result<()> {
    note("memory and start-up")?;
    let (mut start, mut memory) = (Series::new(), Series::new());
    for _ in 0..arguments.repeat {
        let data = TempDir::with_prefix_in("data-", dir)?;
        let subject = Subject::start(binary, data.path())?;
        start.push(millis(subject.started_in));
        // The first seconds settle what start-up left behind.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        memory.push(subject.resident_megabytes()?);
    }
    lines.push(goal("start on empty data", start, "ms", Goal::AtMost(50.0)));
    lines.push(goal("idle memory (RSS)", memory, "MB", Goal::AtMost(20.0)));
    Ok(())
}

async fn restart(arguments: &Arguments, binary: &Path, dir: &Path, lines: &mut Vec<Line>) -> Result<()> {
    note("start after a kill with much data")?;
    let data = TempDir::with_prefix_in("data-", dir)?;
    let subject = Subject::start(binary, data.path())?;
    let client = subject.client().await?;
    scenario::topic(&client, "big", 100, "os").await?;
    let count = arguments.restart_gigabytes * 1_000_000_000 / u64::try_from(RECORD_BYTES)?;
    scenario::produce(&client, "big", 100, count).await?;
    scenario::topic(&client, "tail", 100, "sync").await?;
    scenario::produce(&client, "tail", 100, 100_000).await?;
    subject.kill()?;
    let mut series = Series::new();
    for _ in 0..arguments.repeat {
        let subject = Subject::start(binary, data.path())?;
        series.push(millis(subject.started_in));
        subject.kill()?;
    }
    let what = format!("start after kill -9, {} GB in 100 partitions", arguments.restart_gigabytes);
    lines.push(goal(&what, series, "ms", Goal::AtMost(1000.0)));
    Ok(())
}

fn limit(what: &str, series: Series, unit: &'static str) -> Line {
    Line { what: what.to_owned(), series, unit, against: None, goal: None }
}

fn goal(what: &str, series: Series, unit: &'static str, goal: Goal) -> Line {
    Line { what: what.to_owned(), series, unit, against: None, goal: Some(goal) }
}

fn note(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "benches: {text}")?;
    Ok(())
}
