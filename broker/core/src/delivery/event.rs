//! What changes in a lane, and its stored form.
//!
//! One event is what one call has changed: it is stored whole or not at all. An operation takes a few bytes: offsets
//! and times are differences to those of the operation before, and an acknowledged run of any length is one
//! operation.
//!
//! **Invariants:** what older programs stored stays readable, and operations keep their numbers; hostile bytes
//! give an error and allocate no more than they weigh.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint};
use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId};

use super::policy::{Cause, Reason};
use super::window::Failure;
use crate::codec::{CodecError, Event, bad_field, open, seal, topic_id};

/// The version of the stored form that this program writes.
const VERSION: u32 = 1;

/// The partition that a lane is of; its queue group is the one whose log this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

/// What one call has changed in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneEvent {
    pub(super) lane: LaneId,
    pub(super) ops: Vec<Op>,
}

impl LaneEvent {
    /// The lane.
    #[must_use]
    pub const fn lane(&self) -> LaneId {
        self.lane
    }
}

/// A record that is in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadRecord {
    pub(super) sequence: u64,
    pub(super) partition: PartitionIndex,
    pub(super) place: Offset,
    pub(super) key: u32,
    pub(super) redrives: u8,
    /// The last redrive that it was part of; 0 when there was none.
    pub(super) redrive: u64,
}

/// A record that is not settled, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptRecord {
    pub(super) attempts: u16,
    pub(super) releases: u8,
    pub(super) redrives: u8,
    pub(super) redrive: u64,
    pub(super) alone: bool,
    /// When it may be handed out, if not at once.
    pub(super) due: Option<Timestamp>,
    pub(super) failure: Option<Failure>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// The lane begins here, without any record.
    Began { start: Offset },
    /// A lane of which nothing is known begins here, and its clock stands there; in snapshots.
    From { start: Offset, at: Timestamp },
    /// These records are done with, and everything before the first that was not spoken of is to be handed out.
    Settled { first: Offset, last: Offset },
    /// A record was handed out for this attempt, not its first.
    Attempted { offset: Offset, attempts: u16 },
    /// A record is to be handed out later.
    Delayed {
        offset: Offset,
        attempts: u16,
        alone: bool,
        at: Timestamp,
        due: Timestamp,
        reason: Option<Reason>,
    },
    /// A record was given back unharmed.
    Released { offset: Offset, attempts: u16, releases: u8 },
    /// A record is to become a dead letter.
    Dying {
        offset: Offset,
        attempts: u16,
        sequence: u64,
        cause: Cause,
        key: u32,
        at: Timestamp,
        reason: Option<Reason>,
    },
    /// These are in the dead letters, one after the other from this place on.
    Dead { first: u64, last: u64, partition: PartitionIndex, base: Offset },
    /// A dead letter is to be handed out again.
    Redriven { offset: Offset, redrive: u64 },
    /// A dead letter is done with.
    Resolved { offset: Offset },
    /// The number of the next dead letter.
    NextSequence { sequence: u64 },
    /// How a record stands; in snapshots.
    Kept { offset: Offset, record: KeptRecord },
    /// How a record that is to become a dead letter stands; in snapshots.
    KeptDying { offset: Offset, record: KeptRecord, sequence: u64, cause: Cause, key: u32 },
    /// How a dead letter stands; in snapshots.
    KeptDead { offset: Offset, record: DeadRecord },
}

impl Event for LaneEvent {
    fn key(&self) -> Bytes {
        let mut key = BytesMut::with_capacity(20);
        key.put_slice(self.lane.topic_id.uuid().as_bytes());
        key.put_i32(self.lane.partition.get());
        key.freeze()
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        self.ops.iter().for_each(|op| writer.op(op));
        let record = LaneRecord {
            topic_id: Bytes::copy_from_slice(self.lane.topic_id.uuid().as_bytes()),
            partition: self.lane.partition.get(),
            ops: writer.bytes.freeze(),
        };
        seal(VERSION, &record)
    }

