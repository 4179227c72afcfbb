//! `tidelog group`: named readers, who they are, how far they have come, and where they go on.

mod lag;
mod queue;
mod seek;
mod show;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tidelog_client::admin::{GroupDescription, OffsetInfo, QueueGroup};
use tidelog_client::{Client, GroupOffset, Offset, Position, TopicName, TopicPartition};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Column;
use crate::values::counted;

/// How many groups are asked about at a time.
const GROUPS_AT_ONCE: usize = 8;
/// How many partitions one request asks about.
const PARTITIONS_AT_ONCE: usize = 1_000;
/// How many members a line of text names.
const MEMBERS_NAMED_MAX: usize = 3;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Create a queue group: its members share the records, settle each one, and get failed ones again.
    #[command(after_help = queue::CREATE_EXAMPLES)]
    Create(queue::CreateArgs),
    /// Change what a queue group reads and how it retries, all or nothing.
    #[command(after_help = queue::ALTER_EXAMPLES)]
    Alter(queue::AlterArgs),
    /// List the groups: what they are at, how many members they have, how much is left for them.
    #[command(visible_alias = "ls")]
    List,
    /// Show a group: its members with their partitions, how far it has read, and how much is left.
    #[command(visible_alias = "show", after_help = show::EXAMPLES)]
    Describe(show::DescribeArgs),
    /// Show how much is left for a group, in records and in time; once, or again and again.
    #[command(after_help = lag::EXAMPLES)]
    Lag(lag::LagArgs),
    /// Set where a group goes on, also while its members read (--active).
    #[command(after_help = seek::EXAMPLES)]
    Seek(seek::SeekArgs),
    /// Forget a group and its offsets, or its offsets of one topic. No record is deleted.
    #[command(visible_alias = "rm", after_help = DELETE_EXAMPLES)]
    Delete(DeleteArgs),
}

const DELETE_EXAMPLES: &str = "\
A group with members is not deleted: stop them first (exit code 6).

Examples:
  tidelog group rm billing --yes
  tidelog group rm billing --topic orders --yes";

/// Arguments of `group delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The group's name.
    group: String,
    /// Forget only its offsets of this topic, which none of its members may read.
    #[arg(long, short, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
}

