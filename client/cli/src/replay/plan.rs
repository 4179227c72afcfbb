//! What a replay reads: a range of offsets for every partition, end-exclusive and fixed before the first record
//! is read. Pure: where the positions lie comes in.
//!
//! **Invariant:** `log_start <= start <= end <= high_watermark` for every range, whatever was asked for. A range
//! never grows while it is read, so a replay ends, also one into the topic it reads.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tidelog_client::{Offset, Timestamp, TopicPartition};

use crate::pace::Rate;
use crate::places::Found;

/// Where a position lies in each partition that it names.
pub(crate) type Places = BTreeMap<TopicPartition, Found>;

/// A place that is not where it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    id: TopicPartition,
    asked: i64,
    used: Offset,
}

impl Moved {
    /// What to say when nothing may be moved.
    pub(crate) fn refusal(&self) -> String {
        let Self { id, asked, used } = self;
        format!("{id} has no offset {asked}, the nearest is {used}; without --strict the replay uses that")
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no offset {}: using {}", self.id, self.asked, self.used)
    }
}

/// What to read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) id: TopicPartition,
    /// The first offset.
    pub(crate) start: Offset,
    /// Behind the last offset.
    pub(crate) end: Offset,
    /// The timestamp of the first record, when it is known.
    pub(crate) first_timestamp: Option<Timestamp>,
    /// The timestamp of the last record, when it is known.
    pub(crate) last_timestamp: Option<Timestamp>,
    /// About how many bytes on disk.
    pub(crate) bytes: u64,
}

impl Range {
    /// The most records that it can hold. Compaction may have left fewer.
    pub(crate) const fn records_max(&self) -> u64 {
        self.end.since(self.start)
    }
}

/// All ranges of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// By topic and partition.
    pub(crate) ranges: Vec<Range>,
    /// Places that are not where they were asked for.
    pub(crate) moved: Vec<Moved>,
    /// The first partition whose range would end before it begins, and how.
    pub(crate) reversed: Option<String>,
}

impl Plan {
    /// Adds the ranges between two positions. Partitions that `from` does not name are not read; those that
    /// `until` does not name are read to their end. `sizes` are the partitions' bytes on disk.
    pub(crate) fn add(&mut self, from: &Places, until: &Places, sizes: &BTreeMap<TopicPartition, u64>) {
        for (id, from) in from {
            let until = until.get(id);
            // Both were looked up one after the other, and the log goes on growing meanwhile.
            let end = until.map_or(from.high_watermark, |until| until.offset).max(from.offset);
            if let Some((from, until)) = until.and_then(|until| reversed(from, until)) {
                self.reversed.get_or_insert_with(|| format!("{id} from {from} until {until}"));
            }
            self.moved.extend(moved(id, from).into_iter().chain(until.and_then(|until| moved(id, until))));
            let kept = u128::from(from.high_watermark.max(end).since(from.log_start));
            let size = u128::from(sizes.get(id).copied().unwrap_or_default());
            let share = (size * u128::from(end.since(from.offset))).checked_div(kept).unwrap_or_default();
            self.ranges.push(Range {
                id: id.clone(),
                start: from.offset,
                end,
                first_timestamp: from.timestamp,
                last_timestamp: None,
                bytes: u64::try_from(share).unwrap_or(u64::MAX),
            });
        }
    }

    /// The most records that it can hold.
    pub(crate) fn records_max(&self) -> u64 {
        self.ranges.iter().map(Range::records_max).sum()
    }

    /// About how many bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.bytes).fold(0, u64::saturating_add)
    }

    /// The first and the last timestamp, as far as they are known.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.ranges.iter().filter_map(|range| range.first_timestamp).min();
        let last = self.ranges.iter().filter_map(|range| range.last_timestamp).max();
        first.zip(last)
    }

    /// How long it takes at least at this pace; `None` when nothing slows it down.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub(crate) fn duration(&self, rate: Option<Rate>, speed: Option<f64>) -> Option<Duration> {
        let by_rate = rate.map(|rate| match rate {
            Rate::Records(rate) => self.records_max() as f64 / rate,
            Rate::Bytes(rate) => self.bytes() as f64 / rate,
        });
        let by_speed = speed.zip(self.span()).map(|(speed, (first, last))| {
            last.millis().saturating_sub(first.millis()).max(0) as f64 / 1e3 / speed
        });
        let seconds = by_rate.into_iter().chain(by_speed).reduce(f64::max)?;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

/// The offsets asked for, when the second lies before the first. A log that grows between two looks moves the second
/// behind.
fn reversed(from: &Found, until: &Found) -> Option<(i64, i64)> {
    let asked = |found: &Found| found.moved_from.unwrap_or_else(|| found.offset.get());
    let both_outside = from.moved_from.is_some() && until.moved_from.is_some();
    // Where the log begins or ends they may meet.
    let backward = if both_outside { asked(until) < asked(from) } else { until.offset < from.offset };
    backward.then(|| (asked(from), asked(until)))
}

fn moved(id: &TopicPartition, found: &Found) -> Option<Moved> {
    found.moved_from.map(|asked| Moved { id: id.clone(), asked, used: found.offset })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
