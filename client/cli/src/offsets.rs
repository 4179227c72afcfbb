//! `tidelog offsets`: where positions lie, and where groups go on.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Zoned;
use serde_json::json;
use tidelog_client::admin::WhenActive;
use tidelog_client::{Offset, TopicPartition};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::envelope;
use crate::failure::{Exit, Failure};
use crate::output::Column;
use crate::places::{self, Found};
use crate::position;
use crate::values::{PartitionList, counted, parse_partitions};

/// What to do with offsets.
#[derive(Debug, Subcommand)]
pub(crate) enum OffsetsCommand {
    /// Show where a position lies in each partition of a topic.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Set where a group goes on.
    #[command(visible_alias = "commit")]
    Reset(ResetArgs),
}

/// Arguments of `offsets list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The topic.
    topic: String,
    /// The position: an offset, a time, -1h30m, group:NAME …
    #[arg(long, value_name = "POSITION", default_value = "end", allow_hyphen_values = true)]
    at: String,
    /// Only these partitions.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    partition: Option<PartitionList>,
}

/// Arguments of `offsets reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The group.
    group: String,
    /// The topic.
    topic: String,
    /// Where the group is to go on: an offset, a time, -1h30m, start, end, 0=12,3=end …
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: String,
    /// Only in these partitions.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    partition: Option<PartitionList>,
    /// Show only what would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// Does it.
pub(crate) async fn run(command: OffsetsCommand, context: &Context) -> Result<(), Failure> {
    match command {
        OffsetsCommand::List(args) => list(&args, context).await,
        OffsetsCommand::Reset(args) => reset(&args, context).await,
    }
}

async fn find(
    context: &Context,
    topic: &str,
    partition: Option<&PartitionList>,
    (flag, text): (&str, &str),
) -> Result<BTreeMap<TopicPartition, Found>, Failure> {
    let spec =
        position::parse(text, &Zoned::now()).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    let topic = context.client().admin().describe_topic(topic).await?;
    let named = partition.map_or(&[][..], |list| &list.0[..]);
    let partitions = places::partitions(&topic, named)?;
    let found = places::find(context.client(), &topic, &partitions, &spec).await?;
    // Nearest would not be what was asked for.
    let outside = found.iter().find_map(|(id, found)| Some((id, found, found.moved_from?)));
    match outside {
        None => Ok(found),
        Some((id, found, offset)) => {
            let (start, end) = (found.log_start, found.high_watermark);
            let message = format!("offset {offset} is not in the log of {id}, which has {start} to {end}");
            Err(Failure::new(Exit::NotFound, message).with_help("start and end name its ends"))
        }
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let found = find(context, &args.topic, args.partition.as_ref(), ("--at", &args.at)).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        for (id, found) in &found {
            output.json(&json!({
                "topic": id.topic.as_str(),
                "partition": id.partition.get(),
                "offset": found.offset.get(),
                "timestamp": found.timestamp.and_then(envelope::rfc3339),
                "log_start": found.log_start.get(),
                "high_watermark": found.high_watermark.get(),
            }))?;
        }
        return output.flush();
    }
    let head = [
        Column::Number("PARTITION"),
        Column::Number("OFFSET"),
        Column::Number("START"),
        Column::Number("END"),
        Column::Text("TIME"),
    ];
    let row = |(id, found): (&TopicPartition, &Found)| {
        vec![
            id.partition.to_string(),
            found.offset.to_string(),
            found.log_start.to_string(),
            found.high_watermark.to_string(),
            found.timestamp.and_then(envelope::rfc3339).unwrap_or_default(),
        ]
    };
    output.table(&head, found.iter().map(row).collect())?;
    output.flush()
}

/// A group's place in one partition, before and after.
struct Move {
    id: TopicPartition,
    from: Option<Offset>,
    to: Offset,
}

async fn reset(args: &ResetArgs, context: &Context) -> Result<(), Failure> {
    let found = find(context, &args.topic, args.partition.as_ref(), ("--to", &args.to)).await?;
    let admin = context.client().admin();
    let now = admin.group_offsets(&args.group).await?;
    let now: BTreeMap<_, _> = now.into_iter().map(|commit| (commit.partition, commit.offset)).collect();
    let moves =
        found.into_iter().map(|(id, found)| Move { from: now.get(&id).copied(), to: found.offset, id });
    let moves: Vec<Move> = moves.collect();
    let changed: Vec<(TopicPartition, Offset)> = moves
        .iter()
        .filter(|change| change.from != Some(change.to))
        .map(|change| (change.id.clone(), change.to))
        .collect();
    print(&moves, context)?;
    let count = u64::try_from(changed.len()).unwrap_or(u64::MAX);
    let what = format!("set {} of group {}", counted(count, "offset"), args.group);
    if changed.is_empty() {
        context.note("nothing to change");
    } else if args.dry_run {
        context.note(format_args!("dry run: would {what}"));
    } else {
        args.confirm.ask(context, &what)?;
        // A group that reads is refused: `group seek --active` moves it.
        admin.seek_group(&args.group, &changed, WhenActive::Refuse).await?;
        context.note(format_args!("done: {what}"));
    }
    Ok(())
}

fn print(moves: &[Move], context: &Context) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    if context.wants_json() {
        for Move { id, from, to } in moves {
            let (topic, partition) = (id.topic.as_str(), id.partition.get());
            let from = from.map(Offset::get);
            output
                .json(&json!({"topic": topic, "partition": partition, "from": from, "offset": to.get()}))?;
        }
        return output.flush();
    }
    let head =
        [Column::Number("PARTITION"), Column::Number("FROM"), Column::Number("TO"), Column::Number("BY")];
    let row = |Move { id, from, to }: &Move| {
        let by = from.map(|from| to.get().saturating_sub(from.get()));
        vec![
            id.partition.to_string(),
            from.map_or_else(|| "-".to_owned(), |from| from.to_string()),
            to.to_string(),
            by.map_or_else(String::new, |by| format!("{by:+}")),
        ]
    };
    output.table(&head, moves.iter().map(row).collect())?;
    output.flush()
}
