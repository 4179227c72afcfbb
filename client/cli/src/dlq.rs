//! `tidelog dlq`: records that failed for good, by group: which they are, and what becomes of them.

use clap::{Args, Subcommand};
use jiff::Zoned;
use serde_json::{Map, Value, json};
use tidelog_client::admin::{DeadLetter, DeadLetterSelector, Redrive, RedriveProgress};
use tidelog_client::{Bytes, Offset, PartitionIndex, Timestamp};

use crate::confirm::Confirm;
use crate::context::{Context, Interrupt};
use crate::envelope::{self, Text};
use crate::failure::Failure;
use crate::output::Column;
use crate::position::{self, Place};
use crate::values::{counted, parse_partition};

/// How many dead letters one request asks for.
const PAGE: usize = 500;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the dead letters of a group that are not resolved.
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Hand dead letters out again: to the group that failed and to nobody else, from the first attempt on.
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(RedriveArgs),
    /// Be done with dead letters: they are not listed any more. Their copies stay in the dead letters' topic.
    #[command(after_help = RESOLVE_EXAMPLES)]
    Resolve(ResolveArgs),
}

const LIST_EXAMPLES: &str = "\
With --output json it is one object for each dead letter, its value and headers included.

Examples:
  tidelog dlq ls mail
  tidelog dlq ls mail --reason card-declined --since -1h -o json";

const REDRIVE_EXAMPLES: &str = "\
Ctrl-C stops it; --id goes on with it and hands nothing out twice.

Examples:
  tidelog dlq redrive mail --dry-run
  tidelog dlq redrive mail --topic orders --reason card-declined
  tidelog dlq redrive mail --rate 50";

const RESOLVE_EXAMPLES: &str = "\
Examples:
  tidelog dlq resolve mail --topic orders --partition 0 --offset 17,20-30 --yes
  tidelog dlq resolve mail --until -30d --dry-run";

/// Which dead letters are meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which dead letters [all]")]
struct Which {
    /// From this topic.
    #[arg(long, short, value_name = "TOPIC")]
    topic: Option<String>,
    /// From this partition of the topic.
    #[arg(long, short, value_name = "N", requires = "topic", value_parser = parse_partition)]
    partition: Option<PartitionIndex>,
    /// Of these offsets of the partition: 17, or 17,20-30.
    #[arg(long, value_name = "LIST", requires = "partition", value_parser = parse_offsets)]
    offset: Option<Offsets>,
    /// Failed last at this time or later: @TIME, -1h …
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Failed last before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// For this cause: MAX_ATTEMPTS, REJECTED, LEASE_EXPIRED, RETENTION, KEY_FOLLOW or DELAYED_EDGE.
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// With this reason code of the consumer.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// With this key.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
}

/// Ranges of offsets, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offsets(Vec<(Offset, Offset)>);

/// Arguments of `dlq list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The group's name.
    group: String,
    #[command(flatten)]
    which: Which,
    /// At most so many.
    #[arg(long, short = 'n', value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Arguments of `dlq redrive`.
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The group's name.
    group: String,
    #[command(flatten)]
    which: Which,
    /// So many records a second, at most 100,000.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Go on with this redrive, which was stopped.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    id: Option<u64>,
    /// Only count; hand nothing out.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `dlq resolve`.
#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// The group's name.
    group: String,
    #[command(flatten)]
    which: Which,
    /// Only count; change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// Does it.
pub(crate) async fn run(command: DlqCommand, context: &Context) -> Result<(), Failure> {
    match command {
        DlqCommand::List(args) => list(args, context).await,
        DlqCommand::Redrive(args) => redrive(args, context).await,
        DlqCommand::Resolve(args) => resolve(args, context).await,
    }
}

