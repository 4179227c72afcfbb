//! When a record that failed comes again.
//!
//! Written as `fixed(1s,5s,30s,5m)`, whose last delay is repeated, or `exponential(1s,2,5m)`: the first delay, the
//! factor and the longest. Jitter keeps records that failed together from coming back together; it is a hash of
//! group, partition, offset and attempt, so that it is the same on every machine and after every restart.
//!
//! **Invariants:** a fixed delay is never shortened, and no delay is longer than a fifth above its schedule's longest.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use tidelog_model::{GroupId, Offset};

use super::event::LaneId;
use super::policy::Backoff;

/// The most delays of a fixed schedule.
const DELAYS_MAX: usize = 16;
/// The longest delay, in milliseconds: a week.
const DELAY_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// The largest factor.
const FACTOR_MAX: f64 = 100.0;
/// The units of durations, in milliseconds, the longest first.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The delays of a record's attempts.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// These, in milliseconds; the last is repeated.
    Fixed(Vec<i64>),
    /// Each so many times the one before.
    Exponential {
        /// The first, in milliseconds.
        initial_ms: i64,
        /// The factor, from 1.
        factor: f64,
        /// The longest, in milliseconds.
        cap_ms: i64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Fixed(vec![1_000, 5_000, 30_000, 300_000])
    }
}

/// How delays are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Jitter {
    /// As goes with the schedule: up to a fifth longer where it is fixed, and full where it is exponential.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// From half of the delay to all of it.
    Equal,
    /// From the schedule's first delay to all of it.
    Full,
    /// From the delay to a fifth more.
    Plus,
}

impl Jitter {
    /// The names of all, in the order of the variants.
    pub const NAMES: [&'static str; 5] = ["auto", "none", "equal", "full", "plus"];
    const ALL: [Self; 5] = [Self::Auto, Self::None, Self::Equal, Self::Full, Self::Plus];

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().zip(Self::ALL).find(|(known, _)| *known == name).map(|(_, jitter)| jitter)
    }
}

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no backoff: {reason}; write fixed(1s,5s,30s,5m), with up to 16 delays from 0ms to 7d, or \
     exponential(1s,2,5m), with the first delay, a factor from 1 to 100 and the longest delay"
)]
pub struct ScheduleError {
    text: String,
    reason: &'static str,
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = |reason| ScheduleError { text: text.chars().take(100).collect(), reason };
        let inner = text.trim().strip_suffix(')').and_then(|text| text.split_once('('));
        let (name, list) = inner.ok_or_else(|| wrong("it has no list in brackets"))?;
        let parts: Vec<&str> = list.split(',').map(str::trim).collect();
        let delay =
            |text: &str| duration_ms(text).ok_or_else(|| wrong("a delay cannot be read or is too long"));
        match (name.trim(), parts.as_slice()) {
            ("fixed", delays) if delays.len() <= DELAYS_MAX => {
                Ok(Self::Fixed(delays.iter().map(|text| delay(text)).collect::<Result<_, _>>()?))
            }
            ("fixed", _) => Err(wrong("it has too many delays")),
            ("exponential", [initial, factor, cap]) => {
                let (initial_ms, cap_ms) = (delay(initial)?, delay(cap)?);
                let factor = factor.parse::<f64>().ok().filter(|factor| (1.0..=FACTOR_MAX).contains(factor));
                let factor = factor.ok_or_else(|| wrong("its factor is not from 1 to 100"))?;
                if initial_ms > cap_ms {
                    return Err(wrong("its first delay is longer than its longest"));
                }
                Ok(Self::Exponential { initial_ms, factor, cap_ms })
            }
            ("exponential", _) => Err(wrong("it does not have three parts")),
            _ => Err(wrong("it is neither fixed nor exponential")),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(delays) => {
                let delays: Vec<String> = delays.iter().map(|delay| show_ms(*delay)).collect();
                write!(f, "fixed({})", delays.join(","))
            }
            Self::Exponential { initial_ms, factor, cap_ms } => {
                write!(f, "exponential({},{factor},{})", show_ms(*initial_ms), show_ms(*cap_ms))
            }
        }
    }
}

