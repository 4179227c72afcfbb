//! What a replay says: the plan before it starts, what was counted when it ends, and how to go on.

use std::time::Duration;

use serde_json::{Value, json};
use tidelog_client::Timestamp;

use super::ledger::{Counts, Ledger};
use super::plan::{Plan, Range};
use crate::envelope;
use crate::output::{Column, table};
use crate::values::{bytes_for_people, counted};

/// Partitions that are named one by one in a line.
const NAMED_MAX: usize = 8;

/// The plan of a replay.
#[derive(Debug)]
pub(super) struct PlanReport<'a> {
    pub(super) plan: &'a Plan,
    /// What is read and where it goes.
    pub(super) name: &'a str,
    pub(super) filtered: bool,
    /// How long it takes at least.
    pub(super) duration: Option<Duration>,
    /// What the filter passes, when it was tried.
    pub(super) scanned: Option<Counts>,
}

impl PlanReport<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let head = [
            Column::Text("TOPIC"),
            Column::Number("PARTITION"),
            Column::Number("FROM"),
            Column::Number("UNTIL"),
            Column::Text("FIRST"),
            Column::Text("LAST"),
            Column::Number("RECORDS"),
            Column::Number("BYTES"),
        ];
        let row = |range: &Range| {
            vec![
                range.id.topic.to_string(),
                range.id.partition.to_string(),
                range.start.to_string(),
                range.end.to_string(),
                time(range.first_timestamp),
                time(range.last_timestamp),
                range.records_max().to_string(),
                bytes_for_people(range.bytes),
            ]
        };
        let rows = self.plan.ranges.iter().map(row).collect();
        let mut text = format!("replay {}\n{}\n", self.name, table(&head, rows));
        let (records, bytes) = (self.plan.records_max(), bytes_for_people(self.plan.bytes()));
        text.push_str(&format!("total: at most {}, about {bytes} on disk", counted(records, "record")));
        if let Some(duration) = self.duration {
            text.push_str(&format!(", at least {} s", duration.as_secs()));
        }
        text.push('\n');
        match self.scanned {
            Some(counts) => {
                let passed = counted(counts.matched, "record");
                text.push_str(&format!("filter: {passed} of {} pass\n", counts.read));
            }
            None if self.filtered => {
                text.push_str("filter: fewer records may pass; --scan reads them and counts\n");
            }
            None => {}
        }
        text.push_str("nothing was written (dry run)");
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let range = |range: &Range| {
            json!({
                "topic": range.id.topic.as_str(),
                "partition": range.id.partition.get(),
                "start": range.start.get(),
                "end": range.end.get(),
                "first_timestamp": range.first_timestamp.and_then(envelope::rfc3339),
                "last_timestamp": range.last_timestamp.and_then(envelope::rfc3339),
                "records_max": range.records_max(),
                "bytes_estimated": range.bytes,
            })
        };
        let partitions: Vec<Value> = self.plan.ranges.iter().map(range).collect();
        json!({
            "dry_run": true,
            "replay": self.name,
            "records_max": self.plan.records_max(),
            "bytes_estimated": self.plan.bytes(),
            "seconds_min": self.duration.map(|duration| duration.as_secs_f64()),
            "filtered": self.filtered,
            "matched": self.scanned.map(|counts| counts.matched),
            "partitions": partitions,
        })
    }
}

fn time(timestamp: Option<Timestamp>) -> String {
    timestamp.and_then(envelope::rfc3339).unwrap_or_else(|| "-".to_owned())
}

/// The ranges in one line: the absolute places that positions such as `-1h` have become.
pub(super) fn ranges(plan: &Plan) -> String {
    let named = plan.ranges.iter().take(NAMED_MAX);
    let named: Vec<String> =
        named.map(|range| format!("{} {}..{}", range.id, range.start, range.end)).collect();
    let more = match plan.ranges.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}: at most {}", named.join(", "), counted(plan.records_max(), "record"))
}

/// What was done.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) replay_id: &'a str,
    pub(super) outcome: &'static str,
    pub(super) ledger: &'a Ledger,
    pub(super) elapsed: Duration,
    pub(super) checkpoint: Option<String>,
}

impl Summary<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Counts { read, matched, written, skipped } = self.ledger.total();
        let seconds = self.elapsed.as_secs_f64();
        format!(
            "{}: read {read}, matched {matched}, written {written}, skipped {skipped} in {seconds:.1} s",
            self.outcome
        )
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let next: Vec<i64> = self.ledger.shares().iter().map(|share| share.next.get()).collect();
        let partitions: Vec<Value> = self
            .ledger
            .partitions()
            .zip(next)
            .map(|((share, counts), next)| {
                json!({
                    "topic": share.id.topic.as_str(),
                    "partition": share.id.partition.get(),
                    "start": share.start.get(),
                    "end": share.end.get(),
                    "next": next,
                    "read": counts.read,
                    "matched": counts.matched,
                    "written": counts.written,
                    "skipped": counts.skipped,
                })
            })
            .collect();
        let total = self.ledger.total();
        json!({
            "replay_id": self.replay_id,
            "outcome": self.outcome,
            "seconds": self.elapsed.as_secs_f64(),
            "read": total.read,
            "matched": total.matched,
            "written": total.written,
            "skipped": total.skipped,
            "checkpoint": self.checkpoint,
            "partitions": partitions,
        })
    }
}

/// The command that goes on with an interrupted replay: the one that was given, and `--resume`.
pub(super) fn resume_command(words: impl Iterator<Item = String>) -> String {
    let mut command = "tidelog".to_owned();
    for word in words.filter(|word| word != "--resume").chain(["--resume".to_owned()]) {
        command.push(' ');
        command.push_str(&quoted(&word));
    }
    command
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
