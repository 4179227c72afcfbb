//! `tidelog topic`: create, list, describe, alter and delete topics.

use clap::{Args, Subcommand};
use jiff::Zoned;
use serde_json::{Value, json};
use tidelog_client::admin::TopicDescription;
use tidelog_client::{ErrorKind, NewTopic, Offset, PartitionIndex, TopicChanges};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Column;
use crate::places;
use crate::position::{self, PositionSpec};
use crate::values::{PartitionList, bytes_for_people, counted, parse_pair, parse_partitions};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic.
    Create(CreateArgs),
    /// List the topics.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a topic's partitions and configs.
    #[command(visible_alias = "show")]
    Describe(NameArgs),
    /// Change a topic's configs, all or none.
    Alter(AlterArgs),
    /// Raise the number of partitions. Keys may go to other partitions from then on.
    AddPartitions(AddPartitionsArgs),
    /// Delete the oldest records of a topic.
    #[command(visible_alias = "truncate")]
    DeleteRecords(DeleteRecordsArgs),
    /// Delete a topic and its records.
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

/// Arguments of `topic create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The topic's name.
    name: String,
    /// How many partitions it gets [default: as the broker is configured].
    #[arg(long, short, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// A config, such as retention.ms=86400000; may be given more than once.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// Succeed when the topic is there already, whatever its partitions and configs.
    #[arg(long)]
    if_not_exists: bool,
    /// Check only; create nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `topic list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Also the broker's own topics.
    #[arg(long, short)]
    all: bool,
}

/// Arguments that only name a topic.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The topic's name.
    name: String,
}

/// Arguments of `topic alter`.
#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// The topic's name.
    name: String,
    /// Set a config; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair, required_unless_present = "reset")]
    set: Vec<(String, String)>,
    /// Set a config back to the broker's default; may be given more than once.
    #[arg(long, value_name = "KEY")]
    reset: Vec<String>,
    /// Check only; change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `topic add-partitions`.
#[derive(Debug, Args)]
pub(crate) struct AddPartitionsArgs {
    /// The topic's name.
    name: String,
    /// How many partitions it then has.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    total: i32,
}

/// Arguments of `topic delete-records`.
#[derive(Debug, Args)]
pub(crate) struct DeleteRecordsArgs {
    /// The topic's name.
    name: String,
    /// Delete what lies before this position: an offset, a time, -7d, end for everything.
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    before: String,
    /// Only in these partitions.
    #[arg(long, short, value_name = "LIST", value_parser = parse_partitions)]
    partition: Option<PartitionList>,
    #[command(flatten)]
    confirm: Confirm,
}

/// Arguments of `topic delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The topic's name.
    name: String,
    #[command(flatten)]
    confirm: Confirm,
}

/// Does it.
pub(crate) async fn run(command: TopicCommand, context: &Context) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(args) => create(args, context).await,
        TopicCommand::List(args) => list(&args, context).await,
        TopicCommand::Describe(args) => describe(&args.name, context).await,
        TopicCommand::Alter(args) => alter(args, context).await,
        TopicCommand::AddPartitions(args) => add_partitions(&args, context).await,
        TopicCommand::DeleteRecords(args) => delete_records(&args, context).await,
        TopicCommand::Delete(args) => delete(&args, context).await,
    }
}

async fn create(args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let mut topic = NewTopic::new(&args.name).partitions(args.partitions.unwrap_or(0));
    for (key, value) in args.config {
        topic = topic.config(key, value);
    }
    if args.dry_run {
        topic = topic.validate_only();
    }
    let admin = context.client().admin();
    let (topic, done) = match admin.create_topic(topic).await {
        Ok(topic) => (topic, if args.dry_run { "could be created" } else { "created" }),
        Err(error) if args.if_not_exists && error.kind() == ErrorKind::Conflict => {
            (admin.describe_topic(&args.name).await?, "was there already")
        }
        Err(error) => return Err(error.into()),
    };
    tell(context, &topic, done)
}

/// The state after a change, in one line.
fn tell(context: &Context, topic: &TopicDescription, done: &str) -> Result<(), Failure> {
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&to_json(topic))?;
    } else {
        let count = u64::try_from(topic.partitions.len()).unwrap_or(u64::MAX);
        output.line(&format!("topic {} {done}: {}", topic.name, counted(count, "partition")))?;
    }
    output.flush()
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let admin = context.client().admin();
    let topics = if args.all { admin.all_topics().await? } else { admin.topics().await? };
    let mut output = context.stdout()?;
    if context.wants_json() {
        for topic in &topics {
            let (name, partitions) = (topic.name.as_str(), topic.partitions);
            let internal = topic.internal;
            let row = json!({"name": name, "partitions": partitions, "id": topic.id, "internal": internal});
            output.json(&row)?;
        }
    } else {
        let head = [Column::Text("NAME"), Column::Number("PARTITIONS"), Column::Text("ID")];
        let row = |topic: &tidelog_client::admin::TopicSummary| {
            vec![topic.name.to_string(), topic.partitions.to_string(), topic.id.clone()]
        };
        output.table(&head, topics.iter().map(row).collect())?;
    }
    output.flush()
}

