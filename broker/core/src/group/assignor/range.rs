//! The range assignor: each topic is cut into contiguous ranges, one for each subscriber.
//!
//! Subscribers stand in the same order for every topic (static members first, by instance id, so that a
//! restart does not shuffle them; then the others by member id), and the first ones get the longer ranges.
//! So topics with the same subscribers and as many partitions are co-partitioned, which joins rely on.

use std::collections::BTreeMap;

use tidelog_model::TopicId;

use super::{AssignmentSpec, GroupAssignment, MemberId, Partitions, partitions};

/// The target assignment for `spec`. Nothing in it depends on the previous one.
pub(super) fn assign(spec: &AssignmentSpec<'_>) -> GroupAssignment {
    let mut order: Vec<(&MemberId, Option<&str>)> =
        spec.members.iter().map(|(id, member)| (id, member.instance_id)).collect();
    order.sort_by_key(|(id, instance)| (instance.is_none(), *instance, *id));

    let mut subscribers: BTreeMap<TopicId, Vec<&MemberId>> = BTreeMap::new();
    for (id, _) in order {
        let topics = spec.members.get(id).into_iter().flat_map(|member| member.subscribed.iter());
        for topic in topics.filter(|topic| spec.topics.contains_key(topic)) {
            subscribers.entry(*topic).or_default().push(id);
        }
    }

    let mut assignment: GroupAssignment =
        spec.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    for (topic, members) in subscribers {
        let count = spec.topics.get(&topic).copied().unwrap_or(0);
        for (id, (start, end)) in members.iter().zip(ranges(count, members.len())) {
            if start < end
                && let Some(assigned) = assignment.get_mut(*id)
            {
                assigned.insert(topic, partitions(start, end).collect());
            }
        }
    }
    assignment
}

/// Cuts `0..count` into `members` ranges whose lengths differ by at most one, the longer ones first.
fn ranges(count: u32, members: usize) -> impl Iterator<Item = (u32, u32)> {
    let members = u32::try_from(members).unwrap_or(u32::MAX).max(1);
    let (quota, longer) = (count / members, count % members);
    let mut start = 0_u32;
    (0..members).map(move |index| {
        let end = start.saturating_add(quota).saturating_add(u32::from(index < longer));
        let range = (start, end);
        start = end;
        range
    })
}
