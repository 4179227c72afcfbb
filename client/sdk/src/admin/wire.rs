//! The broker's messages as this crate's types. Values that no broker sends are protocol errors.

use std::time::Duration;

use tidelog_model::{GroupId, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition};
use tidelog_proto::v1;

use super::{
    ConfigEntry, DeadLetter, GroupDescription, GroupMember, GroupOffset, GroupSummary, OffsetInfo,
    PartitionDescription, QueueGroup, QueueLane, QueueMember, Retry, TopicDescription, TopicSummary,
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
    Ok(TopicDescription {
        name: topic_name(&topic.name)?,
        id: topic.id,
        internal: topic.internal,
        partitions: topic.partitions.into_iter().map(partition).collect::<Result<_>>()?,
        configs: topic.configs.into_iter().map(config_entry).collect(),
    })
}

fn config_entry(entry: v1::ConfigEntry) -> ConfigEntry {
    ConfigEntry {
        key: entry.key,
        value: entry.value,
        source: entry.source,
        kind: entry.r#type,
        documentation: entry.documentation,
    }
}

pub(super) fn queue_group(group: v1::QueueGroup) -> Result<QueueGroup> {
    let member = |member: v1::QueueMember| QueueMember {
        member_id: member.member_id,
        client_id: member.client_id,
        host: member.client_host.trim_start_matches('/').to_owned(),
        leased: count(member.leased),
    };
    Ok(QueueGroup {
        group: group_id(&group.group)?,
        topics: group.topics.iter().map(|topic| topic_name(topic)).collect::<Result<_>>()?,
        configs: group.configs.into_iter().map(config_entry).collect(),
        dead_letter_topic: group.dead_letter_topic,
        breaker: group.breaker,
        breaker_opens_in: group.breaker_ms.map(span),
        lanes: group.lanes.into_iter().map(lane).collect::<Result<_>>()?,
        members: group.members.into_iter().map(member).collect(),
    })
}

fn lane(lane: v1::Lane) -> Result<QueueLane> {
    Ok(QueueLane {
        partition: place(&lane.topic, lane.partition)?,
        start: offset(lane.start_offset)?,
        end: offset(lane.end_offset)?,
        high_watermark: offset(lane.high_watermark)?,
        available: count(lane.available),
        leased: count(lane.leased),
        delayed: count(lane.delayed),
        dying: count(lane.dying),
        dead: count(lane.dead),
        skipped: count(lane.skipped),
        next_due_in: lane.next_due_ms.map(span),
        blocked: Some(lane.blocked).filter(|blocked| !blocked.is_empty()),
        problem: Some(lane.problem).filter(|problem| !problem.is_empty()),
    })
}

pub(super) fn retry(retry: v1::Retry) -> Result<Retry> {
    Ok(Retry {
        partition: place(&retry.topic, retry.partition)?,
        offset: offset(retry.offset)?,
        attempts: u32::try_from(retry.attempts).unwrap_or_default(),
        due_in: span(retry.due_ms),
        first_failure: Timestamp::from_millis(retry.first_failure_ms),
        last_failure: Timestamp::from_millis(retry.last_failure_ms),
        reason_code: retry.reason_code,
        reason_text: retry.reason_text,
    })
}

pub(super) fn dead_letter(letter: v1::DeadLetter) -> Result<DeadLetter> {
    Ok(DeadLetter {
        partition: place(&letter.topic, letter.partition)?,
        offset: offset(letter.offset)?,
        copy: place(&letter.dead_letter_topic, letter.dead_letter_partition)?,
        copy_offset: offset(letter.dead_letter_offset)?,
        cause: letter.cause,
        reason_code: letter.reason_code,
        reason_text: letter.reason_text,
        attempts: u32::try_from(letter.attempts).unwrap_or_default(),
        redrives: u32::try_from(letter.redrives).unwrap_or_default(),
        first_failure: Timestamp::from_millis(letter.first_failure_ms),
        last_failure: Timestamp::from_millis(letter.last_failure_ms),
        key: letter.key,
        value: letter.value,
        headers: letter.headers.into_iter().map(|header| (header.key, header.value)).collect(),
        timestamp: Timestamp::from_millis(letter.timestamp_ms),
        truncated: letter.truncated,
        lost: letter.lost,
    })
}

/// A count, which is never negative.
pub(super) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// How long it is until then; nothing when that has passed.
fn span(millis: i64) -> Duration {
    Duration::from_millis(count(millis))
}

fn group_id(name: &str) -> Result<GroupId> {
    GroupId::new(name).map_err(|error| Error::protocol(format!("the broker sent a bad name: {error}")))
}

fn place(topic: &str, partition: i32) -> Result<TopicPartition> {
    Ok(TopicPartition { topic: topic_name(topic)?, partition: index(partition)? })
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
    Ok(GroupSummary {
        group: group_id(&group.group)?,
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
    Ok(GroupOffset {
        partition: place(&committed.topic, committed.partition)?,
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
