//! `tidelog group`: named readers and how far they have come.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;
use tidelog_client::admin::OffsetInfo;
use tidelog_client::{Client, GroupOffset, Position, TopicName, TopicPartition};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::envelope;
use crate::failure::{Exit, Failure};
use crate::output::Column;
use crate::values::counted;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the groups that have committed offsets.
    #[command(visible_alias = "ls")]
    List,
    /// Show how far a group has read, and how much is left.
    #[command(visible_alias = "show")]
    Describe(DescribeArgs),
    /// Forget a group and its offsets. No record is deleted.
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

/// Arguments of `group describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The group's name.
    group: String,
}

/// Arguments of `group delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The group's name.
    group: String,
    #[command(flatten)]
    confirm: Confirm,
}

/// Does it.
pub(crate) async fn run(command: GroupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        GroupCommand::List => list(context).await,
        GroupCommand::Describe(args) => describe(&args.group, context).await,
        GroupCommand::Delete(args) => delete(&args, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let groups = context.client().admin().groups().await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        for group in &groups {
            output.json(&json!({"group": group.group.as_str(), "partitions": group.partitions}))?;
        }
    } else {
        let head = [Column::Text("GROUP"), Column::Number("PARTITIONS")];
        let rows = groups.iter().map(|group| vec![group.group.to_string(), group.partitions.to_string()]);
        output.table(&head, rows.collect())?;
    }
    output.flush()
}

/// What a group has committed, which is something.
async fn committed(client: &Client, group: &str) -> Result<Vec<GroupOffset>, Failure> {
    let offsets = client.admin().group_offsets(group).await?;
    if offsets.is_empty() {
        let failure = Failure::new(Exit::NotFound, format!("group {group} has committed nothing"));
        return Err(failure.with_help("tidelog group list shows the groups there are"));
    }
    Ok(offsets)
}

async fn describe(group: &str, context: &Context) -> Result<(), Failure> {
    let offsets = committed(context.client(), group).await?;
    let infos = where_they_end(context.client(), &offsets).await?;
    let mut output = context.stdout()?;
    let mut rows = Vec::with_capacity(offsets.len());
    for commit in &offsets {
        let info = infos.get(&commit.partition);
        // What was deleted before it was read cannot be read any more.
        let lag = info
            .map(|info| info.high_watermark.since(commit.offset.clamp(info.log_start, info.high_watermark)));
        let (topic, partition) = (&commit.partition.topic, commit.partition.partition);
        if context.wants_json() {
            output.json(&json!({
                "group": group,
                "topic": topic.as_str(),
                "partition": partition.get(),
                "offset": commit.offset.get(),
                "log_start": info.map(|info| info.log_start.get()),
                "high_watermark": info.map(|info| info.high_watermark.get()),
                "lag": lag,
                "committed_at": commit.committed_at.and_then(envelope::rfc3339),
                "metadata": commit.metadata,
            }))?;
            continue;
        }
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![
            topic.to_string(),
            partition.to_string(),
            commit.offset.to_string(),
            shown(info.map(|info| info.high_watermark.to_string())),
            shown(lag.map(|lag| lag.to_string())),
            shown(commit.committed_at.and_then(envelope::rfc3339)),
        ]);
    }
    if !context.wants_json() {
        let head = [
            Column::Text("TOPIC"),
            Column::Number("PARTITION"),
            Column::Number("COMMITTED"),
            Column::Number("END"),
            Column::Number("LAG"),
            Column::Text("COMMITTED AT"),
        ];
        output.table(&head, rows)?;
    }
    output.flush()
}

/// The ends of the partitions that still exist: a topic may be deleted while this looks.
async fn where_they_end(
    client: &Client,
    offsets: &[GroupOffset],
) -> Result<BTreeMap<TopicPartition, OffsetInfo>, Failure> {
    let topics = client.admin().all_topics().await?;
    let topics: BTreeMap<TopicName, i32> =
        topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
    let exists = |id: &TopicPartition| topics.get(&id.topic).is_some_and(|count| id.partition.get() < *count);
    let there = offsets.iter().map(|commit| commit.partition.clone()).filter(exists);
    let asked: Vec<_> = there.map(|id| (id, Position::Latest)).collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let infos = client.admin().list_offsets(&asked).await?;
    Ok(infos.into_iter().map(|info| (info.partition.clone(), info)).collect())
}

async fn delete(args: &DeleteArgs, context: &Context) -> Result<(), Failure> {
    let group = &args.group;
    let count = u64::try_from(committed(context.client(), group).await?.len()).unwrap_or(u64::MAX);
    args.confirm.ask(context, &format!("forget group {group} and its {}", counted(count, "offset")))?;
    context.client().admin().delete_group(group).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({ "deleted": group }))?;
    } else {
        output.line(&format!("group {group} deleted"))?;
    }
    output.flush()
}
