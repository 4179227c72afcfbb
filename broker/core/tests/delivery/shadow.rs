//! What a lane must be: a record after the other, without any cleverness.

use std::collections::BTreeMap;

use tidelog_core::delivery::{Cause, LanePolicy, OrderMode};

/// How long a record waits that should die while there is no room for it, in milliseconds.
pub(crate) const CONDEMNED_MS: i64 = 1_000;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Nobody had it, or it was given back.
    Free,
    /// It comes again at `due` by the lane's clock. It failed at `since` by the true clock, and was promised `delay`.
    Waiting {
        due: i64,
        since: i64,
        delay: i64,
    },
    /// It should die and there was no room.
    Condemned {
        due: i64,
    },
    /// A consumer has it.
    Leased(u64),
    Acked,
    Dying(u64, Cause),
    /// Its number and its place in the dead letters.
    Dead(u64, i64),
    /// There is no record, or it was skipped.
    Gone,
    /// It was a dead letter that somebody has seen to.
    Resolved,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: At,
    pub(crate) key: i64,
    pub(crate) attempts: u16,
    pub(crate) releases: u8,
    pub(crate) redrives: u8,
    pub(crate) redrive: u64,
    pub(crate) alone: bool,
    pub(crate) rejected: bool,
}

impl Record {
    pub(crate) const fn new(key: i64) -> Self {
        Self {
            at: if key < 0 { At::Gone } else { At::Free },
            key,
            attempts: 0,
            releases: 0,
            redrives: 0,
            redrive: 0,
            alone: false,
            rejected: false,
        }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        matches!(self.at, At::Acked | At::Dead(..) | At::Gone | At::Resolved)
    }

    pub(crate) const fn is_attempted(&self) -> bool {
        self.attempts > 0 || self.redrives > 0
    }
}

/// A lease, by the lane's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) member: u64,
    pub(crate) since: i64,
    pub(crate) deadline: i64,
}

/// All that a lane must know.
#[derive(Debug, Clone)]
pub(crate) struct Shadow {
    pub(crate) records: Vec<Record>,
    pub(crate) leases: BTreeMap<u64, Lease>,
    pub(crate) start: usize,
    pub(crate) next_sequence: u64,
    /// The latest time that is stored.
    pub(crate) stored_clock: i64,
    pub(crate) clock: i64,
    /// The true time.
    pub(crate) now: i64,
    /// Where the partition began.
    pub(crate) log_start: usize,
}

impl Shadow {
    pub(crate) const fn new(now: i64) -> Self {
        Self {
            records: Vec::new(),
            leases: BTreeMap::new(),
            start: 0,
            next_sequence: 0,
            stored_clock: 0,
            clock: now,
            now,
            log_start: 0,
        }
    }

    pub(crate) fn produce(&mut self, keys: &[i64]) {
        let known = self.records.len();
        self.records.extend(keys.iter().skip(known).map(|key| Record::new(*key)));
    }

