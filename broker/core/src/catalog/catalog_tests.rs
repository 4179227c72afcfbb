use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidelog_model::{ErrorCode, Timestamp, TopicId, TopicName};
use uuid::Uuid;

use super::{Catalog, CatalogCommand, CatalogEvent, CatalogLimits, CatalogReply, TopicEntry};
use crate::codec::{CodecError, Event};
use crate::machine::Machine;

const NOW: Timestamp = Timestamp::from_millis(77);
const LIMITS: CatalogLimits = CatalogLimits { topics_max: 4, partitions_per_topic_max: 5, partitions_max: 9 };

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn id(number: u128) -> TopicId {
    TopicId::from_uuid(Uuid::from_u128(number))
}

fn empty() -> Catalog {
    Catalog::new(LIMITS, BTreeMap::new()).unwrap()
}

/// Decides, stores, reads back and applies.
fn run(catalog: &mut Catalog, log: &mut Vec<CatalogEvent>, command: CatalogCommand) -> CatalogReply {
    let decision = catalog.decide(NOW, command);
    for event in decision.events {
        let stored = CatalogEvent::decode(&event.encode()).unwrap();
        assert_eq!(stored, event);
        catalog.apply(&stored);
        log.push(stored);
    }
    decision.reply
}

fn create(text: &str, number: u128, partitions: i32) -> CatalogCommand {
    CatalogCommand::CreateTopic { name: name(text), id: id(number), partitions, configs: BTreeMap::new() }
}

/// Everything a catalog answers from, for comparison.
fn view(catalog: &Catalog) -> (Vec<TopicEntry>, BTreeSet<TopicId>, usize) {
    let topics = catalog.topics().map(|topic| TopicEntry::clone(topic)).collect();
    let removing = catalog.removing.keys().copied().collect();
    (topics, removing, catalog.partitions)
}

fn code(reply: CatalogReply) -> ErrorCode {
    reply.unwrap_err().code()
}

#[test]
fn names_that_clash_are_refused() {
    let (mut catalog, mut log) = (empty(), Vec::new());
    run(&mut catalog, &mut log, create("a.b", 1, 1)).unwrap();
    assert_eq!(code(run(&mut catalog, &mut log, create("a.b", 2, 1))), ErrorCode::TopicAlreadyExists);
    assert_eq!(code(run(&mut catalog, &mut log, create("a_b", 2, 1))), ErrorCode::InvalidName);
    for reserved in ["__tidelog_a", "__consumer_offsets"] {
        assert_eq!(code(run(&mut catalog, &mut log, create(reserved, 2, 1))), ErrorCode::InternalTopic);
    }
    assert!(run(&mut catalog, &mut log, create("__debezium-heartbeat", 3, 1)).is_ok());
    run(&mut catalog, &mut log, CatalogCommand::DeleteTopic { name: name("a.b") }).unwrap();
    run(&mut catalog, &mut log, create("a_b", 2, 1)).unwrap();
}

#[test]
fn limits_are_kept_and_named() {
    let (mut catalog, mut log) = (empty(), Vec::new());
    for (partitions, limit, actual) in [(0, 1, 0), (-3, 1, -3), (6, 5, 6)] {
        let refused = run(&mut catalog, &mut log, create("t", 1, partitions)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidPartitions);
        assert_eq!(refused.limit_and_actual(), Some((limit, actual)));
    }
    run(&mut catalog, &mut log, create("t", 1, 5)).unwrap();
    let full = run(&mut catalog, &mut log, create("u", 2, 5)).unwrap_err();
    assert_eq!(full.limit_and_actual(), Some((9, 10)));
    for (number, text) in [(3, "v"), (4, "w"), (5, "x")] {
        run(&mut catalog, &mut log, create(text, number, 1)).unwrap();
    }
    assert_eq!(code(run(&mut catalog, &mut log, create("y", 6, 1))), ErrorCode::InvalidRequest);
    let fewer = CatalogCommand::AddPartitions { name: name("t"), total: 5 };
    assert_eq!(code(run(&mut catalog, &mut log, fewer)), ErrorCode::InvalidPartitions);
}

