//! Newtypes for every id. They carry no arithmetic except what the domain has.

use std::fmt;

use uuid::Uuid;

use crate::topic_name::TopicName;

/// The position of a record in a partition: 0 for the first record ever appended, never reused.
///
/// Always in `0..=i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(i64);

impl Offset {
    /// The offset of a partition's first record.
    pub const ZERO: Self = Self(0);
    /// The largest offset.
    pub const MAX: Self = Self(i64::MAX);

    /// The offset `value`, or `None` when it is negative.
    #[must_use]
    pub const fn new(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// The offset as the signed integer of the wire and file formats.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The offset as an unsigned integer.
    #[must_use]
    pub const fn unsigned(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// The offset after this one, saturating at [`Offset::MAX`].
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The offset before this one; the first offset is before itself.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(if self.0 > 0 { self.0 - 1 } else { 0 })
    }

    /// The offset `count` records later, saturating at [`Offset::MAX`].
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(i64::try_from(count).map_or(i64::MAX, |count| self.0.saturating_add(count)))
    }

    /// How many offsets lie in `start..self`; zero when `start` is not below `self`.
    #[must_use]
    pub const fn since(self, start: Self) -> u64 {
        if self.0 > start.0 { self.0.abs_diff(start.0) } else { 0 }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition in its topic, counted from 0. Always in `0..=i32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionIndex(i32);

impl PartitionIndex {
    /// The first partition of a topic.
    pub const ZERO: Self = Self(0);

    /// The partition `value`, or `None` when it is negative.
    #[must_use]
    pub const fn new(value: i32) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// The index as the signed integer of the wire formats.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The index as an unsigned integer.
    #[must_use]
    pub const fn unsigned(self) -> u32 {
        self.0.unsigned_abs()
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a topic for its whole life; a topic created again under the same name has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Uuid);

impl TopicId {
    /// Wraps a UUID made by the caller, who owns the randomness.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

/// A partition as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's index in the topic.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Which ownership of a partition appended a batch; raised at every start of the broker, so that offsets
/// written before a crash can be told from those written after it (KIP-101, KIP-320).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaderEpoch(i32);

impl LeaderEpoch {
    /// The epoch `value`, or `None` when it is negative.
    #[must_use]
    pub const fn new(value: i32) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// The epoch as the signed integer of the wire and file formats.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The next epoch, saturating.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an idempotent producer's session; `-1` ([`ProducerId::NONE`]) means "not idempotent".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A batch of a producer that is not idempotent.
    pub const NONE: Self = Self(-1);

    /// The bit of the ids of sources.
    const SOURCE: i64 = 1 << 62;

    /// The id of a source: a writer of the broker's own whose sequence is the position in what it copies, so
    /// that a partition takes each position once. Partitions never forget one. `number` must be unique for ever
    /// and below 2^62; `None` if it is not.
    #[must_use]
    pub const fn source(number: i64) -> Option<Self> {
        if number >= 0 && number < Self::SOURCE { Some(Self(number | Self::SOURCE)) } else { None }
    }

    /// Whether it is the id of a source; no producer outside the broker may use such an id.
    #[must_use]
    pub const fn is_source(self) -> bool {
        self.0 >= Self::SOURCE
    }
}

/// The epoch of a producer id; a newer one fences the older ones. `-1` means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// A batch of a producer that is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// The number of a record among those a producer id wrote to one partition. `-1` means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub i32);

impl Sequence {
    /// A batch of a producer that is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// Milliseconds since the Unix epoch, UTC. `-1` ([`Timestamp::NONE`]) means "no timestamp".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// No timestamp.
    pub const NONE: Self = Self(-1);

    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This instant moved by `millis`, saturating.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