    fn decode(value: &[u8]) -> Result<Self, CodecError> {
        let record: LaneRecord = open(VERSION, value)?;
        let lane = LaneId {
            topic_id: topic_id("topic_id", &record.topic_id)?,
            partition: partition(record.partition)?,
        };
        let mut reader = Reader { bytes: record.ops, offset: 0, time: 0 };
        let mut ops = Vec::new();
        while reader.bytes.has_remaining() {
            ops.push(reader.op()?);
        }
        Ok(Self { lane, ops })
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct LaneRecord {
    #[prost(bytes = "bytes", tag = "1")]
    topic_id: Bytes,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(bytes = "bytes", tag = "3")]
    ops: Bytes,
}

fn partition(index: i32) -> Result<PartitionIndex, CodecError> {
    PartitionIndex::new(index).ok_or_else(|| bad_field("partition", "it is negative"))
}

/// The numbers of operations.
mod kind {
    pub(super) const BEGAN: u64 = 1;
    pub(super) const SETTLED: u64 = 2;
    pub(super) const ATTEMPTED: u64 = 3;
    pub(super) const DELAYED: u64 = 4;
    pub(super) const RELEASED: u64 = 5;
    pub(super) const DYING: u64 = 6;
    pub(super) const DEAD: u64 = 7;
    pub(super) const REDRIVEN: u64 = 8;
    pub(super) const RESOLVED: u64 = 9;
    pub(super) const NEXT_SEQUENCE: u64 = 10;
    pub(super) const KEPT: u64 = 11;
    pub(super) const KEPT_DYING: u64 = 12;
    pub(super) const KEPT_DEAD: u64 = 13;
    pub(super) const FROM: u64 = 14;
}

#[derive(Default)]
struct Writer {
    bytes: BytesMut,
    offset: i64,
    time: i64,
}

impl Writer {
    fn number(&mut self, number: u64) {
        encode_varint(number, &mut self.bytes);
    }

    fn offset(&mut self, offset: Offset) {
        self.number(zigzag(offset.get().wrapping_sub(self.offset)));
        self.offset = offset.get();
    }

    fn time(&mut self, time: Timestamp) {
        self.number(zigzag(time.millis().wrapping_sub(self.time)));
        self.time = time.millis();
    }

    fn text(&mut self, text: &str) {
        self.number(u64::try_from(text.len()).unwrap_or(0));
        self.bytes.put_slice(text.as_bytes());
    }

    fn reason(&mut self, reason: Option<&Reason>) {
        self.number(u64::from(reason.is_some()));
        if let Some(reason) = reason {
            self.text(reason.code());
            self.text(reason.text());
        }
    }

    /// The attempts and a flag in one number.
    fn attempts(&mut self, attempts: u16, flag: bool) {
        self.number(u64::from(attempts) << 1 | u64::from(flag));
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Began { start } => {
                self.number(kind::BEGAN);
                self.offset(*start);
            }
            Op::Settled { first, last } => {
                self.number(kind::SETTLED);
                self.offset(*first);
                self.offset(*last);
            }
            Op::Attempted { offset, attempts } => {
                self.number(kind::ATTEMPTED);
                self.offset(*offset);
                self.number(u64::from(*attempts));
            }
            Op::Delayed { offset, attempts, alone, at, due, reason } => {
                self.number(kind::DELAYED);
                self.offset(*offset);
                self.attempts(*attempts, *alone);
                self.time(*at);
                self.number(zigzag(due.millis().wrapping_sub(at.millis())));
                self.reason(reason.as_ref());
            }
            Op::Released { offset, attempts, releases } => {
                self.number(kind::RELEASED);
                self.offset(*offset);
                self.number(u64::from(*attempts));
                self.number(u64::from(*releases));
            }
            Op::Dying { offset, attempts, sequence, cause, key, at, reason } => {
                self.number(kind::DYING);
                self.offset(*offset);
                self.number(u64::from(*attempts));
                self.number(*sequence);
                self.number(u64::from(cause.number()));
                self.number(u64::from(*key));
                self.time(*at);
                self.reason(reason.as_ref());
            }
            Op::Dead { first, last, partition, base } => {
                self.number(kind::DEAD);
                self.number(*first);
                self.number(last.wrapping_sub(*first));
                self.number(u64::from(partition.get().unsigned_abs()));
                self.number(base.unsigned());
            }
            Op::Redriven { offset, redrive } => {
                self.number(kind::REDRIVEN);
                self.offset(*offset);
                self.number(*redrive);
            }
            Op::Resolved { offset } => {
                self.number(kind::RESOLVED);
                self.offset(*offset);
            }
            Op::From { .. } | Op::NextSequence { .. } => self.snapshot_op(op),
            Op::Kept { .. } | Op::KeptDying { .. } | Op::KeptDead { .. } => self.snapshot_op(op),
        }
    }

