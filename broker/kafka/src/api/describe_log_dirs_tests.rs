use kafka_wire::describe_log_dirs_request::DescribableLogDirTopic;

use super::*;
use crate::testing::{Bench, call};

#[tokio::test]
async fn sizes_and_free_space_are_real() {
    let bench = Bench::new().await;
    bench.create("a", 3).await;
    bench.append("a", 0, &[(1, "x"); 10]).await;
    let all = handle(bench.context(), call(4), message!(DescribeLogDirsRequest { topics: None })).await;
    let dir = &all.results[0];
    assert_eq!(*dir.log_dir, *bench.broker().options().data_dir.display().to_string());
    assert!(dir.usable_bytes > 0);
    let topic = dir.topics.iter().find(|topic| &*topic.name == "a").unwrap();
    let sizes: Vec<_> =
        topic.partitions.iter().map(|one| (one.partition_index, one.partition_size > 0)).collect();
    assert_eq!(sizes, [(0, true), (1, false), (2, false)]);
}

#[tokio::test]
async fn only_what_is_asked_for_and_exists_is_told() {
    let bench = Bench::new().await;
    bench.create("a", 3).await;
    let topic = |name: &str, partitions: &[i32]| {
        message!(DescribableLogDirTopic { topic: name.into(), partitions: partitions.to_vec() })
    };
    let topics = Some(vec![topic("a", &[2, 9, 2]), topic("x", &[0]), topic("a", &[0])]);
    let some = handle(bench.context(), call(4), message!(DescribeLogDirsRequest { topics })).await;
    let told: Vec<_> = some.results[0]
        .topics
        .iter()
        .map(|topic| {
            (&*topic.name, topic.partitions.iter().map(|one| one.partition_index).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(told, [("a", vec![0, 2])]);
}
