//! `tidelog retry`: records of queue groups that failed and wait for their next attempt.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidelog_client::PartitionIndex;
use tidelog_client::admin::{Retry, RetryScope};

use crate::context::Context;
use crate::envelope;
use crate::failure::Failure;
use crate::output::Column;
use crate::values::{counted, parse_partition, wait_for_people};

/// How many retries one request asks for.
const PAGE: usize = 1_000;

/// What to do with retries.
#[derive(Debug, Subcommand)]
pub(crate) enum RetryCommand {
    /// List the records of a group that wait for their next attempt.
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Let records be delivered now instead of when they are due.
    #[command(after_help = RUN_NOW_EXAMPLES)]
    RunNow(RunNowArgs),
}

const LIST_EXAMPLES: &str = "\
Examples:
  tidelog retry ls mail
  tidelog retry ls mail --topic orders -o json";

const RUN_NOW_EXAMPLES: &str = "\
Examples:
  tidelog retry run-now mail
  tidelog retry run-now mail --topic orders --partition 0";

/// Arguments of `retry list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The group's name.
    group: String,
    /// Of this topic only.
    #[arg(long, short, value_name = "TOPIC")]
    topic: Option<String>,
    /// At most so many.
    #[arg(long, short = 'n', value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Arguments of `retry run-now`.
#[derive(Debug, Args)]
pub(crate) struct RunNowArgs {
    /// The group's name.
    group: String,
    /// Of this topic only.
    #[arg(long, short, value_name = "TOPIC")]
    topic: Option<String>,
    /// Of this partition of the topic only.
    #[arg(long, short, value_name = "N", requires = "topic", value_parser = parse_partition)]
    partition: Option<PartitionIndex>,
}

/// Does it.
pub(crate) async fn run(command: RetryCommand, context: &Context) -> Result<(), Failure> {
    match command {
        RetryCommand::List(args) => list(args, context).await,
        RetryCommand::RunNow(args) => run_now(args, context).await,
    }
}

async fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut retries, mut page): (Vec<Retry>, _) = (Vec::new(), None);
    loop {
        let (admin, left) = (context.client().admin(), limit.saturating_sub(retries.len()));
        let topic = args.topic.as_deref();
        let found = admin.retries(&args.group, topic, left.min(PAGE), page.as_deref()).await?;
        retries.extend(found.items);
        page = found.next;
        if retries.len() >= limit || page.is_none() {
            break;
        }
    }
    let mut output = context.stdout()?;
    if context.wants_json() {
        for retry in &retries {
            output.json(&to_json(&args.group, retry))?;
        }
    } else {
        let head = [
            Column::Text("TOPIC"),
            Column::Number("PARTITION"),
            Column::Number("OFFSET"),
            Column::Number("ATTEMPTS"),
            Column::Text("DUE IN"),
            Column::Text("REASON"),
        ];
        output.table(&head, retries.iter().map(row).collect())?;
    }
    output.flush()?;
    if page.is_some() {
        context.note(format_args!("there may be more: these are the first {limit}; --limit shows more"));
    }
    Ok(())
}

fn row(retry: &Retry) -> Vec<String> {
    let reason = if retry.reason_code.is_empty() { &retry.reason_text } else { &retry.reason_code };
    vec![
        retry.partition.topic.to_string(),
        retry.partition.partition.to_string(),
        retry.offset.to_string(),
        retry.attempts.to_string(),
        wait_for_people(retry.due_in),
        if reason.is_empty() { "-".to_owned() } else { reason.clone() },
    ]
}

fn to_json(group: &str, retry: &Retry) -> Value {
    json!({
        "group": group,
        "topic": retry.partition.topic.as_str(),
        "partition": retry.partition.partition.get(),
        "offset": retry.offset.get(),
        "attempts": retry.attempts,
        "due_in_ms": u64::try_from(retry.due_in.as_millis()).unwrap_or(u64::MAX),
        "first_failure": envelope::rfc3339(retry.first_failure),
        "last_failure": envelope::rfc3339(retry.last_failure),
        "reason_code": retry.reason_code,
        "reason_text": retry.reason_text,
    })
}

async fn run_now(args: RunNowArgs, context: &Context) -> Result<(), Failure> {
    let scope = RetryScope { topic: args.topic, partition: args.partition, offsets: None };
    let records = context.client().admin().run_retries_now(&args.group, &scope).await?;
    let mut output = context.stdout()?;
    if context.wants_json() {
        output.json(&json!({ "group": args.group, "records": records }))?;
    } else {
        output.line(&format!(
            "{} of group {} may be delivered now",
            counted(records, "record"),
            args.group
        ))?;
    }
    output.flush()
}
