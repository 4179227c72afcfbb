use super::*;
use crate::context::KafkaOptions;
use crate::testing::{Bench, call};

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    message!(CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: replicas })
}

async fn send(bench: &Bench, topics: Vec<CreatableTopic>, validate_only: bool) -> Vec<CreatableTopicResult> {
    let request = message!(CreateTopicsRequest { topics, validate_only });
    handle(bench.context(), call(7), request).await.topics
}

async fn one(bench: &Bench, topic: CreatableTopic) -> CreatableTopicResult {
    send(bench, vec![topic], false).await.remove(0)
}

#[tokio::test]
async fn a_topic_is_answered_with_its_id_partitions_and_configs() {
    let bench = Bench::with(KafkaOptions::default(), |options| options.default_partitions = 3).await;
    let mut wanted = topic("orders", -1, -1);
    wanted.configs =
        vec![message!(CreatableTopicConfig { name: "retention.ms".into(), value: Some("5000".into()) })];
    let made = one(&bench, wanted).await;
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 3, 1));
    let known = bench.broker().topic(&topic_name("orders").unwrap()).unwrap();
    assert_eq!(made.topic_id, wire_id(known.id()));
    let configs = made.configs.unwrap();
    let of = |key: &str| configs.iter().find(|config| &*config.name == key).unwrap();
    assert_eq!(of("retention.ms").value.as_deref(), Some("5000"));
    assert_eq!((of("retention.ms").config_source, of("segment.ms").config_source), (1, 5));
    assert_eq!(one(&bench, topic("orders", 1, 1)).await.error_code, 36);
}

#[tokio::test]
async fn a_check_creates_nothing() {
    let bench = Bench::new().await;
    let checked = send(&bench, vec![topic("orders", 4, 1)], true).await.remove(0);
    assert_eq!(
        (checked.error_code, checked.num_partitions, checked.topic_id),
        (0, 4, crate::wire::WireUuid::ZERO)
    );
    assert!(bench.broker().topic(&topic_name("orders").unwrap()).is_none());
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_kafkas_code_and_a_reason() {
    let bench = Bench::new().await;
    let mut unknown_config = topic("a", 1, 1);
    unknown_config.configs =
        vec![message!(CreatableTopicConfig { name: "x".into(), value: Some("1".into()) })];
    let mut null_config = topic("b", 1, 1);
    null_config.configs = vec![message!(CreatableTopicConfig { name: "retention.ms".into(), value: None })];
    let cases = [
        (topic("a/b", 1, 1), 17),
        (topic("", 1, 1), 17),
        (topic("a", 0, 1), 37),
        (topic("a", -2, 1), 37),
        (topic("a", i32::MAX, 1), 37),
        (topic("a", 1, 0), 38),
        (topic("a", 1, -2), 38),
        (unknown_config, 40),
        (null_config, 40),
    ];
    for (wanted, code) in cases {
        let refused = one(&bench, wanted.clone()).await;
        assert_eq!(refused.error_code, code, "{wanted:?}");
        assert!(refused.error_message.is_some_and(|text| !text.is_empty()), "{wanted:?}");
    }
    assert!(bench.broker().topic(&topic_name("a").unwrap()).is_none());
}

#[tokio::test]
async fn more_replicas_than_brokers_become_one_or_are_refused() {
    let bench = Bench::new().await;
    let clamped = one(&bench, topic("a", 1, 3)).await;
    assert_eq!((clamped.error_code, clamped.replication_factor), (0, 1));
    let strict = KafkaOptions { clamp_replication_factor: false, ..KafkaOptions::default() };
    let bench = Bench::with(strict, |_| ()).await;
    assert_eq!(one(&bench, topic("a", 1, 3)).await.error_code, 38);
    assert_eq!(one(&bench, topic("a", 1, 1)).await.error_code, 0);
}

#[tokio::test]
async fn a_topic_named_twice_is_refused_once_and_others_are_made() {
    let bench = Bench::new().await;
    let topics = vec![topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)];
    let answers = send(&bench, topics, false).await;
    let codes: Vec<_> = answers.iter().map(|made| (&*made.name, made.error_code)).collect();
    assert_eq!(codes, [("a", 42), ("b", 0)]);
    assert!(bench.broker().topic(&topic_name("a").unwrap()).is_none());
}

#[tokio::test]
async fn assignments_may_name_the_one_broker_only() {
    let bench = Bench::new().await;
    let assigned = |name: &str, all: &[(i32, &[i32])]| {
        let one = |(partition_index, brokers): &(i32, &[i32])| {
            let partition_index = *partition_index;
            message!(CreatableReplicaAssignment { partition_index, broker_ids: brokers.to_vec() })
        };
        let mut wanted = topic(name, -1, -1);
        wanted.assignments = all.iter().map(one).collect();
        wanted
    };
    let made = one(&bench, assigned("a", &[(1, &[1]), (0, &[1])])).await;
    assert_eq!((made.error_code, made.num_partitions), (0, 2));
    for all in [&[(0, &[2][..])][..], &[(0, &[1, 2])], &[(0, &[])], &[(1, &[1])], &[(0, &[1]), (0, &[1])]] {
        assert_eq!(one(&bench, assigned("b", all)).await.error_code, 39, "{all:?}");
    }
    let mut both = assigned("b", &[(0, &[1])]);
    both.num_partitions = 1;
    assert_eq!(one(&bench, both).await.error_code, 42);
}
