use kafka_wire::create_partitions_request::CreatePartitionsAssignment;

use super::*;
use crate::testing::{Bench, call};

fn topic(name: &str, count: i32) -> CreatePartitionsTopic {
    message!(CreatePartitionsTopic { name: name.into(), count, assignments: None })
}

async fn send(bench: &Bench, topics: Vec<CreatePartitionsTopic>, validate_only: bool) -> Vec<(String, i16)> {
    let request = message!(CreatePartitionsRequest { topics, validate_only });
    let answer = handle(bench.context(), call(3), request).await;
    answer.results.iter().map(|result| (result.name.to_string(), result.error_code)).collect()
}

fn partitions(bench: &Bench, name: &str) -> usize {
    bench.broker().topic(&topic_name(name).unwrap()).unwrap().partition_count()
}

#[tokio::test]
async fn partitions_only_grow_and_every_topic_is_answered() {
    let bench = Bench::new().await;
    bench.create("a", 2).await;
    bench.create("b", 2).await;
    let topics = vec![topic("a", 5), topic("b", 2), topic("x", 3)];
    let answers = send(&bench, topics, false).await;
    assert_eq!(answers, [("a".to_owned(), 0), ("b".to_owned(), 37), ("x".to_owned(), 3)]);
    assert_eq!((partitions(&bench, "a"), partitions(&bench, "b")), (5, 2));
    assert_eq!(send(&bench, vec![topic("a", 7)], true).await, [("a".to_owned(), 0)]);
    assert_eq!(partitions(&bench, "a"), 5);
    let twice = vec![topic("a", 6), topic("a", 7)];
    assert_eq!(send(&bench, twice, false).await, [("a".to_owned(), 42)]);
    assert_eq!(send(&bench, vec![topic("a", -1)], false).await, [("a".to_owned(), 37)]);
}

#[tokio::test]
async fn new_partitions_may_be_assigned_to_the_one_broker_only() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let assigned = |count: i32, brokers: &[i32]| {
        let one = |id: &i32| message!(CreatePartitionsAssignment { broker_ids: vec![*id] });
        let mut wanted = topic("a", count);
        wanted.assignments = Some(brokers.iter().map(one).collect());
        vec![wanted]
    };
    for (count, brokers) in [(3, &[1][..]), (3, &[1, 2]), (2, &[1, 1]), (2, &[])] {
        assert_eq!(send(&bench, assigned(count, brokers), false).await, [("a".to_owned(), 39)]);
    }
    assert_eq!(send(&bench, assigned(3, &[1, 1]), false).await, [("a".to_owned(), 0)]);
    assert_eq!(partitions(&bench, "a"), 3);
}
