//! A lane with all that is around it: partition, log, dead letters, clocks, and its [`Shadow`], which knows better.

use tidelog_core::codec::Event;
use tidelog_core::delivery::{
    Backoff, Cause, DelayedEdge, Lane, LaneEvent, LaneId, LanePolicy, OnDead, OrderMode, RecordKind,
    RecordSource, SourceRecord,
};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use super::planted::Plant;
use super::rng::Rng;
use super::shadow::{At, Shadow};

/// What breaks a promise, and which.
pub(crate) type Broken = String;

/// Ends a check when it fails.
macro_rules! ensure {
    ($holds:expr, $($told:tt)*) => {
        if !$holds {
            return Err(format!($($told)*));
        }
    };
}
pub(crate) use ensure;

/// Delays that differ from offset to offset, as jitter makes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule;

pub(crate) fn delay_of(offset: usize, attempt: u16) -> i64 {
    let base = [1_000, 5_000, 30_000][usize::from(attempt.clamp(1, 3) - 1)];
    base + i64::try_from(offset * 37 % 11).unwrap() * base / 100
}

impl Backoff for Schedule {
    fn delay_ms(&self, offset: Offset, attempt: u32) -> i64 {
        delay_of(index(offset), u16::try_from(attempt).unwrap())
    }
}

pub(crate) fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).unwrap()
}

pub(crate) fn offset(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap()).unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn id() -> LaneId {
    LaneId { topic_id: TopicId::from_uuid(uuid::Uuid::from_u128(7)), partition: PartitionIndex::ZERO }
}

fn run(number: i32) -> LeaderEpoch {
    LeaderEpoch::new(number).unwrap()
}

/// The partition: a key for each offset, -1 where there is no record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partition {
    pub(crate) keys: Vec<i64>,
    pub(crate) log_start: usize,
    pub(crate) forgets_keys: bool,
}

impl RecordSource for Partition {
    fn next(&mut self, from: Offset) -> Option<SourceRecord> {
        let at = index(from).max(self.log_start);
        let key = *self.keys.get(at)?;
        let kind = if key < 0 { RecordKind::Gone } else { RecordKind::Data };
        let key = if self.forgets_keys { 0 } else { u32::try_from(key.max(0)).unwrap() };
        Some(SourceRecord { offset: offset(at), key, bytes: 10, kind })
    }

    fn bytes_of(&self, _: Offset) -> Option<usize> {
        Some(10)
    }
}

/// A record in the hands of a consumer, who may be a ghost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) member: u64,
    pub(crate) lease: u64,
    pub(crate) offset: usize,
}

/// The world of one lane.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plant: Plant,
    pub(crate) policy: LanePolicy,
    pub(crate) lane: Lane<Schedule>,
    pub(crate) partition: Partition,
    pub(crate) shadow: Shadow,
    /// The log of the lane, and what the lane must be after each event of it.
    pub(crate) log: Vec<bytes::Bytes>,
    pub(crate) shadows: Vec<Shadow>,
    /// How much of the log is durable.
    pub(crate) durable: usize,
    /// The fewest events that are a whole lane: those of the snapshot at the beginning.
    pub(crate) whole: usize,
    /// How far the wall clock was set back.
    pub(crate) set_back: i64,
    wall_before: i64,
    run: i32,
    pub(crate) crashes: u32,
    pub(crate) held: Vec<Held>,
    pub(crate) lost: Vec<Held>,
    /// Every lease there ever was, and its records.
    pub(crate) leases_seen: std::collections::BTreeMap<u64, Vec<usize>>,
    /// Deliveries that count of each record since it was redriven.
    pub(crate) delivered: Vec<u32>,
    /// The dead letters: number and offset; others' have no number.
    pub(crate) letters: Vec<Option<(u64, usize)>>,
    pub(crate) last_redrive: u64,
    /// How many more may be delayed because they were redriven.
    pub(crate) revived: usize,
    pub(crate) settled: Vec<(tidelog_core::delivery::Settle, tidelog_core::delivery::Outcome)>,
    /// What has changed is durable before time passes.
    pub(crate) is_prompt: bool,
    pub(crate) trace: bool,
}

