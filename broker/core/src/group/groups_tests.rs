use bytes::Bytes;
use tidelog_model::{ErrorCode, TopicName};

use super::super::OffsetCommit;
use super::super::api::{
    CommitOffsets, DeleteOffsets, GroupHeartbeat, GroupMember, GroupProtocol, GroupState, JoinGroup,
    JoinGroupReply, LeaveGroup, LeavingMember, ListGroups,
};
use super::super::consumer::Heartbeat;
use super::super::testkit::*;
use super::*;

fn state(bench: &mut Bench) -> GroupState {
    match bench.ask(GroupRequest::Describe(group("g"))) {
        Ok(GroupReply::Describe(described)) => described.state,
        other => panic!("{other:?}"),
    }
}

fn leave(member_id: &str, instance_id: Option<&str>) -> GroupRequest {
    let instance_id = instance_id.map(str::to_owned);
    let members = vec![LeavingMember { member_id: member_id.to_owned(), instance_id }];
    GroupRequest::Leave(LeaveGroup { group: group("g"), members })
}

#[test]
fn members_that_join_within_the_initial_delay_share_the_first_generation() {
    let mut bench = Bench::new();
    let first = bench.send(GroupRequest::Join(join("")));
    bench.advance(2_000);
    assert!(bench.answers.is_empty(), "the first member waits for others");
    let second = bench.send(GroupRequest::Join(join("")));
    bench.advance(1_000);
    assert!(bench.answers.is_empty(), "a new member prolongs the wait");
    bench.advance(3_000);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((first.leader.as_str(), first.members.len()), (first.member_id.as_str(), 2));
    assert_eq!((second.leader, second.members.len()), (first.member_id, 0));
    assert_eq!(state(&mut bench), GroupState::CompletingRebalance);
}

#[test]
fn followers_wait_for_the_leader_and_each_gets_its_own_part() {
    let mut bench = Bench::new();
    let tokens = [bench.send(GroupRequest::Join(join(""))), bench.send(GroupRequest::Join(join("")))];
    bench.advance(6_000);
    let [leader, follower] = tokens.map(|token| bench.joined(token));
    let waits = bench.send(sync(&follower));
    assert!(bench.answers.is_empty());
    let leads = bench.send(sync(&leader));
    assert_eq!(bench.assignment(waits), part_of(1, &follower.member_id));
    assert_eq!(bench.assignment(leads), part_of(1, &leader.member_id));
    assert_eq!(state(&mut bench), GroupState::Stable);
}

#[test]
fn a_new_client_must_join_again_with_the_id_it_is_given_before_its_session_ends() {
    let mut bench = Bench::new();
    let asked = JoinGroup { require_known_member_id: true, ..join("") };
    let Ok(GroupReply::Join(JoinGroupReply::MemberIdRequired { member_id })) =
        bench.ask(GroupRequest::Join(asked.clone()))
    else {
        panic!()
    };
    let known = JoinGroup { member_id, ..asked.clone() };
    let token = bench.send(GroupRequest::Join(known.clone()));
    bench.advance(6_000);
    assert_eq!(bench.joined(token).member_id, known.member_id);
    let Ok(GroupReply::Join(JoinGroupReply::MemberIdRequired { member_id })) =
        bench.ask(GroupRequest::Join(asked))
    else {
        panic!()
    };
    bench.advance(10_000);
    assert_eq!(refusal(bench.ask(GroupRequest::Join(join(&member_id)))), ErrorCode::UnknownMemberId);
}

