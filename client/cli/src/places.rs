//! Where the places of the position grammar lie in a topic's partitions at this moment.
//!
//! **Invariant:** what is found lies in the partition's log, between its start and its high watermark; a place
//! outside is moved to the nearest end, and says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tidelog_client::admin::TopicDescription;
use tidelog_client::{Client, Offset, PartitionIndex, Position, Timestamp, TopicPartition};

use crate::failure::{Exit, Failure};
use crate::position::{Place, PositionSpec};

/// Where a place lies in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The offset.
    pub(crate) offset: Offset,
    /// The timestamp of the record there, when the place is a time that has a record.
    pub(crate) timestamp: Option<Timestamp>,
    /// The oldest offset kept.
    pub(crate) log_start: Offset,
    /// The end of what readers can see.
    pub(crate) high_watermark: Offset,
    /// The offset asked for, when it is not in the log.
    pub(crate) moved_from: Option<i64>,
}

/// The partitions that a command works on: those named, or all.
pub(crate) fn partitions(
    topic: &TopicDescription,
    named: &[PartitionIndex],
) -> Result<Vec<TopicPartition>, Failure> {
    let all: Vec<PartitionIndex> = topic.partitions.iter().map(|partition| partition.partition).collect();
    if let Some(unknown) = named.iter().find(|partition| !all.contains(partition)) {
        return Err(no_such_partition(topic, unknown.get()));
    }
    let chosen = all.into_iter().filter(|partition| named.is_empty() || named.contains(partition));
    Ok(chosen.map(|partition| TopicPartition { topic: topic.name.clone(), partition }).collect())
}

/// Looks the places up in one call. Partitions without a place are not in the answer; a place for a partition
/// that the topic does not have is a failure.
pub(crate) async fn find(
    client: &Client,
    topic: &TopicDescription,
    partitions: &[TopicPartition],
    spec: &PositionSpec,
) -> Result<BTreeMap<TopicPartition, Found>, Failure> {
    let exists = |index: i32| topic.partitions.iter().any(|partition| partition.partition.get() == index);
    if let Some(unknown) = spec.partitions.keys().find(|index| !exists(**index)) {
        return Err(no_such_partition(topic, *unknown));
    }
    let placed: Vec<(&TopicPartition, &Place)> =
        partitions.iter().filter_map(|id| Some((id, spec.of(id.partition.get())?))).collect();
    let ask = |(id, place): &(&TopicPartition, &Place)| {
        let position = match place {
            Place::Time(millis) => Position::Timestamp(Timestamp::from_millis(*millis)),
            _ => Position::Earliest,
        };
        ((*id).clone(), position)
    };
    let asked: Vec<_> = placed.iter().map(ask).collect();
    let infos = client.admin().list_offsets(&asked).await?;
    let committed = Noted::read(client, topic, &placed).await?;
    let found = placed.into_iter().zip(infos).map(|((id, place), info)| {
        let bounds = Bounds { start: info.log_start, end: info.high_watermark };
        let (offset, moved_from) = bounds.place(place, info.offset, committed.offset(place, id));
        let timed = matches!(place, Place::Time(_));
        let found = Found {
            offset,
            timestamp: if timed { info.timestamp } else { None },
            log_start: bounds.start,
            high_watermark: bounds.end,
            moved_from,
        };
        (id.clone(), found)
    });
    Ok(found.collect())
}

/// What of a partition can be read.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: Offset,
    end: Offset,
}

impl Bounds {
    /// Where a place lies, and the offset asked for when that is not in the log. `at_time` is what the broker
    /// found for a time, `noted` what a group or a file has.
    fn place(self, place: &Place, at_time: Offset, noted: Option<i64>) -> (Offset, Option<i64>) {
        let signed = |count: &u64| i64::try_from(*count).unwrap_or(i64::MAX);
        let (start, end) = (self.start.get(), self.end.get());
        let wanted = match place {
            Place::Earliest => start,
            Place::Latest => end,
            Place::Offset(offset) => *offset,
            // Counts are wishes: fewer records than asked for are no surprise.
            Place::AfterStart(count) => start.saturating_add(signed(count)).min(end),
            Place::BeforeEnd(count) => end.saturating_sub(signed(count)).max(start),
            Place::Time(_) => at_time.get(),
            Place::Group(_) | Place::File(_) => noted.unwrap_or(start),
        };
        let offset = Offset::new(wanted).map_or(self.start, |offset| offset.clamp(self.start, self.end));
        (offset, (offset.get() != wanted).then_some(wanted))
    }
}

