//! The gauges of partitions, from walking the topics, so that a deleted topic leaves nothing behind.

use std::fmt;
use std::sync::Arc;

use tidelog_runtime::{Broker, PartitionStatus, Topic};

use super::writer::Writer;

/// One partition's labels and numbers.
struct Row {
    topic: Arc<Topic>,
    partition: String,
    status: PartitionStatus,
}

/// A gauge of every partition.
type Column = (&'static str, &'static str, fn(&PartitionStatus) -> i64);

const COLUMNS: [Column; 6] = [
    ("tidelog_partition_log_start_offset", "The oldest offset kept", |status| status.log_start.get()),
    ("tidelog_partition_high_watermark", "Where readers stop", |status| status.high_watermark.get()),
    ("tidelog_partition_log_end_offset", "The next offset to assign", |status| status.log_end.get()),
    ("tidelog_partition_size_bytes", "The size of the segments", |status| {
        i64::try_from(status.size_bytes).unwrap_or(i64::MAX)
    }),
    ("tidelog_partition_segments", "How many segments there are", |status| {
        i64::try_from(status.segments).unwrap_or(i64::MAX)
    }),
    ("tidelog_partition_out_of_service", "1 when reads or writes are refused; /readyz says why", |status| {
        i64::from(status.problem.is_some())
    }),
];

pub(super) fn write(out: &mut Writer<'_>, broker: &Broker, series_max: usize) -> fmt::Result {
    let topics = broker.topics();
    let partitions: usize = topics.iter().map(|topic| topic.partition_count()).sum();
    out.gauge("tidelog_topics", "Topics, the broker's own included", topics.len())?;
    out.gauge("tidelog_partitions", "Their partitions", partitions)?;
    if partitions > series_max {
        return Ok(());
    }
    let rows: Vec<Row> = topics.iter().flat_map(rows).collect();
    for (name, help, value) in COLUMNS {
        let series = rows.iter().map(|row| {
            let labels = [("topic", row.topic.name().as_str()), ("partition", row.partition.as_str())];
            (labels, value(&row.status))
        });
        out.gauges(name, help, series)?;
    }
    Ok(())
}

fn rows(topic: &Arc<Topic>) -> impl Iterator<Item = Row> {
    topic.partitions().iter().map(|partition| {
        let status = partition.status();
        Row { topic: Arc::clone(topic), partition: status.partition.to_string(), status }
    })
}
