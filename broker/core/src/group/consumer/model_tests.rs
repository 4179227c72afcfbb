//! Random lives of a group against what every observer can check: who reads what, who may commit, what a
//! restart brings back, and that the group settles once it is left alone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::partitions::{flat, intersect, union};
use super::testkit::*;
use super::*;

const TOPICS: [&str; 4] = ["log-a", "log-b", "x", "y"];

/// Clients 0 and 1 are static.
const CLIENTS: usize = 5;

#[derive(Debug, Clone)]
enum Action {
    Start { client: usize, topics: usize, regex: bool, range: bool },
    Beat { client: usize, lost: bool },
    TakeOver { client: usize },
    GiveUp { client: usize },
    Subscribe { client: usize, topics: usize },
    Leave { client: usize },
    Pause { client: usize },
    Crash { client: usize },
    Commit { client: usize, epoch_behind: i32 },
    Topic { topic: usize, partition_count: u32 },
    TellTopics,
    Seek { partitions: usize },
    TornSeek { partitions: usize, kept: usize },
    Pass { seconds: i64 },
    Restart,
    TornBeat { client: usize, kept: usize },
    TornLeave { client: usize, kept: usize },
    TornPass { seconds: i64, kept: usize },
}

fn actions() -> impl Strategy<Value = Action> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), 0..16_usize, any::<bool>(), any::<bool>())
            .prop_map(|(client, topics, regex, range)| Action::Start { client, topics, regex, range }),
        2 => (client.clone(), 0..8_usize).prop_map(|(client, kept)| Action::TornBeat { client, kept }),
        1 => (client.clone(), 0..3_usize).prop_map(|(client, kept)| Action::TornLeave { client, kept }),
        1 => (1..50_i64, 0..5_usize).prop_map(|(seconds, kept)| Action::TornPass { seconds, kept }),
        12 => (client.clone(), prop::bool::weighted(0.2)).prop_map(|(client, lost)| Action::Beat { client, lost }),
        8 => client.clone().prop_map(|client| Action::TakeOver { client }),
        2 => client.clone().prop_map(|client| Action::GiveUp { client }),
        2 => (client.clone(), 0..16_usize).prop_map(|(client, topics)| Action::Subscribe { client, topics }),
        1 => client.clone().prop_map(|client| Action::Leave { client }),
        1 => client.clone().prop_map(|client| Action::Pause { client }),
        1 => client.clone().prop_map(|client| Action::Crash { client }),
        2 => (client, 0..3_i32).prop_map(|(client, epoch_behind)| Action::Commit { client, epoch_behind }),
        1 => (0..TOPICS.len(), 0..5_u32)
            .prop_map(|(topic, partition_count)| Action::Topic { topic, partition_count }),
        1 => Just(Action::TellTopics),
        2 => (1..8_usize).prop_map(|partitions| Action::Seek { partitions }),
        1 => (1..8_usize, 0..4_usize).prop_map(|(partitions, kept)| Action::TornSeek { partitions, kept }),
        2 => (1..50_i64).prop_map(|seconds| Action::Pass { seconds }),
        1 => Just(Action::Restart),
    ]
}

struct World {
    bench: Bench,
    clients: BTreeMap<usize, Client>,
    /// The epoch each member was answered last, whether the answer arrived or not.
    epochs: BTreeMap<String, i32>,
    started: usize,
    topic_ids: u128,
    /// How much of the log was looked at for seeks.
    seen: usize,
}

