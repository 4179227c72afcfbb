use uuid::Uuid;

use super::testkit::*;
use super::*;

type Error = ConsumerGroupError;

fn assigned(reply: &HeartbeatReply) -> &Partitions {
    reply.assignment.as_ref().unwrap()
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut bench = Bench::new(&[("a", 1, 3), ("b", 2, 1)]);
    let reply = bench.send(&join("m1", &["a", "b", "missing"])).unwrap();
    assert_eq!(reply.member_id.as_str(), "m1");
    assert_eq!((reply.member_epoch, reply.heartbeat_interval_ms), (1, 5_000));
    assert_eq!(*assigned(&reply), parts(&[(1, &[0, 1, 2]), (2, &[0])]));
    assert_eq!(bench.group.state(), ConsumerGroupState::Stable);
    assert_eq!(bench.group.subscribed_topics(), names(&["a", "b", "missing"]));

    let reply = bench.send(&beat("m1", 1)).unwrap();
    assert_eq!((reply.member_epoch, reply.assignment), (1, None), "nothing new is not told again");
    let full =
        Heartbeat { member_epoch: 1, owned: Some(parts(&[(1, &[0])])), ..join("m1", &["a", "b", "missing"]) };
    assert_eq!(*assigned(&bench.send(&full).unwrap()), parts(&[(1, &[0, 1, 2]), (2, &[0])]));
}

#[test]
fn a_partition_moves_only_when_its_owner_has_given_it_up() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    bench.send(&join("m1", &["a"])).unwrap();
    let second = bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!((second.member_epoch, assigned(&second)), (2, &Partitions::new()));
    assert_eq!(bench.group.state(), ConsumerGroupState::Reconciling);

    // Told to give one up, m1 stays in its epoch, however often it asks, until it says so.
    let told = bench.send(&beat("m1", 1)).unwrap();
    assert_eq!((told.member_epoch, assigned(&told)), (1, &parts(&[(1, &[0])])));
    let again = bench.send(&beat("m1", 1)).unwrap();
    assert_eq!((again.member_epoch, again.assignment), (1, None));
    let owns =
        |epoch, partitions: &[i32]| Heartbeat { owned: Some(parts(&[(1, partitions)])), ..beat("m1", epoch) };
    assert_eq!(bench.send(&owns(1, &[0, 1])).unwrap().member_epoch, 1);
    assert_eq!(bench.send(&beat("m2", 2)).unwrap().assignment, None);

    let done = bench.send(&owns(1, &[0])).unwrap();
    assert_eq!((done.member_epoch, done.assignment), (2, None));
    let got = bench.send(&beat("m2", 2)).unwrap();
    assert_eq!((got.member_epoch, assigned(&got)), (2, &parts(&[(1, &[1])])));
    assert_eq!(bench.group.state(), ConsumerGroupState::Stable);
}

#[test]
fn an_answer_that_was_lost_may_be_asked_for_again() {
    let mut bench = Bench::new(&[("a", 1, 2), ("b", 2, 1)]);
    bench.send(&join("m1", &["a"])).unwrap();
    let more = Heartbeat { subscribed_topic_names: Some(names(&["a", "b"])), ..beat("m1", 1) };
    let lost = bench.send(&more).unwrap();
    assert_eq!(lost.member_epoch, 2);

    let owned = Some(parts(&[(1, &[0, 1])]));
    let again = bench.send(&Heartbeat { owned, ..beat("m1", 1) }).unwrap();
    assert_eq!((again.member_epoch, assigned(&again)), (2, assigned(&lost)));
    let fenced = Err(Error::FencedMemberEpoch { received: 1, known: 2 });
    assert_eq!(bench.send(&beat("m1", 1)), fenced, "it does not say what it has");
    let foreign = Some(parts(&[(1, &[0, 1, 2])]));
    assert_eq!(bench.send(&Heartbeat { owned: foreign, ..beat("m1", 1) }), fenced, "it has too much");
}