const EPOCH: i64 = 1_700_000_000_000;

impl World {
    pub(crate) fn new(seed: u64, plant: Plant, policy: LanePolicy) -> Result<Self, Broken> {
        let mut shadow = Shadow::new(EPOCH);
        shadow.produce(&[]);
        let mut world = Self {
            rng: Rng::new(seed),
            plant,
            policy,
            lane: Lane::new(id(), policy, Schedule, Offset::ZERO, run(1)),
            partition: Partition { forgets_keys: plant == Plant::NoKeys, ..Partition::default() },
            shadows: vec![shadow.clone()],
            shadow,
            log: Vec::new(),
            durable: 0,
            whole: 0,
            set_back: 0,
            wall_before: EPOCH,
            run: 1,
            crashes: 0,
            held: Vec::new(),
            lost: Vec::new(),
            leases_seen: std::collections::BTreeMap::new(),
            delivered: Vec::new(),
            letters: Vec::new(),
            last_redrive: 0,
            revived: 0,
            settled: Vec::new(),
            is_prompt: seed.is_multiple_of(2),
            trace: std::env::var_os("TIDELOG_TRACE").is_some(),
        };
        world.tick()?;
        world.sync();
        Ok(world)
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.shadow.clock - EPOCH, what());
        }
    }

    pub(crate) const fn wall(&self) -> i64 {
        self.shadow.now - self.set_back
    }

    /// The time that the lane is told.
    pub(crate) fn told(&mut self) -> Timestamp {
        let wall = self.wall();
        if self.plant == Plant::FrozenClock {
            // Whoever keeps the latest time of a clock that was set back stands still.
            self.wall_before = self.wall_before.max(wall);
            return at(self.wall_before);
        }
        self.wall_before = wall;
        at(wall)
    }

    pub(crate) fn produce(&mut self, keys: &[i64]) {
        self.partition.keys.extend(keys);
        self.shadow.produce(&self.partition.keys);
        self.shadows.iter_mut().for_each(|shadow| shadow.produce(&self.partition.keys));
        self.delivered.resize(self.partition.keys.len(), 0);
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, millis: i64) -> Result<(), Broken> {
        if self.is_prompt {
            self.sync();
        }
        self.shadow.now += millis;
        self.shadow.clock += millis;
        self.tick()
    }

    pub(crate) fn tick(&mut self) -> Result<(), Broken> {
        let now = self.told();
        self.lane.tick(now);
        self.shadow.tick(delay_of, &self.policy);
        self.check()
    }

    /// Takes what the lane says that has changed, and sees whether that is right.
    pub(crate) fn check(&mut self) -> Result<(), Broken> {
        let before = self.shadow.next_sequence;
        meet_dying(&self.lane, &mut self.shadow, &self.policy)?;
        for sequence in before..self.shadow.next_sequence {
            self.tell(|| format!("dying {sequence}"));
        }
        compare(&self.lane, &mut self.shadow, &self.partition)?;
        if let Some(event) = self.lane.take_event() {
            self.log.push(event.encode());
            self.shadows.push(self.shadow.clone());
        }
        self.check_limits()
    }

    fn check_limits(&self) -> Result<(), Broken> {
        let (counts, limits) = (self.lane.counts(), self.policy.window);
        ensure!(counts.leased <= limits.leased + self.revived, "I12: {} are leased", counts.leased);
        ensure!(counts.dying <= limits.dying, "I12: {} are dying", counts.dying);
        // Those that are out when there is no room for dead letters may come on top.
        let early = self.policy.delayed_edge == DelayedEdge::EarlyDeadLetter;
        let on_top = self.revived + if early { limits.leased } else { 0 };
        // And so do those that wait for a dying record of their key.
        let on_top = on_top + if self.policy.order == OrderMode::Key { limits.dying } else { 0 };
        let delayed = limits.delayed + on_top;
        ensure!(counts.delayed <= delayed, "I12: {} are delayed", counts.delayed);
        let ahead = counts.end.since(counts.start);
        // What is not there and what was skipped costs nothing.
        let there =
            (index(counts.start)..index(counts.end)).filter(|at| self.shadow.records[*at].at != At::Gone);
        ensure!(
            u64::try_from(there.count()).unwrap() <= limits.lookahead,
            "I12: the window is {ahead} records long"
        );
        Ok(())
    }

    pub(crate) fn sync(&mut self) {
        self.durable = self.log.len();
    }

    /// What the first events of the log give.
    pub(crate) fn restore(
        &self,
        events: usize,
        log_start: usize,
    ) -> Result<(Lane<Schedule>, Shadow), Broken> {
        let wall = self.wall();
        let policy = if self.plant == Plant::DueInMemory {
            LanePolicy { max_delay_ms: 0, ..self.policy }
        } else {
            self.policy
        };
        let mut lane = Lane::replay(id(), policy, Schedule, run(self.run + 1));
        for event in &self.log[..events] {
            let event = LaneEvent::decode(event).map_err(|error| format!("I8: {error}"))?;
            lane.apply(&event).map_err(|error| format!("I8: {error}"))?;
        }
        let partition = &self.partition;
        lane.loaded(at(wall), |wanted| {
            if index(wanted) < log_start {
                return None;
            }
            let key = u32::try_from(*partition.keys.get(index(wanted))?).ok()?;
            Some(if partition.forgets_keys || self.plant == Plant::KeysLostByCrash { 0 } else { key })
        });
        lane.reconfigure(self.policy, Schedule);
        let mut shadow = self.shadows[events].clone();
        shadow.crash(self.shadow.now, wall, &self.policy);
        meet_dying(&lane, &mut shadow, &self.policy)?;
        compare(&lane, &mut shadow, &self.partition)?;
        Ok((lane, shadow))
    }

    /// The last of the first events of the log.
    pub(crate) fn last_of(&self, events: usize) -> String {
        let last = self.log[..events].last();
        last.map_or_else(String::new, |event| format!("{:?}", LaneEvent::decode(event)))
    }

    /// The broker dies: what was durable is left, and by chance more.
    pub(crate) fn crash(&mut self) -> Result<(), Broken> {
        let more = self.rng.index(self.log.len() - self.durable + 1);
        let events = self.durable + more;
        self.tell(|| format!("crash: {events} of {} events, {} durable", self.log.len(), self.durable));
        self.wall_before = self.wall();
        let (lane, shadow) = self.restore(events, self.partition.log_start)?;
        (self.lane, self.shadow) = (lane, shadow);
        self.shadow.log_start = self.partition.log_start;
        self.log.truncate(events);
        self.shadows.truncate(events + 1);
        self.durable = events;
        self.run += 1;
        self.crashes += 1;
        self.lost.append(&mut self.held);
        self.settled.clear();
        if self.plant == Plant::StartPassesDelayed {
            self.start_behind_delayed();
        }
        self.check()
    }

    /// Everything after the last that is neither settled nor delayed is taken for done.
    fn start_behind_delayed(&mut self) {
        let delayed = |at: At| matches!(at, At::Waiting { .. });
        let records = &self.shadow.records;
        let passed = records.iter().position(|record| !record.is_terminal() && !delayed(record.at));
        let passed = passed.unwrap_or(records.len()).min(index(self.lane.end()));
        (0..passed).for_each(|at| {
            if delayed(self.shadow.records[at].at) {
                self.lane.gone(offset(at));
            }
        });
    }

    /// Writes a snapshot, and by chance drops everything before it.
    pub(crate) fn compact(&mut self) {
        let snapshot: Vec<_> = self.lane.snapshot().iter().map(Event::encode).collect();
        let count = snapshot.len();
        self.log.extend(snapshot);
        self.shadow.stored_clock = self.shadow.clock;
        self.shadows.extend(std::iter::repeat_n(self.shadow.clone(), count));
        if self.rng.percent(50) {
            self.log.drain(..self.log.len() - count);
            self.shadows = std::iter::repeat_n(self.shadow.clone(), count + 1).collect();
            self.durable = self.log.len();
            self.whole = self.durable;
        }
    }
}