fn chosen(topics: usize) -> Vec<&'static str> {
    TOPICS
        .into_iter()
        .enumerate()
        .filter(|(index, _)| topics >> index & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

impl World {
    fn new() -> Self {
        let bench = Bench::new(&[("log-a", 1, 3), ("x", 2, 4)]);
        Self { bench, clients: BTreeMap::new(), epochs: BTreeMap::new(), started: 0, topic_ids: 10, seen: 0 }
    }

    fn step(&mut self, action: &Action) {
        match action {
            Action::Start { client, topics, regex, range } if !self.clients.contains_key(client) => {
                self.started += 1;
                let mut started = Client::new(&format!("c{client}-{}", self.started), &chosen(*topics));
                started.instance_id = (*client < 2).then(|| format!("i{client}"));
                started.regex = regex.then(|| "log-".to_owned());
                started.assignor = range.then(|| "range".to_owned());
                self.clients.insert(*client, started);
            }
            Action::Beat { client, lost } => self.beat(*client, *lost),
            Action::TakeOver { client } => self.with(*client, Client::act),
            Action::GiveUp { client } => self.with(*client, Client::give_up),
            Action::Subscribe { client, topics } => {
                self.with(*client, |client| client.topics = names(&chosen(*topics)));
            }
            Action::Leave { client } => self.leave(*client, LEAVE_EPOCH),
            Action::Pause { client } if *client < 2 => self.leave(*client, STATIC_LEAVE_EPOCH),
            Action::Crash { client } => drop(self.clients.remove(client)),
            Action::Commit { client, epoch_behind } => self.commit(*client, *epoch_behind),
            Action::Topic { topic, partition_count } => self.change_topic(TOPICS[*topic], *partition_count),
            Action::TellTopics => self.bench.topics_changed(),
            Action::Seek { partitions } => {
                let positions = self.positions(*partitions);
                self.bench.seek(&positions);
            }
            Action::TornSeek { partitions, kept } => {
                let positions = self.positions(*partitions);
                let events = self.bench.group.seek(self.bench.now, &positions, &self.bench.topics);
                self.crash(events, *kept);
            }
            Action::Pass { seconds } => self.bench.pass(*seconds),
            Action::Restart => self.bench.group = self.bench.replayed(),
            Action::TornBeat { client, kept } => self.torn_beat(*client, *kept),
            Action::TornLeave { client, kept } => {
                let Some(client) = self.clients.remove(client) else { return };
                let request = beat(&client.member_id, LEAVE_EPOCH);
                let (events, _) = self.bench.group.heartbeat(self.bench.now, &request, &self.bench.topics);
                self.crash(events, *kept);
            }
            Action::TornPass { seconds, kept } => {
                self.bench.now = self.bench.now.plus_millis(seconds * 1_000);
                let events = self.bench.group.on_deadline(self.bench.now, &self.bench.topics);
                self.crash(events, *kept);
            }
            Action::Start { .. } | Action::Pause { .. } => {}
        }
    }

    fn with(&mut self, client: usize, act: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.get_mut(&client) {
            act(client);
        }
    }

    fn beat(&mut self, client: usize, lost: bool) {
        let Some(client) = self.clients.get_mut(&client) else { return };
        let reply = self.bench.send(&client.request());
        if let Ok(reply) = &reply {
            let before = self.epochs.insert(client.member_id.clone(), reply.member_epoch);
            assert!(before.is_none_or(|before| before <= reply.member_epoch), "an epoch went back");
            assert!(reply.member_epoch > 0);
        }
        client.answered(Some(reply).filter(|_| !lost));
    }

    fn torn_beat(&mut self, client: usize, kept: usize) {
        let Some(client) = self.clients.get_mut(&client) else { return };
        let request = client.request();
        client.answered(None);
        let (events, _) = self.bench.group.heartbeat(self.bench.now, &request, &self.bench.topics);
        self.crash(events, kept);
    }

    /// Only the first of these events were durable when the broker died.
    fn crash(&mut self, events: Vec<ConsumerGroupEvent>, kept: usize) {
        self.bench.log.extend(events.into_iter().take(kept));
        self.bench.group = self.bench.replayed();
        let members = self.bench.group.state.members.iter();
        self.epochs = members.map(|(id, member)| (id.to_string(), member.current.member_epoch)).collect();
    }

    /// The client stops reading, says so, and is gone.
    fn leave(&mut self, client: usize, epoch: i32) {
        let Some(client) = self.clients.remove(&client) else { return };
        let request = Heartbeat { instance_id: client.instance_id, ..beat(&client.member_id, epoch) };
        if self.bench.send(&request).is_ok() {
            self.epochs.remove(&client.member_id);
        }
    }

    fn commit(&self, client: usize, epoch_behind: i32) {
        let Some(client) = self.clients.get(&client) else { return };
        let epoch = client.epoch - epoch_behind;
        let taken = self.bench.group.check_commit(&client.member_id, epoch).is_ok();
        let nobody = epoch < 0 && self.bench.group.is_empty();
        let current = self.bench.group.has_member(&client.member_id)
            && self.epochs.get(&client.member_id) == Some(&epoch);
        assert_eq!(taken, nobody || current, "{} in {epoch}", client.member_id);
    }

    /// No partitions: the topic is deleted. More: it grows. Else it is another topic of the same name.
    fn change_topic(&mut self, topic_name: &str, partition_count: u32) {
        let known = self.bench.topics.topic(&name(topic_name));
        self.topic_ids += 1;
        let topic_id =
            known.filter(|known| known.partition_count < partition_count).map(|known| known.topic_id);
        let topic_id = topic_id.unwrap_or_else(|| topic(self.topic_ids));
        self.bench.topics.0.remove(&name(topic_name));
        if partition_count > 0 {
            self.bench.topics.0.insert(name(topic_name), TopicShape { topic_id, partition_count });
        }
    }

    /// The first partitions of two topics, set to a position that nothing else has.
    fn positions(&mut self, partitions: usize) -> Positions {
        self.started += 1;
        let offset = i64::try_from(self.started).unwrap();
        let known = self.bench.topics.0.values().map(|shape| shape.topic_id.uuid().as_u128());
        let topics: Vec<u128> = known.take(2).collect();
        let indices = (0..3).filter(|index| partitions >> index & 1 == 1);
        let all: Vec<_> =
            indices.flat_map(|index| topics.iter().map(move |topic| (*topic, index, offset))).collect();
        positions(&all)
    }

    /// When positions are set, no client that counts as a member reads any of the partitions, and from then on
    /// only who has a partition may commit it.
    fn check_seeks(&mut self) {
        for event in &self.bench.log[self.seen..] {
            let ConsumerGroupEvent::SeekDone { positions, .. } = event else { continue };
            for client in self.clients.values() {
                let read = flat(&client.owned).any(|place| positions.contains_key(&place));
                let member = self.bench.group.has_member(&client.member_id);
                assert!(!(read && member), "{client:?} reads what is set under it");
            }
        }
        self.seen = self.bench.log.len();
        let group = &self.bench.group;
        for place in &group.state.fenced {
            for id in group.state.members.keys() {
                let has = group.state.owners.get(place) == Some(id);
                assert_eq!(group.check_place(id.as_str(), *place).is_ok(), has);
            }
        }
    }

    /// Of two clients that the group still counts as members, none has what the other has or is about to have.
    fn check_exclusive(&self) {
        let members: Vec<&Client> =
            self.clients.values().filter(|client| self.bench.group.has_member(&client.member_id)).collect();
        for (index, client) in members.iter().enumerate() {
            let mine = union(client.owned.clone(), &client.told);
            for other in members.iter().skip(index + 1) {
                let theirs = union(other.owned.clone(), &other.told);
                assert!(!intersect(&mine, &theirs), "{client:?} and {other:?} read the same partition");
            }
        }
        let mut owners = BTreeMap::new();
        for (member_id, member) in &self.bench.group.state.members {
            for partition in flat(&member.current.assigned).chain(flat(&member.current.pending_revocation)) {
                assert_eq!(owners.insert(partition, member_id.clone()), None, "{partition:?} has two owners");
            }
        }
        assert_eq!(owners, self.bench.group.state.owners);
    }

    fn check_stored(&self) {
        let group = &self.bench.group;
        let replayed = self.bench.replayed();
        assert_eq!(replayed.state, group.state, "replay is not what happened");

        let mut restored = ConsumerGroup::new(ConsumerGroupConfig::default());
        let snapshot = group.snapshot();
        snapshot.iter().for_each(|event| restored.apply(event));
        assert_eq!(restored.state, group.state, "a snapshot does not bring the group back");
        let mut again = replayed;
        snapshot.iter().take(snapshot.len() / 2).for_each(|event| again.apply(event));
        assert_eq!(again.state, group.state, "half a snapshot changed the group");
    }

    /// What is left alone settles: those who are gone lose their sessions, then a few heartbeats are enough.
    fn check_progress(&mut self) {
        self.bench.topics_changed();
        for _ in 0..5 {
            self.bench.pass(10);
            self.round();
        }
        (0..4).for_each(|_| self.round());
        if self.clients.is_empty() {
            assert_eq!(self.bench.group.state(), ConsumerGroupState::Empty);
            return;
        }
        assert_eq!(
            self.bench.group.state(),
            ConsumerGroupState::Stable,
            "{:#?}",
            self.bench.group.describe()
        );
        let mut wanted = Partitions::new();
        let mut read = Partitions::new();
        for client in self.clients.values() {
            let ids = subscribed(client, &self.bench.topics);
            assert!(client.owned.keys().all(|topic| ids.contains_key(topic)), "not subscribed to");
            wanted = union(wanted, &ids);
            read = union(read, &client.owned);
        }
        assert_eq!(read, wanted, "not everything is read");
        assert!(self.bench.group.pending_seek().is_empty(), "a seek is left");
        let (log, epoch) = (self.bench.log.len(), self.bench.group.describe().group_epoch);
        self.round();
        assert_eq!((self.bench.log.len(), self.bench.group.describe().group_epoch), (log, epoch));
    }

    fn round(&mut self) {
        let clients: Vec<usize> = self.clients.keys().copied().collect();
        for client in clients {
            self.beat(client, false);
            self.with(client, Client::act);
            self.check_exclusive();
        }
    }
}

/// All partitions of the topics a client subscribes to.
fn subscribed(client: &Client, topics: &Topics) -> Partitions {
    let wanted = |name: &TopicName| {
        client.topics.contains(name)
            || client.regex.as_ref().is_some_and(|regex| name.as_str().starts_with(regex))
    };
    let shapes = topics.0.iter().filter(|(name, _)| wanted(name)).map(|(_, shape)| shape);
    let all =
        |count: u32| (0..count).map(|index| tidelog_model::PartitionIndex::new(index.cast_signed()).unwrap());
    shapes.map(|shape| (shape.topic_id, all(shape.partition_count).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn partitions_have_one_reader_restarts_change_nothing_and_the_group_settles(
        actions in prop::collection::vec(actions(), 1..120),
    ) {
        let mut world = World::new();
        for action in &actions {
            world.step(action);
            world.check_exclusive();
            world.check_seeks();
        }
        world.check_stored();
        world.check_progress();
        world.check_stored();
    }
}