#[test]
fn a_join_that_cannot_work_is_refused_by_name() {
    let mut bench = Bench::new();
    let short = JoinGroup { session_timeout_ms: 5_999, ..join("") };
    let long = JoinGroup { session_timeout_ms: 1_800_001, ..join("") };
    let none = JoinGroup { protocols: Vec::new(), ..join("") };
    let wide = JoinGroup { client_id: "x".repeat(1_025), ..join("") };
    let cases = [
        (short, ErrorCode::InvalidSessionTimeout),
        (long, ErrorCode::InvalidSessionTimeout),
        (none, ErrorCode::InconsistentGroupProtocol),
        (wide, ErrorCode::InvalidRequest),
        (join("ghost"), ErrorCode::UnknownMemberId),
    ];
    for (request, code) in cases {
        assert_eq!(refusal(bench.ask(GroupRequest::Join(request))), code);
    }
    assert!(bench.groups.groups.is_empty(), "a refused join leaves no group behind");
    bench.stable(vec![join("")]);
    let other_type = JoinGroup { protocol_type: "connect".to_owned(), ..join("") };
    assert_eq!(refusal(bench.ask(GroupRequest::Join(other_type))), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_prefer() {
    let mut bench = Bench::new();
    let knows = |names: &[&str]| {
        let named = |name: &&str| GroupProtocol { name: (*name).to_owned(), metadata: Bytes::new() };
        JoinGroup { protocols: names.iter().map(named).collect(), ..join("") }
    };
    let members = bench.stable(vec![knows(&["a", "b", "c"]), knows(&["b", "c"]), knows(&["c", "b", "d"])]);
    assert!(members.iter().all(|joined| joined.protocol_name == "b"), "{members:?}");
}

#[test]
fn a_full_group_refuses_one_more() {
    let limits = GroupLimits { members_max: 1, ..GroupLimits::default() };
    let mut bench = Bench::with(GroupConfig::default(), limits);
    bench.stable(vec![join("")]);
    assert_eq!(refusal(bench.ask(GroupRequest::Join(join("")))), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn what_members_tell_is_bounded_for_a_group_and_for_all_groups() {
    for limits in [
        GroupLimits { group_bytes_max: 600, ..GroupLimits::default() },
        GroupLimits { bytes_max: 600, ..GroupLimits::default() },
    ] {
        let mut bench = Bench::with(GroupConfig::default(), limits);
        bench.stable(vec![join("")]);
        let large = GroupProtocol { name: "range".to_owned(), metadata: vec![0; 400].into() };
        let large = JoinGroup { protocols: vec![large], ..join("") };
        assert_eq!(refusal(bench.ask(GroupRequest::Join(large))), ErrorCode::GroupMaxSizeReached);
    }
}

#[test]
fn a_follower_that_joins_again_unchanged_stays_and_a_leader_rebalances() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![join(""), join("")]);
    let (leader, follower) = (&members[0], &members[1]);
    let token = bench.send(GroupRequest::Join(join(&follower.member_id)));
    assert_eq!(bench.joined(token).generation, 1);
    bench.send(GroupRequest::Join(join(&leader.member_id)));
    assert_eq!(state(&mut bench), GroupState::PreparingRebalance);
    let beat = bench.ask(heartbeat(&follower.member_id, 1));
    assert_eq!(refusal(beat), ErrorCode::RebalanceInProgress);
}

#[test]
fn members_that_do_not_join_again_in_time_are_left_out() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![join(""), join("")]);
    let token = bench.send(GroupRequest::Join(join(&members[0].member_id)));
    for _ in 0..3 {
        bench.advance(5_000);
        assert_eq!(refusal(bench.ask(heartbeat(&members[1].member_id, 1))), ErrorCode::RebalanceInProgress);
    }
    bench.advance(5_000);
    let joined = bench.joined(token);
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    assert_eq!(refusal(bench.ask(heartbeat(&members[1].member_id, 1))), ErrorCode::UnknownMemberId);
}

