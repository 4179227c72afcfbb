//! Every call to the disk fails once, in every way it can: nothing that was acknowledged is lost, and after a
//! restart the log works again.

use tidelog_log::sim_disk::{CallKind, Fault};

use super::model::{Broken, Cut};
use super::planted::Plant;
use super::world::{Trouble, World};

const STEPS: usize = 40;

/// Opens the data directory, in a second process if the first one cannot.
fn start(world: &mut World, cut: Cut) -> Result<(), Broken> {
    let sim = world.sim.clone();
    if world.restart(sim, cut).is_ok() {
        return Ok(());
    }
    let sim = world.sim.kill();
    world.restart(sim, cut)
}

fn work(world: &mut World) -> Result<(), Broken> {
    for _ in 0..STEPS {
        match world.step() {
            Ok(()) => {}
            Err(Trouble::Broken(broken)) => return Err(broken),
            Err(Trouble::Failed(error)) if !world.faulty && !world.full => return Err(error),
            Err(Trouble::Failed(_)) => {
                world.let_go();
                world.parts.iter_mut().for_each(|part| part.model.device_failed());
                world.sim = world.sim.kill();
                start(world, Cut::Process)?;
            }
        }
    }
    Ok(())
}

/// Ends everything in several ways, and works on after the last one.
fn end(world: &mut World) -> Result<(), Broken> {
    world.let_go();
    for _ in 0..2 {
        let sim = world.sim.crash(world.rng.next());
        world.try_recovery(&sim, Cut::Power)?;
    }
    let sim = world.sim.kill();
    world.restart(sim, Cut::Process)?;
    world.faulty = false;
    for at in 0..world.parts.len() {
        world.append(at).map_err(|trouble| format!("{trouble:?}"))?;
    }
    world.commit().map_err(|trouble| format!("{trouble:?}"))
}

/// A world that works until its power is cut; nothing was opened since.
fn crashed(seed: u64) -> Result<World, Broken> {
    let mut world = World::new(seed, Plant::Nothing);
    start(&mut world, Cut::Power)?;
    world.sim.stop_after(150);
    for _ in 0..STEPS {
        if let Err(Trouble::Broken(broken)) = world.step() {
            return Err(broken);
        }
    }
    world.let_go();
    world.sim = world.sim.crash(seed);
    Ok(world)
}

/// One seed takes some seconds; more of them where more crash points are asked for.
fn seeds() -> u64 {
    std::env::var("TIDELOG_CRASH_POINTS")
        .ok()
        .map_or(2, |text| (text.parse::<u64>().unwrap() / 5000).clamp(2, 12))
}

fn ways(kinds: &[CallKind]) -> impl Iterator<Item = (u64, CallKind, Fault)> {
    let ways = |(number, kind): (u64, &CallKind)| {
        let kind = *kind;
        kind.faults().iter().map(move |fault| (number, kind, *fault))
    };
    (0..).zip(kinds).flat_map(ways)
}

#[test]
fn after_any_one_call_has_failed_nothing_acknowledged_is_lost() {
    let mut failed = 0;
    for seed in 1..=seeds() {
        let mut world = World::new(seed, Plant::Nothing);
        let sim = world.sim.clone();
        sim.record();
        start(&mut world, Cut::Power).and_then(|()| work(&mut world)).unwrap();
        for (number, kind, fault) in ways(&sim.take_recorded()) {
            let mut world = World::new(seed, Plant::Nothing);
            world.faulty = true;
            world.sim.fail_call(number, fault);
            let ended =
                start(&mut world, Cut::Power).and_then(|()| work(&mut world)).and_then(|()| end(&mut world));
            ended
                .map_err(|broken| format!("seed {seed}, call {number}, {kind:?} {fault:?}: {broken}"))
                .unwrap();
            failed += 1;
        }
    }
    eprintln!("{failed} failed calls");
    assert!(failed > 100);
}

#[test]
fn after_any_one_call_of_a_recovery_has_failed_nothing_acknowledged_is_lost() {
    let mut failed = 0;
    for seed in 1..=seeds() {
        let mut world = crashed(seed).unwrap();
        world.sim.record();
        let sim = world.sim.clone();
        start(&mut world, Cut::Power).unwrap();
        for (number, kind, fault) in ways(&sim.take_recorded()) {
            let mut world = crashed(seed).unwrap();
            world.faulty = true;
            world.sim.fail_call(number, fault);
            let ended = start(&mut world, Cut::Power).and_then(|()| end(&mut world));
            ended
                .map_err(|broken| format!("seed {seed}, call {number}, {kind:?} {fault:?}: {broken}"))
                .unwrap();
            failed += 1;
        }
    }
    eprintln!("{failed} failed calls of recoveries");
    assert!(failed > 100);
}
