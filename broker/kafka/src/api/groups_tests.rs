//! Every group API in every version: what older versions lack must not keep an answer from being encoded.

use bytes::Bytes;
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_wire_core::KafkaEncode;

use super::*;
use crate::context::KafkaOptions;
use crate::testing::{Bench, call};
use crate::versions::find;
use crate::wire::{encode, message, wire_id};

async fn bench() -> Bench {
    let bench =
        Bench::with(KafkaOptions::default(), |options| options.group_config.initial_rebalance_delay_ms = 0)
            .await;
    bench.create("orders", 2).await;
    bench
}

fn encodes<A: KafkaEncode>(answer: &A, key: i16, version: i16) {
    let encoded = encode(answer, version);
    assert!(encoded.is_ok(), "API {key} version {version}: {:?}", encoded.err());
}

fn versions(key: i16) -> std::ops::RangeInclusive<i16> {
    let api = find(key).unwrap();
    api.min..=api.max
}

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol =
        message!(JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(&[0; 6]) });
    message!(JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        group_instance_id: Some("desk".into()),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
    })
}

#[tokio::test]
async fn a_group_is_joined_described_and_left_in_every_version() {
    let bench = bench().await;
    for version in versions(FIND_COORDINATOR) {
        let request =
            message!(FindCoordinatorRequest { key: "g".into(), coordinator_keys: vec!["g".into()] });
        encodes(
            &find_coordinator::handle(bench.context(), call(version), request).await,
            FIND_COORDINATOR,
            version,
        );
    }
    let mut member_id = String::new();
    for version in versions(JOIN_GROUP) {
        let joined = join_group::handle(bench.context(), call(version), join(&member_id)).await;
        assert_eq!(joined.error_code, 0, "version {version}");
        encodes(&joined, JOIN_GROUP, version);
        member_id = joined.member_id.to_string();
        let sync_version = version.min(5);
        let mine = message!(SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"all of it"),
        });
        let request = message!(SyncGroupRequest {
            group_id: "g".into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![mine],
        });
        let synced = sync_group::handle(bench.context(), call(sync_version), request).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all of it"[..]), "version {version}");
        encodes(&synced, SYNC_GROUP, sync_version);
        let request = message!(HeartbeatRequest {
            group_id: "g".into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id,
        });
        let beat = heartbeat::handle(bench.context(), call(version.min(4)), request).await;
        assert_eq!(beat.error_code, 0, "version {version}");
        encodes(&beat, HEARTBEAT, version.min(4));
    }
    for version in versions(DESCRIBE_GROUPS) {
        let request = message!(DescribeGroupsRequest { groups: vec!["g".into(), "none".into()] });
        let described = describe_groups::handle(bench.context(), call(version), request).await;
        assert_eq!((&*described.groups[0].group_state, described.groups[0].members.len()), ("Stable", 1));
        assert_eq!(&*described.groups[1].group_state, "Dead");
        assert_eq!(described.groups[1].error_code, if version < 6 { 0 } else { 69 });
        encodes(&described, DESCRIBE_GROUPS, version);
    }
    for version in versions(LIST_GROUPS) {
        let listed = list_groups::handle(bench.context(), call(version), ListGroupsRequest::default()).await;
        assert_eq!(listed.groups.len(), 1);
        encodes(&listed, LIST_GROUPS, version);
    }
    for version in versions(LEAVE_GROUP) {
        let leaver = message!(kafka_wire::leave_group_request::MemberIdentity {
            group_instance_id: Some("desk".into())
        });
        let request = message!(LeaveGroupRequest {
            group_id: "g".into(),
            member_id: member_id.clone().into(),
            members: vec![leaver],
        });
        encodes(&leave_group::handle(bench.context(), call(version), request).await, LEAVE_GROUP, version);
    }
    assert!(bench.broker().metrics().rebalances_classic.get() > 0, "new generations are counted");
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let bench = bench().await;
    let id = bench.broker().topics().iter().find(|topic| topic.name().as_str() == "orders").unwrap().id();
    for (committed, version) in (100..).zip(versions(OFFSET_COMMIT)) {
        let partition = message!(OffsetCommitRequestPartition {
            partition_index: 1,
            committed_offset: committed,
            committed_leader_epoch: 1,
            committed_metadata: Some("so far".into()),
        });
        let mut topic = message!(OffsetCommitRequestTopic { partitions: vec![partition] });
        if version < 10 {
            topic.name = "orders".into();
        } else {
            topic.topic_id = wire_id(id);
        }
        let request = message!(OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
        });
        let answer = offset_commit::handle(bench.context(), call(version), request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {version}");
        encodes(&answer, OFFSET_COMMIT, version);
        for version in versions(OFFSET_FETCH) {
            for all in [false, true] {
                fetches(&bench, id, version, all, committed).await;
            }
        }
    }
}