#[test]
fn members_that_do_not_sync_in_time_are_removed() {
    let mut bench = Bench::new();
    let tokens = [bench.send(GroupRequest::Join(join(""))), bench.send(GroupRequest::Join(join("")))];
    bench.advance(6_000);
    let [leader, follower] = tokens.map(|token| bench.joined(token));
    let waits = bench.send(sync(&follower));
    for _ in 0..4 {
        bench.advance(5_000);
        drop(bench.ask(heartbeat(&leader.member_id, 1)));
    }
    assert_eq!(refusal(bench.answers.remove(&waits).unwrap()), ErrorCode::RebalanceInProgress);
    assert_eq!(refusal(bench.ask(heartbeat(&leader.member_id, 1))), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_removed_and_the_last_one_leaves_an_empty_group() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![join("")]);
    bench.ask(heartbeat(&members[0].member_id, 1)).unwrap();
    bench.advance(9_999);
    assert_eq!(state(&mut bench), GroupState::Stable);
    bench.advance(1);
    assert_eq!(state(&mut bench), GroupState::Empty);
    bench.check_replay();
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_old_self_is_fenced() {
    let mut bench = Bench::new();
    let named =
        |can_skip| JoinGroup { instance_id: Some("i".to_owned()), can_skip_assignment: can_skip, ..join("") };
    let old = bench.stable(vec![named(true), join("")]).remove(0);
    let token = bench.send(GroupRequest::Join(named(true)));
    let new = bench.joined(token);
    assert_eq!((new.generation, new.skip_assignment), (1, true));
    assert_ne!(new.member_id, old.member_id);
    let beat = |id: &str| {
        let member = GroupMember { instance_id: Some("i".to_owned()), ..member(id, 1) };
        GroupRequest::Heartbeat(GroupHeartbeat { group: group("g"), member })
    };
    assert_eq!(refusal(bench.ask(beat(&old.member_id))), ErrorCode::FencedInstanceId);
    bench.crash();
    bench.ask(beat(&new.member_id)).unwrap();
    let token = bench.send(GroupRequest::Join(named(false)));
    let newer = bench.joined(token);
    assert_eq!(newer.leader, new.member_id, "an old client must not take itself for the leader");
    assert!(newer.members.is_empty());
    assert!(matches!(bench.ask(leave("", Some("i"))), Ok(GroupReply::Leave(results)) if results == [Ok(())]));
}

#[test]
fn leaving_has_one_result_for_each_member() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![join(""), join("")]);
    let leaving = |id: &str| LeavingMember { member_id: id.to_owned(), instance_id: None };
    let request =
        LeaveGroup { group: group("g"), members: vec![leaving("ghost"), leaving(&members[1].member_id)] };
    let Ok(GroupReply::Leave(results)) = bench.ask(GroupRequest::Leave(request)) else { panic!() };
    assert_eq!(results[0].as_ref().unwrap_err().code(), ErrorCode::UnknownMemberId);
    assert_eq!(results[1], Ok(()));
    assert_eq!(state(&mut bench), GroupState::PreparingRebalance);
}

