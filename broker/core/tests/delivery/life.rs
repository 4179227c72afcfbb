//! A life: anything happens by chance for some hundred steps, and then everything has to come to an end.

use tidelog_core::delivery::{DelayedEdge, LanePolicy, LeasePolicy, OnDead, OrderMode, WindowLimits};

use super::planted::Plant;
use super::rng::Rng;
use super::world::{Broken, World, ensure};

/// How to live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) plant: Plant,
    pub(crate) steps: u64,
}

impl Default for Life {
    fn default() -> Self {
        Self { seed: 1, plant: Plant::Nothing, steps: 150 }
    }
}

/// What has happened, to know that a life was worth it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) deliveries: u64,
    pub(crate) letters: u64,
    pub(crate) redrives: u64,
    pub(crate) prefixes: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.deliveries += other.deliveries;
        self.letters += other.letters;
        self.redrives += other.redrives;
        self.prefixes += other.prefixes;
    }

    const fn happened(&self) -> bool {
        self.crashes > 0 && self.deliveries > 0 && self.letters > 0 && self.redrives > 0 && self.prefixes > 0
    }
}

/// Rules by chance: limits so small that they are met.
fn policy(rng: &mut Rng) -> LanePolicy {
    let tight = rng.percent(40);
    let window = WindowLimits {
        leased: if tight { 4 } else { 50 },
        delayed: if tight { 3 } else { 50 },
        dying: if tight { 2 } else { 50 },
        lookahead: if tight { 12 } else { 500 },
    };
    LanePolicy {
        order: rng.pick(&[OrderMode::Unordered, OrderMode::Key, OrderMode::Partition]),
        on_dead: rng.pick(&[OnDead::Continue, OnDead::Follow]),
        max_attempts: rng.pick(&[1, 2, 3, 4]),
        lease: LeasePolicy { min_ms: 1_000, default_ms: 8_000, max_ms: 15_000, total_ms: 40_000 },
        window,
        delayed_edge: if rng.percent(20) { DelayedEdge::EarlyDeadLetter } else { DelayedEdge::Stall },
        max_delay_ms: 60_000,
        max_releases: 3,
        max_redrives: 2,
    }
}

fn keys(rng: &mut Rng, count: usize) -> Vec<i64> {
    (0..count).map(|_| if rng.percent(8) { -1 } else { rng.millis(5) }).collect()
}

/// Lives a life.
pub(crate) fn live(life: Life) -> Result<Seen, Broken> {
    let mut rng = Rng::new(life.seed ^ 0xabcd);
    let policy = policy(&mut rng);
    let mut world = World::new(life.seed, life.plant, policy)?;
    world.tell(|| format!("{policy:?}"));
    let mut seen = Seen { steps: life.steps, ..Seen::default() };
    let first = keys(&mut rng, 10);
    world.produce(&first);
    for _ in 0..life.steps {
        step(&mut world, &mut rng, &mut seen)?;
    }
    seen.prefixes = u64::try_from(world.log.len()).unwrap();
    // I8: what each event leaves is what was there after it.
    for events in world.whole..=world.log.len() {
        world.tell(|| format!("the first {events} of {} events: {}", world.log.len(), world.last_of(events)));
        world.restore(events, world.shadows[events].log_start)?;
    }
    come_to_rest(&mut world)?;
    seen.crashes = u64::from(world.crashes);
    seen.letters = u64::try_from(world.letters.iter().flatten().count()).unwrap();
    seen.redrives = u64::try_from(world.revived).unwrap();
    Ok(seen)
}

fn step(world: &mut World, rng: &mut Rng, seen: &mut Seen) -> Result<(), Broken> {
    match rng.below(1_000) {
        0..300 => {
            let (member, count) = (rng.below(3), 1 + rng.index(6));
            seen.deliveries += u64::try_from(world.acquire(member, count, false)?).unwrap();
            Ok(())
        }
        300..600 => world.settle_one(false),
        600..640 => world.repeat(),
        640..760 => {
            let longest = rng.pick(&[200, 2_000, 10_000]);
            world.pass(1 + rng.millis(longest))
        }
        760..770 => {
            world.set_back += rng.pick(&[1_000, 3_600_000]);
            world.tell(|| "the clock is set back".to_owned());
            world.tick()
        }
        770..860 => world.bury(false).map(drop),
        860..885 => world.leave(rng.below(3)),
        885..910 => {
            world.sync();
            Ok(())
        }
        910..945 => world.crash(),
        945..960 => world.retain(),
        960..970 => world.redrive(),
        970..973 => world.resolve(),
        973..975 => world.compacted_away(),
        975..985 => {
            world.tick()?;
            world.compact();
            Ok(())
        }
        _ => {
            let more = 1 + rng.index(4);
            let more = keys(rng, more);
            world.produce(&more);
            Ok(())
        }
    }
}

/// The longest that it may take until everything is settled once everybody is well, in milliseconds.
const REST_MS: i64 = 30 * 60 * 1_000;

/// I17, I1, I2: with consumers that are well and dead letters that are written, everything comes to an end.
fn come_to_rest(world: &mut World) -> Result<(), Broken> {
    let began = world.shadow.now;
    loop {
        let mut moved = false;
        while world.acquire(9, 5, true)? > 0 {
            moved = true;
        }
        while !world.held.is_empty() {
            moved = true;
            world.settle_one(true)?;
        }
        moved |= world.bury(true)?;
        world.check_letters()?;
        if world.shadow.records.iter().all(super::shadow::Record::is_terminal) {
            break;
        }
        if !moved {
            let next = world.lane.next_deadline();
            ensure!(
                next.is_some(),
                "I17: nothing moves, and nothing is waited for: {:?}, {:?}",
                world.lane.counts(),
                world.shadow.records.iter().enumerate().find(|(_, record)| !record.is_terminal())
            );
            let wait = next.map_or(0, |next| next.millis() - world.wall());
            // So that the lane is asked again just when it wants to be.
            world.pass(wait.clamp(1, REST_MS))?;
        }
        ensure!(world.shadow.now - began <= REST_MS, "I17: not settled after {REST_MS} ms");
    }
    let counts = world.lane.counts();
    ensure!(counts.start == counts.end, "I17: {counts:?} at the end");
    Ok(())
}

fn setting(name: &str, or: u64) -> u64 {
    std::env::var(name).map_or(or, |value| value.parse().unwrap())
}

#[test]
fn every_record_of_every_life_comes_to_one_end() {
    let (first, lives) = (setting("TIDELOG_SEED", 1), setting("TIDELOG_LANE_LIVES", 300));
    let mut seen = Seen::default();
    for seed in first..first + lives {
        match live(Life { seed, ..Life::default() }) {
            Ok(life) => seen.add(life),
            Err(broken) => panic!("TIDELOG_SEED={seed} TIDELOG_LANE_LIVES=1 breaks a promise: {broken}"),
        }
    }
    eprintln!("{lives} lives: {seen:?}");
    assert!(lives < 100 || seen.happened(), "something rare has never happened: {seen:?}");
}
