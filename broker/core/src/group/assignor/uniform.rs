//! The uniform assignor: first balance, then stickiness.
//!
//! Members keep what they had and still subscribe to. Free partitions go to their least loaded subscriber.
//! Then partitions move from the most to the least loaded subscriber while that makes both closer.
//!
//! Topics with the same subscribers are one *class*: inside a class it does not matter which partition moves.
//! When all members subscribe to the same topics there is one class, and the outcome is exact: loads differ by
//! at most one and as few partitions move as that allows, because who receives never gives again. With
//! several classes it is a local optimum: no single move would improve it.
//!
//! **Invariant:** the work is bounded. A pass looks at every subscriber of every class once, each move lowers
//! the sum of squares of the loads, and there are at most [`PASSES_MAX`] passes.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{PartitionIndex, TopicId};

use super::{AssignmentSpec, GroupAssignment, MemberId, MemberSpec, Partitions, partitions, subscribers};

/// The most passes over all classes. Each roughly halves what imbalance is left between classes that share
/// members; one is enough when they share none.
const PASSES_MAX: usize = 32;

/// For fewer partitions than this, looking for the least loaded is cheaper than keeping an order.
const FEW: usize = 16;

/// The position of a member in the order of member ids.
type Member = usize;

/// Topics that have the same subscribers.
struct Class {
    /// In ascending order.
    subscribers: Vec<Member>,
    /// What each subscriber has of these topics.
    held: BTreeMap<Member, BTreeSet<(TopicId, PartitionIndex)>>,
    /// What nobody has.
    free: BTreeSet<(TopicId, PartitionIndex)>,
    /// The number of partitions.
    count: usize,
}

/// How many partitions each member has.
struct Loads(Vec<usize>);

impl Loads {
    fn of(&self, member: Member) -> usize {
        self.0.get(member).copied().unwrap_or(0)
    }

    fn add(&mut self, member: Member) {
        if let Some(load) = self.0.get_mut(member) {
            *load = load.saturating_add(1);
        }
    }

    fn remove(&mut self, member: Member) {
        if let Some(load) = self.0.get_mut(member) {
            *load = load.saturating_sub(1);
        }
    }
}

