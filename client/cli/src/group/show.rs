//! `tidelog group describe`: who is in a group, and how far it has read.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use tidelog_client::admin::{GroupDescription, GroupMember, OffsetInfo};
use tidelog_client::{GroupOffset, TopicPartition};

use super::{Known, behind, known, queue, where_they_end};
use crate::context::Context;
use crate::envelope;
use crate::failure::Failure;
use crate::output::{Column, Output};

pub(super) const EXAMPLES: &str = "\
With --output json it is one object for each partition; --members gives one for each member.

Examples:
  tidelog group show billing
  tidelog group show billing --members -o json";

/// Arguments of `group describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The group's name.
    group: String,
    /// Only the members.
    #[arg(long)]
    members: bool,
}

/// Does it.
pub(super) async fn run(args: &DescribeArgs, context: &Context) -> Result<(), Failure> {
    let group = match known(context.client(), &args.group).await? {
        Known::Reader(group) => group,
        Known::Queue(group) => return queue::show(&group, args.members, context),
    };
    let mut output = context.stdout()?;
    if args.members {
        members(&group, context, &mut output)?;
        return output.flush();
    }
    let held = context.client().admin().group_offsets(&args.group).await?;
    let rows = rows(&group, held);
    let ends = where_they_end(context.client(), rows.keys()).await?;
    if !context.wants_json() {
        let assignor = Some(group.assignor.as_str()).filter(|name| !name.is_empty() && *name != "-");
        let assignor = assignor.map_or_else(String::new, |name| format!(", assignor {name}"));
        let (state, protocol, epoch) = (&group.state, &group.protocol, group.epoch);
        output.line(&format!("{}: {state}, protocol {protocol}{assignor}, epoch {epoch}", group.group))?;
        for (partition, offset) in &group.pending_seeks {
            output.line(&format!("seek of {partition} to {offset} waits for its reader to give it up"))?;
        }
        if !group.members.is_empty() {
            output.line("")?;
            members(&group, context, &mut output)?;
        }
        output.line("")?;
    }
    offsets(&args.group, &rows, &ends, context, &mut output)?;
    output.flush()
}

/// A partition that the group has read, or that a member reads.
struct Row<'a> {
    held: Option<GroupOffset>,
    reader: Option<&'a GroupMember>,
}

fn rows(group: &GroupDescription, held: Vec<GroupOffset>) -> BTreeMap<TopicPartition, Row<'_>> {
    let row = |held: GroupOffset| (held.partition.clone(), Row { held: Some(held), reader: None });
    let mut rows: BTreeMap<TopicPartition, Row<'_>> = held.into_iter().map(row).collect();
    for member in &group.members {
        for partition in &member.partitions {
            rows.entry(partition.clone()).or_insert(Row { held: None, reader: None }).reader = Some(member);
        }
    }
    rows
}

fn members(group: &GroupDescription, context: &Context, output: &mut Output) -> Result<(), Failure> {
    if context.wants_json() {
        for member in &group.members {
            let place = |held: &TopicPartition| json!({"topic": held.topic.as_str(), "partition": held.partition.get()});
            output.json(&json!({
                "group": group.group.as_str(),
                "member_id": member.member_id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "epoch": member.epoch,
                "partitions": member.partitions.iter().map(place).collect::<Vec<_>>(),
            }))?;
        }
        return Ok(());
    }
    let head = [
        Column::Text("MEMBER"),
        Column::Text("INSTANCE"),
        Column::Text("CLIENT"),
        Column::Text("HOST"),
        Column::Number("EPOCH"),
        Column::Text("PARTITIONS"),
    ];
    let row = |member: &GroupMember| {
        vec![
            member.member_id.clone(),
            member.instance_id.clone().unwrap_or_else(|| "-".to_owned()),
            member.client_id.clone(),
            member.host.clone(),
            member.epoch.to_string(),
            by_topic(&member.partitions),
        ]
    };
    output.table(&head, group.members.iter().map(row).collect())
}

/// `orders[0,2] clicks[1]`; `-` for none.
fn by_topic(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for held in partitions {
        topics.entry(held.topic.as_str()).or_default().push(held.partition.to_string());
    }
    if topics.is_empty() {
        return "-".to_owned();
    }
    let topics: Vec<String> =
        topics.into_iter().map(|(topic, indices)| format!("{topic}[{}]", indices.join(","))).collect();
    topics.join(" ")
}

fn offsets(
    group: &str,
    rows: &BTreeMap<TopicPartition, Row<'_>>,
    ends: &BTreeMap<TopicPartition, OffsetInfo>,
    context: &Context,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut lines = Vec::with_capacity(rows.len());
    for (id, Row { held, reader }) in rows {
        let info = ends.get(id);
        let lag = held.as_ref().and_then(|held| Some(behind(held.offset, info?)));
        let committed_at = held.as_ref().and_then(|held| held.committed_at).and_then(envelope::rfc3339);
        if context.wants_json() {
            output.json(&json!({
                "group": group,
                "topic": id.topic.as_str(),
                "partition": id.partition.get(),
                "offset": held.as_ref().map(|held| held.offset.get()),
                "log_start": info.map(|info| info.log_start.get()),
                "high_watermark": info.map(|info| info.high_watermark.get()),
                "lag": lag,
                "committed_at": committed_at,
                "metadata": held.as_ref().map(|held| &held.metadata),
                "member_id": reader.map(|member| &member.member_id),
                "client_id": reader.map(|member| &member.client_id),
                "host": reader.map(|member| &member.host),
            }))?;
            continue;
        }
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        lines.push(vec![
            id.topic.to_string(),
            id.partition.to_string(),
            shown(held.as_ref().map(|held| held.offset.to_string())),
            shown(info.map(|info| info.high_watermark.to_string())),
            shown(lag.map(|lag| lag.to_string())),
            shown(committed_at),
            shown(reader.map(|member| member.member_id.clone())),
        ]);
    }
    if context.wants_json() {
        return Ok(());
    }
    let head = [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("COMMITTED"),
        Column::Number("END"),
        Column::Number("LAG"),
        Column::Text("COMMITTED AT"),
        Column::Text("MEMBER"),
    ];
    output.table(&head, lines)
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