    /// Those that are in snapshots alone.
    fn snapshot_op(&mut self, op: &Op) {
        match op {
            Op::From { start, at } => {
                self.number(kind::FROM);
                self.offset(*start);
                self.time(*at);
            }
            Op::NextSequence { sequence } => {
                self.number(kind::NEXT_SEQUENCE);
                self.number(*sequence);
            }
            Op::Kept { offset, record } => {
                self.number(kind::KEPT);
                self.offset(*offset);
                self.kept(record);
            }
            Op::KeptDying { offset, record, sequence, cause, key } => {
                self.number(kind::KEPT_DYING);
                self.offset(*offset);
                self.kept(record);
                self.number(*sequence);
                self.number(u64::from(cause.number()));
                self.number(u64::from(*key));
            }
            Op::KeptDead { offset, record } => {
                self.number(kind::KEPT_DEAD);
                self.offset(*offset);
                self.dead(record);
            }
            _ => {}
        }
    }

    fn kept(&mut self, record: &KeptRecord) {
        self.attempts(record.attempts, record.alone);
        self.number(u64::from(record.releases));
        self.number(u64::from(record.redrives));
        self.number(record.redrive);
        self.number(u64::from(record.due.is_some()));
        record.due.into_iter().for_each(|due| self.time(due));
        self.number(u64::from(record.failure.is_some()));
        if let Some(failure) = &record.failure {
            self.time(failure.first);
            self.time(failure.last);
            self.reason(failure.reason.as_ref());
        }
    }

    fn dead(&mut self, record: &DeadRecord) {
        self.number(record.sequence);
        self.number(u64::from(record.partition.get().unsigned_abs()));
        self.number(record.place.unsigned());
        self.number(u64::from(record.key));
        self.number(u64::from(record.redrives));
        self.number(record.redrive);
    }
}

struct Reader {
    bytes: Bytes,
    offset: i64,
    time: i64,
}

impl Reader {
    fn number(&mut self) -> Result<u64, CodecError> {
        decode_varint(&mut self.bytes).map_err(|error| bad_field("ops", error))
    }