async fn describe(name: &str, context: &Context) -> Result<(), Failure> {
    let topic = context.client().admin().describe_topic(name).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&to_json(&topic))?;
        return output.flush();
    }
    output.line(&format!("topic {}, id {}\n", topic.name, topic.id))?;
    let head = [
        Column::Number("PARTITION"),
        Column::Number("START"),
        Column::Number("END"),
        Column::Number("WRITTEN"),
        Column::Number("SIZE"),
        Column::Number("SEGMENTS"),
        Column::Number("EPOCH"),
        Column::Text("PROBLEM"),
    ];
    let partitions = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            partition.log_start.to_string(),
            partition.high_watermark.to_string(),
            partition.log_end.to_string(),
            bytes_for_people(partition.size_bytes),
            partition.segments.to_string(),
            partition.leader_epoch.to_string(),
            partition.problem.clone().unwrap_or_default(),
        ]
    });
    output.table(&head, partitions.collect())?;
    output.line("")?;
    let head = [Column::Text("CONFIG"), Column::Text("VALUE"), Column::Text("SOURCE")];
    let configs = topic.configs.iter();
    let configs = configs.map(|entry| vec![entry.key.clone(), entry.value.clone(), entry.source.clone()]);
    output.table(&head, configs.collect())?;
    output.flush()
}

async fn alter(args: AlterArgs, context: &Context) -> Result<(), Failure> {
    let mut changes = TopicChanges::new();
    for (key, value) in args.set {
        changes = changes.set(key, value);
    }
    for key in args.reset {
        changes = changes.reset(key);
    }
    if args.dry_run {
        changes = changes.validate_only();
    }
    let topic = context.client().admin().alter_topic(&args.name, changes).await?;
    tell(context, &topic, if args.dry_run { "could be altered" } else { "altered" })
}

async fn add_partitions(args: &AddPartitionsArgs, context: &Context) -> Result<(), Failure> {
    let topic = context.client().admin().add_partitions(&args.name, args.total).await?;
    tell(context, &topic, "extended")
}

async fn delete_records(args: &DeleteRecordsArgs, context: &Context) -> Result<(), Failure> {
    let before = position::parse(&args.before, &Zoned::now())
        .map_err(|error| Failure::usage(format!("--before: {error}")))?;
    let client = context.client();
    let topic = client.admin().describe_topic(&args.name).await?;
    let named = args.partition.as_ref().map_or(&[][..], |list| &list.0[..]);
    let cuts = cuts(context, &topic, named, &before).await?;
    let records: u64 = cuts.iter().map(|cut| cut.records).sum();
    let partitions = u64::try_from(cuts.iter().filter(|cut| cut.records > 0).count()).unwrap_or(u64::MAX);
    let what = format!(
        "delete up to {} of {} of topic {}",
        counted(records, "record"),
        counted(partitions, "partition"),
        topic.name
    );
    if records > 0 {
        args.confirm.ask(context, &what)?;
    }
    let before: Vec<_> =
        cuts.iter().filter(|cut| cut.records > 0).map(|cut| (cut.partition, Some(cut.before))).collect();
    let starts = if before.is_empty() {
        Vec::new()
    } else {
        client.admin().delete_records(&args.name, &before).await?
    };
    let mut output = context.stdout()?;
    if context.wants_json() {
        for (partition, start) in &starts {
            let (partition, start) = (partition.get(), start.get());
            let row = json!({"topic": topic.name.as_str(), "partition": partition, "log_start": start});
            output.json(&row)?;
        }
    } else {
        let head = [Column::Number("PARTITION"), Column::Number("START")];
        let rows = starts.iter().map(|(partition, start)| vec![partition.to_string(), start.to_string()]);
        output.table(&head, rows.collect())?;
    }
    output.flush()
}

/// Where one partition is to be cut.
struct Cut {
    partition: PartitionIndex,
    before: Offset,
    /// Offsets that fall away; compaction may have removed some of their records before.
    records: u64,
}

async fn cuts(
    context: &Context,
    topic: &TopicDescription,
    named: &[PartitionIndex],
    before: &PositionSpec,
) -> Result<Vec<Cut>, Failure> {
    let partitions = places::partitions(topic, named)?;
    let found = places::find(context.client(), topic, &partitions, before).await?;
    let cut = |(id, found): (tidelog_client::TopicPartition, places::Found)| {
        // Nearest would be everything: not what was asked for.
        if let Some(offset) = found.moved_from.filter(|offset| *offset > found.high_watermark.get()) {
            let message = format!("offset {offset} is behind the end of {id}, {}", found.high_watermark);
            return Err(Failure::new(Exit::NotFound, message).with_help("end deletes everything"));
        }
        let records = found.offset.since(found.log_start);
        Ok(Cut { partition: id.partition, before: found.offset, records })
    };
    found.into_iter().map(cut).collect()
}

async fn delete(args: &DeleteArgs, context: &Context) -> Result<(), Failure> {
    let admin = context.client().admin();
    // A misspelt name is told before the question, not after it.
    let topic = admin.describe_topic(&args.name).await?;
    let records: u64 =
        topic.partitions.iter().map(|partition| partition.high_watermark.since(partition.log_start)).sum();
    let what = format!("delete topic {} with up to {}", topic.name, counted(records, "record"));
    args.confirm.ask(context, &what)?;
    admin.delete_topic(&args.name).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({"deleted": topic.name.as_str(), "id": topic.id}))?;
    } else {
        output.line(&format!("topic {} deleted", topic.name))?;
    }
    output.flush()
}

fn to_json(topic: &TopicDescription) -> Value {
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.partition.get(),
            "leader_epoch": partition.leader_epoch,
            "log_start": partition.log_start.get(),
            "high_watermark": partition.high_watermark.get(),
            "log_end": partition.log_end.get(),
            "size_bytes": partition.size_bytes,
            "segments": partition.segments,
            "problem": partition.problem,
        })
    });
    let configs = topic.configs.iter().map(
        |entry| json!({"key": entry.key, "value": entry.value, "source": entry.source, "kind": entry.kind}),
    );
    json!({
        "name": topic.name.as_str(),
        "id": topic.id,
        "internal": topic.internal,
        "partitions": partitions.collect::<Vec<_>>(),
        "configs": configs.collect::<Vec<_>>(),
    })
}