#[test]
fn wrong_configs_change_nothing() {
    let (mut catalog, mut log) = (empty(), Vec::new());
    run(&mut catalog, &mut log, create("t", 1, 1)).unwrap();
    let before = view(&catalog);
    let set = BTreeMap::from([
        ("retention.ms".to_owned(), "5".to_owned()),
        ("segment.bytes".to_owned(), "lots".to_owned()),
    ]);
    let alter = CatalogCommand::AlterTopic { name: name("t"), set, reset: Vec::new() };
    assert_eq!(code(run(&mut catalog, &mut log, alter)), ErrorCode::InvalidConfig);
    assert_eq!(view(&catalog), before);
}

#[test]
fn altering_sets_and_resets_and_answers_the_new_state() {
    let (mut catalog, mut log) = (empty(), Vec::new());
    run(&mut catalog, &mut log, create("t", 1, 1)).unwrap();
    let set = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
    let alter = CatalogCommand::AlterTopic { name: name("t"), set: set.clone(), reset: Vec::new() };
    assert_eq!(run(&mut catalog, &mut log, alter.clone()).unwrap().configs, set);
    let events = log.len();
    run(&mut catalog, &mut log, alter).unwrap();
    assert_eq!(log.len(), events, "a change that changes nothing is not stored");
    let reset = vec!["retention.ms".to_owned()];
    let reset = CatalogCommand::AlterTopic { name: name("t"), set: BTreeMap::new(), reset };
    assert_eq!(run(&mut catalog, &mut log, reset).unwrap().configs, BTreeMap::new());
}

#[test]
fn a_deleted_topic_is_an_effect_until_its_removal_is_reported() {
    let (mut catalog, mut log) = (empty(), Vec::new());
    run(&mut catalog, &mut log, create("t", 1, 2)).unwrap();
    run(&mut catalog, &mut log, CatalogCommand::DeleteTopic { name: name("t") }).unwrap();
    run(&mut catalog, &mut log, create("t", 2, 1)).unwrap();
    assert_eq!(catalog.pending_effects().count(), 1);
    let finish = CatalogCommand::FinishRemoval { id: id(1) };
    run(&mut catalog, &mut log, finish.clone()).unwrap();
    assert_eq!(catalog.pending_effects().count(), 0);
    assert!(run(&mut catalog, &mut log, finish).is_err());
    assert_eq!(catalog.topic(&name("t")).unwrap().id, id(2));
}

#[test]
fn events_of_newer_versions_are_refused_by_name() {
    // An envelope of version 9 with an empty event.
    let newer = CatalogEvent::decode(&[0x08, 9]).unwrap_err();
    assert_eq!(newer, CodecError::Version { found: 9, known: 1 });
    assert!(matches!(CatalogEvent::decode(&[]), Err(CodecError::Field { field: "version", .. })));
    assert!(matches!(CatalogEvent::decode(&[0x08, 1]), Err(CodecError::Field { .. })));
}

#[test]
fn the_stored_form_is_stable() {
    let event = CatalogEvent::PartitionsAdded { id: id(1), total: 3 };
    let mut bytes = vec![0x08, 1, 0x12, 20, 0x0a, 16];
    bytes.extend(1_u128.to_be_bytes());
    bytes.extend([0x20, 3]);
    assert_eq!(event.encode(), bytes);
}

fn commands() -> impl Strategy<Value = CatalogCommand> {
    let topic = prop::sample::select(vec!["a", "b", "c.d", "c_d", "e"]).prop_map(name);
    let value = prop::sample::select(vec!["1000", "5", "-1", "x"]);
    let key = prop::sample::select(vec!["retention.ms", "segment.ms", "no.such"]).prop_map(str::to_owned);
    prop_oneof![
        (topic.clone(), any::<u128>(), -1..7_i32).prop_map(|(name, number, partitions)| {
            CatalogCommand::CreateTopic { name, id: id(number), partitions, configs: BTreeMap::new() }
        }),
        (topic.clone(), key.clone(), value).prop_map(|(name, key, value)| CatalogCommand::AlterTopic {
            name,
            set: BTreeMap::from([(key, value.to_owned())]),
            reset: Vec::new(),
        }),
        (topic.clone(), key).prop_map(|(name, key)| CatalogCommand::AlterTopic {
            name,
            set: BTreeMap::new(),
            reset: vec![key],
        }),
        (topic.clone(), 0..7_i32).prop_map(|(name, total)| CatalogCommand::AddPartitions { name, total }),
        topic.prop_map(|name| CatalogCommand::DeleteTopic { name }),
    ]
}

