//! The checker is only worth something if it sees: honest histories are found clean, and each anomaly that
//! is planted into one is named.
//!
//! An honest history comes from a naive broker: one vector a partition, a flushed end, kills that take the
//! unflushed records, producers that repeat what was in flight.

use std::cell::Cell;

use super::{Invariant, check};
use crate::history::{Event, Nanos, Seen, Tp};
use crate::payload::{Value, mixed};

const PARTITIONS: usize = 3;
const PRODUCERS: u32 = 4;

/// One partition of the naive broker.
#[derive(Default)]
struct Partition {
    records: Vec<Value>,
    flushed: usize,
    read_to: usize,
}

struct Simulation {
    random: u64,
    clock: Nanos,
    partitions: Vec<Partition>,
    sent: Vec<u64>,
    /// Appended and not yet acked.
    in_flight: Vec<(Value, Tp)>,
    history: Vec<Event>,
}

fn tp(partition: usize) -> Tp {
    Tp { topic: 1, partition: i32::try_from(partition).unwrap() }
}

fn offset(position: usize) -> i64 {
    i64::try_from(position).unwrap()
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut partitions = Vec::new();
        partitions.resize_with(PARTITIONS, Partition::default);
        let history = (0..PARTITIONS)
            .map(|partition| Event::ReadFrom { at: 0, reader: 9, tp: tp(partition), from: 0 })
            .collect();
        let sent = vec![0; PRODUCERS as usize];
        Self { random: seed, clock: 1, partitions, sent, in_flight: Vec::new(), history }
    }

    fn draw(&mut self, below: usize) -> usize {
        usize::try_from(mixed(&mut self.random) % below as u64).unwrap()
    }

    fn tick(&mut self) -> Nanos {
        self.clock += 10;
        self.clock
    }

    fn partition(&mut self, of: Tp) -> &mut Partition {
        &mut self.partitions[usize::try_from(of.partition).unwrap()]
    }

    fn send(&mut self) {
        let producer = self.draw(PRODUCERS as usize);
        let value = Value::new(u32::try_from(producer).unwrap(), self.sent[producer]);
        self.sent[producer] += 1;
        let tp = tp(self.draw(PARTITIONS));
        let at = self.tick();
        self.history.push(Event::SendInvoked { at, value, tp });
        if self.draw(50) == 0 {
            let at = self.tick();
            self.history.push(Event::SendFailed { at, value });
            return;
        }
        self.partition(tp).records.push(value);
        self.in_flight.push((value, tp));
    }

    fn flush(&mut self) {
        for partition in &mut self.partitions {
            partition.flushed = partition.records.len();
        }
        for (value, tp) in std::mem::take(&mut self.in_flight) {
            let records = &self.partition(tp).records;
            let position = records.iter().rposition(|record| *record == value).unwrap();
            let at = self.tick();
            self.history.push(Event::SendAcked { at, value, tp, offset: offset(position) });
        }
    }

    fn read(&mut self) {
        let index = self.draw(PARTITIONS);
        let at = self.tick();
        let partition = &mut self.partitions[index];
        while partition.read_to < partition.flushed {
            let seen =
                Seen { offset: offset(partition.read_to), value: Some(partition.records[partition.read_to]) };
            self.history.push(Event::Read { at, reader: 9, tp: tp(index), seen });
            partition.read_to += 1;
        }
    }

    fn ask(&mut self) {
        let index = self.draw(PARTITIONS);
        let invoked = self.tick();
        let high_watermark = offset(self.partitions[index].flushed);
        let at = self.tick();
        self.history.push(Event::Watermarks { invoked, at, tp: tp(index), log_start: 0, high_watermark });
    }

    fn kill(&mut self) {
        let at = self.tick();
        self.history.push(Event::Down { at });
        for index in 0..PARTITIONS {
            // A part of the unflushed tail survives, as a kernel would have it.
            let unflushed = self.partitions[index].records.len() - self.partitions[index].flushed;
            let kept = self.draw(unflushed + 1);
            let partition = &mut self.partitions[index];
            partition.records.truncate(partition.flushed + kept);
            partition.flushed = partition.records.len();
        }
        let at = self.tick();
        self.history.push(Event::Up { at });
        // Half of the producers send again what was in flight, the others report that nobody knows.
        for (value, tp) in std::mem::take(&mut self.in_flight) {
            if value.producer() % 2 == 0 {
                self.partition(tp).records.push(value);
                self.in_flight.push((value, tp));
            } else {
                let at = self.tick();
                self.history.push(Event::SendUnknown { at, value });
            }
        }
    }

    fn finish(mut self) -> Vec<Event> {
        self.flush();
        for (index, partition) in self.partitions.iter().enumerate() {
            let seen =
                |(position, value): (usize, &Value)| Seen { offset: offset(position), value: Some(*value) };
            let records = partition.records.iter().enumerate().map(seen).collect();
            let high_watermark = offset(partition.records.len());
            self.history.push(Event::FinalRead { tp: tp(index), log_start: 0, high_watermark, records });
        }
        self.history
    }
}

