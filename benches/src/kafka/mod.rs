//! Tidelog beside Apache Kafka: the same librdkafka client, the same machine, in turn within each repetition.
//!
//! Tidelog has each record on disk before it acknowledges it; Kafka with its defaults has not.

mod client;
mod peer;
mod still;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use self::peer::Peer;
use crate::figures::Figures;
use crate::limits;
use crate::report::Goal;
use crate::scenario::RECORD_BYTES;
use crate::stats::{lossy, millis};

/// Partitions of the topic that throughput is measured on.
const PARTITIONS: i32 = 4;
/// Records a second of the open loop.
const RATE: u64 = 2_000;
/// What start-up left behind has settled after this long.
const SETTLED: Duration = Duration::from_secs(3);

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Kafka,
    Tidelog,
    /// Tidelog that flushes as little as Kafka does.
    Unflushed,
}

impl Who {
    const ALL: [Self; 3] = [Self::Kafka, Self::Tidelog, Self::Unflushed];

    const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Apache Kafka",
            Self::Tidelog => "Tidelog",
            Self::Unflushed => "Tidelog, flush.policy=os",
        }
    }
}

/// The limit of the client that consumes.
const STILL: &str = "librdkafka consume: a server that answers with the same records out of memory";

/// What is measured of each.
const PRODUCE: &str = "librdkafka produce, acks=all, idempotent";
const CONSUME: &str = "librdkafka consume";
const END_TO_END: &str = "end to end at 2,000 records/s";
const CPU: &str = "processor time for 1 GB in and out";
const MEMORY: &str = "memory after that";
const START: &str = "start on empty data to the first answer";

/// What one repetition needs.
pub(crate) struct Setting<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) binary: &'a Path,
    pub(crate) jars: PathBuf,
    pub(crate) records: u64,
    pub(crate) seconds: u64,
}

impl<'a> Setting<'a> {
    /// Sees to it that Kafka's jars are there.
    pub(crate) fn new(
        dir: &'a Path,
        binary: &'a Path,
        jars_dir: &Path,
        records: u64,
        seconds: u64,
    ) -> Result<Self> {
        Ok(Self { dir, binary, jars: peer::kafka_jars(jars_dir)?, records, seconds })
    }

    /// One repetition.
    pub(crate) fn round(&self, figures: &mut Figures) -> Result<()> {
        let still = still::serve(PARTITIONS)?.to_string();
        figures.add(STILL, "MB/s", client::consume(&still, "still", PARTITIONS, self.records)?);
        for who in Who::ALL {
            // What earlier scenarios left to be written would be written during this one.
            rustix::fs::sync();
            self.measure(who, figures)?;
        }
        Ok(())
    }

    fn start(&self, who: Who, data: &Path) -> Result<Peer> {
        match who {
            Who::Kafka => Peer::kafka(&self.jars, data),
            Who::Tidelog => Peer::tidelog(self.binary, data, "sync"),
            Who::Unflushed => Peer::tidelog(self.binary, data, "os"),
        }
    }

    fn measure(&self, who: Who, figures: &mut Figures) -> Result<()> {
        let data = TempDir::with_prefix_in("data-", self.dir)?;
        let peer = self.start(who, data.path())?;
        let mut add = |what: &str, unit, value| figures.add(&name(what, who), unit, value);
        add(START, "ms", millis(peer.started_in));
        std::thread::sleep(SETTLED);
        let bootstrap = peer.bootstrap();
        client::create_topic(&bootstrap, "bench", PARTITIONS)?;
        client::create_topic(&bootstrap, "paced", 1)?;
        // The JVM compiles what is hot; whoever runs a broker measures it warm.
        client::produce(&bootstrap, "bench", PARTITIONS, self.records / 4)?;
        client::consume(&bootstrap, "bench", PARTITIONS, self.records / 4)?;
        let bytes = self.records * u64::try_from(RECORD_BYTES)?;
        limits::warm_memory(bytes + bytes / 4)?;
        let before = peer.cpu_seconds()?;
        add(PRODUCE, "MB/s", client::produce(&bootstrap, "bench", PARTITIONS, self.records)?);
        add(CONSUME, "MB/s", client::consume(&bootstrap, "bench", PARTITIONS, self.records)?);
        add(CPU, "s", (peer.cpu_seconds()? - before) / (lossy(bytes) / 1e9));
        add(MEMORY, "MB", peer.resident_megabytes()?);
        let histogram = client::end_to_end(&bootstrap, "paced", RATE, self.seconds)?;
        for (quantile, of) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
            add(&format!("{END_TO_END}, {of}"), "ms", lossy(histogram.value_at_quantile(quantile)) / 1e3);
        }
        Ok(())
    }
}

/// What each figure has to reach.
pub(crate) fn compare(figures: &mut Figures) {
    let p99 = format!("{END_TO_END}, p99");
    let goals = [
        (PRODUCE, Who::Tidelog, Goal::AtLeast(1.0)),
        (PRODUCE, Who::Unflushed, Goal::AtLeast(2.0)),
        (CONSUME, Who::Tidelog, Goal::AtLeast(1.5)),
        (p99.as_str(), Who::Tidelog, Goal::AtMost(0.5)),
        (CPU, Who::Tidelog, Goal::AtMost(0.5)),
        (MEMORY, Who::Tidelog, Goal::AtMost(0.1)),
        (START, Who::Tidelog, Goal::AtMost(0.02)),
    ];
    for (what, who, goal) in goals {
        figures.compare(&name(what, who), &[&name(what, Who::Kafka)], goal);
    }
}

fn name(what: &str, who: Who) -> String {
    format!("{what}: {}", who.name())
}