fn no_such_partition(topic: &TopicDescription, partition: i32) -> Failure {
    let (name, count) = (&topic.name, topic.partitions.len());
    Failure::new(Exit::NotFound, format!("topic {name} has no partition {partition}"))
        .with_help(format!("it has {count}, counted from 0"))
}

/// Offsets that groups have committed or that files hold, for the places that name one.
#[derive(Debug, Default)]
struct Noted(Vec<(Place, BTreeMap<TopicPartition, i64>)>);

impl Noted {
    async fn read(
        client: &Client,
        topic: &TopicDescription,
        placed: &[(&TopicPartition, &Place)],
    ) -> Result<Self, Failure> {
        let mut noted = Self::default();
        for (_, place) in placed {
            if noted.0.iter().any(|(known, _)| known == *place) {
                continue;
            }
            let mut offsets = match place {
                Place::Group(group) => committed(client, group).await?,
                Place::File(path) => from_file(path)?,
                _ => continue,
            };
            offsets.retain(|id, _| id.topic == topic.name);
            if offsets.is_empty() {
                return Err(nothing_noted(topic, place));
            }
            noted.0.push(((*place).clone(), offsets));
        }
        Ok(noted)
    }

    fn offset(&self, from: &Place, id: &TopicPartition) -> Option<i64> {
        self.0.iter().find(|(place, _)| place == from)?.1.get(id).copied()
    }
}

fn nothing_noted(topic: &TopicDescription, place: &Place) -> Failure {
    let name = &topic.name;
    let message = match place {
        Place::Group(group) => format!("group {group} has committed nothing for topic {name}"),
        Place::File(path) => format!("{} holds no offsets of topic {name}", path.display()),
        _ => format!("no offsets for topic {name}"),
    };
    Failure::new(Exit::NotFound, message).with_help("check the name, or name another position")
}

async fn committed(client: &Client, group: &str) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let offsets = client.admin().group_offsets(group).await?;
    Ok(offsets.into_iter().map(|commit| (commit.partition, commit.offset.get())).collect())
}

/// The offsets in a file of JSON objects with `topic`, `partition` and `offset`: what `offsets list` and
/// `group describe` write with `--output json`; or where a replay's checkpoint or summary stands.
fn from_file(path: &Path) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    #[derive(Deserialize)]
    struct Row {
        topic: String,
        partition: i32,
        /// None where a group has members and has committed nothing.
        #[serde(alias = "next")]
        offset: Option<i64>,
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "no topic, partition and offset")]
    enum Entry {
        One(Row),
        Many { partitions: Vec<Row> },
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot read offsets from {}: {error}", path.display()))
            .with_help("it should hold what tidelog offsets list --output json writes, or be a checkpoint")
    };
    let bytes = fs::read(path).map_err(|error| failed(&error))?;
    let mut offsets = BTreeMap::new();
    let mut rows = Vec::new();
    for entry in serde_json::Deserializer::from_slice(&bytes).into_iter::<Entry>() {
        match entry.map_err(|error| failed(&error))? {
            Entry::One(row) => rows.push(row),
            Entry::Many { partitions } => rows.extend(partitions),
        }
    }
    for row in rows {
        let topic = tidelog_client::TopicName::new(&row.topic).map_err(|error| failed(&error))?;
        let partition = PartitionIndex::new(row.partition).ok_or_else(|| failed(&"a negative partition"))?;
        offsets.extend(row.offset.map(|offset| (TopicPartition { topic, partition }, offset)));
    }
    Ok(offsets)
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
