//! The broker's messages as this crate's types. Values that no broker sends are protocol errors.

use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};
use tidelog_proto::v1;

use super::{
    ConfigEntry, GroupDescription, GroupMember, GroupOffset, GroupSummary, OffsetInfo, PartitionDescription,
    TopicDescription, TopicSummary,
};
use crate::error::{Error, Result};

pub(super) fn offset(value: i64) -> Result<Offset> {
    Offset::new(value).ok_or_else(|| Error::protocol(format!("the broker sent offset {value}")))
}

fn index(value: i32) -> Result<PartitionIndex> {
    PartitionIndex::new(value).ok_or_else(|| Error::protocol(format!("the broker sent partition {value}")))
}

fn topic_name(name: &str) -> Result<TopicName> {
    TopicName::new(name).map_err(|error| Error::protocol(format!("the broker sent a bad name: {error}")))
}

fn timestamp(millis: i64) -> Option<Timestamp> {
    (millis >= 0).then_some(Timestamp::from_millis(millis))
}

pub(super) fn summary(topic: v1::TopicSummary) -> Result<TopicSummary> {
    Ok(TopicSummary {
        name: topic_name(&topic.name)?,
        id: topic.id,
        partitions: topic.partitions,
        internal: topic.internal,
    })
}

pub(super) fn description(topic: Option<v1::TopicDescription>) -> Result<TopicDescription> {
    let topic = topic.ok_or_else(|| Error::protocol("the broker's answer describes no topic"))?;
    let entry = |entry: v1::ConfigEntry| ConfigEntry {
        key: entry.key,
        value: entry.value,
        source: entry.source,
        kind: entry.r#type,
        documentation: entry.documentation,
    };
    Ok(TopicDescription {
        name: topic_name(&topic.name)?,
        id: topic.id,
        internal: topic.internal,
        partitions: topic.partitions.into_iter().map(partition).collect::<Result<_>>()?,
        configs: topic.configs.into_iter().map(entry).collect(),
    })
}

fn partition(partition: v1::PartitionDescription) -> Result<PartitionDescription> {
    Ok(PartitionDescription {
        partition: index(partition.partition)?,
        leader_epoch: partition.leader_epoch,
        log_start: offset(partition.log_start_offset)?,
        high_watermark: offset(partition.high_watermark)?,
        log_end: offset(partition.log_end_offset)?,
        size_bytes: u64::try_from(partition.size_bytes).unwrap_or_default(),
        segments: u32::try_from(partition.segments).unwrap_or_default(),
        problem: (!partition.problem.is_empty()).then_some(partition.problem),
    })
}

pub(super) fn deleted(
    topic: &TopicName,
    result: v1::delete_records_response::Partition,
) -> Result<(PartitionIndex, Offset)> {
    let partition = index(result.partition)?;
    match result.error {
        Some(detail) => {
            let partition = TopicPartition { topic: topic.clone(), partition };
            Err(Error::from_detail(detail).with_partition(partition))
        }
        None => Ok((partition, offset(result.log_start_offset)?)),
    }
}

pub(super) fn offset_info(partition: &TopicPartition, result: v1::ListOffsetsResult) -> Result<OffsetInfo> {
    if let Some(detail) = result.error {
        return Err(Error::from_detail(detail).with_partition(partition.clone()));
    }
    Ok(OffsetInfo {
        partition: partition.clone(),
        offset: offset(result.offset)?,
        timestamp: timestamp(result.timestamp_ms),
        log_start: offset(result.log_start_offset)?,
        high_watermark: offset(result.high_watermark)?,
    })
}

pub(super) fn group(group: v1::GroupSummary) -> Result<GroupSummary> {
    let name = GroupId::new(&group.group)
        .map_err(|error| Error::protocol(format!("the broker sent a bad name: {error}")))?;
    Ok(GroupSummary {
        group: name,
        partitions: u32::try_from(group.partitions).unwrap_or_default(),
        state: group.state,
        protocol: group.r#type,
        members: u32::try_from(group.members).unwrap_or_default(),
    })
}

pub(super) fn group_description(
    group: &str,
    described: v1::DescribeGroupResponse,
) -> Result<GroupDescription> {
    let place = |topic: &str, partition: i32| {
        Ok::<_, Error>(TopicPartition { topic: topic_name(topic)?, partition: index(partition)? })
    };
    let member = |member: v1::GroupMember| {
        let places = member.partitions.iter().map(|held| place(&held.topic, held.partition));
        Ok(GroupMember {
            partitions: places.collect::<Result<_>>()?,
            member_id: member.member_id,
            instance_id: Some(member.instance_id).filter(|id| !id.is_empty()),
            client_id: member.client_id,
            host: member.client_host.trim_start_matches('/').to_owned(),
            epoch: member.epoch,
        })
    };
    let seek = |seek: v1::PendingSeek| Ok((place(&seek.topic, seek.partition)?, self::offset(seek.offset)?));
    Ok(GroupDescription {
        group: GroupId::new(group).map_err(|error| Error::invalid(error.to_string()))?,
        state: described.state,
        protocol: described.r#type,
        assignor: described.assignor,
        epoch: described.epoch,
        members: described.members.into_iter().map(member).collect::<Result<_>>()?,
        pending_seeks: described.pending_seeks.into_iter().map(seek).collect::<Result<_>>()?,
    })
}

pub(super) fn group_offset(committed: v1::CommittedOffset) -> Result<GroupOffset> {
    let partition =
        TopicPartition { topic: topic_name(&committed.topic)?, partition: index(committed.partition)? };
    Ok(GroupOffset {
        partition,
        offset: offset(committed.offset)?,
        leader_epoch: (committed.leader_epoch >= 0).then_some(committed.leader_epoch),
        metadata: committed.metadata,
        committed_at: timestamp(committed.commit_timestamp_ms),
    })
}

pub(super) fn commit(commit: &GroupOffset) -> v1::CommittedOffset {
    v1::CommittedOffset {
        topic: commit.partition.topic.as_str().to_owned(),
        partition: commit.partition.partition.get(),
        offset: commit.offset.get(),
        leader_epoch: commit.leader_epoch.unwrap_or(-1),
        metadata: commit.metadata.clone(),
        commit_timestamp_ms: 0,
    }
}