#[test]
fn commits_are_taken_from_members_of_the_generation_and_from_strangers_only_while_the_group_is_empty() {
    let mut bench = Bench::new();
    bench.ask(commit(GroupMember::none(), vec![offset(1, 0, 3)])).unwrap();
    assert_eq!(
        refusal(bench.ask(GroupRequest::Commit(CommitOffsets {
            group: group("other"),
            member: member("m", 1),
            offsets: Vec::new(),
        }))),
        ErrorCode::IllegalGeneration
    );
    let members = bench.stable(vec![join("")]);
    let id = members[0].member_id.as_str();
    bench.ask(commit(member(id, 1), vec![offset(1, 0, 5), offset(1, 2, 9)])).unwrap();
    for (from, code) in [
        (GroupMember::none(), ErrorCode::UnknownMemberId),
        (member(id, 0), ErrorCode::IllegalGeneration),
        (member("ghost", 1), ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(refusal(bench.ask(commit(from, vec![offset(1, 0, 99)]))), code);
    }
    assert_eq!(bench.offsets(), [(1, 0, 5), (1, 2, 9)]);
    let token = bench.send(GroupRequest::Join(join(id)));
    let generation = bench.joined(token).generation;
    let refused = bench.ask(commit(member(id, generation), vec![offset(1, 0, 99)]));
    assert_eq!(refusal(refused), ErrorCode::RebalanceInProgress, "nothing is assigned yet");
}

#[test]
fn each_offset_of_a_commit_has_its_own_result() {
    let limits =
        GroupLimits { metadata_bytes_max: 4, offsets_max: 2, groups_max: 1, ..GroupLimits::default() };
    let mut bench = Bench::with(GroupConfig::default(), limits);
    let short = |t, p, o| OffsetCommit { metadata: String::new(), ..offset(t, p, o) };
    let offsets = vec![offset(1, 0, 100), short(1, 1, 1), short(1, 2, 1), short(1, 3, 1), short(1, 1, 2)];
    let Ok(GroupReply::Commit(results)) = bench.ask(commit(GroupMember::none(), offsets)) else { panic!() };
    let codes: Vec<_> = results.iter().map(|result| result.as_ref().err().map(GroupError::code)).collect();
    let (long, full) = (Some(ErrorCode::OffsetMetadataTooLarge), Some(ErrorCode::InvalidRequest));
    assert_eq!(codes, [long, None, None, full, None]);
    assert_eq!(bench.offsets(), [(1, 1, 2), (1, 2, 1)]);
    let other =
        CommitOffsets { group: group("h"), member: GroupMember::none(), offsets: vec![short(1, 1, 1)] };
    let Ok(GroupReply::Commit(results)) = bench.ask(GroupRequest::Commit(other)) else { panic!() };
    assert!(matches!(results[0], Err(GroupError::TooManyGroups { limit: 1 })));
}

#[test]
fn only_a_group_without_members_can_be_deleted() {
    let mut bench = Bench::new();
    assert_eq!(refusal(bench.ask(GroupRequest::Delete(group("g")))), ErrorCode::GroupIdNotFound);
    let members = bench.stable(vec![join("")]);
    assert_eq!(refusal(bench.ask(GroupRequest::Delete(group("g")))), ErrorCode::NonEmptyGroup);
    bench.ask(leave(&members[0].member_id, None)).unwrap();
    bench.ask(GroupRequest::Delete(group("g"))).unwrap();
    assert_eq!(refusal(bench.ask(GroupRequest::Describe(group("g")))), ErrorCode::GroupIdNotFound);
    bench.check_replay();
}

#[test]
fn offsets_of_subscribed_topics_cannot_be_deleted() {
    let mut bench = Bench::new();
    bench.ask(commit(GroupMember::none(), vec![offset(1, 0, 3), offset(2, 0, 4)])).unwrap();
    bench.stable(vec![join("")]);
    let index = PartitionIndex::new(0).unwrap();
    let partitions = vec![(topic(1), index), (topic(2), index)];
    let request = DeleteOffsets { group: group("g"), partitions };
    let Ok(GroupReply::DeleteOffsets(results)) = bench.ask(GroupRequest::DeleteOffsets(request)) else {
        panic!()
    };
    assert_eq!(results, [Err(GroupError::Subscribed), Ok(())]);
    assert_eq!(bench.offsets(), [(1, 0, 3)]);
    bench.check_replay();
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_and_groups_that_were_nothing_else() {
    let mut bench = Bench::new();
    bench.ask(commit(GroupMember::none(), vec![offset(1, 0, 3)])).unwrap();
    bench.ask(GroupRequest::ForgetTopic(topic(1))).unwrap();
    assert!(bench.groups.groups.is_empty());
    let events = bench.log.len();
    bench.ask(GroupRequest::ForgetTopic(topic(1))).unwrap();
    assert_eq!(bench.log.len(), events, "forgetting nothing is not stored");
    bench.check_replay();
}

#[test]
fn offsets_expire_when_the_group_was_empty_for_long_enough_or_nobody_subscribes_to_the_topic() {
    let week = 7 * 24 * 3_600_000;
    let mut bench = Bench::new();
    bench.ask(commit(GroupMember::none(), vec![offset(1, 0, 3), offset(2, 0, 4)])).unwrap();
    let long = JoinGroup { session_timeout_ms: 1_800_000, ..join("") };
    let members = bench.stable(vec![long]);
    for _ in 0..(week / 1_200_000 + 1) {
        bench.advance(1_200_000);
        bench.ask(heartbeat(&members[0].member_id, 1)).unwrap();
    }
    assert_eq!(bench.offsets(), [(1, 0, 3)], "a live group keeps what it subscribes to");
    bench.ask(leave(&members[0].member_id, None)).unwrap();
    bench.advance(week - 600_001);
    assert_eq!(bench.offsets(), [(1, 0, 3)]);
    bench.crash();
    bench.advance(1_300_000);
    assert!(bench.groups.groups.is_empty(), "the group goes with its last offset");
    bench.check_replay();
}

#[test]
fn generation_members_and_offsets_survive_a_crash_with_sessions_begun_anew() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![join(""), join("")]);
    bench.ask(commit(member(&members[1].member_id, 1), vec![offset(1, 0, 7)])).unwrap();
    bench.advance(9_000);
    bench.crash();
    bench.advance(9_000);
    for joined in &members {
        bench.ask(heartbeat(&joined.member_id, 1)).unwrap();
    }
    assert_eq!(bench.offsets(), [(1, 0, 7)]);
    bench.advance(10_000);
    assert_eq!(state(&mut bench), GroupState::Empty);
}

