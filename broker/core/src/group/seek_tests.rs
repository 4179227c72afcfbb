use std::collections::BTreeSet;

use tidelog_model::{ErrorCode, PartitionIndex};

use super::super::api::{GroupProtocol, JoinGroup};
use super::super::consumer::{Heartbeat, HeartbeatReply, Partitions};
use super::super::testkit::*;
use super::super::{GroupConfig, GroupLimits, GroupRequest};
use super::*;

const DONE: Result<GroupReply, GroupError> = Ok(GroupReply::Seek(Sought::Done));

fn code(answer: Result<GroupReply, GroupError>) -> ErrorCode {
    answer.unwrap_err().code()
}

fn named(protocol: &str, protocol_type: &str) -> JoinGroup {
    let protocols = vec![GroupProtocol { name: protocol.to_owned(), metadata: subscription(&["t1"]) }];
    JoinGroup { protocols, protocol_type: protocol_type.to_owned(), ..join("") }
}

#[test]
fn offsets_of_a_group_nobody_is_in_are_set_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(seek(&[(1, 0, 7), (1, 1, 9)], WhenActive::Refuse)), DONE);
    assert_eq!(bench.offsets(), [(1, 0, 7), (1, 1, 9)]);
    bench.check_replay();
}

#[test]
fn members_are_not_moved_unasked() {
    let mut bench = Bench::new();
    bench.stable(vec![join("")]);
    let answer = bench.ask(seek(&[(1, 0, 7)], WhenActive::Refuse));
    assert_eq!(code(answer), ErrorCode::NonEmptyGroup);
    assert_eq!(bench.offsets(), []);
}

#[test]
fn an_eager_group_is_moved_between_two_generations() {
    let mut bench = Bench::new();
    let member_id = bench.stable(vec![join("")]).remove(0).member_id;
    assert!(bench.ask(commit(member(&member_id, 1), vec![offset(1, 0, 40)])).is_ok());
    let sought = bench.send(seek(&[(1, 0, 7)], WhenActive::Move));
    assert!(!bench.answers.contains_key(&sought), "the member still reads");

    // It is told to join again; what it commits before is overtaken.
    assert_eq!(code(bench.ask(heartbeat(&member_id, 1))), ErrorCode::RebalanceInProgress);
    assert!(bench.ask(commit(member(&member_id, 1), vec![offset(1, 0, 50)])).is_ok());
    let joined = bench.send(GroupRequest::Join(join(&member_id)));
    assert_eq!(bench.answers.remove(&sought), Some(DONE));
    assert_eq!(bench.offsets(), [(1, 0, 7)]);
    let joined = bench.joined(joined);

    // Nothing of the generation before lands, nor after a crash in the middle.
    assert_eq!(
        code(bench.ask(commit(member(&member_id, 1), vec![offset(1, 0, 60)]))),
        ErrorCode::IllegalGeneration
    );
    bench.check_replay();
    let mut crashed = Bench::new();
    crashed.log = bench.log.clone();
    crashed.crash();
    let late = commit(member(&member_id, 1), vec![offset(1, 0, 60)]);
    assert_eq!(code(crashed.ask(late)), ErrorCode::UnknownMemberId);
    assert_eq!(crashed.offsets(), [(1, 0, 7)]);

    let synced = bench.send(sync(&joined));
    assert_eq!(bench.assignment(synced), part_of(2, &member_id));
    assert!(bench.ask(commit(member(&member_id, 2), vec![offset(1, 0, 8)])).is_ok());
    bench.check_replay();
}

#[test]
fn groups_that_would_not_follow_are_left_alone() {
    for (protocol, kind) in
        [("cooperative-sticky", "consumer"), ("RoundRobinAssigner", "consumer"), ("range", "connect")]
    {
        let mut bench = Bench::new();
        bench.stable(vec![named(protocol, kind)]);
        let answer = bench.ask(seek(&[(1, 0, 7)], WhenActive::Move));
        assert_eq!(code(answer), ErrorCode::NonEmptyGroup, "{protocol} {kind}");
        assert_eq!(bench.offsets(), []);
    }
}