fn duration_ms(text: &str) -> Option<i64> {
    // "ms" ends in "s" and "5m" does not end in "ms": the unit is all that is no digit.
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(unit_ms).filter(|ms| *ms <= DELAY_MAX_MS)
}

fn show_ms(ms: i64) -> String {
    let fits = UNITS.into_iter().find(|(_, unit_ms)| ms > 0 && ms % unit_ms == 0);
    let (unit, unit_ms) = fits.unwrap_or(("ms", 1));
    format!("{}{unit}", ms / unit_ms)
}

impl Schedule {
    /// The delay after the `attempt`-th delivery, from 1, without jitter.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32) -> i64 {
        let before = attempt.saturating_sub(1);
        match self {
            Self::Fixed(delays) => {
                let at = usize::try_from(before).unwrap_or(usize::MAX);
                delays.get(at).or(delays.last()).copied().unwrap_or(0)
            }
            Self::Exponential { initial_ms, factor, cap_ms } => {
                // One step at a time, so that every machine rounds alike; the cap is reached soon or never.
                let mut delay_ms = *initial_ms;
                for _ in 0..before {
                    let next = scale(delay_ms, *factor).min(*cap_ms);
                    if next == delay_ms {
                        break;
                    }
                    delay_ms = next;
                }
                delay_ms
            }
        }
    }

    /// The longest delay, without jitter.
    #[must_use]
    pub fn longest_ms(&self) -> i64 {
        match self {
            Self::Fixed(delays) => delays.iter().copied().max().unwrap_or(0),
            Self::Exponential { cap_ms, .. } => *cap_ms,
        }
    }

    fn first_ms(&self) -> i64 {
        self.delay_ms(1)
    }
}

/// A delay of at most a week times a factor of at most a hundred.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "both bounds are far below 2^53"
)]
fn scale(delay_ms: i64, factor: f64) -> i64 {
    (delay_ms as f64 * factor) as i64
}

/// The backoff of one lane. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneBackoff {
    schedule: Arc<Schedule>,
    jitter: Jitter,
    seed: u64,
}

impl LaneBackoff {
    /// The backoff of the group's lane of a partition.
    #[must_use]
    pub fn new(schedule: Arc<Schedule>, jitter: Jitter, group: &GroupId, lane: LaneId) -> Self {
        let mut seed = 0;
        let partition = lane.partition.get().to_be_bytes();
        let topic = lane.topic_id.uuid();
        let bytes = group.as_str().as_bytes().iter().chain(topic.as_bytes()).chain(&partition);
        bytes.for_each(|byte| seed = mix(seed ^ u64::from(*byte)));
        Self { schedule, jitter, seed }
    }

    /// A number from 0 to `most`, both included.
    fn spread(&self, offset: Offset, attempt: u32, most: i64) -> i64 {
        let hash = mix(mix(self.seed ^ offset.unsigned()) ^ u64::from(attempt));
        let most = u64::try_from(most).unwrap_or(0);
        i64::try_from(hash % most.saturating_add(1)).unwrap_or(0)
    }
}

impl Backoff for LaneBackoff {
    fn delay_ms(&self, offset: Offset, attempt: u32) -> i64 {
        let delay_ms = self.schedule.delay_ms(attempt);
        let fixed = matches!(*self.schedule, Schedule::Fixed(_));
        let (from, to) = match self.jitter {
            Jitter::None => (delay_ms, delay_ms),
            Jitter::Equal => (delay_ms / 2, delay_ms),
            Jitter::Auto if fixed => (delay_ms, delay_ms.saturating_add(delay_ms / 5)),
            Jitter::Plus => (delay_ms, delay_ms.saturating_add(delay_ms / 5)),
            Jitter::Full | Jitter::Auto => (self.schedule.first_ms().min(delay_ms), delay_ms),
        };
        from.saturating_add(self.spread(offset, attempt, to.saturating_sub(from)))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