    /// A number that fits.
    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, CodecError> {
        T::try_from(self.number()?).map_err(|_| bad_field("ops", "a number is too large"))
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(bad_field("ops", format!("{other} is neither yes nor no"))),
        }
    }

    fn offset(&mut self) -> Result<Offset, CodecError> {
        self.offset = self.offset.wrapping_add(unzigzag(self.number()?));
        Offset::new(self.offset).ok_or_else(|| bad_field("ops", "an offset is negative"))
    }

    fn time(&mut self) -> Result<Timestamp, CodecError> {
        self.time = self.time.wrapping_add(unzigzag(self.number()?));
        Ok(Timestamp::from_millis(self.time))
    }

    fn text(&mut self) -> Result<String, CodecError> {
        let length: usize = self.small()?;
        if length > self.bytes.remaining() {
            return Err(bad_field("ops", "a text is cut off"));
        }
        let text = self.bytes.split_to(length);
        String::from_utf8(text.to_vec()).map_err(|error| bad_field("ops", error))
    }

    fn reason(&mut self) -> Result<Option<Reason>, CodecError> {
        if !self.flag()? {
            return Ok(None);
        }
        let (code, text) = (self.text()?, self.text()?);
        Ok(Some(Reason::new(&code, &text)))
    }

    fn attempts(&mut self) -> Result<(u16, bool), CodecError> {
        let number = self.number()?;
        let attempts =
            u16::try_from(number >> 1).map_err(|_| bad_field("ops", "there are too many attempts"))?;
        Ok((attempts, number & 1 == 1))
    }

    fn cause(&mut self) -> Result<Cause, CodecError> {
        Cause::from_number(self.small()?).ok_or_else(|| bad_field("ops", "nobody knows the cause"))
    }

    fn partition(&mut self) -> Result<PartitionIndex, CodecError> {
        partition(self.small()?)
    }

    fn place(&mut self) -> Result<Offset, CodecError> {
        Offset::new(self.small()?).ok_or_else(|| bad_field("ops", "an offset is negative"))
    }

    fn op(&mut self) -> Result<Op, CodecError> {
        Ok(match self.number()? {
            kind::BEGAN => Op::Began { start: self.offset()? },
            kind::FROM => Op::From { start: self.offset()?, at: self.time()? },
            kind::SETTLED => Op::Settled { first: self.offset()?, last: self.offset()? },
            kind::ATTEMPTED => Op::Attempted { offset: self.offset()?, attempts: self.small()? },
            kind::DELAYED => {
                let offset = self.offset()?;
                let (attempts, alone) = self.attempts()?;
                let at = self.time()?;
                let due = Timestamp::from_millis(at.millis().wrapping_add(unzigzag(self.number()?)));
                Op::Delayed { offset, attempts, alone, at, due, reason: self.reason()? }
            }
            kind::RELEASED => {
                Op::Released { offset: self.offset()?, attempts: self.small()?, releases: self.small()? }
            }
            kind::DYING => Op::Dying {
                offset: self.offset()?,
                attempts: self.small()?,
                sequence: self.number()?,
                cause: self.cause()?,
                key: self.small()?,
                at: self.time()?,
                reason: self.reason()?,
            },
            kind::DEAD => {
                let first = self.number()?;
                let more = self.number()?;
                let last =
                    first.checked_add(more).ok_or_else(|| bad_field("ops", "a number is too large"))?;
                Op::Dead { first, last, partition: self.partition()?, base: self.place()? }
            }
            kind::REDRIVEN => Op::Redriven { offset: self.offset()?, redrive: self.number()? },
            kind::RESOLVED => Op::Resolved { offset: self.offset()? },
            kind::NEXT_SEQUENCE => Op::NextSequence { sequence: self.number()? },
            kind::KEPT => Op::Kept { offset: self.offset()?, record: self.kept()? },
            kind::KEPT_DYING => Op::KeptDying {
                offset: self.offset()?,
                record: self.kept()?,
                sequence: self.number()?,
                cause: self.cause()?,
                key: self.small()?,
            },
            kind::KEPT_DEAD => Op::KeptDead { offset: self.offset()?, record: self.dead()? },
            other => return Err(bad_field("ops", format!("this program knows no operation {other}"))),
        })
    }

    fn kept(&mut self) -> Result<KeptRecord, CodecError> {
        let (attempts, alone) = self.attempts()?;
        let (releases, redrives, redrive) = (self.small()?, self.small()?, self.number()?);
        let due = if self.flag()? { Some(self.time()?) } else { None };
        let failure = if self.flag()? {
            Some(Failure { first: self.time()?, last: self.time()?, reason: self.reason()? })
        } else {
            None
        };
        Ok(KeptRecord { attempts, releases, redrives, redrive, alone, due, failure })
    }

    fn dead(&mut self) -> Result<DeadRecord, CodecError> {
        Ok(DeadRecord {
            sequence: self.number()?,
            partition: self.partition()?,
            place: self.place()?,
            key: self.small()?,
            redrives: self.small()?,
            redrive: self.number()?,
        })
    }
}

/// Small numbers for small differences, whatever their sign.
const fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
