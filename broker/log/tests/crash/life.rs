//! Random lives of a data directory, from crash to crash.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tidelog_log::sim_disk::{Fault, SimDisk};

use super::model::{Broken, Cut};
use super::planted::Plant;
use super::reached::Reached;
use super::world::{Trouble, World, failed};

/// Which life to live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) plant: Plant,
    /// Calls fail now and then.
    pub(crate) faulty: bool,
    /// How many times the data directory comes to an end.
    pub(crate) ends: u64,
    /// How many other outcomes of each end are looked at.
    pub(crate) branches: u64,
}

impl Default for Life {
    fn default() -> Self {
        Self { seed: 0, plant: Plant::Nothing, faulty: false, ends: 12, branches: 3 }
    }
}

/// Lives a life; what it went through.
pub(crate) fn live(life: Life) -> Result<Reached, Broken> {
    let mut world = World::new(life.seed, life.plant);
    world.faulty = life.faulty;
    world.restart(world.sim.clone(), Cut::Power)?;
    for _ in 0..life.ends {
        run(&mut world)?;
        world.let_go();
        let power = !world.rng.one_in(8);
        for _ in 0..life.branches {
            let (sim, cut) = end(&mut world, power);
            world.try_recovery(&sim, cut)?;
        }
        let (sim, cut) = end(&mut world, power);
        world.restart(sim, cut)?;
        world.reached.crash_points += 1;
    }
    Ok(world.reached)
}

fn end(world: &mut World, power: bool) -> (SimDisk, Cut) {
    if power { (world.sim.crash(world.rng.next()), Cut::Power) } else { (world.sim.kill(), Cut::Process) }
}

impl World {
    /// Makes durable what relaxed policies have left to the operating system, as the owner does from time to time.
    pub(crate) fn sync_loose(&mut self) -> Result<(), Trouble> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let synced = dir.sync_loose();
        self.hear()?;
        self.reached.loose_synced += synced.map_err(failed)? as u64;
        // A segment that could not be opened is synced the next time.
        if !self.faulty && !self.sim.is_stopped() {
            self.parts.iter_mut().filter(|part| part.log.is_some()).for_each(|part| part.model.synced());
        }
        Ok(())
    }
}

/// Works until the machine stops or it has been long enough.
fn run(world: &mut World) -> Result<(), Broken> {
    if world.rng.one_in(8) {
        // Ends between two steps, with all threads at rest.
    } else {
        let more = world.rng.below(80) + 1;
        world.sim.stop_after(more);
    }
    for _ in 0..40 {
        if world.faulty && world.rng.one_in(6) {
            let fault = [Fault::Io, Fault::Io, Fault::Full, Fault::Short, Fault::Interrupted];
            let fault = fault[usize::try_from(world.rng.below(5)).unwrap_or(0)];
            let call = world.sim.calls() + world.rng.below(20);
            world.sim.fail_call(call, fault);
        }
        let step = world.step();
        if world.sim.is_stopped() {
            return match step {
                Err(Trouble::Broken(broken)) => Err(broken),
                _ => Ok(()),
            };
        }
        match step {
            Ok(()) => {}
            Err(Trouble::Broken(broken)) => return Err(broken),
            Err(Trouble::Failed(error)) if !world.faulty && !world.full => return Err(error),
            Err(Trouble::Failed(_)) => {
                // Nobody goes on with what has failed: the process ends and starts again.
                world.let_go();
                world.parts.iter_mut().filter(|_| world.faulty).for_each(|part| part.model.device_failed());
                world.reached.crash_points += 1;
                let sim = world.sim.kill();
                world.restart(sim, Cut::Process)?;
            }
        }
    }
    Ok(())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// What all threads of a test share.
#[derive(Default)]
struct Lives {
    next_seed: AtomicU64,
    points: AtomicU64,
    failed: AtomicBool,
    reached: Mutex<Reached>,
}

impl Lives {
    /// Lives one life after the other until enough crash points are gone through.
    fn live(&self, wanted: u64, faulty: bool) {
        while self.points.load(Ordering::Relaxed) < wanted && !self.failed.load(Ordering::Relaxed) {
            let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
            match live(Life { seed, faulty, ..Life::default() }) {
                Ok(reached) => {
                    self.points.fetch_add(reached.crash_points, Ordering::Relaxed);
                    self.reached.lock().unwrap().add(reached);
                }
                Err(broken) => {
                    eprintln!("TIDELOG_SEED={seed} breaks a promise (faulty: {faulty}): {broken}");
                    self.failed.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    }
}

/// Lives on all processors, or on one when what happens is told.
fn live_through(wanted: u64, faulty: bool) {
    let first = setting("TIDELOG_SEED", 1);
    let lives = Lives { next_seed: AtomicU64::new(first), ..Lives::default() };
    let started = Instant::now();
    let traced = std::env::var_os("TIDELOG_TRACE").is_some();
    let threads =
        std::thread::available_parallelism().map_or(1, |count| if traced { 1 } else { count.get() });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| lives.live(wanted, faulty));
        }
    });
    let (points, seeds) = (lives.points.into_inner(), lives.next_seed.into_inner() - first);
    let reached = lives.reached.into_inner().unwrap();
    eprintln!(
        "{points} crash points in {seeds} lives, {:.1} s: {reached:?}",
        started.elapsed().as_secs_f64()
    );
    assert!(!lives.failed.into_inner(), "a promise was broken: see the seed above");
    assert!(points >= wanted);
    assert!(reached.everything(), "something rare has never happened: {reached:?}");
}

#[test]
fn what_was_acknowledged_or_served_survives_every_crash() {
    live_through(setting("TIDELOG_CRASH_POINTS", 4000), false);
}

#[test]
fn what_was_acknowledged_or_served_survives_crashes_of_a_device_that_fails() {
    live_through(setting("TIDELOG_CRASH_POINTS", 4000) / 2, true);
}