#[test]
fn a_seek_goes_on_when_the_last_member_leaves() {
    let mut bench = Bench::new();
    let member_id = bench.stable(vec![join("")]).remove(0).member_id;
    let sought = bench.send(seek(&[(1, 0, 7)], WhenActive::Move));
    bench.advance(60_000);
    assert_eq!(bench.answers.remove(&sought), Some(DONE));
    assert_eq!(bench.offsets(), [(1, 0, 7)]);
    assert_eq!(code(bench.ask(heartbeat(&member_id, 1))), ErrorCode::UnknownMemberId);
    bench.check_replay();
}

#[test]
fn a_seek_is_all_or_nothing() {
    let limits = GroupLimits { offsets_max: 1, ..GroupLimits::default() };
    let mut bench = Bench::with(GroupConfig::default(), limits);
    let answer = bench.ask(seek(&[(1, 0, 7), (1, 1, 7)], WhenActive::Refuse));
    assert_eq!(code(answer), ErrorCode::InvalidRequest);
    assert_eq!(bench.offsets(), []);
}

fn beat(bench: &mut Bench, heartbeat: Heartbeat) -> HeartbeatReply {
    match bench.ask(GroupRequest::ConsumerHeartbeat(group("g"), heartbeat)).unwrap() {
        GroupReply::ConsumerHeartbeat(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn owns(partitions: &[i32]) -> Option<Partitions> {
    let set: BTreeSet<PartitionIndex> =
        partitions.iter().map(|index| PartitionIndex::new(*index).unwrap()).collect();
    Some(Partitions::from([(topic(1), set)]))
}

fn results(answer: Result<GroupReply, GroupError>) -> Vec<Result<(), ErrorCode>> {
    match answer.unwrap() {
        GroupReply::Commit(results) => {
            results.into_iter().map(|result| result.map_err(|error| error.code())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_of_the_consumer_protocol_are_moved_and_late_commits_do_not_land() {
    let mut bench = Bench::new();
    let joins = Heartbeat {
        member_id: "m1".to_owned(),
        rebalance_timeout_ms: Some(60_000),
        subscribed_topic_names: Some(BTreeSet::from([tidelog_model::TopicName::new("t1").unwrap()])),
        owned: Some(Partitions::new()),
        ..Heartbeat::default()
    };
    let says = |epoch, owned| Heartbeat {
        member_id: "m1".to_owned(),
        member_epoch: epoch,
        owned,
        ..Heartbeat::default()
    };
    let first = beat(&mut bench, joins).member_epoch;
    assert_eq!(results(bench.ask(commit(member("m1", first), vec![offset(1, 0, 40)]))), [Ok(())]);
    let pending = Ok(GroupReply::Seek(Sought::Pending));
    assert_eq!(bench.ask(seek(&[(1, 0, 7)], WhenActive::Move)), pending);
    assert_eq!(bench.offsets(), [(1, 0, 40)]);

    beat(&mut bench, says(first, owns(&[0, 1, 2, 3])));
    assert_eq!(results(bench.ask(commit(member("m1", first), vec![offset(1, 0, 50)]))), [Ok(())]);
    let second = beat(&mut bench, says(first, owns(&[1, 2, 3]))).member_epoch;
    assert_eq!(bench.offsets(), [(1, 0, 7)], "the seek comes last");

    // The same with what a restarted broker reads.
    for crash in [false, true] {
        if crash {
            bench.check_replay();
            bench.crash();
        }
        let late = commit(member("m1", second), vec![offset(1, 0, 60), offset(1, 1, 60)]);
        assert_eq!(results(bench.ask(late)), [Err(ErrorCode::StaleMemberEpoch), Ok(())]);
        assert_eq!(bench.offsets(), [(1, 0, 7), (1, 1, 60)]);
    }
    let third = beat(&mut bench, says(second, owns(&[1, 2, 3]))).member_epoch;
    assert_eq!(results(bench.ask(commit(member("m1", third), vec![offset(1, 0, 8)]))), [Ok(())]);
    bench.check_replay();
}
