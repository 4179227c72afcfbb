//! The topics a group subscribes to, seen through what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::{PartitionIndex, TopicId, TopicName};

use super::member::MemberSubscription;
use crate::group::assignor::MemberId;

/// A topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicShape {
    /// Its id.
    pub topic_id: TopicId,
    /// The number of its partitions.
    pub partition_count: u32,
}

/// The topics that exist, as the group may see them.
pub trait TopicsView {
    /// The topic of this name.
    fn topic(&self, name: &TopicName) -> Option<TopicShape>;

    /// The topics whose names match a regular expression.
    ///
    /// # Errors
    /// What is wrong with the expression, in words for its author.
    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, String>;
}

/// What the members' regular expressions matched when the topics last changed. It is worked out again when
/// it is missing, so it is not stored.
#[derive(Debug, Clone, Default)]
pub(super) struct ResolvedRegexes(BTreeMap<String, Arc<BTreeSet<TopicName>>>);

impl ResolvedRegexes {
    /// What matched nothing yet.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Forgets everything: topics have changed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What each regular expression of `members` matches, and nothing else. One that cannot be read (it was
    /// checked when the member gave it) matches nothing.
    pub(super) fn resolve<'a>(
        &mut self,
        members: impl Iterator<Item = &'a MemberSubscription>,
        topics: &dyn TopicsView,
    ) {
        let mut known = std::mem::take(&mut self.0);
        for regex in members.filter_map(|member| member.topic_regex.as_ref()) {
            if !self.0.contains_key(regex) {
                let matched = known.remove(regex);
                let matched = matched.unwrap_or_else(|| Arc::new(topics.matching(regex).unwrap_or_default()));
                self.0.insert(regex.clone(), matched);
            }
        }
    }

    /// The names a member subscribes to, whether they exist or not.
    pub(super) fn names<'a>(
        &'a self,
        subscription: &'a MemberSubscription,
    ) -> impl Iterator<Item = &'a TopicName> + use<'a> {
        let matched = subscription.topic_regex.as_ref().and_then(|regex| self.0.get(regex));
        subscription.topic_names.iter().chain(matched.into_iter().flat_map(|names| names.iter()))
    }

    /// The ids of the topics a member subscribes to that exist.
    pub(super) fn ids(
        &self,
        subscription: &MemberSubscription,
        topics: &dyn TopicsView,
    ) -> BTreeSet<TopicId> {
        self.names(subscription).filter_map(|name| topics.topic(name)).map(|topic| topic.topic_id).collect()
    }
}

/// The same for subscriptions to the same topics, as long as their members do not change.
pub(super) fn identity(subscription: &MemberSubscription) -> (usize, Option<&str>) {
    (Arc::as_ptr(&subscription.topic_names).addr(), subscription.topic_regex.as_deref())
}

/// The topics among `names` that exist.
pub(super) fn existing<'a>(
    names: impl Iterator<Item = &'a TopicName>,
    topics: &dyn TopicsView,
) -> BTreeMap<TopicName, TopicShape> {
    let names: BTreeSet<&TopicName> = names.collect();
    names.into_iter().filter_map(|name| Some((name.clone(), topics.topic(name)?))).collect()
}

/// A number that changes when the members' subscriptions or their topics do, or what is withheld from all of
/// them (FNV-1a, 64 bits). By it a group
/// notices what happened while nobody told it: that a topic changed while the broker was down, or that a crash
/// kept a member's event but not the new epoch that followed it. A static member that comes back under
/// another id changes nothing.
pub(super) fn fingerprint<'a>(
    topics: &BTreeMap<TopicName, TopicShape>,
    members: impl Iterator<Item = (&'a MemberId, &'a MemberSubscription)>,
    withheld: impl Iterator<Item = &'a (TopicId, PartitionIndex)>,
) -> u64 {
    let mut hash = Fnv::new();
    for (name, shape) in topics {
        hash.feed_text(name.as_str());
        hash.feed(shape.topic_id.uuid().as_bytes());
        hash.feed(&shape.partition_count.to_be_bytes());
    }
    let mut subscriptions = BTreeMap::new();
    for (id, subscription) in members {
        let subscribed = *subscriptions.entry(identity(subscription)).or_insert_with(|| {
            let mut hash = Fnv::new();
            subscription.topic_names.iter().for_each(|name| hash.feed_text(name.as_str()));
            subscription.topic_regex.iter().for_each(|regex| hash.feed_text(regex));
            hash.0
        });
        let mut member = Fnv::new();
        member.feed_text(subscription.instance_id.as_deref().unwrap_or(id.as_str()));
        member.feed(&subscribed.to_be_bytes());
        // A sum, as the order of ids is not that of instance ids.
        hash.0 = hash.0.wrapping_add(member.0);
    }
    for (topic, partition) in withheld {
        hash.feed(topic.uuid().as_bytes());
        hash.feed(&partition.get().to_be_bytes());
    }
    hash.0
}

/// The fingerprint of no members.
pub(super) const EMPTY_FINGERPRINT: u64 = Fnv::new().0;

struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A text and its end: 0xff is in no text.
    fn feed_text(&mut self, text: &str) {
        self.feed(text.as_bytes());
        self.feed(&[0xff]);
    }
}