/// Does it.
pub(crate) async fn run(command: GroupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        GroupCommand::Create(args) => queue::create(args, context).await,
        GroupCommand::Alter(args) => queue::alter(args, context).await,
        GroupCommand::List => list(context).await,
        GroupCommand::Describe(args) => show::run(&args, context).await,
        GroupCommand::Lag(args) => lag::run(&args, context).await,
        GroupCommand::Seek(args) => seek::run(&args, context).await,
        GroupCommand::Delete(args) => delete(&args, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.client();
    let groups = client.admin().groups().await?;
    let offsets = groups.iter().map(|group| {
        let (admin, name) = (client.admin(), group.group.to_string());
        async move { admin.group_offsets(&name).await }
    });
    let offsets: Vec<Vec<GroupOffset>> =
        futures::stream::iter(offsets).buffered(GROUPS_AT_ONCE).try_collect().await?;
    let ends = where_they_end(client, offsets.iter().flatten().map(|held| &held.partition)).await?;
    let lag = |held: &Vec<GroupOffset>| {
        held.iter().filter_map(|held| Some(behind(held.offset, ends.get(&held.partition)?))).sum::<u64>()
    };
    let mut output = context.stdout()?;
    let mut rows = Vec::with_capacity(groups.len());
    for (group, held) in groups.iter().zip(&offsets) {
        let lag = lag(held);
        if context.wants_json() {
            output.json(&json!({
                "group": group.group.as_str(),
                "state": group.state,
                "protocol": group.protocol,
                "members": group.members,
                "partitions": group.partitions,
                "lag": lag,
            }))?;
            continue;
        }
        rows.push(vec![
            group.group.to_string(),
            group.state.clone(),
            group.protocol.clone(),
            group.members.to_string(),
            group.partitions.to_string(),
            lag.to_string(),
        ]);
    }
    if !context.wants_json() {
        let head = [
            Column::Text("GROUP"),
            Column::Text("STATE"),
            Column::Text("PROTOCOL"),
            Column::Number("MEMBERS"),
            Column::Number("PARTITIONS"),
            Column::Number("LAG"),
        ];
        output.table(&head, rows)?;
    }
    output.flush()
}

/// How much of a partition is left from here. What was deleted before it was read cannot be read any more.
fn behind(offset: Offset, info: &OffsetInfo) -> u64 {
    let next = offset.clamp(info.log_start, info.high_watermark);
    info.high_watermark.since(next)
}

/// A group that exists. Queue groups are kept apart from those that commit offsets.
enum Known {
    Reader(GroupDescription),
    Queue(QueueGroup),
}

async fn known(client: &Client, group: &str) -> Result<Known, Failure> {
    let failure = match client.admin().describe_group(group).await {
        Ok(described) => return Ok(Known::Reader(described)),
        Err(error) => Failure::from(error),
    };
    if failure.exit() != Exit::NotFound {
        return Err(failure);
    }
    client.admin().describe_queue_group(group).await.map(Known::Queue).map_err(|_| {
        let failure = Failure::new(Exit::NotFound, format!("there is no group {group}"));
        failure.with_help("tidelog group list shows the groups there are")
    })
}

/// A group that commits offsets.
async fn described(client: &Client, group: &str) -> Result<GroupDescription, Failure> {
    match known(client, group).await? {
        Known::Reader(described) => Ok(described),
        Known::Queue(_) => {
            let message = format!("{group} is a queue group: it settles records and commits no offsets");
            let failure = Failure::new(Exit::Conflict, message);
            Err(failure.with_help(format!("tidelog group show {group} says where it stands")))
        }
    }
}

/// The ends of those partitions that still exist: a topic may be deleted while this looks.
async fn where_they_end(
    client: &Client,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> Result<BTreeMap<TopicPartition, OffsetInfo>, Failure> {
    let topics = client.admin().all_topics().await?;
    let topics: BTreeMap<TopicName, i32> =
        topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
    let exists =
        |id: &&TopicPartition| topics.get(&id.topic).is_some_and(|count| id.partition.get() < *count);
    let asked = partitions.filter(exists).map(|id| (id.clone(), Position::Latest));
    places(client, &asked.collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>()).await
}

/// Where positions lie, however many they are.
async fn places(
    client: &Client,
    asked: &[(TopicPartition, Position)],
) -> Result<BTreeMap<TopicPartition, OffsetInfo>, Failure> {
    let mut found = BTreeMap::new();
    for some in asked.chunks(PARTITIONS_AT_ONCE) {
        let infos = client.admin().list_offsets(some).await?;
        found.extend(infos.into_iter().map(|info| (info.partition.clone(), info)));
    }
    Ok(found)
}

/// Who reads for the group, in a few words.
fn who(group: &GroupDescription) -> String {
    let members = group.members.len();
    let name = |member: &tidelog_client::admin::GroupMember| {
        let name = if member.client_id.is_empty() { &member.member_id } else { &member.client_id };
        format!("{name} at {}", member.host)
    };
    let named: Vec<String> = group.members.iter().take(MEMBERS_NAMED_MAX).map(name).collect();
    let more = if members > MEMBERS_NAMED_MAX { ", …" } else { "" };
    let count = counted(u64::try_from(members).unwrap_or(u64::MAX), "member");
    format!("group {} has {count} ({}{more})", group.group, named.join(", "))
}

async fn delete(args: &DeleteArgs, context: &Context) -> Result<(), Failure> {
    let (group, admin) = (&args.group, context.client().admin());
    let known = match known(context.client(), group).await? {
        Known::Reader(known) => known,
        Known::Queue(queue) => return queue::delete(&queue, args, context).await,
    };
    if args.topic.is_none() && !known.members.is_empty() {
        let failure = Failure::new(Exit::Conflict, format!("{}: it is not deleted", who(&known)));
        return Err(failure.with_help("stop them first"));
    }
    let mut offsets = admin.group_offsets(group).await?;
    if let Some(topic) = &args.topic {
        offsets.retain(|held| held.partition.topic.as_str() == topic);
        if offsets.is_empty() {
            let message = format!("group {group} has committed nothing for topic {topic}");
            return Err(Failure::new(Exit::NotFound, message));
        }
    }
    let count = counted(u64::try_from(offsets.len()).unwrap_or(u64::MAX), "offset");
    let what = match &args.topic {
        Some(topic) => format!("forget {count} of group {group} for topic {topic}"),
        None => format!("forget group {group} and its {count}"),
    };
    args.confirm.ask(context, &what)?;
    let mut output = context.stdout()?;
    if let Some(topic) = &args.topic {
        let places: Vec<TopicPartition> = offsets.into_iter().map(|held| held.partition).collect();
        admin.delete_group_offsets(group, &places).await?;
        if context.wants_json() {
            output.json(&json!({ "group": group, "topic": topic, "offsets_deleted": places.len() }))?;
        } else {
            output.line(&format!("{count} of group {group} for topic {topic} deleted"))?;
        }
        return output.flush();
    }
    admin.delete_group(group).await?;
    if context.wants_json() {
        output.json(&json!({ "deleted": group }))?;
    } else {
        output.line(&format!("group {group} deleted"))?;
    }
    output.flush()
}
