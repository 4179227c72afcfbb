//! The one grammar for places in a topic, the same in every command.
//!
//! ```text
//! start | earliest        the oldest record kept
//! end | latest            behind the newest record
//! 1201                    this offset
//! +100                    100 after the oldest record
//! -100                    the last 100 records of each partition
//! @TIME or TIME           the first record at or after this time
//! -1h30m, -7d, 1h30m ago  the same, so long before now
//! group:NAME              where the group has committed
//! file:PATH               where a checkpoint stands
//! 0=120,3=@2026-11-23     one place for each partition named
//! ```
//!
//! TIME is RFC 3339 with any zone, a date, `today`, `yesterday`, `HH:MM` (of today) in local time, or, after
//! `@`, a Unix time in seconds (10 digits), milliseconds (13), microseconds (16) or nanoseconds (19).

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::{Date, Time};
use jiff::{Span, Timestamp, Unit, Zoned};
use thiserror::Error;

/// One place in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The oldest record kept.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// This offset.
    Offset(i64),
    /// So many after the oldest record.
    AfterStart(u64),
    /// So many before the end.
    BeforeEnd(u64),
    /// The first record at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
    /// Where a group has committed.
    Group(String),
    /// Where a checkpoint stands.
    File(PathBuf),
}

/// A place for every partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionSpec {
    /// The place of the partitions not named.
    pub(crate) default: Option<Place>,
    /// The places of single partitions.
    pub(crate) partitions: BTreeMap<i32, Place>,
}

impl PositionSpec {
    /// The same place for every partition.
    pub(crate) const fn everywhere(place: Place) -> Self {
        Self { default: Some(place), partitions: BTreeMap::new() }
    }

    /// The place for one partition, if it has one.
    pub(crate) fn of(&self, partition: i32) -> Option<&Place> {
        self.partitions.get(&partition).or(self.default.as_ref())
    }
}

/// Why a text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PositionError {
    /// Not a place at all.
    #[error(
        "{text:?} is not a position: use start, end, an offset, +N, -N, a time, -1h30m, group:NAME or file:PATH"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// A number that fits no unit of time.
    #[error("@{text} has {digits} digits: a Unix time has 10 (s), 13 (ms), 16 (us) or 19 (ns)")]
    Digits {
        /// The number.
        text: String,
        /// How many digits it has.
        digits: usize,
    },
    /// A number that is too large.
    #[error("{text} is larger than any offset")]
    Large {
        /// The number.
        text: String,
    },
    /// A partition list with something else in it.
    #[error("{text:?} is not PARTITION=POSITION")]
    Partition {
        /// The part of the list.
        text: String,
    },
}

/// Reads a position; `now` is the local time.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<PositionSpec, PositionError> {
    let text = text.trim();
    let listed = text.split_once('=').is_some_and(|(front, _)| front.bytes().all(|b| b.is_ascii_digit()));
    if !listed {
        return Ok(PositionSpec::everywhere(place(text, now)?));
    }
    let mut partitions = BTreeMap::new();
    for part in text.split(',') {
        let wrong = || PositionError::Partition { text: part.to_owned() };
        let (partition, at) = part.split_once('=').ok_or_else(wrong)?;
        let partition = partition.trim().parse().map_err(|_| wrong())?;
        partitions.insert(partition, place(at.trim(), now)?);
    }
    Ok(PositionSpec { default: None, partitions })
}

fn place(text: &str, now: &Zoned) -> Result<Place, PositionError> {
    match text {
        "start" | "earliest" => return Ok(Place::Earliest),
        "end" | "latest" => return Ok(Place::Latest),
        _ => {}
    }
    if let Some(group) = text.strip_prefix("group:").filter(|group| !group.is_empty()) {
        return Ok(Place::Group(group.to_owned()));
    }
    if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
        return Ok(Place::File(path.into()));
    }
    if let Some(time) = text.strip_prefix('@') {
        return unix_time(time)?
            .or_else(|| time_of(time, now))
            .map(Place::Time)
            .ok_or_else(|| PositionError::Unknown { text: text.to_owned() });
    }
    if let Some(count) = text.strip_prefix('+').and_then(digits) {
        return Ok(Place::AfterStart(number(count)?));
    }
    if let Some(count) = text.strip_prefix('-').and_then(digits) {
        return Ok(Place::BeforeEnd(number(count)?));
    }
    if let Some(offset) = digits(text) {
        let large = |_| PositionError::Large { text: text.to_owned() };
        return Ok(Place::Offset(i64::try_from(number(offset)?).map_err(large)?));
    }
    let ago = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
    ago.and_then(|ago| before(ago, now))
        .or_else(|| time_of(text, now))
        .map(Place::Time)
        .ok_or_else(|| PositionError::Unknown { text: text.to_owned() })
}

/// The time so long before `now`, in milliseconds. A day is one of the calendar, as long as it was there.
pub(crate) fn before(duration: &str, now: &Zoned) -> Option<i64> {
    let duration = duration.trim().parse::<Span>().ok().filter(|span| !span.is_negative())?;
    now.checked_sub(duration).ok().map(|then| then.timestamp().as_millisecond())
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

fn number(digits: &str) -> Result<u64, PositionError> {
    digits.parse().map_err(|_| PositionError::Large { text: digits.to_owned() })
}

fn unix_time(text: &str) -> Result<Option<i64>, PositionError> {
    let Some(text) = digits(text) else { return Ok(None) };
    let value: i64 = text.parse().map_err(|_| PositionError::Large { text: text.to_owned() })?;
    match text.len() {
        10 => Ok(value.checked_mul(1_000)),
        13 => Ok(Some(value)),
        16 => Ok(Some(value / 1_000)),
        19 => Ok(Some(value / 1_000_000)),
        digits => Err(PositionError::Digits { text: text.to_owned(), digits }),
    }
}

fn time_of(text: &str, now: &Zoned) -> Option<i64> {
    let zone = now.time_zone().clone();
    let midnight = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let at = match text {
        "today" => midnight(now.date()),
        "yesterday" => midnight(now.date().yesterday().ok()?),
        _ => text.parse::<Timestamp>().ok().or_else(|| midnight(iso_date(text)?)).or_else(|| {
            let time = Time::strptime("%H:%M", text).ok()?;
            now.date().to_datetime(time).to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
        }),
    };
    at?.round(Unit::Millisecond).ok().map(Timestamp::as_millisecond)
}

/// A date alone: what only starts like one (a local date and time) is not taken for its day.
fn iso_date(text: &str) -> Option<Date> {
    if text.len() == 10 { text.parse().ok() } else { None }
}

#[cfg(test)]
#[path = "position_tests.rs"]
mod tests;
