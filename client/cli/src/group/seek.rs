//! `tidelog group seek`: where a group goes on, before and after, and the wait for members that give up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::Zoned;
use serde_json::json;
use tidelog_client::admin::{GroupDescription, Seek, TopicDescription, WhenActive};
use tidelog_client::{Error, ErrorKind, Offset, Position, TopicPartition};
use tokio::time::Instant;

use super::{described, who};
use crate::confirm::Confirm;
use crate::context::Context;
use crate::envelope;
use crate::failure::{Exit, Failure};
use crate::output::Column;
use crate::places::{self, Found};
use crate::position;
use crate::values::{PartitionList, counted, parse_partitions};

pub(super) const EXAMPLES: &str = "\
A group with members is left alone (exit code 6) unless --active says to move it: its members give the partitions
up, the positions are set while nobody reads, and whoever gets a partition begins there; what was read before
cannot be committed any more. Members of Kafka's classic protocol follow when they use range, roundrobin or sticky;
groups of cooperative-sticky and others are refused: stop them first.

Examples:
  tidelog group seek billing --to -1h --dry-run
  tidelog group seek billing --to start --topic orders --yes
  tidelog group seek billing --to 0=120,2=end --topic orders --yes
  tidelog group seek billing --to @2026-11-22T08:00:00Z --active --yes
  tidelog group seek billing --to group:billing-green --yes
  tidelog group seek billing --shift -100 --yes";