/// Takes note of the records that died, and sees whether they had to.
fn meet_dying(lane: &Lane<Schedule>, shadow: &mut Shadow, policy: &LanePolicy) -> Result<(), Broken> {
    let dying = lane.dying(usize::MAX);
    for one in &dying {
        let at = index(one.offset);
        let record = shadow.records[at].clone();
        if let At::Dying(sequence, cause) = record.at {
            ensure!((sequence, cause) == (one.sequence, one.cause), "I2: dying {one:?} was {record:?}");
            continue;
        }
        ensure!(
            one.sequence == shadow.next_sequence,
            "I2: number {} follows {}",
            one.sequence,
            shadow.next_sequence
        );
        let spent = record.attempts >= policy.max_attempts;
        let may_die = match one.cause {
            Cause::MaxAttempts => spent && matches!(record.at, At::Condemned { .. }),
            Cause::LeaseExpired => spent && matches!(record.at, At::Condemned { .. }),
            Cause::Rejected => record.rejected,
            Cause::Retention | Cause::DelayedEdge => record.is_attempted() && !record.is_terminal(),
            Cause::KeyFollow => {
                policy.on_dead == OnDead::Follow
                    && policy.order == OrderMode::Key
                    && !record.is_terminal()
                    && shadow.is_in_order(at, &[], policy.order)
            }
        };
        ensure!(may_die, "a record died that must not: {one:?} of {record:?}");
        ensure!(one.attempts == record.attempts, "I11: {one:?} died of {record:?}");
        ensure!(one.redrives == record.redrives, "I8: {one:?} was {record:?}");
        shadow.die(at, one.sequence, one.cause);
    }
    let count = shadow.count(|record| matches!(record.at, At::Dying(..)));
    ensure!(count == dying.len(), "I8: {count} records must be dying: {dying:?}");
    Ok(())
}

