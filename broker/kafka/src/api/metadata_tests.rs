use super::*;
use crate::testing::{Bench, call};

fn named(name: &str) -> MetadataRequestTopic {
    message!(MetadataRequestTopic { name: Some(name.into()) })
}

async fn ask(
    bench: &Bench,
    version: i16,
    topics: Option<Vec<MetadataRequestTopic>>,
    allow_auto_topic_creation: bool,
) -> Vec<(Option<String>, i16, usize)> {
    let request = message!(MetadataRequest { topics, allow_auto_topic_creation });
    let told = handle(bench.context(), call(version), request).await.topics;
    let short = |topic: &MetadataResponseTopic| {
        (topic.name.as_ref().map(ToString::to_string), topic.error_code, topic.partitions.len())
    };
    told.iter().map(short).collect()
}

#[tokio::test]
async fn a_topic_that_is_named_again_is_described_once() {
    let bench = Bench::new().await;
    bench.create("a", 3).await;
    let id = wire_id(bench.broker().topic(&topic_name("a").unwrap()).unwrap().id());
    let by_id = || message!(MetadataRequestTopic { name: None, topic_id: id });
    let mut with_id = named("a");
    with_id.topic_id = id;
    let wanted = vec![named("a"), named("a"), with_id, by_id(), by_id()];
    let a = || (Some("a".to_owned()), 0, 3);
    assert_eq!(ask(&bench, 12, Some(wanted), false).await, [a(), a()]);
}

#[tokio::test]
async fn an_empty_list_is_all_topics_in_version_0_and_none_later() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let all = bench.broker().topics().len();
    assert_eq!(ask(&bench, 0, Some(Vec::new()), true).await.len(), all);
    assert_eq!(ask(&bench, 1, Some(Vec::new()), true).await.len(), 0);
    assert_eq!(ask(&bench, 1, None, true).await.len(), all);
}

#[tokio::test]
async fn a_named_topic_is_created_where_broker_and_client_allow_it() {
    let bench = Bench::with(crate::context::KafkaOptions::default(), |options| {
        options.auto_create_topics = true;
    })
    .await;
    let wanted = || Some(vec![named("a")]);
    assert_eq!(ask(&bench, 4, wanted(), false).await, [(Some("a".to_owned()), 3, 0)]);
    assert_eq!(ask(&bench, 4, wanted(), true).await, [(Some("a".to_owned()), 0, 1)]);
    let internal = Some(vec![named("__consumer_offsets")]);
    assert_eq!(ask(&bench, 4, internal, true).await, [(Some("__consumer_offsets".to_owned()), 3, 0)]);
}
