use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testkit::{at, names, parts, positions};
use super::*;

fn events() -> Vec<ConsumerGroupEvent> {
    let member_id = MemberId::new("m1");
    let subscription = MemberSubscription {
        instance_id: Some("i1".to_owned()),
        rack_id: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        rebalance_timeout_ms: 7,
        topic_names: names(&["a", "b"]).into(),
        topic_regex: Some("x".to_owned()),
        server_assignor: Some("range".to_owned()),
    };
    let current = CurrentAssignment {
        state: MemberState::UnrevokedPartitions,
        member_epoch: -2,
        previous_member_epoch: -1,
        assigned: parts(&[(1, &[0, 2])]),
        pending_revocation: parts(&[(2, &[1])]),
    };
    vec![
        ConsumerGroupEvent::MemberSubscribed { member_id: member_id.clone(), subscription },
        ConsumerGroupEvent::MemberRemoved { member_id: member_id.clone() },
        ConsumerGroupEvent::GroupEpochRaised { group_epoch: 3, fingerprint: u64::MAX },
        ConsumerGroupEvent::TargetAssigned { member_id: member_id.clone(), target: parts(&[(1, &[0])]) },
        ConsumerGroupEvent::TargetCompleted { assignment_epoch: 3 },
        ConsumerGroupEvent::MemberReconciled { member_id, current },
        ConsumerGroupEvent::CommitsFenced { partitions: parts(&[(1, &[0, 2]), (2, &[1])]) },
        ConsumerGroupEvent::SeekBegun { positions: positions(&[(1, 0, 7), (2, 1, 0)]) },
        ConsumerGroupEvent::SeekDone { positions: positions(&[(1, 0, 7)]), at: at(3) },
    ]
}

#[test]
fn what_is_stored_is_read_back() {
    for event in events() {
        assert_eq!(ConsumerGroupEvent::decode(&event.encode()), Ok(event));
    }
    let keys: BTreeSet<Bytes> = events().iter().map(ConsumerGroupEvent::key).collect();
    assert_eq!(keys.len(), events().len(), "events about different things have different keys");
}

#[test]
fn impossible_fields_are_refused_by_name() {
    let partitions = |topic_id: &[u8], partition| TopicPartitions {
        topic_id: Bytes::copy_from_slice(topic_id),
        partitions: vec![partition],
    };
    let target =
        |partitions| Change::Target(Target { member_id: "m".to_owned(), partitions: vec![partitions] });
    let cases = [
        (target(partitions(&[1; 16], -1)), "target"),
        (target(partitions(&[1; 15], 1)), "target"),
        (Change::Reconciled(Reconciled { state: 9, ..Reconciled::default() }), "state"),
        (
            Change::Subscribed(Subscribed { topic_names: vec!["a b".to_owned()], ..Subscribed::default() }),
            "topic_names",
        ),
    ];
    for (change, name) in cases {
        let refused =
            ConsumerGroupEvent::decode(&ConsumerGroupRecord { change: Some(change) }.encode_to_vec());
        assert!(matches!(refused, Err(CodecError::Field { field, .. }) if field == name), "{refused:?}");
    }
    assert!(ConsumerGroupEvent::decode(&[]).is_err(), "nothing is no event");
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_or_an_event(
        which in 0..6_usize,
        cut in 0..200_usize,
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = events()[which].encode().to_vec();
        bytes.truncate(cut);
        for (at, value) in flips {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte = value;
            }
        }
        if let Ok(event) = ConsumerGroupEvent::decode(&bytes) {
            prop_assert_eq!(ConsumerGroupEvent::decode(&event.encode()), Ok(event));
        }
    }
}
