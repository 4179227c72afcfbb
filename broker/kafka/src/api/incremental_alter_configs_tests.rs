use super::*;
use crate::names::topic_name;
use crate::testing::{Bench, call};

fn config(name: &str, config_operation: i8, value: Option<&str>) -> AlterableConfig {
    message!(AlterableConfig { name: name.into(), config_operation, value: value.map(Into::into) })
}

fn resource(kind: i8, name: &str, configs: Vec<AlterableConfig>) -> AlterConfigsResource {
    message!(AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs })
}

async fn send(bench: &Bench, resources: Vec<AlterConfigsResource>, validate_only: bool) -> Vec<i16> {
    let request = message!(IncrementalAlterConfigsRequest { resources, validate_only });
    let answer = handle(bench.context(), call(1), request).await;
    answer.responses.iter().map(|one| one.error_code).collect()
}

async fn alter(bench: &Bench, configs: Vec<AlterableConfig>) -> i16 {
    send(bench, vec![resource(2, "a", configs)], false).await[0]
}

fn value(bench: &Bench, key: &str) -> String {
    let info = bench.broker().describe_topic(&topic_name("a").unwrap()).unwrap();
    info.configs.into_iter().find(|entry| entry.key == key).unwrap().value
}

#[tokio::test]
async fn configs_are_set_reset_and_lists_added_to_and_removed_from() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let both = vec![config("retention.ms", 0, Some("5")), config("cleanup.policy", 2, Some("compact"))];
    assert_eq!(alter(&bench, both).await, 0);
    assert_eq!(value(&bench, "retention.ms"), "5");
    assert_eq!(value(&bench, "cleanup.policy"), "delete,compact");
    let both = vec![config("retention.ms", 1, None), config("cleanup.policy", 3, Some("delete"))];
    assert_eq!(alter(&bench, both).await, 0);
    assert_eq!(value(&bench, "retention.ms"), "604800000");
    assert_eq!(value(&bench, "cleanup.policy"), "compact");
    let checked = resource(2, "a", vec![config("retention.ms", 0, Some("9"))]);
    assert_eq!(send(&bench, vec![checked], true).await, [0]);
    assert_eq!(value(&bench, "retention.ms"), "604800000");
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_says_why() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let good = || config("retention.ms", 0, Some("5"));
    let cases = [
        (config("segment.ms", 0, Some("x")), 40),
        (config("unknown", 0, Some("x")), 40),
        (config("unknown", 2, Some("x")), 40),
        (config("segment.ms", 2, Some("1")), 40),
        (config("cleanup.policy", 3, Some("delete")), 40),
        (config("segment.ms", 0, None), 42),
        (config("segment.ms", 4, Some("1")), 42),
        (config("retention.ms", 1, None), 42),
    ];
    for (wrong, code) in cases {
        assert_eq!(alter(&bench, vec![good(), wrong.clone()]).await, code, "{wrong:?}");
    }
    let twice = vec![resource(2, "a", vec![good()]), resource(2, "a", vec![good()])];
    assert_eq!(send(&bench, twice, false).await, [42, 42]);
    let others =
        vec![resource(4, "1", vec![good()]), resource(8, "1", vec![]), resource(2, "x", vec![good()])];
    assert_eq!(send(&bench, others, false).await, [42, 42, 3]);
    assert_eq!(value(&bench, "retention.ms"), "604800000");
}