async fn fetches(bench: &Bench, id: tidelog_model::TopicId, version: i16, all: bool, committed: i64) {
    if version < 2 && all {
        return;
    }
    let mut topic = message!(OffsetFetchRequestTopics { partition_indexes: vec![1] });
    if version < 10 {
        topic.name = "orders".into();
    } else {
        topic.topic_id = wire_id(id);
    }
    let old = message!(OffsetFetchRequestTopic { name: "orders".into(), partition_indexes: vec![1] });
    let group = message!(OffsetFetchRequestGroup {
        group_id: "g".into(),
        member_epoch: -1,
        topics: (!all).then(|| vec![topic]),
    });
    let request = message!(OffsetFetchRequest {
        group_id: "g".into(),
        topics: (!all).then(|| vec![old]),
        groups: vec![group],
    });
    let answer = offset_fetch::handle(bench.context(), call(version), request).await;
    encodes(&answer, OFFSET_FETCH, version);
    let found = if version < 8 {
        answer.topics[0].partitions[0].committed_offset
    } else {
        answer.groups[0].topics[0].partitions[0].committed_offset
    };
    assert_eq!(found, committed, "version {version}");
}

#[tokio::test]
async fn a_consumer_protocol_group_is_joined_and_described_in_every_version() {
    let bench = bench().await;
    for version in versions(CONSUMER_GROUP_HEARTBEAT) {
        let request = message!(ConsumerGroupHeartbeatRequest {
            group_id: "c".into(),
            member_id: if version == 0 { "".into() } else { "me".into() },
            rebalance_timeout_ms: 10_000,
            subscribed_topic_names: Some(vec!["orders".into()]),
            topic_partitions: Some(Vec::new()),
        });
        let answer = consumer_group_heartbeat::handle(bench.context(), call(version), request).await;
        assert_eq!((answer.error_code, answer.error_message.clone()), (0, None), "version {version}");
        encodes(&answer, CONSUMER_GROUP_HEARTBEAT, version);
    }
    for version in versions(CONSUMER_GROUP_DESCRIBE) {
        let request = message!(ConsumerGroupDescribeRequest { group_ids: vec!["c".into(), "none".into()] });
        let answer = consumer_group_describe::handle(bench.context(), call(version), request).await;
        assert_eq!((answer.groups[0].error_code, answer.groups[0].members.len()), (0, 2));
        assert_eq!(answer.groups[1].error_code, 69);
        encodes(&answer, CONSUMER_GROUP_DESCRIBE, version);
    }
    assert!(bench.broker().metrics().rebalances_consumer.get() > 0, "new epochs are counted");
}

#[tokio::test]
async fn a_subscription_may_name_topics_that_cannot_exist() {
    let bench = bench().await;
    let request = message!(ConsumerGroupHeartbeatRequest {
        group_id: "c".into(),
        member_id: "me".into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["orders".into(), "no#such!name".into()]),
        topic_partitions: Some(Vec::new()),
    });
    let answer = consumer_group_heartbeat::handle(bench.context(), call(1), request).await;
    assert_eq!((answer.error_code, answer.error_message), (0, None));
    assert_eq!(answer.assignment.unwrap().topic_partitions[0].partitions, [0, 1]);
}
