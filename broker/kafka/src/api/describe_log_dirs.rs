//! DescribeLogDirs (35): how large partitions are, and how much room there is. There is one log directory.
//!
//! * Null topics are all of them. What does not exist is left out of the answer, as in Kafka.
//! * v4+ has the free space; the disk's size is not known (-1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use tidelog_runtime::Topic;

use crate::context::{Call, Context};
use crate::names::topic_name;
use crate::wire::{StrBytes, message};

/// "Not known" in a number of bytes.
const UNKNOWN: i64 = -1;

pub(crate) async fn handle(
    context: Arc<Context>,
    _call: Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let broker = context.broker();
    let topics = match request.topics {
        None => broker.topics().iter().map(|topic| describe(topic, None)).collect(),
        Some(named) => {
            let mut wanted: BTreeMap<StrBytes, BTreeSet<i32>> = BTreeMap::new();
            for topic in named {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
            let known = |name: &str| topic_name(name).ok().and_then(|name| broker.topic(&name));
            let described = |(name, partitions): (&StrBytes, &BTreeSet<i32>)| {
                known(name).map(|topic| describe(&topic, Some(partitions)))
            };
            wanted.iter().filter_map(described).collect()
        }
    };
    let log_dir = broker.options().data_dir.display().to_string();
    let usable_bytes = free_bytes(&context).await;
    let dir = message!(DescribeLogDirsResult {
        log_dir: log_dir.into(),
        topics,
        total_bytes: UNKNOWN,
        usable_bytes
    });
    message!(DescribeLogDirsResponse { results: vec![dir] })
}

async fn free_bytes(context: &Arc<Context>) -> i64 {
    let context = Arc::clone(context);
    let asked = tokio::task::spawn_blocking(move || {
        let options = context.broker().options();
        options.disk.free_bytes(&options.data_dir)
    });
    match asked.await {
        Ok(Ok(bytes)) => i64::try_from(bytes).unwrap_or(i64::MAX),
        Ok(Err(_)) | Err(_) => UNKNOWN,
    }
}

fn describe(topic: &Topic, wanted: Option<&BTreeSet<i32>>) -> DescribeLogDirsTopic {
    let asked = |index: i32| wanted.is_none_or(|wanted| wanted.contains(&index));
    let partitions = topic.partitions().iter().filter(|partition| asked(partition.index().get()));
    let partition = |partition: &Arc<tidelog_runtime::Partition>| {
        message!(DescribeLogDirsPartition {
            partition_index: partition.index().get(),
            partition_size: i64::try_from(partition.status().size_bytes).unwrap_or(i64::MAX),
        })
    };
    message!(DescribeLogDirsTopic {
        name: topic.name().as_str().into(),
        partitions: partitions.map(partition).collect(),
    })
}

#[cfg(test)]
#[path = "describe_log_dirs_tests.rs"]
mod tests;
