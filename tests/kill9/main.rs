//! Kills the real broker with -9 at random moments under load, restarts it each time, and judges what its
//! clients were told: nothing acknowledged is lost, nothing changed, no offset is reused, and no reader ever
//! saw a record that later vanished.
//!
//! `TIDELOG_SEED` replays a run's choices, `TIDELOG_KILLS` sets how often the broker is killed. The timing of
//! threads and disks is not replayed: a seed makes a failure likely, not certain.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failure is a panic with its cause"
)]

mod control;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tidelog_client::{Client, NewTopic};
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, say, seed};
use tidelog_tests::checker::{Verdict, check};
use tidelog_tests::history::{Event, Recorder, write_history};
use tidelog_tests::load::{Load, Topics, draw};
use tidelog_tests::wait::pause;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const PRODUCERS: u32 = 4;
const READERS: u32 = 3;
/// Kills of a run by default: what fits into the test suite.
const KILLS: u64 = 25;
/// Topics and their partitions. The first two roll their segments all the time.
const TOPICS: [(&str, i32); 3] = [("rolling", 4), ("rolling-too", 2), ("plain", 3)];
/// The segment size of the rolling topics.
const SEGMENT_BYTES: u32 = 64 * 1024;

/// A broker under load, and what is going on around it.
struct Run {
    runtime: Runtime,
    load: Load,
    clients: JoinSet<Result<()>>,
    random: u64,
}

impl Run {
    fn start(broker: &BrokerProcess, seed: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let topics = Topics::new(&TOPICS).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let load = Load { url: broker.url(), topics, recorder: Recorder::default(), stop };
        runtime.block_on(create_topics(&load.url)).unwrap();
        let mut clients = JoinSet::new();
        for number in 0..PRODUCERS {
            clients.spawn_on(load.clone().produce(number, seed), runtime.handle());
        }
        for number in 0..READERS {
            clients.spawn_on(load.clone().read(number, seed), runtime.handle());
        }
        clients.spawn_on(load.clone().ask_watermarks(), runtime.handle());
        Self { runtime, load, clients, random: seed }
    }

    fn draw(&mut self, below: u64) -> Duration {
        Duration::from_millis(draw(&mut self.random, below))
    }

    fn note(&self, event: impl FnOnce(u64) -> Event) {
        self.load.recorder.record(event(self.load.recorder.now()));
    }

    /// Kills and restarts the broker once; one time in four the restart is killed too.
    fn kill_once(&mut self, broker: BrokerProcess) -> Result<BrokerProcess> {
        pause(Duration::from_millis(150) + self.draw(1_200));
        self.note(|at| Event::Down { at });
        let command = broker.kill9()?;
        if draw(&mut self.random, 4) == 0 {
            command.start_and_kill9(self.draw(60))?;
            self.note(|at| Event::Down { at });
        }
        let broker = command.start()?;
        self.note(|at| Event::Up { at });
        Ok(broker)
    }

    /// A client that gave up has found something that clients must not see.
    fn clients_are_well(&mut self) -> Result<()> {
        while let Some(ended) = self.clients.try_join_next() {
            ended?.context("a client gave up")?;
        }
        Ok(())
    }

    fn stop(mut self) -> Result<(Runtime, Load)> {
        self.load.stop.store(true, Ordering::Relaxed);
        let clients = &mut self.clients;
        self.runtime.block_on(async {
            while let Some(ended) = clients.join_next().await {
                ended?.context("a client gave up")?;
            }
            anyhow::Ok(())
        })?;
        Ok((self.runtime, self.load))
    }
}

async fn create_topics(url: &str) -> Result<()> {
    let admin = Client::connect(url).await?.admin();
    for (name, partitions) in TOPICS {
        let mut topic = NewTopic::new(name).partitions(partitions);
        if name.starts_with("rolling") {
            topic = topic.config("segment.bytes", SEGMENT_BYTES.to_string());
        }
        admin.create_topic(topic).await?;
    }
    Ok(())
}

fn kills() -> u64 {
    std::env::var("TIDELOG_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// The whole history and the judgement over it; the history is kept when something is broken.
fn judge(load: &Load, finals: &[Event], keep: &Path) -> Verdict {
    let mut history = load.recorder.history();
    history.extend(finals.iter().cloned());
    let verdict = check(&history);
    if !verdict.is_clean() {
        write_history(keep, &history).unwrap();
    }
    verdict
}

#[test]
fn nothing_acknowledged_or_seen_is_lost_whenever_the_broker_is_killed() {
    let seed = seed();
    let kills = kills();
    say(&format!("kill9: TIDELOG_SEED={seed} TIDELOG_KILLS={kills}"));
    let home = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
    let mut run = Run::start(&broker, seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        broker = run.kill_once(broker).unwrap();
        slowest = slowest.max(broker.ready_in());
        run.clients_are_well().unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
    }
    let (runtime, load) = run.stop().unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));

    // Once more from disk alone: what is only in the broker's memory does not count.
    let command = broker.kill9().unwrap();
    let broker = command.start().unwrap();
    let finals = runtime.block_on(async {
        let client = Client::connect(&broker.url()).await?;
        load.final_read(&client).await
    });
    let finals = finals.unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
    let kept = std::env::temp_dir().join(format!("tidelog-kill9-{seed}.history"));
    let verdict = judge(&load, &finals, &kept);
    say(&format!("kill9: {:?}, slowest start {slowest:?}, {:?}", verdict.figures, begin.elapsed()));
    assert!(verdict.is_clean(), "TIDELOG_SEED={seed}, history in {}\n{verdict}", kept.display());
    let figures = verdict.figures;
    assert!(figures.kills >= kills, "{figures:?}");
    // A run in which little happened proves little.
    assert!(figures.acked > 40 * kills, "too few acks: {figures:?}");
    assert!(figures.observed > 40 * kills, "too few reads: {figures:?}");

    // An orderly stop loses nothing either, and the next start has nothing to repair.
    let command = broker.command().clone();
    assert!(broker.terminate().unwrap().success());
    control::a_cut_segment_is_noticed(&command, &runtime, &load);
}