fn honest(seed: u64) -> Vec<Event> {
    let mut simulation = Simulation::new(seed);
    for _ in 0..600 {
        match simulation.draw(20) {
            0..12 => simulation.send(),
            12..15 => simulation.flush(),
            15..17 => simulation.read(),
            17..19 => simulation.ask(),
            _ => simulation.kill(),
        }
    }
    simulation.finish()
}

/// Applies `change` to the last event it accepts, among those from the middle of the history on.
fn plant(history: &mut [Event], mut change: impl FnMut(&mut Event) -> bool) {
    let middle = history.len() / 3;
    assert!(history[middle..].iter_mut().any(&mut change), "the history has no place for this mutant");
}

fn final_records(event: &mut Event) -> Option<(&mut i64, &mut Vec<Seen>)> {
    match event {
        Event::FinalRead { high_watermark, records, .. } if records.len() > 20 => {
            Some((high_watermark, records))
        }
        _ => None,
    }
}

fn change_final(history: &mut [Event], change: impl Fn(&mut i64, &mut Vec<Seen>)) {
    plant(history, |event| {
        let found = final_records(event);
        found.map(|(end, records)| change(end, records)).is_some()
    });
}

/// Shifts the final records from `position` on by one.
fn renumber(records: &mut [Seen]) {
    for (position, seen) in records.iter_mut().enumerate() {
        seen.offset = offset(position);
    }
}

