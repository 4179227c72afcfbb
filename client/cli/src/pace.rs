//! How fast a replay goes: at a rate, at a multiple of the pace at which the records were written, or both.
//!
//! Pure: time is an argument. Waiting is the caller's.

use std::time::Duration;

use thiserror::Error;

/// How much may pass in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// Records.
    Records(f64),
    /// Bytes of keys and values.
    Bytes(f64),
}

/// A text that is not a rate or a speed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PaceError {
    /// Not a rate.
    #[error("{text:?} is not a rate: use records such as 500/s, or bytes such as 10MB/s")]
    Rate {
        /// The text.
        text: String,
    },
    /// Not a speed.
    #[error("{text:?} is not a speed: use a multiple such as 1x, 10x or 0.5x, or max")]
    Speed {
        /// The text.
        text: String,
    },
}

/// Reads `500/s`, `500`, `10MB/s` or `64KiB/s`.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, PaceError> {
    let wrong = || PaceError::Rate { text: text.to_owned() };
    let amount = text.trim().trim_end_matches("/s").trim();
    let split = amount.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(amount.len());
    let (number, unit) = amount.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" => None,
        "b" => Some(1.0),
        "kb" => Some(1e3),
        "mb" => Some(1e6),
        "gb" => Some(1e9),
        "kib" => Some(1024.0),
        "mib" => Some(1024.0 * 1024.0),
        "gib" => Some(1024.0 * 1024.0 * 1024.0),
        _ => return Err(wrong()),
    };
    if !(number.is_finite() && number > 0.0) {
        return Err(wrong());
    }
    Ok(factor.map_or(Rate::Records(number), |factor| Rate::Bytes(number * factor)))
}

/// Reads `10x`; `None` is `max`, as fast as it goes.
pub(crate) fn parse_speed(text: &str) -> Result<Option<f64>, PaceError> {
    if text == "max" {
        return Ok(None);
    }
    let speed = text.strip_suffix('x').and_then(|number| number.parse().ok());
    let speed = speed.filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.map(Some).ok_or_else(|| PaceError::Speed { text: text.to_owned() })
}

/// When the next record may pass. `elapsed` counts from the start of the run.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<Rate>,
    speed: Option<f64>,
    gap_max_ms: Option<i64>,
    /// When the rate lets the next record pass.
    rate_due: Duration,
    /// The run's time and the record's time of the last record that passed.
    last: Option<(Duration, i64)>,
}

impl Pace {
    /// A pace; idle stretches of the original are cut to `gap_max`.
    pub(crate) fn new(rate: Option<Rate>, speed: Option<f64>, gap_max: Option<Duration>) -> Self {
        let gap_max_ms = gap_max.map(|gap| i64::try_from(gap.as_millis()).unwrap_or(i64::MAX));
        Self { rate, speed, gap_max_ms, rate_due: Duration::ZERO, last: None }
    }

    /// Whether records pass as fast as they come.
    pub(crate) const fn is_unbounded(&self) -> bool {
        self.rate.is_none() && self.speed.is_none()
    }

    /// Lets a record of this timestamp and size pass, and answers how long to wait before it does.
    pub(crate) fn wait(&mut self, elapsed: Duration, timestamp_ms: i64, bytes: usize) -> Duration {
        let due = self.rate_due.max(self.original_due(elapsed, timestamp_ms)).max(elapsed);
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "a record's size is far below 2^53")]
            let cost = match rate {
                Rate::Records(rate) => 1.0 / rate,
                Rate::Bytes(rate) => bytes as f64 / rate,
            };
            // A pause of the reader is not made up for: the rate is a ceiling at every moment.
            self.rate_due = due.saturating_add(Duration::try_from_secs_f64(cost).unwrap_or(Duration::MAX));
        }
        // Partitions are not merged by time, so a record may be older than the one before it.
        let newest = self.last.map_or(timestamp_ms, |(_, last)| last.max(timestamp_ms));
        self.last = Some((due, newest));
        due.saturating_sub(elapsed)
    }

    fn original_due(&self, elapsed: Duration, timestamp_ms: i64) -> Duration {
        let (Some(speed), Some((last_due, last_timestamp))) = (self.speed, self.last) else { return elapsed };
        let gap_ms = timestamp_ms.saturating_sub(last_timestamp).max(0);
        let gap_ms = self.gap_max_ms.map_or(gap_ms, |max| gap_ms.min(max));
        let gap = Duration::from_millis(gap_ms.unsigned_abs());
        let gap = Duration::try_from_secs_f64(gap.as_secs_f64() / speed).unwrap_or(Duration::MAX);
        last_due.saturating_add(gap)
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
