use kafka_wire::alter_configs_request::AlterableConfig;

use super::*;
use crate::names::topic_name;
use crate::testing::{Bench, call};

fn resource(name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
    let config = |(name, value): &(&str, Option<&str>)| {
        message!(AlterableConfig { name: (*name).into(), value: value.map(Into::into) })
    };
    let configs = configs.iter().map(config).collect();
    message!(AlterConfigsResource { resource_type: 2, resource_name: name.into(), configs })
}

async fn send(bench: &Bench, resources: Vec<AlterConfigsResource>) -> Vec<i16> {
    let request = message!(AlterConfigsRequest { resources });
    let answer = handle(bench.context(), call(2), request).await;
    answer.responses.iter().map(|one| one.error_code).collect()
}

fn value(bench: &Bench, key: &str) -> String {
    let info = bench.broker().describe_topic(&topic_name("a").unwrap()).unwrap();
    info.configs.into_iter().find(|entry| entry.key == key).unwrap().value
}

#[tokio::test]
async fn what_is_not_named_returns_to_its_default() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let first = resource("a", &[("retention.ms", Some("5")), ("segment.ms", Some("6"))]);
    assert_eq!(send(&bench, vec![first]).await, [0]);
    assert_eq!((value(&bench, "retention.ms"), value(&bench, "segment.ms")), ("5".into(), "6".into()));
    assert_eq!(send(&bench, vec![resource("a", &[("segment.ms", Some("7"))])]).await, [0]);
    assert_eq!(
        (value(&bench, "retention.ms"), value(&bench, "segment.ms")),
        ("604800000".into(), "7".into())
    );
    let wrong = [
        (vec![("segment.ms", None)], 42),
        (vec![("x", Some("1"))], 40),
        (vec![("segment.ms", Some("x"))], 40),
        (vec![("segment.ms", Some("1")), ("segment.ms", Some("2"))], 42),
    ];
    for (configs, code) in wrong {
        assert_eq!(send(&bench, vec![resource("a", &configs)]).await, [code], "{configs:?}");
    }
    assert_eq!(value(&bench, "segment.ms"), "7");
}
