//! Queue groups: `tidelog group create`, `group alter`, and what `group show` says of one.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tidelog_client::admin::{
    ConfigEntry, NewQueueGroup, QueueGroup, QueueGroupChanges, QueueLane, QueueMember,
};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output};
use crate::values::{counted, parse_pair, wait_for_people};

/// The setting that `--order` is short for.
const ORDER: &str = "tidelog.queue.order";

pub(super) const CREATE_EXAMPLES: &str = "\
The topics need not exist yet. A group that has committed offsets and no members becomes a queue group that
begins there.

Examples:
  tidelog group create mail --topic orders
  tidelog group create mail --topic orders --order key --dry-run";

pub(super) const ALTER_EXAMPLES: &str = "\
All changes are made, or none.

Examples:
  tidelog group alter mail --add-topic refunds
  tidelog group alter mail --remove-topic orders --dry-run";

/// Arguments of `group create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The group's name.
    group: String,
    /// A topic it reads; may be given more than once.
    #[arg(long, short, value_name = "TOPIC", required = true)]
    topic: Vec<String>,
    /// A setting; may be given more than once.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// Whether records of one key wait for each other: the same as --config tidelog.queue.order=….
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// Check only; create nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `group alter`.
#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// The group's name.
    name: String,
    /// Read this topic too; may be given more than once.
    #[arg(long, value_name = "TOPIC")]
    add_topic: Vec<String>,
    /// Do not read this topic any more; may be given more than once.
    #[arg(long, value_name = "TOPIC")]
    remove_topic: Vec<String>,
    /// Set a setting; may be given more than once.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// Set a setting back to its default; may be given more than once.
    #[arg(long, value_name = "KEY")]
    reset_config: Vec<String>,
    /// Check only; change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Creates a queue group.
pub(super) async fn create(args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let order = args.order.map(|order| (ORDER.to_owned(), order));
    if order.is_some() && args.config.iter().any(|(key, _)| key == ORDER) {
        return Err(Failure::usage("'--order' cannot be used with '--config tidelog.queue.order=…'"));
    }
    let mut group = NewQueueGroup::new(args.group, args.topic);
    for (key, value) in args.config.into_iter().chain(order) {
        group = group.config(key, value);
    }
    if args.dry_run {
        group = group.validate_only();
    }
    let group = context.client().admin().create_queue_group(group).await?;
    tell(context, &group, if args.dry_run { "could be created" } else { "created" })
}

/// Changes a queue group.
pub(super) async fn alter(args: AlterArgs, context: &Context) -> Result<(), Failure> {
    let nothing = args.add_topic.is_empty() && args.remove_topic.is_empty();
    if nothing && args.config.is_empty() && args.reset_config.is_empty() {
        let failure = Failure::usage("nothing to change");
        return Err(failure.with_help("use --add-topic, --remove-topic, --config or --reset-config"));
    }
    let mut changes = QueueGroupChanges::new();
    for topic in args.add_topic {
        changes = changes.add_topic(topic);
    }
    for topic in args.remove_topic {
        changes = changes.remove_topic(topic);
    }
    for (key, value) in args.config {
        changes = changes.set(key, value);
    }
    for key in args.reset_config {
        changes = changes.reset(key);
    }
    if args.dry_run {
        changes = changes.validate_only();
    }
    let group = context.client().admin().alter_queue_group(&args.name, changes).await?;
    tell(context, &group, if args.dry_run { "could be altered" } else { "altered" })
}

fn tell(context: &Context, group: &QueueGroup, done: &str) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&to_json(group))?;
    } else {
        let topics: Vec<&str> = group.topics.iter().map(|topic| topic.as_str()).collect();
        output.line(&format!("queue group {} {done}: reads {}", group.group, topics.join(", ")))?;
    }
    output.flush()
}

fn to_json(group: &QueueGroup) -> Value {
    let config =
        |entry: &ConfigEntry| (entry.key.clone(), json!({"value": entry.value, "source": entry.source}));
    json!({
        "group": group.group.as_str(),
        "topics": group.topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(),
        "dead_letter_topic": group.dead_letter_topic,
        "configs": group.configs.iter().map(config).collect::<serde_json::Map<_, _>>(),
    })
}