/// How often the broker is asked whether the members have given up.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Arguments of `group seek`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["to", "shift"]))]
pub(crate) struct SeekArgs {
    /// The group's name.
    group: String,
    /// Where it is to go on: an offset, a time, -1h30m, start, end, group:NAME, file:PATH, 0=12,3=end …
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: Option<String>,
    /// So many records on, or back, from where it is.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift: Option<i64>,
    /// Only these topics [all that the group has committed].
    #[arg(long, short, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Only these partitions.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    partition: Option<PartitionList>,
    /// Move the members of a group that reads.
    #[arg(long)]
    active: bool,
    /// With --active: how long to wait until the members have given their partitions up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Show only what would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// A group's place in one partition, before and after.
struct Move {
    id: TopicPartition,
    from: Option<Offset>,
    to: Found,
}

/// Does it.
pub(super) async fn run(args: &SeekArgs, context: &Context) -> Result<(), Failure> {
    let admin = context.client().admin();
    let group = described(context.client(), &args.group).await?;
    let held = admin.group_offsets(&args.group).await?;
    let held: BTreeMap<TopicPartition, Offset> =
        held.into_iter().map(|held| (held.partition, held.offset)).collect();
    let moves = moves(args, &held, context).await?;
    print(&moves, context)?;
    // Members may be elsewhere than what they have committed.
    let reads = !group.members.is_empty();
    let changed: Vec<(TopicPartition, Offset)> = moves
        .iter()
        .filter(|change| reads || change.from != Some(change.to.offset))
        .map(|change| (change.id.clone(), change.to.offset))
        .collect();
    let count = u64::try_from(changed.len()).unwrap_or(u64::MAX);
    let what = format!("set {} of group {}", counted(count, "offset"), args.group);
    if changed.is_empty() {
        context.note("nothing to change");
        return Ok(());
    }
    if args.dry_run {
        let moved = if reads { format!("; {}", who(&group)) } else { String::new() };
        context.note(format_args!("dry run: would {what}{moved}"));
        return Ok(());
    }
    if reads && !args.active {
        return Err(is_active(&group));
    }
    args.confirm.ask(context, &what)?;
    let when_active = if args.active { WhenActive::Move } else { WhenActive::Refuse };
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    let sought = admin.seek_group(&args.group, &changed, when_active).await;
    if sought.map_err(|error| refused(&error))? == Seek::Pending {
        context.note(format_args!("waiting for members to give {} up", counted(count, "partition")));
        wait(args, &changed, deadline, context).await?;
    }
    context.note(format_args!("done: {what}"));
    Ok(())
}

fn refused(error: &Error) -> Failure {
    let failure = Failure::from(error);
    match error.kind() {
        // Members of a classic group are waited for by the broker.
        ErrorKind::Timeout => failure.with_help(
            "the group is moved when its members have joined again, unless the broker stops before: \
             tidelog group show tells",
        ),
        _ => failure,
    }
}

fn is_active(group: &GroupDescription) -> Failure {
    Failure::new(Exit::Conflict, format!("{} that read: nothing was changed", who(group)))
        .with_help("stop them first, or add --active to move them")
}

/// Where the group goes on in each partition.
async fn moves(
    args: &SeekArgs,
    held: &BTreeMap<TopicPartition, Offset>,
    context: &Context,
) -> Result<Vec<Move>, Failure> {
    let committed: BTreeSet<&str> = held.keys().map(|id| id.topic.as_str()).collect();
    let named: BTreeSet<&str> = args.topic.iter().map(String::as_str).collect();
    let topics = if named.is_empty() { committed } else { named };
    if topics.is_empty() {
        let message = format!("group {} has committed nothing", args.group);
        return Err(Failure::new(Exit::NotFound, message).with_help("name a topic with --topic"));
    }
    let mut moves = Vec::new();
    for name in topics {
        let topic = context.client().admin().describe_topic(name).await?;
        let only = args.partition.as_ref().map_or(&[][..], |list| &list.0[..]);
        let partitions = places::partitions(&topic, only)?;
        let found = match (&args.to, args.shift) {
            (Some(to), _) => find(to, &topic, &partitions, context).await?,
            (None, shift) => shifted(shift.unwrap_or_default(), &partitions, held, context).await?,
        };
        let change = |(id, to): (TopicPartition, Found)| Move { from: held.get(&id).copied(), to, id };
        moves.extend(found.into_iter().map(change));
    }
    Ok(moves)
}

async fn find(
    to: &str,
    topic: &TopicDescription,
    partitions: &[TopicPartition],
    context: &Context,
) -> Result<BTreeMap<TopicPartition, Found>, Failure> {
    let spec =
        position::parse(to, &Zoned::now()).map_err(|error| Failure::usage(format!("--to: {error}")))?;
    let found = places::find(context.client(), topic, partitions, &spec).await?;
    // Nearest would not be what was asked for.
    let outside = found.iter().find_map(|(id, found)| Some((id, found, found.moved_from?)));
    let Some((id, found, offset)) = outside else { return Ok(found) };
    let (start, end) = (found.log_start, found.high_watermark);
    let message = format!("offset {offset} is not in the log of {id}, which has {start} to {end}");
    Err(Failure::new(Exit::NotFound, message).with_help("start and end name its ends"))
}

/// So many records from where the group is, as far as there are any.
async fn shifted(
    shift: i64,
    partitions: &[TopicPartition],
    held: &BTreeMap<TopicPartition, Offset>,
    context: &Context,
) -> Result<BTreeMap<TopicPartition, Found>, Failure> {
    let asked = partitions.iter().filter(|id| held.contains_key(id));
    let asked: Vec<_> = asked.map(|id| (id.clone(), Position::Latest)).collect();
    let ends = super::places(context.client(), &asked).await?;
    let found = ends.into_iter().filter_map(|(id, info)| {
        let wanted = Offset::new(held.get(&id)?.get().saturating_add(shift)).unwrap_or(info.log_start);
        let found = Found {
            offset: wanted.clamp(info.log_start, info.high_watermark),
            timestamp: None,
            log_start: info.log_start,
            high_watermark: info.high_watermark,
            moved_from: None,
        };
        Some((id, found))
    });
    Ok(found.collect())
}

async fn wait(
    args: &SeekArgs,
    sought: &[(TopicPartition, Offset)],
    deadline: Instant,
    context: &Context,
) -> Result<(), Failure> {
    loop {
        let group = described(context.client(), &args.group).await?;
        let waits =
            group.pending_seeks.iter().filter(|(id, _)| sought.iter().any(|(sought, _)| sought == id));
        let waits = waits.count();
        if waits == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left = counted(u64::try_from(waits).unwrap_or(u64::MAX), "partition");
            let message = format!("{}: {left} not given up within {} s", who(&group), args.wait);
            let help = "the broker does it as soon as they are; tidelog group show tells what it waits for";
            return Err(Failure::new(Exit::Unreachable, message).with_help(help));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn print(moves: &[Move], context: &Context) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    let by = |change: &Move| change.from.map(|from| change.to.offset.get().saturating_sub(from.get()));
    let lag = |change: &Move| change.to.high_watermark.since(change.to.offset);
    if context.wants_json() {
        for change in moves {
            output.json(&json!({
                "topic": change.id.topic.as_str(),
                "partition": change.id.partition.get(),
                "from": change.from.map(Offset::get),
                "offset": change.to.offset.get(),
                "delta": by(change),
                "lag_after": lag(change),
                "timestamp": change.to.timestamp.and_then(envelope::rfc3339),
            }))?;
        }
        return output.flush();
    }
    let head = [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("CURRENT"),
        Column::Number("NEW"),
        Column::Number("DELTA"),
        Column::Number("LAG AFTER"),
        Column::Text("TIME"),
    ];
    let row = |change: &Move| {
        vec![
            change.id.topic.to_string(),
            change.id.partition.to_string(),
            change.from.map_or_else(|| "-".to_owned(), |from| from.to_string()),
            change.to.offset.to_string(),
            by(change).map_or_else(String::new, |by| format!("{by:+}")),
            lag(change).to_string(),
            change.to.timestamp.and_then(envelope::rfc3339).unwrap_or_default(),
        ]
    };
    output.table(&head, moves.iter().map(row).collect())?;
    output.flush()
}
