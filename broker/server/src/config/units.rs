//! Sizes and durations as people write them: `64MiB`, `7d`.

use std::time::Duration;

/// Units of sizes, the largest first, so that a value is shown in the largest one that fits it.
const SIZES: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of durations in milliseconds, the largest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size in bytes; a bare number is one.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = if unit.is_empty() { Some(1) } else { factor(&SIZES, unit) };
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        format!("{text:?} is not a size: write a whole number with B, KiB, MiB, GiB or TiB, like \"64MiB\"")
    })
}

/// Reads a duration; the unit is required.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let millis = number.zip(factor(&TIMES, unit)).and_then(|(number, factor)| number.checked_mul(factor));
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration: write a whole number with ms, s, m, h or d, like \"30s\"")
    })
}

/// The size in the largest unit of 1024 that shows it exactly.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES[..4]).unwrap_or_else(|| format!("{bytes}B"))
}

/// The duration in the largest unit that shows it exactly.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &TIMES).unwrap_or_else(|| format!("{millis}ms"))
}

fn show(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let fits = |(_, factor): &&(&str, u64)| value > 0 && value.is_multiple_of(*factor);
    units.iter().find(fits).map(|(unit, factor)| format!("{}{unit}", value / factor))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
}

fn split(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number.replace('_', "").parse().ok(), unit.trim())
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
