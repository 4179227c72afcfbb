use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn topic(number: u128) -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(number))
}

fn set(topics: &[u128]) -> Arc<BTreeSet<TopicId>> {
    Arc::new(topics.iter().map(|number| topic(*number)).collect())
}

#[derive(Debug, Clone)]
struct Group {
    topics: BTreeMap<TopicId, u32>,
    members: BTreeMap<MemberId, (Option<String>, Arc<BTreeSet<TopicId>>)>,
    previous: GroupAssignment,
}

impl Group {
    fn spec(&self) -> AssignmentSpec<'_> {
        let members = self.members.iter().map(|(id, (instance, subscribed))| {
            let spec = MemberSpec {
                instance_id: instance.as_deref(),
                subscribed: subscribed.clone(),
                previous: self.previous.get(id),
            };
            (id.clone(), spec)
        });
        AssignmentSpec { members: members.collect(), topics: self.topics.clone() }
    }
}

fn flat(assignment: &GroupAssignment) -> BTreeMap<(TopicId, i32), MemberId> {
    let mut owners = BTreeMap::new();
    for (member, partitions) in assignment {
        for (topic, partitions) in partitions {
            assert!(!partitions.is_empty(), "an empty set of a topic");
            for partition in partitions {
                let twice = owners.insert((*topic, partition.get()), member.clone());
                assert_eq!(twice, None, "two members have {topic}-{partition}");
            }
        }
    }
    owners
}

fn size(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}

fn check_complete_and_valid(group: &Group, assignment: &GroupAssignment) {
    assert_eq!(assignment.keys().collect::<Vec<_>>(), group.members.keys().collect::<Vec<_>>());
    let owners = flat(assignment);
    let subscribed: BTreeSet<TopicId> =
        group.members.values().flat_map(|(_, topics)| topics.iter().copied()).collect();
    let mut expected = BTreeSet::new();
    for (topic, count) in group.topics.iter().filter(|(topic, _)| subscribed.contains(topic)) {
        expected.extend((0..*count).map(|index| (*topic, i32::try_from(index).unwrap())));
    }
    assert_eq!(owners.keys().copied().collect::<BTreeSet<_>>(), expected);
    for ((topic, _), member) in &owners {
        assert!(group.members[member].1.contains(topic), "{member} does not subscribe to {topic}");
    }
}

fn previous(group: &Group) -> BTreeMap<(TopicId, i32), MemberId> {
    let mut owners = BTreeMap::new();
    for (member, partitions) in &group.previous {
        for (topic, partitions) in partitions {
            for partition in partitions {
                owners.entry((*topic, partition.get())).or_insert_with(|| member.clone());
            }
        }
    }
    owners
}

fn ranges_of(count: u32, members: &[(&str, Option<&str>)]) -> Vec<(String, Vec<i32>)> {
    let members: BTreeMap<MemberId, _> = members
        .iter()
        .map(|(id, instance)| (MemberId::new(id), (instance.map(str::to_owned), set(&[1, 2]))))
        .collect();
    let topics = BTreeMap::from([(topic(1), count), (topic(2), count)]);
    let group = Group { topics, members, previous: GroupAssignment::new() };
    let assignment = Assignor::Range.assign(&group.spec());
    check_complete_and_valid(&group, &assignment);
    let one = |partitions: &Partitions| -> Vec<i32> {
        assert_eq!(partitions.get(&topic(1)), partitions.get(&topic(2)), "not co-partitioned");
        partitions.get(&topic(1)).into_iter().flatten().map(|partition| partition.get()).collect()
    };
    assignment.iter().map(|(id, partitions)| (id.to_string(), one(partitions))).collect()
}

#[test]
fn ranges_are_contiguous_and_the_first_members_get_more() {
    let got = ranges_of(5, &[("a", None), ("b", None), ("c", None)]);
    let want = [("a", vec![0, 1]), ("b", vec![2, 3]), ("c", vec![4])];
    assert_eq!(got, want.map(|(id, partitions)| (id.to_owned(), partitions)));
    let got = ranges_of(1, &[("a", None), ("b", None)]);
    assert_eq!(got, [("a".to_owned(), vec![0]), ("b".to_owned(), Vec::new())]);
}

#[test]
fn static_members_come_first_in_ranges_and_by_instance() {
    let got = ranges_of(5, &[("a", None), ("b", Some("z")), ("c", Some("y"))]);
    let want = [("a", vec![4]), ("b", vec![2, 3]), ("c", vec![0, 1])];
    assert_eq!(got, want.map(|(id, partitions)| (id.to_owned(), partitions)));
}

#[test]
fn a_new_member_takes_only_its_share() {
    let topics = BTreeMap::from([(topic(1), 9)]);
    let members = ["a", "b"].map(|id| (MemberId::new(id), (None, set(&[1]))));
    let mut group = Group { topics, members: members.into(), previous: GroupAssignment::new() };
    group.previous = Assignor::Uniform.assign(&group.spec());
    group.members.insert(MemberId::new("c"), (None, set(&[1])));
    let before = previous(&group);
    let after = flat(&Assignor::Uniform.assign(&group.spec()));
    let moved = after.iter().filter(|(partition, member)| before[*partition] != **member).count();
    assert_eq!(moved, 3);
}

