//! Opening a queue group's log and reading its lanes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_core::delivery::{Lane, LaneBackoff, LaneEvent, LaneId};
use tidelog_core::group::api::FetchOffsetsReply;
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::group::Served;
use super::read::{key_of, read_at};
use super::row::{Keeper, Row};
use super::store::Store;
use crate::broker::Broker;
use crate::coordinator::replay_events;
use crate::error::BrokerError;
use crate::partition::Partition;

/// What keeps the records of lanes that are not in service yet.
pub(super) type Keepers = BTreeMap<LaneId, Keeper>;

/// Where lanes begin of which the log knows nothing.
#[derive(Debug, Clone)]
pub(super) enum Begin {
    /// At the group's offset, or as it is set: the group is new.
    New(FetchOffsetsReply),
    /// At the first record: the partition is new.
    First,
}

/// A partition that the group reads.
struct Source {
    topic: TopicName,
    partition: Arc<Partition>,
}

/// What was read back.
pub(super) struct Loaded {
    pub(super) store: Store,
    pub(super) rows: Vec<Row>,
}

/// Keeps the records of all partitions of these topics.
pub(super) fn keepers<'a>(broker: &Broker, topics: impl IntoIterator<Item = &'a TopicName>) -> Keepers {
    let sources = sources(broker, topics);
    sources.iter().map(|(lane, source)| (*lane, Keeper::new(&source.partition))).collect()
}

/// Opens the log of a group, which is made when it is not there, and reads its lanes back.
///
/// # Errors
/// When the log, or a partition that has to be looked at, cannot be read.
pub(super) async fn load(
    broker: &Broker,
    served: &Served,
    now: Timestamp,
    begin: &Begin,
    leases_given: u32,
    keepers: &mut Keepers,
) -> Result<Loaded, BrokerError> {
    let partition = broker.open_queue_log(served.definition.id).await?;
    let epoch = partition.leader_epoch();
    let log = Arc::clone(&partition);
    let for_replay = served.clone();
    let replayed = tokio::task::spawn_blocking(move || replay(&log, &for_replay, epoch)).await;
    let ended = |error| BrokerError::internal(format!("reading a queue group back ended early: {error}"));
    let mut lanes = replayed.map_err(ended)??;
    let bytes = partition.status().size_bytes;
    let mut rows = Vec::new();
    // A topic that the group read once may still have dead letters.
    let known: BTreeSet<TopicName> = lanes
        .keys()
        .filter_map(|lane| broker.topic_by_id(lane.topic_id))
        .map(|topic| topic.name().clone())
        .collect();
    let topics: BTreeSet<&TopicName> = served.definition.topics.iter().chain(&known).collect();
    for (id, source) in sources(broker, topics) {
        let keeper = keepers.remove(&id).unwrap_or_else(|| Keeper::new(&source.partition));
        let reads = served.definition.topics.contains(&source.topic);
        let mut lane = match lanes.remove(&id) {
            Some(mut lane) => {
                let keys = keys_of(&source.partition, &lane).await?;
                lane.loaded(now, |offset| keys.get(&offset).copied());
                lane
            }
            None if !reads => continue,
            None => new_lane(served, id, start_of(served, id, &source.partition, begin), epoch),
        };
        lane.skip_leases(leases_given);
        let mut row = Row::new(source.topic, source.partition, lane, keeper);
        row.served = reads;
        rows.push(row);
    }
    Ok(Loaded { store: Store::new(partition, bytes), rows })
}

/// The lanes of partitions that came into being since.
pub(super) fn new_rows(
    broker: &Broker,
    served: &Served,
    epoch: LeaderEpoch,
    known: impl Fn(LaneId) -> bool,
) -> Vec<Row> {
    let new = sources(broker, &served.definition.topics).into_iter().filter(|(id, _)| !known(*id));
    let row = |(id, source): (LaneId, Source)| {
        // Before it is asked where it begins, so that nothing goes in between.
        let keeper = Keeper::new(&source.partition);
        let lane = new_lane(served, id, start_of(served, id, &source.partition, &Begin::First), epoch);
        Row::new(source.topic, source.partition, lane, keeper)
    };
    new.map(row).collect()
}

fn sources<'a>(broker: &Broker, topics: impl IntoIterator<Item = &'a TopicName>) -> BTreeMap<LaneId, Source> {
    let mut sources = BTreeMap::new();
    for topic in topics.into_iter().filter_map(|name| broker.topic(name)) {
        for partition in topic.partitions() {
            let id = LaneId { topic_id: topic.id(), partition: partition.index() };
            let source = Source { topic: topic.name().clone(), partition: Arc::clone(partition) };
            sources.insert(id, source);
        }
    }
    sources
}

fn new_lane(served: &Served, id: LaneId, start: Offset, epoch: LeaderEpoch) -> Lane<LaneBackoff> {
    let backoff = served.config.backoff(&served.group, id);
    Lane::new(id, served.config.lane, backoff, start, epoch)
}

fn start_of(served: &Served, id: LaneId, partition: &Partition, begin: &Begin) -> Offset {
    let marks = partition.readable();
    let Begin::New(offsets) = begin else { return marks.log_start };
    let is_it = |(topic, partition, _): &&(TopicId, PartitionIndex, _)| {
        *topic == id.topic_id && *partition == id.partition
    };
    match offsets.iter().find(is_it) {
        Some((.., committed)) => committed.offset.max(marks.log_start).min(marks.high_watermark),
        None if served.config.from_earliest => marks.log_start,
        None => marks.high_watermark,
    }
}

/// Reads the log; blocks.
fn replay(
    log: &Partition,
    served: &Served,
    epoch: LeaderEpoch,
) -> Result<BTreeMap<LaneId, Lane<LaneBackoff>>, BrokerError> {
    let mut lanes: BTreeMap<LaneId, Lane<LaneBackoff>> = BTreeMap::new();
    let mut broken = None;
    let apply = |event: &LaneEvent| {
        let id = event.lane();
        let lane = lanes.entry(id).or_insert_with(|| {
            Lane::replay(id, served.config.lane, served.config.backoff(&served.group, id), epoch)
        });
        if let Err(error) = lane.apply(event) {
            broken.get_or_insert(error);
        }
    };
    let read = replay_events(log, apply);
    read.map_err(|error| BrokerError::internal(error.to_string()))?;
    match broken {
        Some(error) => Err(BrokerError::internal(error.to_string())),
        None => Ok(lanes),
    }
}

/// The keys of the records that a lane has to know.
async fn keys_of(
    partition: &Arc<Partition>,
    lane: &Lane<LaneBackoff>,
) -> Result<BTreeMap<Offset, u32>, BrokerError> {
    let mut keys = BTreeMap::new();
    let needed = lane.keys_needed();
    read_at(partition, &needed, |record| {
        keys.insert(record.offset, key_of(&record));
    })
    .await?;
    Ok(keys)
}