#[test]
fn other_epochs_are_fenced_and_joining_again_heals() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    bench.send(&join("m1", &["a"])).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!(bench.send(&beat("m2", 3)), Err(Error::FencedMemberEpoch { received: 3, known: 2 }));
    assert_eq!(bench.send(&beat("m1", 1)).unwrap().member_epoch, 1);

    // m1 was to give up a partition. By joining it says that it has nothing.
    let back = bench.send(&join("m1", &["a"])).unwrap();
    assert_eq!((back.member_epoch, assigned(&back)), (2, &parts(&[(1, &[0])])));
    assert_eq!(bench.group.describe().group_epoch, 2, "nothing changed for the others");
    assert_eq!(bench.send(&beat("nobody", 1)), Err(Error::UnknownMember { member_id: "nobody".to_owned() }));
}

#[test]
fn a_member_that_leaves_is_forgotten_and_its_partitions_go_to_the_others() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    bench.send(&join("m1", &["a"])).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    let left = bench.send(&beat("m1", LEAVE_EPOCH)).unwrap();
    assert_eq!((left.member_epoch, left.heartbeat_interval_ms, left.assignment), (-1, 0, None));
    assert_eq!(bench.group.state(), ConsumerGroupState::Assigning);
    let got = bench.send(&beat("m2", 2)).unwrap();
    assert_eq!((got.member_epoch, assigned(&got)), (3, &parts(&[(1, &[0])])));

    bench.send(&beat("m2", LEAVE_EPOCH)).unwrap();
    let empty = bench.group.describe();
    assert_eq!((empty.state, empty.group_epoch, empty.assignment_epoch), (ConsumerGroupState::Empty, 4, 4));
    assert!(bench.group.is_empty() && bench.group.next_deadline().is_none());
    assert_eq!(
        bench.send(&beat("m2", LEAVE_EPOCH)),
        Err(Error::UnknownMember { member_id: "m2".to_owned() })
    );
}

#[test]
fn silence_ends_a_session_and_heartbeats_keep_it() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    bench.send(&join("m1", &["a"])).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!(bench.group.next_deadline(), Some(at(46)));
    bench.pass(44);
    bench.send(&beat("m2", 2)).unwrap();
    bench.pass(1);
    assert!(!bench.group.has_member("m1") && bench.group.has_member("m2"));
    let got = bench.send(&beat("m2", 2)).unwrap();
    assert_eq!(*assigned(&got), parts(&[(1, &[0, 1])]));
}

#[test]
fn a_member_that_does_not_give_up_in_time_is_removed() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    let quick = Heartbeat { rebalance_timeout_ms: Some(10_000), ..join("m1", &["a"]) };
    bench.send(&quick).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    bench.send(&beat("m1", 1)).unwrap();
    for _ in 0..9 {
        bench.pass(1);
        bench.send(&beat("m1", 1)).unwrap();
    }
    assert!(bench.group.has_member("m1"));
    bench.pass(1);
    assert!(!bench.group.has_member("m1"));

    // One that does is not.
    bench.send(&quick).unwrap();
    bench.send(&beat("m2", 2)).unwrap();
    let owned = Some(parts(&[(1, &[1])]));
    bench.send(&Heartbeat { owned, ..beat("m2", 2) }).unwrap();
    bench.pass(30);
    assert!(bench.group.has_member("m1") && bench.group.has_member("m2"));
}

#[test]
fn a_static_member_gets_back_what_it_left() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    let fixed = |id: &str, epoch| Heartbeat { instance_id: Some("i1".to_owned()), ..beat(id, epoch) };
    let joins = |id: &str| Heartbeat { instance_id: Some("i1".to_owned()), ..join(id, &["a"]) };
    let first = bench.send(&joins("m1")).unwrap();
    let (instance_id, owner) = ("i1".to_owned(), "m1".to_owned());
    assert_eq!(bench.send(&joins("m2")), Err(Error::UnreleasedInstance { instance_id, owner }));
    assert_eq!(bench.send(&fixed("m1", STATIC_LEAVE_EPOCH)).unwrap().member_epoch, -2);
    assert_eq!(bench.group.check_commit("m1", -2), Err(Error::StaleMemberEpoch { received: -2, known: -2 }));
    assert!(bench.send(&fixed("m1", 1)).is_err(), "it is away");

    let log = bench.log.len();
    let back = bench.send(&joins("m2")).unwrap();
    assert_eq!((back.member_epoch, assigned(&back)), (1, assigned(&first)));
    assert!(
        bench.log[log..].iter().all(|event| !matches!(event, ConsumerGroupEvent::GroupEpochRaised { .. }))
    );
    let fenced = Error::FencedInstance {
        instance_id: "i1".to_owned(),
        member_id: "m1".to_owned(),
        owner: "m2".to_owned(),
    };
    assert_eq!(bench.send(&fixed("m1", 1)), Err(fenced.clone()));
    assert_eq!(bench.send(&fixed("m1", LEAVE_EPOCH)), Err(fenced));
    let unknown = Heartbeat { instance_id: Some("i2".to_owned()), ..beat("m2", 1) };
    assert_eq!(bench.send(&unknown), Err(Error::UnknownInstance { instance_id: "i2".to_owned() }));
    assert_eq!(bench.send(&fixed("m2", 1)).unwrap().member_epoch, 1);
}