type Mutant = (&'static str, Invariant, fn(&mut Vec<Event>));

const MUTANTS: [Mutant; 23] = [
    ("the tail of the log is gone", Invariant::NoLostAck, |history| {
        change_final(history, |end, records| {
            records.truncate(records.len() / 2);
            *end = offset(records.len());
        });
    }),
    ("a record that was read is gone", Invariant::NoLostObservation, |history| {
        change_final(history, |end, records| {
            records.truncate(3);
            *end = 3;
        });
    }),
    ("one record vanished and the rest moved up", Invariant::Agreement, |history| {
        change_final(history, |end, records| {
            records.remove(5);
            renumber(records);
            *end -= 1;
        });
    }),
    ("one record vanished and left a hole", Invariant::Gapless, |history| {
        change_final(history, |_, records| {
            records.remove(5);
        });
    }),
    ("two records swapped places", Invariant::Agreement, |history| {
        change_final(history, |_, records| {
            let value = records[4].value;
            records[4].value = records[5].value;
            records[5].value = value;
        });
    }),
    ("a value was damaged on disk", Invariant::Integrity, |history| {
        change_final(history, |_, records| records[6].value = None);
    }),
    ("a reader got damaged bytes", Invariant::Integrity, |history| {
        plant(history, |event| match event {
            Event::Read { seen, .. } => {
                seen.value = None;
                true
            }
            _ => false,
        });
    }),
    ("a record came out of nothing", Invariant::Integrity, |history| {
        change_final(history, |end, records| {
            records.push(Seen { offset: *end, value: Some(Value::new(77, 1)) });
            *end += 1;
        });
    }),
    ("a refused record is in the log", Invariant::Integrity, |history| {
        let refused = history.iter().find_map(|event| match event {
            Event::SendFailed { value, .. } => Some(*value),
            _ => None,
        });
        let value = refused.expect("some sends are refused");
        change_final(history, |end, records| {
            records.push(Seen { offset: *end, value: Some(value) });
            *end += 1;
        });
    }),
    ("a record is in another partition", Invariant::Integrity, |history| {
        let mut moved = None;
        change_final(history, |_, _| {});
        for event in history.iter_mut() {
            if let Event::FinalRead { records, high_watermark, .. } = event {
                match moved {
                    None => moved = records.last().and_then(|seen| seen.value),
                    Some(_) => {
                        records.push(Seen { offset: *high_watermark, value: moved });
                        *high_watermark += 1;
                        break;
                    }
                }
            }
        }
    }),
    ("an ack names the wrong offset", Invariant::Agreement, |history| {
        plant(history, |event| match event {
            // A producer that never repeats: else the neighbour may be a copy of the same record.
            Event::SendAcked { value, offset, .. } if *offset > 0 && value.producer() % 2 == 1 => {
                *offset -= 1;
                true
            }
            _ => false,
        });
    }),
    ("an offset was given out twice", Invariant::Agreement, |history| {
        let mut first: Option<(Tp, i64)> = None;
        plant(history, |event| match (event, first) {
            (Event::SendAcked { tp, offset, .. }, None) => {
                first = Some((*tp, *offset));
                false
            }
            (Event::SendAcked { tp, offset, .. }, Some(place)) if *tp == place.0 && *offset != place.1 => {
                *offset = place.1;
                true
            }
            _ => false,
        });
    }),
    ("the high watermark went back", Invariant::MonotoneWatermarks, |history| {
        plant(history, |event| match event {
            Event::Watermarks { high_watermark, .. } if *high_watermark > 10 => {
                *high_watermark = 2;
                true
            }
            _ => false,
        });
    }),
    ("the log start went back", Invariant::MonotoneWatermarks, |history| {
        plant(history, |event| match event {
            Event::Watermarks { log_start, high_watermark, .. } if *high_watermark > 10 => {
                *log_start = 5;
                true
            }
            _ => false,
        });
    }),
    ("the high watermark lags behind an ack", Invariant::FreshWatermarks, |history| {
        let acked = history.iter().rev().find_map(|event| match event {
            Event::SendAcked { at, tp, offset, .. } => Some((*at, *tp, *offset)),
            _ => None,
        });
        let (at, tp, offset) = acked.expect("some sends are acked");
        let (invoked, answered) = (at + 1, at + 2);
        history.push(Event::Watermarks { invoked, at: answered, tp, log_start: 0, high_watermark: offset });
    }),
    ("a record was written twice without an outage", Invariant::NoStrayDuplicates, |history| {
        history.retain(|event| !matches!(event, Event::Down { .. } | Event::Up { .. }));
        change_final(history, |end, records| {
            let value = records[7].value;
            records.push(Seen { offset: *end, value });
            *end += 1;
        });
    }),
    ("a record of an idempotent producer was written twice", Invariant::StoredOnce, |history| {
        let producer = Cell::new(None);
        change_final(history, |end, records| {
            let value = records[7].value;
            producer.set(value.map(Value::producer));
            records.push(Seen { offset: *end, value });
            *end += 1;
        });
        let producer = producer.get().expect("a value that was sent");
        history.insert(0, Event::Idempotent { at: 0, producer });
    }),
    ("a producer's records were written in another order", Invariant::ProducerOrder, |history| {
        // The send that came last claims to have come first.
        let mut renamed = None;
        for event in history.iter_mut().rev() {
            if let Event::SendAcked { value, offset, .. } = event
                && value.sequence() > 5
                && *offset > 5
            {
                renamed = Some(*value);
                break;
            }
        }
        let from = renamed.expect("some sends are acked");
        let to = Value::new(u32::try_from(from.producer()).unwrap(), 0);
        swap_names(history, from, to);
    }),
    ("an ack overtook real time", Invariant::RealTimeOrder, |history| {
        let late = history.iter().rev().find_map(|event| match event {
            Event::SendAcked { tp, offset, .. } if *offset > 20 => Some((*tp, *offset)),
            _ => None,
        });
        let (tp, offset) = late.expect("some sends are acked late");
        // A send that was acked at the very start with an offset that lies at the end.
        let value = Value::new(50, 0);
        history.insert(0, Event::SendAcked { at: 1, value, tp, offset: offset + 1000 });
        history.insert(0, Event::SendInvoked { at: 0, value, tp });
    }),
    ("a reader skipped a record", Invariant::ContiguousReads, |history| {
        let skipped =
            history.iter().rposition(|event| matches!(event, Event::Read { seen, .. } if seen.offset > 0));
        let position = skipped.expect("something is read");
        let Event::Read { reader, tp, at, seen } = history[position] else { return };
        history.remove(position);
        let seen = Seen { offset: seen.offset + 1, value: seen.value };
        history.insert(position, Event::Read { at, reader, tp, seen });
    }),
    ("a reader went back", Invariant::ContiguousReads, |history| {
        let read = history.iter().rposition(|event| matches!(event, Event::Read { .. }));
        let position = read.expect("something is read");
        history.insert(position, history[position].clone());
    }),
    ("the high watermark is above the records", Invariant::Gapless, |history| {
        change_final(history, |end, _| *end += 1);
    }),
    ("a partition was not looked at", Invariant::FinalRead, |history| {
        let last = history.iter().rposition(|event| matches!(event, Event::FinalRead { .. }));
        history.remove(last.expect("there is a final read"));
    }),
];

/// Exchanges two values wherever they are named.
fn swap_names(history: &mut [Event], one: Value, other: Value) {
    let swap = |value: &mut Value| {
        if *value == one {
            *value = other;
        } else if *value == other {
            *value = one;
        }
    };
    for event in history {
        match event {
            Event::SendInvoked { value, .. }
            | Event::SendAcked { value, .. }
            | Event::SendFailed { value, .. }
            | Event::SendUnknown { value, .. } => swap(value),
            Event::Read { seen, .. } => seen.value.iter_mut().for_each(swap),
            Event::FinalRead { records, .. } => {
                records.iter_mut().filter_map(|seen| seen.value.as_mut()).for_each(swap);
            }
            _ => {}
        }
    }
}

#[test]
fn honest_histories_are_clean() {
    for seed in 0..200 {
        let history = honest(seed);
        let verdict = check(&history);
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        assert!(
            verdict.figures.acked > 20 && verdict.figures.kills > 0,
            "seed {seed}: {:?}",
            verdict.figures
        );
    }
}

#[test]
fn every_planted_anomaly_is_named() {
    let mut blind = Vec::new();
    for seed in 0..20 {
        for (name, invariant, mutate) in MUTANTS {
            let mut history = honest(seed);
            mutate(&mut history);
            let verdict = check(&history);
            if !verdict.counts.contains_key(&invariant) {
                blind.push(format!("seed {seed}: {name}: no {invariant:?} in {:?}", verdict.counts));
            }
        }
    }
    assert!(blind.is_empty(), "{}", blind.join("\n"));
}

#[test]
fn every_invariant_has_a_mutant() {
    use Invariant as I;
    let all = [
        I::Agreement,
        I::Integrity,
        I::NoLostAck,
        I::NoLostObservation,
        I::MonotoneWatermarks,
        I::FreshWatermarks,
        I::NoStrayDuplicates,
        I::StoredOnce,
        I::ProducerOrder,
        I::RealTimeOrder,
        I::ContiguousReads,
        I::Gapless,
        I::FinalRead,
    ];
    for invariant in all {
        assert!(MUTANTS.iter().any(|(_, named, _)| *named == invariant), "{invariant:?}");
    }
}