impl Which {
    fn selector(self) -> Result<DeadLetterSelector, Failure> {
        let now = Zoned::now();
        Ok(DeadLetterSelector {
            topic: self.topic,
            partition: self.partition,
            offsets: self.offset.map(|offsets| offsets.0).unwrap_or_default(),
            failed_from: self.since.map(|text| time("--since", &text, &now)).transpose()?,
            failed_to: self.until.map(|text| time("--until", &text, &now)).transpose()?,
            cause: self.cause,
            reason_code: self.reason,
            key: self.key.map(Bytes::from),
            header: None,
        })
    }
}

/// A position that is a time.
fn time(flag: &str, text: &str, now: &Zoned) -> Result<Timestamp, Failure> {
    let spec = position::parse(text, now).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    match spec.default {
        Some(Place::Time(millis)) => Ok(Timestamp::from_millis(millis)),
        _ => {
            let failure = Failure::usage(format!("{flag}: {text:?} is not a time"));
            Err(failure.with_help("write -1h30m, a date, or @ and a time as RFC 3339"))
        }
    }
}

fn parse_offsets(text: &str) -> Result<Offsets, String> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let offset = |number: &str| number.trim().parse().ok().and_then(Offset::new);
        let both = offset(first).zip(offset(last)).filter(|(first, last)| first <= last);
        both.ok_or_else(|| format!("{part:?} is not an offset or a range: use 17 or 20-30"))
    };
    text.split(',').map(range).collect::<Result<_, _>>().map(Offsets)
}

async fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let selector = args.which.selector()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut output, mut rows) = (context.stdout()?, Vec::new());
    let (mut page, mut left) = (None, limit);
    loop {
        let admin = context.client().admin();
        let found = admin.dead_letters(&args.group, &selector, left.min(PAGE), page.as_deref()).await?;
        left = left.saturating_sub(found.items.len());
        for letter in found.items {
            if context.wants_json() {
                output.json(&to_json(&args.group, &letter))?;
            } else {
                rows.push(row(&letter));
            }
        }
        page = found.next;
        if left == 0 || page.is_none() {
            break;
        }
    }
    if !context.wants_json() {
        let head = [
            Column::Text("TOPIC"),
            Column::Number("PARTITION"),
            Column::Number("OFFSET"),
            Column::Text("KEY"),
            Column::Text("CAUSE"),
            Column::Text("REASON"),
            Column::Number("ATTEMPTS"),
            Column::Number("REDRIVES"),
            Column::Text("FAILED"),
        ];
        output.table(&head, rows)?;
    }
    output.flush()?;
    if page.is_some() {
        context.note(format_args!("there may be more: these are the first {limit}; --limit shows more"));
    }
    Ok(())
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let key = letter.key.as_ref().map_or_else(|| "-".to_owned(), |key| key.escape_ascii().to_string());
    let reason = match (letter.reason_code.as_str(), letter.reason_text.as_str()) {
        ("", "") => "-".to_owned(),
        (code, "") => code.to_owned(),
        ("", text) => text.to_owned(),
        (code, text) => format!("{code}: {text}"),
    };
    vec![
        letter.partition.topic.to_string(),
        letter.partition.partition.to_string(),
        letter.offset.to_string(),
        key,
        if letter.lost { "copy lost".to_owned() } else { letter.cause.clone() },
        reason,
        letter.attempts.to_string(),
        letter.redrives.to_string(),
        envelope::rfc3339(letter.last_failure).unwrap_or_else(|| "-".to_owned()),
    ]
}