#[test]
fn a_static_member_that_leaves_has_given_up_what_it_was_to_give_up() {
    let mut bench = Bench::new(&[("a", 1, 2)]);
    let fixed = Heartbeat { instance_id: Some("i1".to_owned()), ..join("m1", &["a"]) };
    bench.send(&fixed).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    bench.send(&beat("m1", 1)).unwrap();
    assert_eq!(bench.send(&beat("m2", 2)).unwrap().assignment, None);
    bench.send(&Heartbeat { member_epoch: STATIC_LEAVE_EPOCH, ..fixed.clone() }).unwrap();
    assert_eq!(*assigned(&bench.send(&beat("m2", 2)).unwrap()), parts(&[(1, &[1])]));
    let back = bench.send(&Heartbeat { member_id: "m3".to_owned(), ..fixed }).unwrap();
    assert_eq!((back.member_epoch, assigned(&back)), (2, &parts(&[(1, &[0])])));
}

#[test]
fn a_member_may_become_another_instance() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    let named = |instance: &str| Heartbeat { instance_id: Some(instance.to_owned()), ..join("m1", &["a"]) };
    bench.send(&named("i1")).unwrap();
    bench.send(&named("i2")).unwrap();
    let old = Heartbeat { instance_id: Some("i1".to_owned()), ..beat("m1", 1) };
    assert_eq!(bench.send(&old), Err(Error::UnknownInstance { instance_id: "i1".to_owned() }));
    bench.send(&Heartbeat { member_id: "m2".to_owned(), ..named("i1") }).unwrap();
    bench.send(&beat("m1", 1)).unwrap();
    assert!(bench.group.has_member("m1") && bench.group.has_member("m2"));
}

#[test]
fn what_one_member_loses_stays_anothers() {
    // As when a snapshot is read over the events before it: the later member has the name and the partition.
    let mut group = ConsumerGroup::new(ConsumerGroupConfig::default());
    let subscription =
        MemberSubscription { instance_id: Some("i1".to_owned()), ..MemberSubscription::default() };
    let current = CurrentAssignment { assigned: parts(&[(1, &[0])]), ..CurrentAssignment::NEW };
    for id in ["m1", "m2"] {
        let (member_id, subscription, current) = (MemberId::new(id), subscription.clone(), current.clone());
        group.apply(&ConsumerGroupEvent::MemberSubscribed { member_id: member_id.clone(), subscription });
        group.apply(&ConsumerGroupEvent::MemberReconciled { member_id, current });
    }
    group.apply(&ConsumerGroupEvent::MemberRemoved { member_id: MemberId::new("m1") });
    assert_eq!(group.state.instances.values().collect::<Vec<_>>(), [&MemberId::new("m2")]);
    assert_eq!(group.state.owners.values().collect::<Vec<_>>(), [&MemberId::new("m2")]);
}

#[test]
fn a_static_member_that_stays_away_loses_its_place() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    let fixed = Heartbeat { instance_id: Some("i1".to_owned()), ..join("m1", &["a"]) };
    bench.send(&fixed).unwrap();
    bench.send(&Heartbeat { member_epoch: STATIC_LEAVE_EPOCH, ..fixed }).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!(bench.send(&beat("m2", 2)).unwrap().assignment, None);
    bench.pass(44);
    bench.send(&beat("m2", 2)).unwrap();
    bench.pass(1);
    assert_eq!(*assigned(&bench.send(&beat("m2", 2)).unwrap()), parts(&[(1, &[0])]));
}

