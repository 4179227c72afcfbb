//! Values of flags that more than one command takes.

use std::time::Duration;

use tidelog_client::PartitionIndex;

/// Partitions named on the command line: `3`, `0,2` or `0,3-5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionList(pub(crate) Vec<PartitionIndex>);

/// More cannot exist in a topic: a list that names more is a slip of the finger.
const PARTITIONS_MAX: i32 = 100_000;

/// Reads a list of partitions, without repetitions and in order.
pub(crate) fn parse_partitions(text: &str) -> Result<PartitionList, String> {
    let mut partitions = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let index = |number: &str| {
            let number =
                number.trim().parse::<i32>().ok().filter(|number| (0..PARTITIONS_MAX).contains(number));
            number.ok_or_else(|| format!("{part:?} is not a partition: use 3, 0,2 or 0,3-5"))
        };
        let range = index(first)?..=index(last)?;
        if range.is_empty() {
            return Err(format!("{part:?} runs backwards: write the smaller number first"));
        }
        partitions.extend(range.filter_map(PartitionIndex::new));
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(PartitionList(partitions))
}

/// Reads one partition.
pub(crate) fn parse_partition(text: &str) -> Result<PartitionIndex, String> {
    let index = text.parse().ok().and_then(PartitionIndex::new);
    index.ok_or_else(|| format!("{text:?} is not a partition: use a number from 0"))
}

/// Reads `KEY=VALUE`; the value may hold more equals signs.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A number of bytes for people.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, UNITS.iter());
    let mut name = unit.next();
    while tenths >= 10_240 {
        (tenths, name) = (tenths / 1024, unit.next());
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, name.copied().unwrap_or_default())
}

/// A wait for people, in whole milliseconds below a second and in whole seconds above.
pub(crate) fn wait_for_people(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        return format!("{} ms", wait.as_millis());
    }
    format!("{} s", wait.as_secs())
}

/// "1 record", "2 records".
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
