//! The range assignor: each topic is cut into contiguous ranges, one for each subscriber.
//!
//! Subscribers stand in the same order for every topic (static members first, by instance id, so that a
//! restart does not shuffle them; then the others by member id), and the first ones get the longer ranges.
//! So topics with the same subscribers and as many partitions are co-partitioned, which joins rely on.

use super::{AssignmentSpec, GroupAssignment, MemberId, MemberSpec, Partitions, partitions, subscribers};

/// The target assignment for `spec`. Nothing in it depends on the previous one.
pub(super) fn assign(spec: &AssignmentSpec<'_>) -> GroupAssignment {
    let mut members: Vec<(&MemberId, &MemberSpec<'_>)> = spec.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id, *id));

    let mut assigned: Vec<Partitions> = members.iter().map(|_| Partitions::new()).collect();
    let subscribed = members.iter().map(|(_, member)| &*member.subscribed);
    for (topic, count, subscribers) in subscribers(&spec.topics, subscribed) {
        for (member, (start, end)) in subscribers.iter().zip(ranges(count, subscribers.len())) {
            if start < end
                && let Some(assigned) = assigned.get_mut(*member)
            {
                assigned.insert(topic, partitions(start, end).collect());
            }
        }
    }
    members.into_iter().map(|(id, _)| id.clone()).zip(assigned).collect()
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