#[test]
fn a_returning_static_member_may_use_a_full_group_and_a_used_id() {
    let config = ConsumerGroupConfig { members_max: 2, ..ConsumerGroupConfig::default() };
    let mut bench = Bench::with(config, &[("a", 1, 2)]);
    let fixed = Heartbeat { instance_id: Some("i1".to_owned()), ..join("m1", &["a"]) };
    bench.send(&fixed).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!(bench.send(&join("m3", &["a"])), Err(Error::GroupFull { limit: 2 }));
    bench.send(&Heartbeat { member_epoch: STATIC_LEAVE_EPOCH, ..fixed.clone() }).unwrap();
    let reply = bench.send(&Heartbeat { member_id: "m2".to_owned(), ..fixed }).unwrap();
    assert!(!bench.group.has_member("m1"));
    assert_eq!(*assigned(&reply), parts(&[(1, &[0, 1])]), "nobody else is left");
}

#[test]
fn topics_that_come_grow_and_go_raise_the_group_epoch() {
    let mut bench = Bench::new(&[("a", 1, 1), ("other", 9, 1)]);
    bench.send(&join("m1", &["a", "later"])).unwrap();
    let mut step = |topics: &[(&str, u128, u32)], epoch, want: Partitions| {
        bench.topics = Topics::of(topics);
        bench.topics_changed();
        let member_epoch = bench.epoch("m1");
        let reply = bench.send(&beat("m1", member_epoch)).unwrap();
        assert_eq!(reply.member_epoch, epoch);
        let current = &bench.group.describe().members[0].current;
        assert_eq!(current.assigned, want);
        bench.send(&Heartbeat { owned: Some(want), ..beat("m1", epoch) }).unwrap();
    };
    step(&[("a", 1, 1), ("other", 9, 4)], 1, parts(&[(1, &[0])]));
    step(&[("a", 1, 2), ("other", 9, 4)], 2, parts(&[(1, &[0, 1])]));
    step(&[("a", 1, 2), ("later", 2, 1)], 3, parts(&[(1, &[0, 1]), (2, &[0])]));
    // To give up a topic that is gone it stays in its epoch first.
    step(&[("a", 1, 2)], 3, parts(&[(1, &[0, 1])]));
    assert_eq!(bench.epoch("m1"), 4);
}

#[test]
fn topics_that_changed_while_the_broker_was_down_are_noticed() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    bench.send(&join("m1", &["a"])).unwrap();
    bench.group = bench.replayed();
    bench.topics = Topics::of(&[("a", 1, 2)]);
    let reply = bench.send(&beat("m1", 1)).unwrap();
    assert_eq!((reply.member_epoch, assigned(&reply)), (2, &parts(&[(1, &[0, 1])])));
    bench.group = bench.replayed();
    assert_eq!(bench.send(&beat("m1", 2)).unwrap().assignment, None);
}

#[test]
fn a_regex_subscribes_to_what_it_matches_as_topics_come_and_go() {
    let mut bench = Bench::new(&[("log-a", 1, 1), ("x", 2, 1)]);
    let regex = |text: &str| Some(text.to_owned());
    let bad = Heartbeat { subscribed_topic_regex: regex("[x"), ..join("m1", &[]) };
    let reason = "unclosed character class".to_owned();
    assert_eq!(bench.send(&bad), Err(Error::InvalidRegex { reason }));

    let joins =
        Heartbeat { subscribed_topic_names: None, subscribed_topic_regex: regex("log-"), ..join("m1", &[]) };
    assert_eq!(*assigned(&bench.send(&joins).unwrap()), parts(&[(1, &[0])]));
    assert_eq!(bench.group.subscribed_topics(), names(&["log-a"]));
    bench.topics = Topics::of(&[("log-a", 1, 1), ("log-b", 3, 1), ("x", 2, 1)]);
    bench.topics_changed();
    assert_eq!(*assigned(&bench.send(&beat("m1", 1)).unwrap()), parts(&[(1, &[0]), (3, &[0])]));
    let both = Heartbeat { subscribed_topic_names: Some(names(&["x"])), ..beat("m1", 2) };
    assert_eq!(*assigned(&bench.send(&both).unwrap()), parts(&[(1, &[0]), (2, &[0]), (3, &[0])]));
    let none = Heartbeat { subscribed_topic_regex: regex(""), ..beat("m1", 3) };
    assert_eq!(*assigned(&bench.send(&none).unwrap()), parts(&[(2, &[0])]));
}