    pub(crate) fn count(&self, is: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| is(record)).count()
    }

    pub(crate) fn leased(&self, lease: u64) -> Vec<usize> {
        (0..self.records.len()).filter(|at| self.records[*at].at == At::Leased(lease)).collect()
    }

    fn fail(&mut self, offset: usize, at: At) {
        self.stored_clock = self.stored_clock.max(self.clock);
        self.records[offset].at = at;
    }

    /// A record comes again after `delay`.
    pub(crate) fn delay(&mut self, offset: usize, delay: i64, silent: bool, policy: &LanePolicy) {
        let late = policy.max_attempts.div_ceil(2);
        let due = self.clock + delay;
        self.fail(offset, At::Waiting { due, since: self.now, delay });
        let record = &mut self.records[offset];
        record.alone = silent && record.attempts >= late;
        self.rewind(offset, policy);
    }

    /// A consumer fell silent with a record that then waited long enough, or should die.
    pub(crate) fn lose(&mut self, offset: usize, backoff: i64, policy: &LanePolicy) {
        if self.records[offset].attempts < policy.max_attempts {
            self.delay(offset, backoff, true, policy);
        } else {
            self.fail(offset, At::Condemned { due: self.clock + CONDEMNED_MS });
            self.records[offset].alone = true;
            self.rewind(offset, policy);
        }
    }

    pub(crate) fn die(&mut self, offset: usize, sequence: u64, cause: Cause) {
        self.fail(offset, At::Dying(sequence, cause));
        self.next_sequence = sequence + 1;
    }

    /// In order, whatever was handed out behind a record comes back with it.
    pub(crate) fn rewind(&mut self, offset: usize, policy: &LanePolicy) {
        if policy.order != OrderMode::Partition {
            return;
        }
        for record in &mut self.records[offset + 1..] {
            if matches!(record.at, At::Leased(_)) {
                (record.at, record.attempts) = (At::Free, record.attempts - 1);
            }
        }
    }

    /// Leases end; what became of their records.
    pub(crate) fn end_lease(&mut self, lease: u64, backoff: impl Fn(usize, u16) -> i64, policy: &LanePolicy) {
        self.leases.remove(&lease);
        for offset in self.leased(lease) {
            // A rewind may have taken it back.
            if self.records[offset].at == At::Leased(lease) {
                let wait = backoff(offset, self.records[offset].attempts);
                self.lose(offset, wait, policy);
            }
        }
    }

    /// Time passes to the clock.
    pub(crate) fn tick(&mut self, backoff: impl Fn(usize, u16) -> i64, policy: &LanePolicy) {
        let mut over: Vec<(i64, u64)> =
            self.leases.iter().map(|(lease, held)| (held.deadline, *lease)).collect();
        over.retain(|(deadline, _)| *deadline <= self.clock);
        over.sort_unstable();
        over.into_iter().for_each(|(_, lease)| self.end_lease(lease, &backoff, policy));
        for offset in 0..self.records.len() {
            // Still no room, or the lane says otherwise.
            if matches!(self.records[offset].at, At::Condemned { due } if due <= self.clock) {
                self.fail(offset, At::Condemned { due: self.clock + CONDEMNED_MS });
            }
        }
    }

    /// What a crash leaves when this was durable: no leases, and the time that is stored or the wall shows.
    pub(crate) fn crash(&mut self, now: i64, wall: i64, policy: &LanePolicy) {
        (self.now, self.clock) = (now, self.stored_clock.max(wall));
        self.leases.clear();
        let late = policy.max_attempts.div_ceil(2);
        for offset in 0..self.records.len() {
            let record = &mut self.records[offset];
            if !matches!(record.at, At::Leased(_)) {
                continue;
            }
            record.at = At::Free;
            // First attempts are not stored.
            record.attempts = if record.attempts < 2 { 0 } else { record.attempts };
            record.alone |= record.attempts >= late;
            if record.attempts >= policy.max_attempts {
                self.fail(offset, At::Condemned { due: self.clock + CONDEMNED_MS });
            }
        }
    }

    pub(crate) fn is_free(&self, offset: usize) -> bool {
        match self.records[offset].at {
            At::Free => true,
            At::Waiting { due, .. } => due <= self.clock,
            _ => false,
        }
    }

    /// Whether all earlier records that it has to wait for are done with, or in the same batch.
    pub(crate) fn is_in_order(&self, offset: usize, batch: &[usize], order: OrderMode) -> bool {
        let key = self.records[offset].key;
        let waits_for = |earlier: &usize| match order {
            OrderMode::Unordered => false,
            OrderMode::Key => key > 0 && self.records[*earlier].key == key,
            OrderMode::Partition => !batch.contains(earlier),
        };
        (0..offset).filter(waits_for).all(|earlier| self.records[earlier].is_terminal())
    }
}
