use super::*;
use crate::testing::{Bench, call};

fn by_name(name: &str) -> DeleteTopicState {
    message!(DeleteTopicState { name: Some(name.into()) })
}

fn by_id(topic_id: WireUuid) -> DeleteTopicState {
    message!(DeleteTopicState { topic_id })
}

async fn send(bench: &Bench, topics: Vec<DeleteTopicState>) -> Vec<DeletableTopicResult> {
    handle(bench.context(), call(6), message!(DeleteTopicsRequest { topics })).await.responses
}

#[tokio::test]
async fn topics_go_by_name_and_by_id() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.create(name, 1).await;
    }
    let id = wire_id(bench.broker().topic(&topic_name("b").unwrap()).unwrap().id());
    let gone = send(&bench, vec![by_name("a"), by_id(id)]).await;
    let codes: Vec<_> = gone.iter().map(|one| (one.name.as_deref(), one.error_code)).collect();
    assert_eq!(codes, [(Some("a"), 0), (Some("b"), 0)]);
    assert_eq!(gone[1].topic_id, id);
    let old = message!(DeleteTopicsRequest { topic_names: vec!["c".into()] });
    assert_eq!(handle(bench.context(), call(1), old).await.responses[0].error_code, 0);
    assert_eq!(bench.broker().topics().iter().filter(|topic| !topic.is_internal()).count(), 0);
    assert_eq!(send(&bench, vec![by_id(id)]).await[0].error_code, 100);
}

#[tokio::test]
async fn what_cannot_be_deleted_says_why() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let id = wire_id(bench.broker().topic(&topic_name("a").unwrap()).unwrap().id());
    let internal = bench.broker().topics().into_iter().find(|topic| topic.is_internal()).unwrap();
    let mut both = by_name("a");
    both.topic_id = id;
    let cases = [
        (vec![by_name("x")], 3),
        (vec![by_name("a/b")], 3),
        (vec![by_name(internal.name().as_str())], 17),
        (vec![both], 42),
        (vec![DeleteTopicState::default()], 42),
        (vec![by_name("a"), by_name("a")], 42),
        (vec![by_id(id), by_id(id)], 42),
    ];
    for (wanted, code) in cases {
        for answer in send(&bench, wanted.clone()).await {
            assert_eq!(answer.error_code, code, "{wanted:?}");
            assert!(answer.error_message.is_some());
        }
    }
    assert!(bench.broker().topic(&topic_name("a").unwrap()).is_some());
}