#[test]
fn what_a_member_unsubscribes_from_while_giving_up_follows_at_once() {
    let mut bench = Bench::new(&[("a", 1, 2), ("b", 2, 1)]);
    bench.send(&join("m1", &["a", "b"])).unwrap();
    bench.send(&join("m2", &["a"])).unwrap();
    assert_eq!(*assigned(&bench.send(&beat("m1", 1)).unwrap()), parts(&[(1, &[0]), (2, &[0])]));
    let fewer = Heartbeat { subscribed_topic_names: Some(names(&["a"])), ..beat("m1", 1) };
    let told = bench.send(&fewer).unwrap();
    assert_eq!((told.member_epoch, assigned(&told)), (1, &parts(&[(1, &[0])])));
    let current = bench.group.describe().members[0].current.clone();
    assert_eq!(current.pending_revocation, parts(&[(1, &[1]), (2, &[0])]));
}

#[test]
fn the_assignor_most_members_want_is_used_from_the_next_epoch_on() {
    let mut bench = Bench::new(&[("a", 1, 4), ("b", 2, 4)]);
    let range = |id: &str| Heartbeat { server_assignor: Some("range".to_owned()), ..join(id, &["a", "b"]) };
    bench.send(&join("m1", &["a", "b"])).unwrap();
    assert_eq!(bench.group.describe().assignor, "uniform");
    bench.send(&range("m2")).unwrap();
    assert_eq!(bench.group.describe().assignor, "range");
    let target: Vec<Partitions> =
        bench.group.describe().members.into_iter().map(|member| member.target).collect();
    assert_eq!(target, [parts(&[(1, &[0, 1]), (2, &[0, 1])]), parts(&[(1, &[2, 3]), (2, &[2, 3])])]);
    let (name, supported) = ("sticky".to_owned(), "uniform, range".to_owned());
    let wrong = Heartbeat { server_assignor: Some(name.clone()), ..beat("m1", 1) };
    assert_eq!(bench.send(&wrong), Err(Error::UnsupportedAssignor { name, supported }));
}

#[test]
fn an_old_client_gets_an_id_made_by_the_broker() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    let uuid = Uuid::from_u128(7);
    let reply = bench.send(&Heartbeat { generated_member_id: Some(uuid), ..join("", &["a"]) }).unwrap();
    assert_eq!(reply.member_id.as_str(), uuid.to_string());
    let own = Heartbeat { generated_member_id: Some(uuid), ..join("own", &["a"]) };
    assert_eq!(bench.send(&own).unwrap().member_id.as_str(), "own");
}

