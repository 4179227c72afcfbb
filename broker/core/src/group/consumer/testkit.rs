//! What the tests of groups share: topics, requests, and a client that follows the protocol.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::partitions::{contains, filter};
use super::*;

#[derive(Debug, Clone, Default)]
pub(super) struct Topics(pub(super) BTreeMap<TopicName, TopicShape>);

impl Topics {
    pub(super) fn of(topics: &[(&str, u128, u32)]) -> Self {
        let shape = |(text, number, partition_count): &(&str, u128, u32)| {
            (name(text), TopicShape { topic_id: topic(*number), partition_count: *partition_count })
        };
        Self(topics.iter().map(shape).collect())
    }
}

impl TopicsView for Topics {
    fn topic(&self, name: &TopicName) -> Option<TopicShape> {
        self.0.get(name).copied()
    }

    /// Stands for a regex engine: the text is a prefix, and invalid when it begins with `[`.
    fn matching(&self, regex: &str) -> Result<BTreeSet<TopicName>, String> {
        if regex.starts_with('[') {
            return Err("unclosed character class".to_owned());
        }
        Ok(self.0.keys().filter(|name| name.as_str().starts_with(regex)).cloned().collect())
    }
}

pub(super) fn topic(number: u128) -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

pub(super) fn names(texts: &[&str]) -> BTreeSet<TopicName> {
    texts.iter().map(|text| name(text)).collect()
}

pub(super) fn parts(topics: &[(u128, &[i32])]) -> Partitions {
    let set = |set: &&[i32]| set.iter().map(|index| PartitionIndex::new(*index).unwrap()).collect();
    topics.iter().map(|(number, indices)| (topic(*number), set(indices))).collect()
}

pub(super) fn positions(offsets: &[(u128, i32, i64)]) -> Positions {
    let position = |(number, index, offset): &(u128, i32, i64)| {
        ((topic(*number), PartitionIndex::new(*index).unwrap()), Offset::new(*offset).unwrap())
    };
    offsets.iter().map(position).collect()
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

pub(super) fn join(member_id: &str, topics: &[&str]) -> Heartbeat {
    Heartbeat {
        member_id: member_id.to_owned(),
        rebalance_timeout_ms: Some(60_000),
        subscribed_topic_names: Some(names(topics)),
        owned: Some(Partitions::new()),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..Heartbeat::default()
    }
}

pub(super) fn beat(member_id: &str, member_epoch: i32) -> Heartbeat {
    Heartbeat {
        member_id: member_id.to_owned(),
        member_epoch,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..Heartbeat::default()
    }
}

/// A group, the log of its events, and the topics.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) group: ConsumerGroup,
    pub(super) log: Vec<ConsumerGroupEvent>,
    pub(super) topics: Topics,
    pub(super) now: Timestamp,
}

impl Bench {
    pub(super) fn new(topics: &[(&str, u128, u32)]) -> Self {
        Self::with(ConsumerGroupConfig::default(), topics)
    }

    pub(super) fn with(config: ConsumerGroupConfig, topics: &[(&str, u128, u32)]) -> Self {
        Self { group: ConsumerGroup::new(config), log: Vec::new(), topics: Topics::of(topics), now: at(1) }
    }

    pub(super) fn send(&mut self, heartbeat: &Heartbeat) -> Result<HeartbeatReply, ConsumerGroupError> {
        let before = self.group.state.clone();
        let (events, reply) = self.group.heartbeat(self.now, heartbeat, &self.topics);
        if reply.is_err() {
            assert_eq!((events.len(), &self.group.state), (0, &before), "a refusal changed something");
        }
        self.log.extend(events);
        reply
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now = self.now.plus_millis(seconds * 1_000);
        let events = self.group.on_deadline(self.now, &self.topics);
        self.log.extend(events);
        assert!(self.group.next_deadline().is_none_or(|next| next > self.now));
    }

    pub(super) fn seek(&mut self, positions: &Positions) {
        let events = self.group.seek(self.now, positions, &self.topics);
        self.log.extend(events);
    }

    pub(super) fn topics_changed(&mut self) {
        let events = self.group.metadata_changed(&self.topics);
        self.log.extend(events);
    }

    /// The group as a restarted broker reads it from the log.
    pub(super) fn replayed(&self) -> ConsumerGroup {
        let mut group = ConsumerGroup::new(self.group.config.clone());
        for event in &self.log {
            let stored = ConsumerGroupEvent::decode(&event.encode()).unwrap();
            assert_eq!(stored, *event);
            group.apply(&stored);
        }
        group.loaded(self.now);
        group
    }

    pub(super) fn epoch(&self, member_id: &str) -> i32 {
        self.group.state.members[member_id].current.member_epoch
    }
}

/// A client as the protocol wants it. It gives partitions up and takes them over when it is told to act, not
/// when it is told to.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) topics: BTreeSet<TopicName>,
    pub(super) regex: Option<String>,
    pub(super) assignor: Option<String>,
    pub(super) epoch: i32,
    /// What it reads.
    pub(super) owned: Partitions,
    /// What the last answer gave it.
    pub(super) told: Partitions,
    /// What it said last that it has; `None` when the next request must say everything.
    said: Option<(Partitions, BTreeSet<TopicName>)>,
}

impl Client {
    pub(super) fn new(member_id: &str, topics: &[&str]) -> Self {
        Self { member_id: member_id.to_owned(), topics: names(topics), ..Self::default() }
    }

    /// Its next request: everything when it joins or missed an answer, else what has changed.
    pub(super) fn request(&self) -> Heartbeat {
        let full = self.epoch == JOIN_EPOCH || self.said.is_none();
        let said = self.said.as_ref();
        let topics_changed = said.is_none_or(|(_, topics)| *topics != self.topics);
        let owned_changed = said.is_none_or(|(owned, _)| *owned != self.owned);
        Heartbeat {
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            rebalance_timeout_ms: full.then_some(30_000),
            subscribed_topic_names: (full || topics_changed).then(|| self.topics.clone()),
            subscribed_topic_regex: full.then(|| self.regex.clone().unwrap_or_default()),
            server_assignor: self.assignor.clone().filter(|_| full),
            owned: (full || owned_changed).then(|| self.owned.clone()),
            ..Heartbeat::default()
        }
    }

    /// Takes the answer. When it is lost the client says everything the next time, and takes over nothing until
    /// that is answered: what it said it has is all that it has.
    pub(super) fn answered(&mut self, answer: Option<Result<HeartbeatReply, ConsumerGroupError>>) {
        match answer {
            None => {
                self.said = None;
                self.told = self.owned.clone();
            }
            Some(Ok(reply)) => {
                self.said = Some((self.owned.clone(), self.topics.clone()));
                self.epoch = reply.member_epoch;
                if let Some(assignment) = reply.assignment {
                    self.told = assignment;
                }
            }
            Some(Err(_)) => self.lose_everything(),
        }
    }

    pub(super) fn lose_everything(&mut self) {
        self.epoch = JOIN_EPOCH;
        self.owned.clear();
        self.told.clear();
        self.said = None;
    }

    /// Gives up what it was not told to have, then takes the rest over.
    pub(super) fn act(&mut self) {
        self.owned = self.told.clone();
    }

    /// Only gives up.
    pub(super) fn give_up(&mut self) {
        self.owned = filter(&self.owned, |topic, partition| contains(&self.told, topic, partition));
    }
}
