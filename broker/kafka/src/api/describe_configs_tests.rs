use std::collections::BTreeMap;

use super::*;
use crate::context::KafkaOptions;
use crate::names::topic_name;
use crate::testing::{Bench, call};

fn resource(kind: i8, name: &str) -> DescribeConfigsResource {
    message!(DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None
    })
}

async fn send(bench: &Bench, resources: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResult> {
    let request =
        message!(DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true });
    handle(bench.context(), call(4), request).await.results
}

fn find<'a>(result: &'a DescribeConfigsResult, key: &str) -> &'a DescribeConfigsResourceResult {
    result.configs.iter().find(|config| &*config.name == key).unwrap_or_else(|| panic!("no {key}"))
}

async fn bench() -> Bench {
    let bench = Bench::with(KafkaOptions::default(), |options| {
        options.topic_defaults = BTreeMap::from([("segment.ms".to_owned(), "7000".to_owned())]);
        options.default_partitions = 4;
    })
    .await;
    bench.create("a", 1).await;
    let set = BTreeMap::from([("segment.ms".to_owned(), "9000".to_owned())]);
    bench.broker().alter_topic(&topic_name("a").unwrap(), set, Vec::new(), false).await.unwrap();
    bench
}

#[tokio::test]
async fn a_topics_configs_tell_where_their_values_come_from() {
    let bench = bench().await;
    let told = send(&bench, vec![resource(2, "a"), resource(2, "a")]).await;
    assert_eq!((told.len(), told[0].error_code), (1, 0));
    let config = find(&told[0], "segment.ms");
    assert_eq!((config.value.as_deref(), config.config_source, config.config_type), (Some("9000"), 1, 5));
    assert!(!config.read_only && !config.is_sensitive);
    assert!(config.documentation.as_ref().is_some_and(|text| !text.is_empty()));
    let synonyms: Vec<_> =
        config.synonyms.iter().map(|one| (&*one.name, one.value.as_deref(), one.source)).collect();
    let wanted = [
        ("segment.ms", Some("9000"), 1),
        ("log.roll.ms", Some("7000"), 4),
        ("log.roll.ms", Some("604800000"), 5),
    ];
    assert_eq!(synonyms, wanted);
    let policy = find(&told[0], "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.config_source, policy.config_type), (Some("delete"), 5, 7));
    assert_eq!(find(&told[0], "min.insync.replicas").value.as_deref(), Some("1"));
}

#[tokio::test]
async fn only_the_keys_that_are_asked_for_are_told() {
    let bench = bench().await;
    let mut wanted = resource(2, "a");
    wanted.configuration_keys = Some(vec!["retention.ms".into(), "unknown".into()]);
    let request = message!(DescribeConfigsRequest { resources: vec![wanted] });
    let told = handle(bench.context(), call(1), request).await.results.remove(0);
    let names: Vec<_> = told.configs.iter().map(|config| &*config.name).collect();
    assert_eq!(names, ["retention.ms"]);
    assert!(told.configs[0].synonyms.is_empty() && told.configs[0].documentation.is_none());
}

#[tokio::test]
async fn the_brokers_configs_are_its_options_and_read_only() {
    let bench = bench().await;
    let told = send(&bench, vec![resource(4, "1"), resource(4, "")]).await;
    assert!(told[0].configs.iter().all(|config| config.read_only));
    assert!(told[0].configs.is_sorted_by_key(|config| config.name.clone()));
    let value =
        |key: &str| (find(&told[0], key).value.as_deref().unwrap(), find(&told[0], key).config_source);
    assert_eq!(value("advertised.listeners"), ("PLAINTEXT://127.0.0.1:9092", 4));
    assert_eq!(value("num.partitions"), ("4", 4));
    assert_eq!(value("log.roll.ms"), ("7000", 4));
    assert_eq!(value("log.retention.ms"), ("604800000", 5));
    assert_eq!(value("message.max.bytes"), ("1048588", 5));
    assert_eq!(value("auto.create.topics.enable"), ("false", 5));
    assert_eq!(value("default.replication.factor"), ("1", 5));
    assert_eq!((told[1].error_code, told[1].configs.len()), (0, 0));
    let advertised = find(&told[0], "advertised.listeners").synonyms.iter().map(|one| one.source);
    assert_eq!(advertised.collect::<Vec<_>>(), [4]);
    let none = send(&bench, vec![resource(32, "group"), resource(16, "metrics")]).await;
    assert!(none.iter().all(|told| told.error_code == 0 && told.configs.is_empty()));
}

#[tokio::test]
async fn resources_without_configs_are_refused_with_a_reason() {
    let bench = bench().await;
    let cases = [(2, "x", 3), (2, "a/b", 17), (4, "2", 42), (4, "x", 42), (8, "1", 42), (-7, "", 42)];
    for (kind, name, code) in cases {
        let told = send(&bench, vec![resource(kind, name)]).await.remove(0);
        assert_eq!((told.error_code, told.configs.len()), (code, 0), "{kind} {name}");
        assert!(told.error_message.is_some_and(|text| !text.is_empty()));
    }
}