#[test]
fn requests_that_make_no_sense_are_refused_by_name() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    let joins = join("m1", &["a"]);
    let cases = [
        (Heartbeat { member_id: String::new(), ..joins.clone() }, "MemberId"),
        (Heartbeat { instance_id: Some(String::new()), ..joins.clone() }, "InstanceId"),
        (Heartbeat { rack_id: Some(String::new()), ..joins.clone() }, "RackId"),
        (Heartbeat { rebalance_timeout_ms: None, ..joins.clone() }, "RebalanceTimeoutMs"),
        (Heartbeat { rebalance_timeout_ms: Some(-5), ..joins.clone() }, "RebalanceTimeoutMs"),
        (Heartbeat { owned: None, ..joins.clone() }, "TopicPartitions"),
        (Heartbeat { owned: Some(parts(&[(1, &[0])])), ..joins.clone() }, "TopicPartitions"),
        (Heartbeat { subscribed_topic_names: None, ..joins.clone() }, "SubscribedTopicNames"),
        (beat("m1", -3), "MemberEpoch"),
        (beat("m1", STATIC_LEAVE_EPOCH), "InstanceId"),
        (beat("", 3), "MemberId"),
    ];
    for (request, field) in cases {
        let refused = bench.send(&request).unwrap_err();
        assert!(matches!(refused, Error::InvalidRequest { .. }), "{refused:?}");
        assert!(refused.to_string().starts_with(field), "{refused} does not name {field}");
    }
    let long = |bytes: usize| "x".repeat(bytes);
    let many: BTreeSet<TopicName> = (0..10_001).map(|number| name(&number.to_string())).collect();
    let cases = [
        Heartbeat { member_id: long(1_025), ..joins.clone() },
        Heartbeat { client_id: long(1_025), ..joins.clone() },
        Heartbeat { subscribed_topic_regex: Some(long(4_097)), ..joins.clone() },
        Heartbeat { subscribed_topic_names: Some(many), ..joins },
    ];
    for request in cases {
        let refused = bench.send(&request).unwrap_err();
        assert!(
            matches!(refused, Error::TooLong { actual, limit, .. } if actual == limit + 1),
            "{refused:?}"
        );
    }
}

#[test]
fn offsets_are_committed_and_fetched_in_the_current_epoch_only() {
    let mut bench = Bench::new(&[("a", 1, 1)]);
    assert_eq!(bench.group.check_commit("", -1), Ok(()), "an empty group takes commits of anybody");
    bench.send(&join("m1", &["a"])).unwrap();
    assert_eq!(bench.group.check_commit("m1", 1), Ok(()));
    assert_eq!(bench.group.check_commit("m1", 0), Err(Error::StaleMemberEpoch { received: 0, known: 1 }));
    assert_eq!(bench.group.check_commit("m2", 1), Err(Error::UnknownMember { member_id: "m2".to_owned() }));
    assert_eq!(bench.group.check_commit("", -1), Err(Error::UnknownMember { member_id: String::new() }));
    assert_eq!(bench.group.check_fetch(None, -1), Ok(()));
    assert_eq!(bench.group.check_fetch(Some("m1"), 1), Ok(()));
    assert_eq!(
        bench.group.check_fetch(Some("m1"), 2),
        Err(Error::StaleMemberEpoch { received: 2, known: 1 })
    );
}

#[test]
fn a_member_that_joins_a_thousand_others_gets_its_share_of_ten_thousand_partitions() {
    let topics: Vec<String> = (0..10).map(|number| format!("t{number}")).collect();
    let shapes: Vec<(&str, u128, u32)> =
        (0..10).zip(&topics).map(|(id, name)| (name.as_str(), id, 1_000)).collect();
    let mut bench = Bench::new(&shapes);
    let all = join("m", &topics.iter().map(String::as_str).collect::<Vec<_>>());
    // The thousand are read back rather than joined one by one: each join makes a target for everybody.
    for number in 0..1_000 {
        let member_id = MemberId::new(&format!("m{number:04}"));
        let subscription = all.update(None);
        bench.group.apply(&ConsumerGroupEvent::MemberSubscribed { member_id, subscription });
    }
    bench.group.loaded(bench.now);
    let told = |reply: &HeartbeatReply| {
        reply.assignment.iter().flat_map(|told| told.values()).map(BTreeSet::len).sum()
    };
    for (member_id, want) in [("m0500", 10), ("x", 9), ("y", 9), ("m0700", 10)] {
        let (events, reply) = bench.group.heartbeat(
            bench.now,
            &Heartbeat { member_id: member_id.to_owned(), ..all.clone() },
            &bench.topics,
        );
        assert!(!events.is_empty());
        let free: usize = told(&reply.unwrap());
        assert!(free <= want, "{member_id} got {free}");
    }
    let sizes =
        bench.group.state.members.values().map(|member| member.target.values().map(BTreeSet::len).sum());
    let sizes: Vec<usize> = sizes.collect();
    assert_eq!((sizes.len(), sizes.iter().sum()), (1_002, 10_000));
    assert!(sizes.iter().all(|size| (9..=10).contains(size)));
}
