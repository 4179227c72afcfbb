//! Stops handing records out when hardly any succeeds: something behind the consumers is down, and going on would
//! only use up attempts and fill the dead letters.
//!
//! ```text
//! closed ── nearly all of the last 10 s failed, or most died ──► open ── 5 s, later more ──► probing
//!   ▲                                                             ▲                            │
//!   └───────────── enough probes succeeded ───────────────────────┼────────────────────────────┤
//!                                                                 └────────── a probe failed ──┘
//! ```
//!
//! **Invariants:** an open breaker changes nothing about any record; it opens itself for probes after at most a
//! minute.

use std::collections::VecDeque;

use tidelog_model::Timestamp;

/// How long outcomes count, in slots of a second.
const FAILURE_SLOTS: i64 = 10;
/// How long deaths count.
const DEATH_SLOTS: i64 = 60;
/// How long a slot is, in milliseconds.
const SLOT_MS: i64 = 1_000;
/// How long it is open the first time, and at most, in milliseconds.
const OPEN_MS: i64 = 5_000;
const OPEN_MAX_MS: i64 = 60_000;
/// How many probes must succeed.
const PROBES: u32 = 10;
/// More deaths than this in a minute are a flood, if they are also more than half of all outcomes.
const DEATHS_MIN: u64 = 100;

/// When a breaker opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// The share of failures, in percent; `None` is never.
    pub failures_percent: Option<u32>,
    /// With fewer outcomes in ten seconds nothing is concluded.
    pub outcomes_min: u64,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { failures_percent: Some(90), outcomes_min: 50 }
    }
}

/// Why it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenCause {
    /// Nearly everything failed.
    Failures,
    /// Too much went to the dead letters.
    DeadLetterFlood,
}

/// Whether records may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They may.
    Yes,
    /// So many, to see whether they succeed now.
    Probe(u32),
    /// None until then.
    Open {
        /// When to ask again.
        until: Timestamp,
        /// Why.
        cause: OpenCause,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: i64,
        cause: OpenCause,
    },
    /// So many probes have succeeded.
    Probing {
        succeeded: u32,
        cause: OpenCause,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    number: i64,
    succeeded: u64,
    failed: u64,
    died: u64,
}

/// The breaker of a group.
#[derive(Debug, Clone)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// How long it is open the next time.
    open_ms: i64,
    slots: VecDeque<Slot>,
    /// The latest time seen: time never goes back.
    now: i64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed, open_ms: OPEN_MS, slots: VecDeque::new(), now: i64::MIN }
    }

    /// Other limits from now on. One that is switched off closes.
    pub const fn resize(&mut self, limits: BreakerLimits) {
        self.limits = limits;
        if limits.failures_percent.is_none() {
            self.state = State::Closed;
        }
    }

    /// Takes note of what has become of records. A failure that names a dependency counts twice: give it as two.
    /// A rejected record is no failure: it says nothing about the others.
    pub fn outcome(&mut self, now: Timestamp, succeeded: u64, failed: u64) {
        self.add(now, |slot| {
            slot.succeeded = slot.succeeded.saturating_add(succeeded);
            slot.failed = slot.failed.saturating_add(failed);
        });
        if let State::Probing { succeeded: before, cause } = self.state {
            let done = before.saturating_add(u32::try_from(succeeded).unwrap_or(u32::MAX));
            if failed > 0 {
                self.open(cause);
            } else if done >= PROBES {
                (self.state, self.open_ms) = (State::Closed, OPEN_MS);
                self.slots.clear();
            } else {
                self.state = State::Probing { succeeded: done, cause };
            }
        }
        self.judge();
    }

    /// Takes note of records that went to the dead letters.
    pub fn died(&mut self, now: Timestamp, records: u64) {
        self.add(now, |slot| slot.died = slot.died.saturating_add(records));
        self.judge();
    }

    /// Whether records may be handed out.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        self.now = self.now.max(now.millis());
        if let State::Open { until, cause } = self.state
            && until <= self.now
        {
            self.state = State::Probing { succeeded: 0, cause };
        }
        match self.state {
            State::Closed => Admission::Yes,
            State::Probing { succeeded, .. } => Admission::Probe(PROBES.saturating_sub(succeeded).max(1)),
            State::Open { until, cause } => Admission::Open { until: Timestamp::from_millis(until), cause },
        }
    }

    fn judge(&mut self) {
        let Some(percent) = self.limits.failures_percent else { return };
        if self.state != State::Closed {
            return;
        }
        let (mut succeeded, mut failed) = (0u64, 0u64);
        let (mut died, mut all) = (0u64, 0u64);
        let newest = self.now.div_euclid(SLOT_MS);
        for slot in &self.slots {
            if newest.saturating_sub(slot.number) < FAILURE_SLOTS {
                succeeded = succeeded.saturating_add(slot.succeeded);
                failed = failed.saturating_add(slot.failed);
            }
            died = died.saturating_add(slot.died);
            all = all.saturating_add(slot.succeeded).saturating_add(slot.failed);
        }
        let outcomes = succeeded.saturating_add(failed);
        let share = |part: u64, of: u64| u128::from(part) * 100 >= u128::from(of) * u128::from(percent);
        if outcomes >= self.limits.outcomes_min.max(1) && share(failed, outcomes) {
            self.open(OpenCause::Failures);
        } else if died > DEATHS_MIN && died > all / 2 {
            self.open(OpenCause::DeadLetterFlood);
        }
    }

    fn open(&mut self, cause: OpenCause) {
        self.state = State::Open { until: self.now.saturating_add(self.open_ms), cause };
        self.open_ms = self.open_ms.saturating_mul(2).min(OPEN_MAX_MS);
        // What has led to it must not open it again.
        self.slots.clear();
    }

    /// Adds to the outcomes of the present second.
    fn add(&mut self, now: Timestamp, add: impl FnMut(&mut Slot)) {
        self.now = self.now.max(now.millis());
        let number = self.now.div_euclid(SLOT_MS);
        while self.slots.front().is_some_and(|slot| number.saturating_sub(slot.number) >= DEATH_SLOTS) {
            self.slots.pop_front();
        }
        if self.slots.back().is_none_or(|slot| slot.number != number) {
            self.slots.push_back(Slot { number, ..Slot::default() });
        }
        self.slots.back_mut().into_iter().for_each(add);
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
