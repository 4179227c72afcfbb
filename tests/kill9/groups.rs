//! Kills the broker while groups of every kind change and commit. Members carry on after each restart:
//! no committed offset goes back, no generation comes back, a static member keeps its place, and no partition
//! has two owners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tidelog_client::{Client, NewTopic};
use tidelog_tests::broker::{BrokerCommand, BrokerProcess, say, seed};
use tidelog_tests::kafka::Connection;
use tidelog_tests::load::draw;
use tidelog_tests::wait::{pause, wait_until};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::consumers::{ConsumerMember, read, write};
use crate::ledger::Ledger;
use crate::members::{ClassicMember, Ended, Group};

/// Kills of a run by default.
const KILLS: u64 = 12;
const PARTITIONS: i32 = 12;
const TOPIC: &str = "grouped";
/// How long commits may take to come again after a restart.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(90);

fn group(name: &'static str, broker: &BrokerProcess) -> Group {
    let stop = Arc::new(AtomicBool::new(false));
    let (ledger, address) = (Ledger::default(), broker.kafka_addr());
    Group { name, topic: TOPIC, partitions: PARTITIONS, broker: address, ledger, stop }
}

fn members(groups: &[Group; 3], url: &str, seed: u64) -> JoinSet<Result<()>> {
    let [classic, consumer, sdk] = groups;
    let mut members = JoinSet::new();
    members.spawn(ClassicMember::new(classic.clone(), "fixed", true, seed).live());
    for (number, name) in (1..).zip(["red", "green"]) {
        members.spawn(ClassicMember::new(classic.clone(), name, false, seed ^ number).live());
    }
    for (number, name) in (3..).zip(["one", "two", "three"]) {
        members.spawn(ConsumerMember::new(consumer.clone(), name, seed ^ number).live());
    }
    for number in 6..8 {
        members.spawn(read(sdk.clone(), url.to_owned(), seed ^ number));
    }
    members.spawn(write(sdk.clone(), url.to_owned()));
    members
}

async fn create_topic(url: &str) -> Result<()> {
    let admin = Client::connect(url).await?.admin();
    admin.create_topic(NewTopic::new(TOPIC).partitions(PARTITIONS)).await?;
    Ok(())
}

/// What a client that comes anew is told.
async fn check_offsets(groups: &[Group; 3]) -> Result<()> {
    let mut connection = Connection::open(groups[0].broker).await?;
    for group in groups {
        match group.check_offsets(&mut connection).await {
            Ok(()) => {}
            Err(Ended::Cut) => anyhow::bail!("the broker does not answer for {}", group.name),
            Err(Ended::Wrong(error)) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn groups_carry_on_where_they_were_whenever_the_broker_is_killed() {
    let (seed, begin) = (seed(), Instant::now());
    let kills = std::env::var("TIDELOG_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    say(&format!("kill9, groups: TIDELOG_SEED={seed} TIDELOG_KILLS={kills}"));
    let home = tempfile::tempdir().unwrap();
    let mut broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(create_topic(&broker.url())).unwrap();
    let groups = [group("classic", &broker), group("consumer", &broker), group("sdk", &broker)];
    let context = runtime.enter();
    let mut members = members(&groups, &broker.url(), seed);
    drop(context);
    let mut random = seed;
    for _ in 0..kills {
        // Each time, every group has committed again before: what carries on is then really a group.
        for group in &groups {
            let (before, _) = group.ledger.figures();
            let what = format!("commits of {}", group.name);
            let progress = wait_until(&what, PROGRESS_DEADLINE, || {
                if let Some(ended) = members.try_join_next() {
                    ended?.context("a member gave up")?;
                }
                Ok(group.ledger.figures().0 > before)
            });
            progress.unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
        }
        pause(Duration::from_millis(draw(&mut random, 1_000)));
        broker = broker.kill9().unwrap().start().unwrap();
        let checked = runtime.block_on(check_offsets(&groups));
        checked.unwrap_or_else(|error| panic!("{error:#}\n{}", broker.log_tail()));
    }
    for group in &groups {
        group.stop.store(true, Ordering::Relaxed);
    }
    members.abort_all();
    runtime.block_on(async {
        while let Some(ended) = members.join_next().await {
            if let Ok(ended) = ended {
                ended.unwrap();
            }
        }
    });
    let broker = broker.kill9().unwrap().start().unwrap();
    runtime.block_on(check_offsets(&groups)).unwrap();
    drop(broker);
    for group in &groups {
        let (commits, generations) = group.ledger.figures();
        say(&format!("kill9, groups: {}: {commits} commits, {generations} generations", group.name));
        assert!(commits > 10 * kills, "too few commits of {}", group.name);
    }
    for group in &groups[..2] {
        assert!(group.ledger.figures().1 > 2, "{} hardly changed", group.name);
    }
    say(&format!("kill9, groups: {kills} kills, {:?}", begin.elapsed()));
}