/// What a catalog should be after a command, in the most obvious way.
#[derive(Debug, Default)]
struct Naive {
    topics: BTreeMap<String, (i32, BTreeMap<String, String>)>,
}

impl Naive {
    fn accepts(&mut self, command: &CatalogCommand) -> bool {
        let total: i32 = self.topics.values().map(|(partitions, _)| partitions).sum();
        let good = |key: &str, value: &str| match key {
            "retention.ms" => value != "x",
            "segment.ms" => value == "1000" || value == "5",
            _ => false,
        };
        match command {
            CatalogCommand::CreateTopic { name, partitions, .. } => {
                let text = name.as_str();
                let twin = text.replace('.', "_");
                let free = !self.topics.keys().any(|other| other.replace('.', "_") == twin);
                let fits = (1..=5).contains(partitions) && total + partitions <= 9 && self.topics.len() < 4;
                if free && fits {
                    self.topics.insert(text.to_owned(), (*partitions, BTreeMap::new()));
                }
                free && fits
            }
            CatalogCommand::AlterTopic { name, set, reset } => {
                let Some((_, configs)) = self.topics.get_mut(name.as_str()) else { return false };
                let known = reset.iter().all(|key| key != "no.such");
                if !known || !set.iter().all(|(key, value)| good(key, value)) {
                    return false;
                }
                reset.iter().for_each(|key| drop(configs.remove(key)));
                configs.extend(set.clone());
                true
            }
            CatalogCommand::AddPartitions { name, total: wanted } => {
                let Some((partitions, _)) = self.topics.get_mut(name.as_str()) else { return false };
                let fits = *wanted > *partitions && *wanted <= 5 && total - *partitions + wanted <= 9;
                if fits {
                    *partitions = *wanted;
                }
                fits
            }
            CatalogCommand::DeleteTopic { name } => self.topics.remove(name.as_str()).is_some(),
            CatalogCommand::FinishRemoval { .. } => false,
        }
    }
}

proptest! {
    #[test]
    fn the_catalog_is_the_naive_one_and_survives_replay_and_snapshot(
        commands in prop::collection::vec(commands(), 1..60),
    ) {
        let (mut catalog, mut log, mut naive) = (empty(), Vec::new(), Naive::default());
        for command in commands {
            let expected = naive.accepts(&command);
            let reply = run(&mut catalog, &mut log, command.clone());
            prop_assert_eq!(reply.is_ok(), expected, "{:?}: {:?}", command, reply);
        }
        let seen: BTreeMap<String, (i32, BTreeMap<String, String>)> = catalog
            .topics()
            .map(|topic| (topic.name.as_str().to_owned(), (topic.partitions, topic.configs.clone())))
            .collect();
        prop_assert_eq!(seen, naive.topics);

        let mut replayed = empty();
        log.iter().for_each(|event| replayed.apply(event));
        prop_assert_eq!(view(&replayed), view(&catalog));

        let snapshot: Vec<CatalogEvent> = catalog.snapshot().collect();
        let mut restored = empty();
        snapshot.iter().for_each(|event| restored.apply(event));
        prop_assert_eq!(view(&restored), view(&catalog));
        // Half a snapshot at the end of a log changes nothing.
        for half in [snapshot.len() / 2, snapshot.len()] {
            snapshot.iter().take(half).for_each(|event| replayed.apply(event));
            prop_assert_eq!(view(&replayed), view(&catalog));
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_an_event(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..3_u8) {
        let mut framed = vec![0x08, version, 0x12, u8::try_from(bytes.len().min(127)).unwrap()];
        framed.extend(&bytes);
        for input in [bytes, framed] {
            if let Ok(event) = CatalogEvent::decode(&input) {
                prop_assert_eq!(CatalogEvent::decode(&event.encode()), Ok(event));
            }
        }
    }
}