#[test]
fn an_empty_group_may_change_its_type_and_one_with_members_may_not() {
    let mut bench = Bench::new();
    bench.ask(commit(GroupMember::none(), vec![offset(1, 0, 3)])).unwrap();
    let beat = |epoch| Heartbeat {
        member_id: "m".to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: Some(10_000),
        subscribed_topic_names: Some([TopicName::new("t1").unwrap()].into()),
        owned: Some(BTreeMap::new()),
        ..Heartbeat::default()
    };
    let consumer = |epoch| GroupRequest::ConsumerHeartbeat(group("g"), beat(epoch));
    assert_eq!(refusal(bench.ask(consumer(1))), ErrorCode::GroupIdNotFound);
    bench.ask(consumer(0)).unwrap();
    assert_eq!(refusal(bench.ask(GroupRequest::Join(join("")))), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refusal(bench.ask(GroupRequest::Describe(group("g")))), ErrorCode::GroupIdNotFound);
    assert_eq!(refusal(bench.ask(heartbeat("m", 1))), ErrorCode::UnknownMemberId);
    bench.check_replay();
    bench.crash();
    assert!(bench.ask(GroupRequest::ConsumerDescribe(group("g"))).is_ok());
    bench.ask(consumer(-1)).unwrap();
    bench.stable(vec![join("")]);
    assert_eq!(refusal(bench.ask(consumer(0))), ErrorCode::GroupIdNotFound);
    assert_eq!(bench.offsets(), [(1, 0, 3)], "offsets stay with the group");
    bench.check_replay();
}

#[test]
fn lists_are_filtered_by_state_and_type_in_any_case() {
    let mut bench = Bench::new();
    bench.stable(vec![join("")]);
    let mut count = |states: &[&str], types: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = ListGroups { states: owned(states), types: owned(types) };
        match bench.ask(GroupRequest::List(request)) {
            Ok(GroupReply::List(groups)) => groups.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([count(&[], &[]), count(&["stable"], &["CLASSIC"]), count(&["Empty"], &[])], [1, 1, 0]);
    assert_eq!([count(&[], &["consumer"]), count(&["nonsense"], &[])], [0, 0]);
}