fn to_json(group: &str, letter: &DeadLetter) -> Value {
    let header = |(key, value): &(Bytes, Option<Bytes>)| json!([Text(Some(key)), Text(value.as_deref())]);
    let places = json!({
        "group": group,
        "topic": letter.partition.topic.as_str(),
        "partition": letter.partition.partition.get(),
        "offset": letter.offset.get(),
        "dead_letter_topic": letter.copy.topic.as_str(),
        "dead_letter_partition": letter.copy.partition.get(),
        "dead_letter_offset": letter.copy_offset.get(),
        "redrives": letter.redrives,
        "lost": letter.lost,
    });
    let facts = json!({
        "cause": letter.cause,
        "reason_code": letter.reason_code,
        "reason_text": letter.reason_text,
        "attempts": letter.attempts,
        "first_failure": envelope::rfc3339(letter.first_failure),
        "last_failure": envelope::rfc3339(letter.last_failure),
        "timestamp": envelope::rfc3339(letter.timestamp),
        "key": Text(letter.key.as_deref()),
        "value": Text(letter.value.as_deref()),
        "headers": letter.headers.iter().map(header).collect::<Vec<_>>(),
        "truncated": letter.truncated,
    });
    let facts = Some(facts).filter(|_| !letter.lost);
    let fields = [Some(places), facts].into_iter().flatten().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect::<Map<_, _>>())
}

async fn redrive(args: RedriveArgs, context: &Context) -> Result<(), Failure> {
    let (group, dry_run) = (args.group, args.dry_run);
    let asked = Redrive { selector: args.which.selector()?, id: args.id, rate: Some(args.rate), dry_run };
    let mut interrupt = Interrupt::install()?;
    let mut last = RedriveProgress::default();
    let admin = context.client().admin();
    let done = tokio::select! {
        done = admin.redrive(&group, asked, |progress| last = progress) => Some(done),
        () = interrupt.raised() => None,
    };
    let go_on = |failure: Failure, id: u64| {
        if id == 0 || dry_run { failure } else { failure.with_help(format!("--id {id} goes on with it")) }
    };
    let done = match done {
        Some(Ok(done)) => done,
        Some(Err(error)) => return Err(go_on(Failure::from(error), last.id)),
        None => {
            let count = counted(last.redriven, "record");
            return Err(go_on(Failure::interrupted(format!("interrupted after {count}")), last.id));
        }
    };
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({
            "group": group,
            "redrive_id": done.id,
            "dry_run": dry_run,
            "seen": done.seen,
            "selected": done.selected,
            "redriven": done.redriven,
            "had_it": done.had_it,
            "too_often": done.too_often,
            "gone": done.gone,
        }))?;
        return output.flush();
    }
    if dry_run {
        let selected = counted(done.selected, "dead letter");
        output.line(&format!("{selected} of {} would be redriven to {group}", done.seen))?;
    } else {
        let redriven = counted(done.redriven, "dead letter");
        output.line(&format!("{redriven} redriven to {group}, of {} looked at", done.seen))?;
    }
    output.flush()?;
    if done.had_it > 0 {
        context.note(format_args!("{} had been redriven before this redrive was stopped", done.had_it));
    }
    if done.gone > 0 {
        context.note(format_args!(
            "{} left alone: retention has deleted the record; its copy is in the dead letters' topic",
            done.gone
        ));
    }
    if done.too_often > 0 {
        context.note(format_args!(
            "{} left alone: redriven as often as tidelog.queue.max.redrives allows",
            done.too_often
        ));
    }
    Ok(())
}

async fn resolve(args: ResolveArgs, context: &Context) -> Result<(), Failure> {
    let (group, dry_run) = (args.group, args.dry_run);
    let selector = args.which.selector()?;
    let admin = context.client().admin();
    if !dry_run {
        let count = admin.resolve_dead_letters(&group, selector.clone(), true).await?;
        let what = format!("resolve {} of group {group}", counted(count, "dead letter"));
        args.confirm.ask(context, &what)?;
    }
    let resolved = admin.resolve_dead_letters(&group, selector, dry_run).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({ "group": group, "dry_run": dry_run, "resolved": resolved }))?;
    } else {
        let would = if dry_run { "would be " } else { "" };
        output.line(&format!("{} of group {group} {would}resolved", counted(resolved, "dead letter")))?;
    }
    output.flush()
}

#[cfg(test)]
#[path = "dlq_tests.rs"]
mod tests;
