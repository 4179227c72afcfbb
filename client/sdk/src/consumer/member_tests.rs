use super::*;

fn member() -> Member {
    let settings = MemberSettings {
        group: "billing".to_owned(),
        topics: vec!["orders".to_owned()],
        instance_id: None,
        assignor: None,
        rebalance_timeout_ms: 1_000,
        client_id: "test".to_owned(),
    };
    Member::new(settings, "m".to_owned())
}

fn set(partitions: &[i32]) -> BTreeSet<TopicPartition> {
    let topic = tidelog_model::TopicName::new("orders").unwrap();
    let one = |index: &i32| TopicPartition {
        topic: topic.clone(),
        partition: tidelog_model::PartitionIndex::new(*index).unwrap(),
    };
    partitions.iter().map(one).collect()
}

fn answer(epoch: i32, assignment: Option<&[i32]>) -> v1::HeartbeatResponse {
    let assignment = assignment.map(|partitions| set_to_wire(&set(partitions)));
    v1::HeartbeatResponse { member_epoch: epoch, heartbeat_interval_ms: 100, assignment }
}

#[test]
fn a_member_joins_with_everything_and_then_says_only_what_changed() {
    let mut member = member();
    let join = member.heartbeat();
    assert_eq!((join.member_epoch, join.owned.clone()), (0, Some(v1::PartitionSet::default())));
    assert_eq!(join.subscription.as_ref().unwrap().topics, ["orders"]);
    let target = member.answered(&join, answer(3, Some(&[0, 1]))).unwrap();
    assert_eq!(target, Some(set(&[0, 1])));
    let quiet = member.heartbeat();
    assert_eq!((quiet.member_epoch, &quiet.subscription, &quiet.owned), (3, &None, &None));
    member.reads(set(&[0, 1]));
    let told = member.heartbeat();
    assert_eq!(told.owned.as_ref().unwrap(), &set_to_wire(&set(&[0, 1])));
    assert_eq!(member.answered(&told, answer(3, None)).unwrap(), None);
    assert_eq!(member.heartbeat().owned, None);
}

#[test]
fn what_changed_while_a_heartbeat_was_on_its_way_is_told_with_the_next() {
    let mut member = member();
    let join = member.heartbeat();
    member.answered(&join, answer(1, Some(&[0]))).unwrap();
    member.reads(set(&[0]));
    let told = member.heartbeat();
    member.reads(set(&[]));
    member.answered(&told, answer(1, None)).unwrap();
    assert_eq!(member.heartbeat().owned, Some(v1::PartitionSet::default()));
}

#[test]
fn a_fenced_member_joins_again_and_reads_nothing() {
    let mut member = member();
    let join = member.heartbeat();
    member.answered(&join, answer(7, Some(&[0]))).unwrap();
    member.reads(set(&[0]));
    member.fenced();
    let again = member.heartbeat();
    assert_eq!((again.member_epoch, again.owned), (0, Some(v1::PartitionSet::default())));
    assert!(again.subscription.is_some());
}

#[test]
fn a_static_member_leaves_for_a_while_and_others_for_good() {
    let mut member = member();
    assert_eq!(member.leave().member_epoch, -1);
    member.settings.instance_id = Some("desk-1".to_owned());
    assert_eq!(member.leave().member_epoch, -2);
}

#[test]
fn an_assignment_that_is_none_is_refused() {
    let mut member = member();
    let join = member.heartbeat();
    let topics = vec![v1::TopicPartitions { topic: "orders".to_owned(), partitions: vec![-1] }];
    let broken = v1::HeartbeatResponse { assignment: Some(v1::PartitionSet { topics }), ..answer(1, None) };
    assert!(member.answered(&join, broken).is_err());
}