/// Forgets a queue group.
pub(super) async fn delete(
    group: &QueueGroup,
    args: &super::DeleteArgs,
    context: &Context,
) -> Result<(), Failure> {
    let name = group.group.as_str();
    if args.topic.is_some() {
        let failure = Failure::usage(format!("{name} is a queue group: it has no committed offsets"));
        return Err(failure.with_help("tidelog group alter --remove-topic lets it read a topic no more"));
    }
    if !group.members.is_empty() {
        let count = counted(u64::try_from(group.members.len()).unwrap_or(u64::MAX), "member");
        let failure = Failure::new(Exit::Conflict, format!("group {name} has {count}: it is not deleted"));
        return Err(failure.with_help("stop them first"));
    }
    let (waiting, dead) = group.lanes.iter().fold((0_u64, 0_u64), |(waiting, dead), lane| {
        (waiting.saturating_add(lane.delayed), dead.saturating_add(lane.dying).saturating_add(lane.dead))
    });
    let (waiting, dead) = (counted(waiting, "delayed record"), counted(dead, "dead letter"));
    args.confirm.ask(context, &format!("forget queue group {name} with {waiting} and {dead}"))?;
    context.client().admin().delete_group(name).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({ "deleted": name }))?;
    } else {
        output.line(&format!("queue group {name} deleted"))?;
    }
    output.flush()
}

/// Says where a queue group stands.
pub(super) fn show(group: &QueueGroup, only_members: bool, context: &Context) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    if context.wants_json() {
        let rows: Vec<Value> = if only_members {
            group.members.iter().map(|member| member_json(group, member)).collect()
        } else {
            group.lanes.iter().map(|lane| lane_json(group, lane)).collect()
        };
        rows.iter().try_for_each(|row| output.json(row))?;
        return output.flush();
    }
    if !only_members {
        let until = group.breaker_opens_in.map(|wait| format!(" for {}", wait_for_people(wait)));
        let breaker = format!("{}{}", group.breaker, until.unwrap_or_default());
        let letters = &group.dead_letter_topic;
        output
            .line(&format!("{}: queue group, breaker {breaker}, dead letters in {letters}", group.group))?;
        output.line("")?;
    }
    if only_members || !group.members.is_empty() {
        let head =
            [Column::Text("MEMBER"), Column::Text("CLIENT"), Column::Text("HOST"), Column::Number("LEASED")];
        let row = |member: &QueueMember| {
            let leased = member.leased.to_string();
            vec![member.member_id.clone(), member.client_id.clone(), member.host.clone(), leased]
        };
        output.table(&head, group.members.iter().map(row).collect())?;
    }
    if !only_members {
        if !group.members.is_empty() {
            output.line("")?;
        }
        lanes(group, &mut output)?;
    }
    output.flush()
}

fn lanes(group: &QueueGroup, output: &mut Output) -> Result<(), Failure> {
    let head = [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("START"),
        Column::Number("BACKLOG"),
        Column::Number("AVAILABLE"),
        Column::Number("LEASED"),
        Column::Number("DELAYED"),
        Column::Number("DEAD"),
        Column::Text("NEXT DUE"),
        Column::Text("PROBLEM"),
    ];
    let row = |lane: &QueueLane| {
        let problem = lane.problem.as_ref().or(lane.blocked.as_ref());
        vec![
            lane.partition.topic.to_string(),
            lane.partition.partition.to_string(),
            lane.start.to_string(),
            lane.backlog().to_string(),
            lane.available.to_string(),
            lane.leased.to_string(),
            lane.delayed.to_string(),
            lane.dying.saturating_add(lane.dead).to_string(),
            lane.next_due_in.map_or_else(|| "-".to_owned(), wait_for_people),
            problem.map_or("-", String::as_str).to_owned(),
        ]
    };
    output.table(&head, group.lanes.iter().map(row).collect())
}

fn lane_json(group: &QueueGroup, lane: &QueueLane) -> Value {
    let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    json!({
        "group": group.group.as_str(),
        "breaker": group.breaker,
        "topic": lane.partition.topic.as_str(),
        "partition": lane.partition.partition.get(),
        "start": lane.start.get(),
        "end": lane.end.get(),
        "high_watermark": lane.high_watermark.get(),
        "backlog": lane.backlog(),
        "available": lane.available,
        "leased": lane.leased,
        "delayed": lane.delayed,
        "dying": lane.dying,
        "dead": lane.dead,
        "skipped": lane.skipped,
        "next_due_in_ms": lane.next_due_in.map(millis),
        "blocked": lane.blocked,
        "problem": lane.problem,
    })
}

fn member_json(group: &QueueGroup, member: &QueueMember) -> Value {
    json!({
        "group": group.group.as_str(),
        "member_id": member.member_id,
        "client_id": member.client_id,
        "host": member.host,
        "leased": member.leased,
    })
}