/// I15, I7, I8: the lane counts as one counts on one's fingers.
fn compare(lane: &Lane<Schedule>, shadow: &mut Shadow, partition: &Partition) -> Result<(), Broken> {
    let counts = lane.counts();
    let end = index(counts.end);
    ensure!(end <= partition.keys.len(), "the end is at {end} of {}", partition.keys.len());
    let open = |at: &usize| !shadow.records[*at].is_terminal();
    let start = (shadow.start..end).find(open).unwrap_or(end).max(shadow.start);
    ensure!(index(counts.start) == start, "I7: the start is {}, not {start}", counts.start);
    let touched = (end..shadow.records.len()).find(|at| shadow.records[*at].is_attempted());
    ensure!(touched.is_none(), "I1: the end {end} is before {touched:?}, which somebody had");
    let below = |is: &dyn Fn(usize) -> bool| (0..end).filter(|at| is(*at)).count();
    let waiting = |at: usize| match shadow.records[at].at {
        At::Waiting { due, .. } => due > shadow.clock,
        At::Condemned { .. } => true,
        _ => false,
    };
    let available = below(&|at| shadow.is_free(at));
    ensure!(
        counts.available == available,
        "I15: {} available, not {available}, of {:?}",
        counts.available,
        &shadow.records[shadow.start.min(end)..end]
    );
    let delayed = below(&waiting);
    ensure!(counts.delayed == delayed, "I15: {} delayed, not {delayed}", counts.delayed);
    let leased = shadow.count(|record| matches!(record.at, At::Leased(_)));
    ensure!(counts.leased == leased, "I15: {} leased, not {leased}", counts.leased);
    let dead = shadow.count(|record| matches!(record.at, At::Dead(..)));
    ensure!(counts.dead == dead, "I15: {} dead, not {dead}", counts.dead);
    for letter in lane.dead_letters(Offset::ZERO) {
        let record = &shadow.records[index(letter.offset)];
        let known = At::Dead(letter.sequence, letter.place.get());
        ensure!(record.at == known, "I8: {letter:?} is {record:?}");
        ensure!(record.redrives == letter.redrives, "I8: {letter:?} is {record:?}");
    }
    shadow.start = start;
    Ok(())
}
