use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{ErrorCode, Timestamp, TopicName};
use uuid::Uuid;

use super::super::api::{CommitOffsets, FetchOffsets, GroupMember, GroupReply, GroupRequest, ListGroups};
use super::super::testkit::{NumberedTopics, group, offset};
use super::super::{GroupConfig, GroupEvent, GroupLimits, Groups, Input, Token};
use super::QueueDefinition;
use crate::codec::Event;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn machine() -> Groups {
    Groups::new(GroupConfig::default(), GroupLimits::default())
}

fn definition(id: u128, topics: &[&str]) -> QueueDefinition {
    let topics = topics.iter().map(|name| TopicName::new(name).unwrap()).collect();
    let configs = BTreeMap::from([("max.attempts".to_owned(), "3".to_owned())]);
    QueueDefinition { id: Uuid::from_u128(id), topics, configs, created: NOW }
}

/// The answer to a request, and what is to be stored.
fn ask(groups: &mut Groups, request: GroupRequest) -> (Result<GroupReply, ErrorCode>, Vec<GroupEvent>) {
    let input = Input { token: Token(1), random: Uuid::nil(), request };
    let mut out = groups.handle(NOW, input, &NumberedTopics);
    let (_, answer) = out.replies.pop().unwrap();
    (answer.map_err(|error| error.code()), out.events)
}

fn create(name: &str, id: u128) -> GroupRequest {
    GroupRequest::CreateQueue(group(name), definition(id, &["t1"]))
}

#[test]
fn a_queue_group_is_found_again_after_a_restart_and_in_a_snapshot() {
    let mut groups = machine();
    let (answer, events) = ask(&mut groups, create("q", 1));
    let Ok(GroupReply::Queue(stored)) = answer else { panic!("{answer:?}") };
    assert_eq!((stored.definition, stored.offsets), (definition(1, &["t1"]), Vec::new()));
    let mut again = machine();
    for event in &events {
        again.apply(&GroupEvent::decode(&event.encode()).unwrap());
    }
    let snapshot: Vec<GroupEvent> = groups.snapshot().collect();
    assert_eq!(snapshot, again.snapshot().collect::<Vec<_>>());
    assert_eq!(snapshot, events);
    let (answer, _) = ask(&mut again, GroupRequest::Queues);
    let Ok(GroupReply::Queues(queues)) = answer else { panic!("{answer:?}") };
    assert_eq!(queues.len(), 1);
}

#[test]
fn a_name_has_one_kind_of_group() {
    let mut groups = machine();
    ask(&mut groups, create("q", 1)).0.unwrap();
    assert_eq!(ask(&mut groups, create("q", 2)).0, Err(ErrorCode::GroupAlreadyExists));
    let commit =
        CommitOffsets { group: group("q"), member: GroupMember::none(), offsets: vec![offset(1, 0, 5)] };
    assert_eq!(ask(&mut groups, GroupRequest::Commit(commit)).0, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(ask(&mut groups, GroupRequest::Describe(group("q"))).0, Err(ErrorCode::GroupIdNotFound));
    let (listed, _) = ask(&mut groups, GroupRequest::List(ListGroups::default()));
    let Ok(GroupReply::List(listed)) = listed else { panic!("{listed:?}") };
    assert_eq!(listed.iter().map(|group| group.group_type.name()).collect::<Vec<_>>(), ["queue"]);
}

#[test]
fn a_group_that_becomes_a_queue_goes_on_where_it_was() {
    let mut groups = machine();
    let commit =
        CommitOffsets { group: group("q"), member: GroupMember::none(), offsets: vec![offset(1, 0, 5)] };
    ask(&mut groups, GroupRequest::Commit(commit)).0.unwrap();
    let (answer, _) = ask(&mut groups, create("q", 1));
    let Ok(GroupReply::Queue(stored)) = answer else { panic!("{answer:?}") };
    assert_eq!(stored.offsets.len(), 1);
    // And keeps what it had, however long that is.
    let later = NOW.plus_millis(i64::MAX / 4);
    groups.loaded(NOW);
    let out = groups.on_deadline(later, &NumberedTopics);
    assert!(out.events.is_empty(), "{:?}", out.events);
    let fetch = FetchOffsets { group: group("q"), member_id: None, member_epoch: -1, partitions: None };
    let (fetched, _) = ask(&mut groups, GroupRequest::Fetch(fetch));
    assert!(matches!(fetched, Ok(GroupReply::Fetch(offsets)) if offsets.len() == 1));
}

#[test]
fn a_change_is_for_the_group_that_was_looked_at() {
    let mut groups = machine();
    ask(&mut groups, create("q", 1)).0.unwrap();
    let alter = |id| GroupRequest::AlterQueue(group("q"), definition(id, &["t1", "t2"]));
    assert_eq!(ask(&mut groups, alter(2)).0, Err(ErrorCode::GroupIdNotFound));
    let (answer, events) = ask(&mut groups, alter(1));
    assert!(matches!(answer, Ok(GroupReply::Queue(_))), "{answer:?}");
    assert_eq!(events.len(), 1);
    assert!(ask(&mut groups, alter(1)).1.is_empty(), "nothing has changed");
    ask(&mut groups, GroupRequest::Delete(group("q"))).0.unwrap();
    assert_eq!(ask(&mut groups, alter(1)).0, Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn more_topics_than_are_allowed_are_refused_with_the_limit() {
    let mut groups = machine();
    let topics: BTreeSet<TopicName> =
        (0..10_001).map(|n| TopicName::new(&format!("t{n}")).unwrap()).collect();
    let definition = QueueDefinition { topics, ..definition(1, &[]) };
    let (answer, events) = ask(&mut groups, GroupRequest::CreateQueue(group("q"), definition));
    assert_eq!((answer, events.len()), (Err(ErrorCode::InvalidRequest), 0));
}
