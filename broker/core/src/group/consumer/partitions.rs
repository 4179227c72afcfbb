//! Set operations on partitions by topic. None of them leaves a topic with an empty set.

use tidelog_model::{PartitionIndex, TopicId};

use crate::group::assignor::Partitions;

/// The partitions for which `keep` says so.
pub(super) fn filter(
    partitions: &Partitions,
    mut keep: impl FnMut(TopicId, PartitionIndex) -> bool,
) -> Partitions {
    let kept = partitions.iter().map(|(topic, set)| {
        (*topic, set.iter().copied().filter(|partition| keep(*topic, *partition)).collect())
    });
    kept.filter(|(_, set): &(_, std::collections::BTreeSet<_>)| !set.is_empty()).collect()
}

/// Whether `partitions` has this one.
pub(super) fn contains(partitions: &Partitions, topic: TopicId, partition: PartitionIndex) -> bool {
    partitions.get(&topic).is_some_and(|set| set.contains(&partition))
}

/// What both have.
pub(super) fn intersection(left: &Partitions, right: &Partitions) -> Partitions {
    filter(left, |topic, partition| contains(right, topic, partition))
}

/// What `left` has and `right` has not.
pub(super) fn difference(left: &Partitions, right: &Partitions) -> Partitions {
    filter(left, |topic, partition| !contains(right, topic, partition))
}

/// Whether they have one in common.
pub(super) fn intersect(left: &Partitions, right: &Partitions) -> bool {
    flat(left).any(|(topic, partition)| contains(right, topic, partition))
}

/// Whether `right` has all of `left`.
pub(super) fn is_subset(left: &Partitions, right: &Partitions) -> bool {
    flat(left).all(|(topic, partition)| contains(right, topic, partition))
}

/// What either has.
pub(super) fn union(mut left: Partitions, right: &Partitions) -> Partitions {
    for (topic, set) in right.iter().filter(|(_, set)| !set.is_empty()) {
        left.entry(*topic).or_default().extend(set);
    }
    left
}

/// Each partition.
pub(super) fn flat(partitions: &Partitions) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    partitions.iter().flat_map(|(topic, set)| set.iter().map(|partition| (*topic, *partition)))
}
