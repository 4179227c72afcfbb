use std::collections::BTreeMap;

use proptest::prelude::*;
use tidelog_model::{ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use uuid::Uuid;

use super::{GroupCommand, GroupError, GroupEvent, GroupLimits, GroupOffsets, GroupReply, OffsetCommit};
use crate::codec::{CodecError, Event};
use crate::machine::Machine;

const NOW: Timestamp = Timestamp::from_millis(77);

fn group(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn topic(number: u128) -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(number))
}

fn commit(topic_number: u128, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        topic_id: topic(topic_number),
        partition: PartitionIndex::new(partition).unwrap(),
        offset: Offset::new(offset).unwrap(),
        leader_epoch: LeaderEpoch::new(3),
        metadata: format!("at {offset}"),
    }
}

fn run(machine: &mut GroupOffsets, log: &mut Vec<GroupEvent>, command: GroupCommand) -> GroupReply {
    let decision = machine.decide(NOW, command);
    for event in decision.events {
        let stored = GroupEvent::decode(&event.encode()).unwrap();
        assert_eq!(stored, event);
        machine.apply(&stored);
        log.push(stored);
    }
    decision.reply
}

fn offsets(machine: &GroupOffsets, name: &str) -> Vec<(u128, i32, i64)> {
    let group = group(name);
    let offsets = machine.offsets(&group);
    offsets
        .map(|(topic, partition, held)| (topic.uuid().as_u128(), partition.get(), held.offset.get()))
        .collect()
}