/// The target assignment for `spec`.
pub(super) fn assign(spec: &AssignmentSpec<'_>) -> GroupAssignment {
    let members: Vec<(&MemberId, &MemberSpec<'_>)> = spec.members.iter().collect();
    let mut loads = Loads(vec![0; members.len()]);
    let (mut classes, class_of) = classes(spec, &members);
    keep_previous(&members, &class_of, &mut classes, &mut loads);

    // Those with the fewest choices come first: later ones can still even out what these must do.
    classes.sort_by(|a, b| {
        let (left, right) =
            (b.count.saturating_mul(a.subscribers.len()), a.count.saturating_mul(b.subscribers.len()));
        left.cmp(&right).then(a.subscribers.len().cmp(&b.subscribers.len()))
    });
    for class in &mut classes {
        class.hand_out(&mut loads);
    }
    for _ in 0..PASSES_MAX {
        let mut moved = false;
        for class in &mut classes {
            moved |= class.balance(&mut loads);
        }
        if !moved {
            break;
        }
    }
    collect(&members, &classes)
}

/// The classes with all their partitions free, and which of them a topic belongs to.
fn classes(
    spec: &AssignmentSpec<'_>,
    members: &[(&MemberId, &MemberSpec<'_>)],
) -> (Vec<Class>, BTreeMap<TopicId, usize>) {
    let subscribed = members.iter().map(|(_, spec)| &*spec.subscribed);
    let mut topics: BTreeMap<Vec<Member>, Vec<(TopicId, u32)>> = BTreeMap::new();
    for (topic, count, subscribers) in subscribers(&spec.topics, subscribed) {
        topics.entry(subscribers).or_default().push((topic, count));
    }
    let mut class_of = BTreeMap::new();
    let mut classes = Vec::with_capacity(topics.len());
    for (index, (subscribers, topics)) in topics.into_iter().enumerate() {
        let mut free = BTreeSet::new();
        for (topic, count) in topics {
            class_of.insert(topic, index);
            free.extend(partitions(0, count).map(|partition| (topic, partition)));
        }
        let count = free.len();
        classes.push(Class { subscribers, held: BTreeMap::new(), free, count });
    }
    (classes, class_of)
}

/// Members keep what they had, if it still exists and they still subscribe to it.
fn keep_previous(
    members: &[(&MemberId, &MemberSpec<'_>)],
    class_of: &BTreeMap<TopicId, usize>,
    classes: &mut [Class],
    loads: &mut Loads,
) {
    for (member, (_, spec)) in members.iter().enumerate() {
        let previous = spec.previous.into_iter().flatten();
        for (topic, partitions) in previous.filter(|(topic, _)| spec.subscribed.contains(topic)) {
            let Some(class) = class_of.get(topic).and_then(|index| classes.get_mut(*index)) else {
                continue;
            };
            for partition in partitions {
                // Not free: it is gone, or another member kept it already.
                if class.free.remove(&(*topic, *partition)) {
                    class.held.entry(member).or_default().insert((*topic, *partition));
                    loads.add(member);
                }
            }
        }
    }
}

impl Class {
    /// Gives every free partition to the subscriber that has least by then.
    fn hand_out(&mut self, loads: &mut Loads) {
        if self.free.len() < FEW {
            while let Some(partition) = self.free.pop_first() {
                let Some((_, member)) = self.least(loads) else { return };
                self.held.entry(member).or_default().insert(partition);
                loads.add(member);
            }
            return;
        }
        let mut by_load = self.by_load(loads);
        for partition in std::mem::take(&mut self.free) {
            let Some((_, member)) = by_load.pop_first() else { return };
            self.held.entry(member).or_default().insert(partition);
            loads.add(member);
            by_load.insert((loads.of(member), member));
        }
    }

    /// Moves partitions from the most to the least loaded subscriber while they differ by two or more.
    fn balance(&mut self, loads: &mut Loads) -> bool {
        let holders = self.held.iter().filter(|(_, held)| !held.is_empty());
        let most = holders.map(|(member, _)| loads.of(*member)).max().unwrap_or(0);
        if self.least(loads).is_none_or(|(least, _)| most < least.saturating_add(2)) {
            return false;
        }
        let mut takers = self.by_load(loads);
        let mut givers = takers.clone();
        let mut moved = false;
        while let (Some((most, giver)), Some((least, taker))) = (givers.pop_last(), takers.first().copied()) {
            let Some(partition) = self.held.get_mut(&giver).and_then(BTreeSet::pop_last) else {
                continue; // It has nothing of this class.
            };
            if most < least.saturating_add(2) {
                self.held.entry(giver).or_default().insert(partition);
                break;
            }
            self.held.entry(taker).or_default().insert(partition);
            takers.remove(&(least, taker));
            takers.remove(&(most, giver));
            givers.remove(&(least, taker));
            loads.remove(giver);
            loads.add(taker);
            for member in [giver, taker] {
                takers.insert((loads.of(member), member));
                givers.insert((loads.of(member), member));
            }
            moved = true;
        }
        moved
    }

    fn least(&self, loads: &Loads) -> Option<(usize, Member)> {
        self.subscribers.iter().map(|member| (loads.of(*member), *member)).min()
    }

    fn by_load(&self, loads: &Loads) -> BTreeSet<(usize, Member)> {
        self.subscribers.iter().map(|member| (loads.of(*member), *member)).collect()
    }
}

fn collect(members: &[(&MemberId, &MemberSpec<'_>)], classes: &[Class]) -> GroupAssignment {
    let mut assigned: Vec<Partitions> = members.iter().map(|_| Partitions::new()).collect();
    for (member, held) in classes.iter().flat_map(|class| &class.held) {
        if let Some(assigned) = assigned.get_mut(*member) {
            for (topic, partition) in held {
                assigned.entry(*topic).or_default().insert(*partition);
            }
        }
    }
    members.iter().map(|(id, _)| (*id).clone()).zip(assigned).collect()
}
