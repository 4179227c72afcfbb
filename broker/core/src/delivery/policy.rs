//! What the owner of a queue group chooses, as a lane needs it. How it is written down is the business of the
//! group's settings.

use std::sync::Arc;

/// Which records wait for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderMode {
    /// None for any other.
    #[default]
    Unordered,
    /// A record waits until all earlier records of its key are settled or dead. Records without a key are free.
    Key,
    /// A record waits until all earlier records of the partition are settled or dead, or are handed out before it
    /// in the same batch.
    Partition,
}

/// What becomes of the later records of a key whose record has died, in [`OrderMode::Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDead {
    /// They go on.
    #[default]
    Continue,
    /// They die too, in order, until the dead letters of the key are redriven or resolved.
    Follow,
}

/// What happens when as many records are delayed as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DelayedEdge {
    /// No new record is handed out until one of them is settled.
    #[default]
    Stall,
    /// A record that fails then dies before its time, so that new ones go on; while there is no room for dead
    /// letters either, no new record is handed out.
    EarlyDeadLetter,
}

/// When a record that failed comes again.
pub trait Backoff {
    /// How long to wait after the `attempt`-th delivery (from 1) of the record at `offset` has failed, in
    /// milliseconds. The same on every machine.
    fn delay_ms(&self, offset: tidelog_model::Offset, attempt: u32) -> i64;
}

/// How long a record is its consumer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The shortest lease, in milliseconds.
    pub min_ms: i64,
    /// The lease of a consumer that names none.
    pub default_ms: i64,
    /// The longest lease, and the longest renewal.
    pub max_ms: i64,
    /// How long a lease may last with all its renewals.
    pub total_ms: i64,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { min_ms: 1_000, default_ms: 30_000, max_ms: 900_000, total_ms: 3_600_000 }
    }
}

/// How many records of a lane may be in each state. Each has its own limit, so that what is parked never keeps
/// new records from being handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Leased records.
    pub leased: usize,
    /// Delayed records. Those that are redriven, or wait for a record of their key that is dying, may come on top.
    pub delayed: usize,
    /// Dying records.
    pub dying: usize,
    /// Offsets from the first that is not settled to the last that was handed out.
    pub lookahead: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { leased: 2_000, delayed: 100_000, dying: 10_000, lookahead: 1_000_000 }
    }
}

/// The rules of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePolicy {
    /// Which records wait for which.
    pub order: OrderMode,
    /// What becomes of a dead record's key.
    pub on_dead: OnDead,
    /// How often a record is handed out before it dies.
    pub max_attempts: u16,
    /// How long a record is its consumer's.
    pub lease: LeasePolicy,
    /// How many records may be in each state.
    pub window: WindowLimits,
    /// What happens when too many are delayed.
    pub delayed_edge: DelayedEdge,
    /// The longest delay that a consumer may ask for, in milliseconds.
    pub max_delay_ms: i64,
    /// How often a record may be given back unharmed before that counts as a failure.
    pub max_releases: u8,
    /// How often a dead letter may be redriven.
    pub max_redrives: u8,
}

impl Default for LanePolicy {
    fn default() -> Self {
        Self {
            order: OrderMode::default(),
            on_dead: OnDead::default(),
            max_attempts: 5,
            lease: LeasePolicy::default(),
            window: WindowLimits::default(),
            delayed_edge: DelayedEdge::default(),
            max_delay_ms: 12 * 60 * 60 * 1000,
            max_releases: 100,
            max_redrives: 5,
        }
    }
}

/// Why a record dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It was handed out as often as it may be.
    MaxAttempts,
    /// Its consumer said that no later attempt could do better.
    Rejected,
    /// Its last attempt ended without a word.
    LeaseExpired,
    /// Retention was about to delete it.
    Retention,
    /// An earlier record of its key has died.
    KeyFollow,
    /// Too many records were delayed.
    DelayedEdge,
}

impl Cause {
    /// Its name in a dead letter's headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxAttempts => "MAX_ATTEMPTS",
            Self::Rejected => "REJECTED",
            Self::LeaseExpired => "LEASE_EXPIRED",
            Self::Retention => "RETENTION",
            Self::KeyFollow => "KEY_FOLLOW",
            Self::DelayedEdge => "DELAYED_EDGE",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MaxAttempts,
        Self::Rejected,
        Self::LeaseExpired,
        Self::Retention,
        Self::KeyFollow,
        Self::DelayedEdge,
    ];

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::MaxAttempts => 1,
            Self::Rejected => 2,
            Self::LeaseExpired => 3,
            Self::Retention => 4,
            Self::KeyFollow => 5,
            Self::DelayedEdge => 6,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::MaxAttempts),
            2 => Some(Self::Rejected),
            3 => Some(Self::LeaseExpired),
            4 => Some(Self::Retention),
            5 => Some(Self::KeyFollow),
            6 => Some(Self::DelayedEdge),
            _ => None,
        }
    }
}

/// The most bytes of a reason's code and of its text that are kept.
const CODE_BYTES_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 64;

/// What a consumer says about a failure. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Arc<(String, String)>);

impl Reason {
    /// A reason; what is too long to be kept is cut off.
    #[must_use]
    pub fn new(code: &str, text: &str) -> Self {
        Self(Arc::new((cut(code, CODE_BYTES_MAX), cut(text, TEXT_BYTES_MAX))))
    }

    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.0
    }

    /// A line for people.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.1
    }
}

/// As much of `text` as fits, whole characters.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
