//! `tidelog group lag`: how much is left for a group, in records and in time, and how fast that changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tidelog_client::admin::OffsetInfo;
use tidelog_client::{Client, Offset, Position, TopicPartition};

use super::{behind, described, places, where_they_end};
use crate::context::{Context, warn};
use crate::failure::{Exit, Failure};
use crate::output::{Column, table};

pub(super) const EXAMPLES: &str = "\
BEHIND is the age of the next record the group will read. With --watch, rates and the time to catch up are taken
from one look to the next. On a terminal each look takes the place of the one before; in a pipe they follow each
other with an empty line between.

Examples:
  tidelog group lag billing
  tidelog group lag billing --topic orders --watch
  tidelog group lag billing --watch 10 -o json >> lag.jsonl";

/// Arguments of `group lag`.
#[derive(Debug, Args)]
pub(crate) struct LagArgs {
    /// The group's name.
    group: String,
    /// Only these topics.
    #[arg(long, short, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Look again and again, every so many seconds (2 if no number is given).
    #[arg(
        long,
        short,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = parse_interval
    )]
    watch: Option<Duration>,
}

/// Reads a number of seconds that makes sense.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("{text:?} is not a number of seconds from 0.1 to 86400"))?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Where the group stands in a partition.
#[derive(Debug, Clone, PartialEq)]
struct Look {
    committed: Option<Offset>,
    end: Option<Offset>,
    lag: Option<u64>,
    /// The age of the next record, in milliseconds.
    behind_ms: Option<i64>,
    member: Option<String>,
}

/// How fast a partition changes, in records a second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    arriving: f64,
    read: f64,
}

impl Rates {
    fn between(before: &Look, after: &Look, seconds: f64) -> Option<Self> {
        let rate = |before: Option<Offset>, after: Option<Offset>| {
            let records = u32::try_from(after?.get().checked_sub(before?.get())?).unwrap_or(0);
            (seconds > 0.0).then(|| f64::from(records) / seconds)
        };
        let (arriving, read) = (rate(before.end, after.end)?, rate(before.committed, after.committed)?);
        Some(Self { arriving, read })
    }

    /// When nothing will be left, if it goes on like this.
    fn catch_up(self, lag: u64) -> Option<Duration> {
        if lag == 0 {
            return Some(Duration::ZERO);
        }
        let lag = f64::from(u32::try_from(lag).unwrap_or(u32::MAX));
        let gain = self.read - self.arriving;
        (gain > 0.0).then(|| Duration::try_from_secs_f64(lag / gain).ok())?
    }
}

type Looks = BTreeMap<TopicPartition, Look>;

/// Does it.
pub(super) async fn run(args: &LagArgs, context: &Context) -> Result<(), Failure> {
    let mut before: Option<(Instant, Looks)> = None;
    loop {
        let at = Instant::now();
        match look(args, context.client()).await {
            Ok(looks) => {
                let seconds = before.as_ref().map(|(then, _)| at.duration_since(*then).as_secs_f64());
                let old = before.as_ref().map(|(_, looks)| looks);
                print(args, context, &looks, old.zip(seconds))?;
                before = Some((at, looks));
            }
            // It was there: the broker will be back.
            Err(failure) if before.is_some() && failure.exit() == Exit::Unreachable => warn(&failure),
            Err(failure) => return Err(failure),
        }
        let Some(interval) = args.watch else { return Ok(()) };
        tokio::time::sleep(interval).await;
    }
}

