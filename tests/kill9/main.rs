//! Kills the real broker with -9 at random moments under load, restarts it each time, and judges what its
//! clients were told: nothing acknowledged is lost, nothing changed, no offset is reused, no reader ever saw a
//! record that later vanished, and what idempotent producers send again is stored once.
//!
//! `TIDELOG_SEED` replays a run's choices, `TIDELOG_KILLS` sets how often the broker is killed. The timing of
//! threads and disks is not replayed: a seed makes a failure likely, not certain.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program: a failure is a panic with its cause"
)]

mod consumers;
mod control;
mod groups;
mod ledger;
mod members;

use std::time::{Duration, Instant};

use anyhow::Result;
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, say, seed};
use tidelog_tests::run::{LoadTopic, Run};
use tidelog_tests::wait::pause;

/// Kills of a run by default: what fits into the test suite.
const KILLS: u64 = 25;
/// Topics that roll their segments all the time.
const ROLLING: &[(&str, &str)] = &[("segment.bytes", "65536")];
const TOPICS: [LoadTopic<'_>; 3] = [
    LoadTopic { name: "rolling", partitions: 4, configs: ROLLING },
    LoadTopic { name: "rolling-too", partitions: 2, configs: ROLLING },
    LoadTopic { name: "plain", partitions: 3, configs: &[] },
];

/// Kills and restarts the broker once; one time in four the restart is killed too.
fn kill_once(run: &mut Run, broker: BrokerProcess) -> Result<BrokerProcess> {
    pause(Duration::from_millis(150) + run.draw(1_200));
    run.note_down();
    let command = broker.kill9()?;
    if run.one_in(4) {
        command.start_and_kill9(run.draw(60))?;
        run.note_down();
    }
    let broker = command.start()?;
    run.note_up();
    Ok(broker)
}

fn kills() -> u64 {
    std::env::var("TIDELOG_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

#[test]
fn nothing_acknowledged_or_seen_is_lost_whenever_the_broker_is_killed() {
    let seed = seed();
    let kills = kills();
    say(&format!("kill9: TIDELOG_SEED={seed} TIDELOG_KILLS={kills}"));
    let home = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
    let mut run = Run::start(&broker, &TOPICS, seed).unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        broker = kill_once(&mut run, broker).unwrap();
        slowest = slowest.max(broker.ready_in());
        run.clients_are_well().unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
    }
    let (run, well) = run.stop();
    well.unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));

    // Once more from disk alone: what is only in the broker's memory does not count.
    let command = broker.kill9().unwrap();
    let broker = command.start().unwrap();
    let finals = run.final_read(&broker);
    let finals = finals.unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
    let kept = std::env::temp_dir().join(format!("tidelog-kill9-{seed}.history"));
    let verdict = run.judge(finals, &kept).unwrap();
    let (figures, again, elapsed) = (verdict.figures, run.repeated(), begin.elapsed());
    say(&format!(
        "kill9: {figures:?}, {again} stored batches known again, slowest start {slowest:?}, {elapsed:?}"
    ));
    assert!(verdict.is_clean(), "TIDELOG_SEED={seed}, history in {}\n{verdict}", kept.display());
    assert!(figures.kills >= kills, "{figures:?}");
    // A run in which little happened proves little.
    assert!(figures.acked > 40 * kills, "too few acks: {figures:?}");
    assert!(run.repeated() > kills, "too few stored batches were sent again: {}", run.repeated());
    assert!(figures.observed > 40 * kills, "too few reads: {figures:?}");

    // An orderly stop loses nothing either, and the next start has nothing to repair.
    let command = broker.command().clone();
    assert!(broker.terminate().unwrap().success());
    control::a_cut_segment_is_noticed(&command, &run);
}
