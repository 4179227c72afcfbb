//! Groups through the broker's API: what a member was told survives a crash, and nobody waits for ever.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_log::sim_disk::SimDisk;
use tidelog_model::{ErrorCode, GroupId, Offset, PartitionIndex, TopicName};
use tidelog_runtime::group::{
    GroupHeartbeat, GroupMember, GroupProtocol, JoinGroup, JoinGroupReply, Joined, MemberAssignment,
    SyncGroup,
};
use tidelog_runtime::{
    Broker, BrokerError, BrokerOptions, CommitOffsets, CreateTopic, FetchOffsets, GroupConfig, OffsetCommit,
};

fn options(dir: &Path, delay_ms: i32) -> BrokerOptions {
    let group_config = GroupConfig { initial_rebalance_delay_ms: delay_ms, ..GroupConfig::default() };
    BrokerOptions { disk_reserve_bytes: 0, group_config, ..BrokerOptions::new(dir) }
}

fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

fn join(member_id: &str) -> JoinGroup {
    JoinGroup {
        group: group(),
        member_id: member_id.to_owned(),
        instance_id: None,
        require_known_member_id: true,
        can_skip_assignment: true,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: Some(10_000),
        protocol_type: "consumer".to_owned(),
        protocols: vec![GroupProtocol { name: "range".to_owned(), metadata: Bytes::from_static(b"m") }],
        client_id: "client".to_owned(),
        client_host: "host".to_owned(),
    }
}

async fn joined(broker: &Broker) -> Joined {
    let JoinGroupReply::MemberIdRequired { member_id } = broker.join_group(join("")).await.unwrap() else {
        panic!("a new member is to be given an id first")
    };
    match broker.join_group(join(&member_id)).await.unwrap() {
        JoinGroupReply::Joined(joined) => joined,
        other @ JoinGroupReply::MemberIdRequired { .. } => panic!("{other:?}"),
    }
}

async fn commit(broker: &Broker, member: GroupMember, offset: i64) -> Result<(), BrokerError> {
    let offset = OffsetCommit {
        topic: TopicName::new("orders").unwrap().into(),
        partition: PartitionIndex::new(0).unwrap(),
        offset: Offset::new(offset).unwrap(),
        leader_epoch: None,
        metadata: "mine".to_owned(),
    };
    let request = CommitOffsets { group: group(), member, offsets: vec![offset] };
    broker.commit_offsets(request).await?.remove(0)
}

#[tokio::test]
async fn a_generation_its_members_and_their_offsets_survive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path(), 0)).await.unwrap();
    let name = TopicName::new("orders").unwrap();
    let create = CreateTopic { name, partitions: Some(1), configs: BTreeMap::new(), validate_only: false };
    broker.create_topic(create).await.unwrap();
    let joined = joined(&broker).await;
    let member =
        GroupMember { member_id: joined.member_id.clone(), instance_id: None, generation: joined.generation };
    let assignments = vec![MemberAssignment {
        member_id: joined.member_id.clone(),
        assignment: Bytes::from_static(b"all"),
    }];
    let sync = SyncGroup {
        group: group(),
        member: member.clone(),
        protocol_type: None,
        protocol_name: None,
        assignments,
    };
    assert_eq!(broker.sync_group(sync.clone()).await.unwrap().assignment, "all");
    commit(&broker, member.clone(), 7).await.unwrap();
    drop(broker);

    let broker = Broker::open(options(dir.path(), 0)).await.unwrap();
    let heartbeat = GroupHeartbeat { group: group(), member: member.clone() };
    broker.heartbeat_group(heartbeat).await.unwrap();
    let again = SyncGroup { assignments: Vec::new(), ..sync };
    assert_eq!(broker.sync_group(again).await.unwrap().assignment, "all");
    let old = GroupMember { generation: joined.generation - 1, ..member.clone() };
    assert_eq!(commit(&broker, old, 3).await.unwrap_err().code, ErrorCode::IllegalGeneration);
    let stranger = commit(&broker, GroupMember::none(), 3).await.unwrap_err();
    assert_eq!(stranger.code, ErrorCode::UnknownMemberId);
    let found = broker.fetch_offsets(FetchOffsets::all(group())).await.unwrap();
    assert_eq!(found.iter().map(|held| held.offset.get()).collect::<Vec<_>>(), [7]);
    assert_eq!(broker.delete_group(&group()).await.unwrap_err().code, ErrorCode::NonEmptyGroup);
}

#[tokio::test]
async fn who_waits_for_a_generation_is_told_when_the_broker_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(options(dir.path(), 600_000)).await.unwrap();
    let JoinGroupReply::MemberIdRequired { member_id } = broker.join_group(join("")).await.unwrap() else {
        panic!("a new member is to be given an id first")
    };
    let waiting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.join_group(join(&member_id)).await }
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while broker.describe_group(&group()).await.unwrap().members.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the member does not join");
        tokio::task::yield_now().await;
    }
    broker.shutdown().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code, ErrorCode::ShuttingDown);
    let late = commit(&broker, GroupMember::none(), 1).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::ShuttingDown);
}

#[tokio::test]
async fn what_could_not_be_stored_was_never_seen_and_groups_go_on_when_there_is_room_again() {
    let disk = SimDisk::new(7);
    let options = BrokerOptions { disk: Arc::new(disk.clone()), ..options(Path::new("/data"), 0) };
    let broker = Broker::open(options).await.unwrap();
    let name = TopicName::new("orders").unwrap();
    let create = CreateTopic { name, partitions: Some(1), configs: BTreeMap::new(), validate_only: false };
    broker.create_topic(create).await.unwrap();
    commit(&broker, GroupMember::none(), 7).await.unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    // Space that was set aside before may take some commits still.
    let mut stored = 7;
    let error = loop {
        match commit(&broker, GroupMember::none(), stored + 1).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000_000, "the disk does not fill");
    };
    assert_eq!(error.code, ErrorCode::CoordinatorNotAvailable, "{error}");
    disk.set_capacity(None);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while commit(&broker, GroupMember::none(), stored + 2).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the groups do not come back");
        tokio::task::yield_now().await;
    }
    let found = broker.fetch_offsets(FetchOffsets::all(group())).await.unwrap();
    assert_eq!(found.iter().map(|held| held.offset.get()).collect::<Vec<_>>(), [stored + 2]);
}