async fn look(args: &LagArgs, client: &Client) -> Result<Looks, Failure> {
    let group = described(client, &args.group).await?;
    let mut looks = Looks::new();
    let none = Look { committed: None, end: None, lag: None, behind_ms: None, member: None };
    for held in client.admin().group_offsets(&args.group).await? {
        looks.entry(held.partition).or_insert_with(|| none.clone()).committed = Some(held.offset);
    }
    for member in group.members {
        for partition in member.partitions {
            looks.entry(partition).or_insert_with(|| none.clone()).member = Some(member.member_id.clone());
        }
    }
    looks.retain(|id, _| args.topic.is_empty() || args.topic.iter().any(|topic| topic == id.topic.as_str()));
    if looks.is_empty() {
        let within =
            if args.topic.is_empty() { String::new() } else { format!(" of {}", args.topic.join(", ")) };
        let message = format!("group {} reads and has committed nothing{within}", args.group);
        return Err(Failure::new(Exit::NotFound, message).with_help("tidelog group show tells what it is at"));
    }
    let ends = where_they_end(client, looks.keys()).await?;
    let next = |(id, look): (&TopicPartition, &Look)| {
        let (info, committed) = (ends.get(id)?, look.committed?);
        let next = committed.clamp(info.log_start, info.high_watermark);
        (next < info.high_watermark).then(|| (id.clone(), Position::Offset(next)))
    };
    let next: Vec<_> = looks.iter().filter_map(next).collect();
    let next = places(client, &next).await?;
    let now = Timestamp::now().as_millisecond();
    for (id, look) in &mut looks {
        let info: Option<&OffsetInfo> = ends.get(id);
        look.end = info.map(|info| info.high_watermark);
        look.lag = look.committed.and_then(|committed| Some(behind(committed, info?)));
        let oldest = next.get(id).and_then(|info| info.timestamp);
        let age = oldest.map(|oldest| now.saturating_sub(oldest.millis()).max(0));
        look.behind_ms = if look.lag == Some(0) { Some(0) } else { age };
    }
    Ok(looks)
}

fn print(
    args: &LagArgs,
    context: &Context,
    looks: &Looks,
    before: Option<(&Looks, f64)>,
) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    let at = Timestamp::now();
    let mut rows = Vec::with_capacity(looks.len());
    for (id, look) in looks {
        let rates = before.and_then(|(looks, seconds)| Rates::between(looks.get(id)?, look, seconds));
        let catch_up = rates.and_then(|rates| rates.catch_up(look.lag?));
        if context.wants_json() {
            output.json(&json!({
                "at": at.to_string(),
                "group": args.group,
                "topic": id.topic.as_str(),
                "partition": id.partition.get(),
                "offset": look.committed.map(Offset::get),
                "high_watermark": look.end.map(Offset::get),
                "lag": look.lag,
                "behind_ms": look.behind_ms,
                "arriving_per_s": rates.map(|rates| rates.arriving),
                "read_per_s": rates.map(|rates| rates.read),
                "catch_up_s": catch_up.map(|catch_up| catch_up.as_secs_f64()),
                "member_id": look.member,
            }))?;
            continue;
        }
        rows.push(row(id, look, rates, catch_up));
    }
    if !context.wants_json() {
        if args.watch.is_some() && context.stdout_is_terminal() {
            // To the upper left, on an empty screen.
            output.bytes(b"\x1b[H\x1b[2J")?;
        } else if before.is_some() {
            output.line("")?;
        }
        let total: u64 = looks.values().filter_map(|look| look.lag).sum();
        if args.watch.is_some() {
            output.line(&format!("{}  group {}  lag {total}", at.strftime("%H:%M:%SZ"), args.group))?;
        }
        output.line(&table(&head(), rows))?;
    }
    output.flush()
}

const fn head() -> [Column; 9] {
    [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("COMMITTED"),
        Column::Number("END"),
        Column::Number("LAG"),
        Column::Number("BEHIND"),
        Column::Number("IN/S"),
        Column::Number("READ/S"),
        Column::Text("CATCH-UP"),
    ]
}

fn row(id: &TopicPartition, look: &Look, rates: Option<Rates>, catch_up: Option<Duration>) -> Vec<String> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        id.topic.to_string(),
        id.partition.to_string(),
        shown(look.committed.map(|offset| offset.to_string())),
        shown(look.end.map(|offset| offset.to_string())),
        shown(look.lag.map(|lag| lag.to_string())),
        shown(look.behind_ms.map(|ms| span(Duration::from_millis(u64::try_from(ms).unwrap_or(0))))),
        shown(rates.map(|rates| format!("{:.1}", rates.arriving))),
        shown(rates.map(|rates| format!("{:.1}", rates.read))),
        shown(catch_up.map(span)),
    ]
}

/// A span of time for people: the two largest units.
fn span(span: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let seconds = span.as_secs();
    if seconds == 0 && !span.is_zero() {
        return format!("{}ms", span.as_millis());
    }
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    let Some(largest) = largest else { return format!("{seconds}s") };
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, name) in UNITS.iter().chain(&[(1, "s")]).skip(largest).take(2) {
        text.push_str(&format!("{}{name}", rest / unit));
        rest %= unit;
    }
    text
}

#[cfg(test)]
#[path = "lag_tests.rs"]
mod tests;