#[test]
fn a_member_that_subscribes_to_more_leaves_the_shared_topic_to_others() {
    let topics = BTreeMap::from([(topic(1), 4), (topic(2), 4)]);
    let members =
        [("a", set(&[1])), ("b", set(&[1, 2]))].map(|(id, topics)| (MemberId::new(id), (None, topics)));
    let group = Group { topics, members: members.into(), previous: GroupAssignment::new() };
    let sizes: Vec<usize> = Assignor::Uniform.assign(&group.spec()).values().map(size).collect();
    assert_eq!(sizes, [4, 4]);
}

#[test]
fn a_thousand_members_and_ten_thousand_partitions_take_bounded_work() {
    let topics: BTreeMap<TopicId, u32> = (0..100).map(|number| (topic(number), 100)).collect();
    let mut group = Group { topics, members: BTreeMap::new(), previous: GroupAssignment::new() };
    for number in 0..1_000_u128 {
        // Every tenth member leaves out one topic, so there are many classes.
        let left_out = if number % 10 == 0 { number / 10 } else { 1_000 };
        let subscribed: BTreeSet<TopicId> = (0..100).filter(|one| *one != left_out).map(topic).collect();
        group.members.insert(MemberId::new(&format!("m{number:04}")), (None, Arc::new(subscribed)));
    }
    group.previous = Assignor::Uniform.assign(&group.spec());
    check_complete_and_valid(&group, &group.previous);
    group.members.pop_first();
    let after = Assignor::Uniform.assign(&group.spec());
    check_complete_and_valid(&group, &after);
    let (most, least) = (after.values().map(size).max(), after.values().map(size).min());
    assert!(most.unwrap() - least.unwrap() <= 1, "{most:?} {least:?}");
}

fn groups(homogeneous: bool) -> impl Strategy<Value = Group> {
    let topics = prop::collection::vec(0..12_u32, 1..6);
    let subscriptions = prop::collection::vec((any::<bool>(), prop::collection::vec(any::<bool>(), 6)), 1..8);
    let previous = prop::collection::vec((0..7_u128, 0..14_i32, 0..10_usize), 0..60);
    (topics, subscriptions, previous).prop_map(move |(topics, subscriptions, previous)| {
        let topics: BTreeMap<TopicId, u32> =
            topics.into_iter().enumerate().map(|(number, count)| (topic(number as u128), count)).collect();
        let first = subscriptions[0].1.clone();
        let members = subscriptions.into_iter().enumerate().map(|(number, (fixed, wanted))| {
            let wanted = if homogeneous { first.clone() } else { wanted };
            let subscribed = wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
            let subscribed = subscribed.map(|(number, _)| topic(number as u128)).collect();
            let instance = fixed.then(|| format!("i{}", 9 - number));
            (MemberId::new(&format!("m{number}")), (instance, Arc::new(subscribed)))
        });
        let mut group = Group { topics, members: members.collect(), previous: GroupAssignment::new() };
        for (number, partition, member) in previous {
            let partitions = group.previous.entry(MemberId::new(&format!("m{member}"))).or_default();
            partitions.entry(topic(number)).or_default().insert(PartitionIndex::new(partition).unwrap());
        }
        group
    })
}

proptest! {
    #[test]
    fn every_subscribed_partition_goes_to_one_of_its_subscribers(group in groups(false)) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            check_complete_and_valid(&group, &assignor.assign(&group.spec()));
        }
    }

    #[test]
    fn equal_subscriptions_are_balanced_with_the_fewest_moves(group in groups(true)) {
        let after = Assignor::Uniform.assign(&group.spec());
        let sizes: Vec<usize> = after.values().map(size).collect();
        let (most, least) = (*sizes.iter().max().unwrap(), *sizes.iter().min().unwrap());
        prop_assert!(most - least <= 1, "{:?}", sizes);

        let owners = flat(&after);
        let before = previous(&group);
        let kept = owners.iter().filter(|(partition, member)| before.get(*partition) == Some(member)).count();
        // The best that any balanced assignment can keep: everybody its quota, the extras to those with more.
        let mut had: BTreeMap<&MemberId, usize> = group.members.keys().map(|id| (id, 0)).collect();
        for (_, member) in before.iter().filter(|(partition, _)| owners.contains_key(*partition)) {
            if let Some(count) = had.get_mut(member) {
                *count += 1;
            }
        }
        let (quota, extras) = (owners.len() / sizes.len(), owners.len() % sizes.len());
        let more = had.values().filter(|count| **count > quota).count().min(extras);
        let best: usize = had.values().map(|count| (*count).min(quota)).sum::<usize>() + more;
        prop_assert_eq!(kept, best);
    }

    #[test]
    fn no_single_move_improves_a_uniform_assignment(group in groups(false)) {
        let after = Assignor::Uniform.assign(&group.spec());
        for ((topic, partition), owner) in flat(&after) {
            let least = group.members.iter().filter(|(_, (_, topics))| topics.contains(&topic));
            let least = least.map(|(id, _)| size(&after[id])).min().unwrap();
            prop_assert!(
                size(&after[&owner]) <= least + 1,
                "{} would have less without {}-{}", owner, topic, partition
            );
        }
    }

    #[test]
    fn an_assignment_that_is_good_stays_as_it_is(group in groups(false)) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let mut group = group.clone();
            group.previous = assignor.assign(&group.spec());
            prop_assert_eq!(assignor.assign(&group.spec()), group.previous);
        }
    }
}