#[test]
fn each_offset_of_a_commit_has_its_own_result() {
    let limits = GroupLimits { metadata_bytes_max: 4, ..GroupLimits::default() };
    let (mut machine, mut log) = (GroupOffsets::new(limits), Vec::new());
    let long = OffsetCommit { metadata: "12345".to_owned(), ..commit(1, 0, 5) };
    let offsets_in = vec![commit(1, 0, 5), long, OffsetCommit { metadata: String::new(), ..commit(1, 2, 9) }];
    let command = GroupCommand::Commit { group: group("g"), offsets: offsets_in };
    let reply = run(&mut machine, &mut log, command);
    assert_eq!(reply.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(reply[1].as_ref().unwrap_err().limit_and_actual(), Some((4, 5)));
    assert_eq!(offsets(&machine, "g"), [(1, 0, 5), (1, 2, 9)]);
}

#[test]
fn limits_bound_what_is_remembered_but_not_what_is_moved() {
    let limits = GroupLimits { groups_max: 1, offsets_max: 2, ..GroupLimits::default() };
    let (mut machine, mut log) = (GroupOffsets::new(limits), Vec::new());
    let mut send = |name: &str, offset| {
        let command = GroupCommand::Commit { group: group(name), offsets: vec![offset] };
        run(&mut machine, &mut log, command).remove(0)
    };
    send("g", commit(1, 0, 1)).unwrap();
    send("g", commit(1, 1, 1)).unwrap();
    send("g", commit(1, 1, 2)).unwrap();
    assert_eq!(send("g", commit(1, 2, 1)), Err(GroupError::TooManyOffsets { limit: 2 }));
    assert_eq!(send("h", commit(1, 0, 1)), Err(GroupError::TooManyGroups { limit: 1 }));
}

#[test]
fn a_deleted_topic_takes_its_offsets_and_empty_groups_along() {
    let (mut machine, mut log) = (GroupOffsets::new(GroupLimits::default()), Vec::new());
    for (name, number) in [("only", 1), ("both", 1), ("both", 2)] {
        let offsets = vec![commit(number, 0, 1)];
        run(&mut machine, &mut log, GroupCommand::Commit { group: group(name), offsets });
    }
    run(&mut machine, &mut log, GroupCommand::ForgetTopic { topic_id: topic(1) });
    let groups: Vec<String> = machine.groups().map(|(group, _)| group.to_string()).collect();
    assert_eq!(groups, ["both"]);
    let events = log.len();
    run(&mut machine, &mut log, GroupCommand::ForgetTopic { topic_id: topic(1) });
    assert_eq!(log.len(), events, "forgetting nothing is not stored");
}

#[test]
fn an_unknown_group_cannot_be_deleted() {
    let (mut machine, mut log) = (GroupOffsets::new(GroupLimits::default()), Vec::new());
    let refused = run(&mut machine, &mut log, GroupCommand::DeleteGroup { group: group("g") }).remove(0);
    assert_eq!(refused.unwrap_err().code(), ErrorCode::GroupIdNotFound);
}

#[test]
fn commands_of_one_group_share_a_lane() {
    let machine = GroupOffsets::new(GroupLimits::default());
    let commit = GroupCommand::Commit { group: group("g"), offsets: Vec::new() };
    let delete = GroupCommand::DeleteGroup { group: group("g") };
    let forget = GroupCommand::ForgetTopic { topic_id: topic(1) };
    assert_eq!(machine.lane(&commit), machine.lane(&delete));
    assert_eq!(machine.lane(&forget), None);
}

#[test]
fn negative_numbers_in_stored_events_are_refused() {
    let good = |partition: u8| {
        let id: Vec<u8> = [0x12, 16].into_iter().chain(1_u128.to_be_bytes()).collect();
        let mut committed = vec![0x0a, 1, b'g'];
        committed.extend(id);
        committed.extend([0x18, partition]);
        let mut record = vec![0x0a, u8::try_from(committed.len()).unwrap()];
        record.extend(committed);
        let mut envelope = vec![0x08, 1, 0x12, u8::try_from(record.len()).unwrap()];
        envelope.extend(record);
        envelope
    };
    assert!(GroupEvent::decode(&good(1)).is_ok());
    // -1 takes ten bytes: build it from the positive one.
    let mut negative = good(1);
    negative.pop();
    negative.extend([0xff; 9]);
    negative.push(1);
    negative[3] += 9;
    negative[5] += 9;
    let refused = GroupEvent::decode(&negative);
    assert!(matches!(refused, Err(CodecError::Field { field: "partition", .. })), "{refused:?}");
}

fn commands() -> impl Strategy<Value = GroupCommand> {
    let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(group);
    let offset = (0..3_u128, 0..3_i32, 0..100_i64).prop_map(|(t, p, o)| commit(t, p, o));
    prop_oneof![
        6 => (name.clone(), prop::collection::vec(offset, 0..4))
            .prop_map(|(group, offsets)| GroupCommand::Commit { group, offsets }),
        1 => name.prop_map(|group| GroupCommand::DeleteGroup { group }),
        1 => (0..3_u128).prop_map(|number| GroupCommand::ForgetTopic { topic_id: topic(number) }),
    ]
}

type Naive = BTreeMap<(String, u128, i32), i64>;

fn naive_step(naive: &mut Naive, command: &GroupCommand) {
    match command {
        GroupCommand::Commit { group, offsets } => {
            for commit in offsets {
                let key = (group.to_string(), commit.topic_id.uuid().as_u128(), commit.partition.get());
                naive.insert(key, commit.offset.get());
            }
        }
        GroupCommand::DeleteGroup { group } => naive.retain(|(name, ..), _| name != group.as_str()),
        GroupCommand::ForgetTopic { topic_id } => {
            naive.retain(|(_, topic, _), _| *topic != topic_id.uuid().as_u128());
        }
    }
}

fn view(machine: &GroupOffsets) -> Naive {
    let mut seen = Naive::new();
    for (group, _) in machine.groups() {
        for (topic, partition, held) in machine.offsets(group) {
            seen.insert((group.to_string(), topic.uuid().as_u128(), partition.get()), held.offset.get());
        }
    }
    seen
}

proptest! {
    #[test]
    fn offsets_are_the_naive_ones_and_survive_replay_and_snapshot(
        commands in prop::collection::vec(commands(), 1..60),
    ) {
        let (mut machine, mut log) = (GroupOffsets::new(GroupLimits::default()), Vec::new());
        let mut naive = Naive::new();
        for command in commands {
            naive_step(&mut naive, &command);
            run(&mut machine, &mut log, command);
            prop_assert_eq!(&view(&machine), &naive);
            prop_assert_eq!(machine.offsets, naive.len());
        }
        let mut replayed = GroupOffsets::new(GroupLimits::default());
        log.iter().for_each(|event| replayed.apply(event));
        prop_assert_eq!(&replayed, &machine);

        let snapshot: Vec<GroupEvent> = machine.snapshot().collect();
        let mut restored = GroupOffsets::new(GroupLimits::default());
        snapshot.iter().for_each(|event| restored.apply(event));
        prop_assert_eq!(&restored, &machine);
        for half in [snapshot.len() / 2, snapshot.len()] {
            snapshot.iter().take(half).for_each(|event| replayed.apply(event));
            prop_assert_eq!(&replayed, &machine);
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_an_event(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..3_u8) {
        let mut framed = vec![0x08, version, 0x12, u8::try_from(bytes.len().min(127)).unwrap()];
        framed.extend(&bytes);
        for input in [bytes, framed] {
            if let Ok(event) = GroupEvent::decode(&input) {
                prop_assert_eq!(GroupEvent::decode(&event.encode()), Ok(event));
            }
        }
    }
}
