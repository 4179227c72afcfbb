use kafka_wire::describe_topic_partitions_request as request;

use super::*;
use crate::testing::{Bench, call};

async fn page_of(
    bench: &Bench,
    names: &[&str],
    limit: i32,
    cursor: Option<(StrBytes, i32)>,
) -> DescribeTopicPartitionsResponse {
    let topics = names.iter().map(|name| message!(request::TopicRequest { name: (*name).into() })).collect();
    let cursor =
        cursor.map(|(topic_name, partition_index)| message!(request::Cursor { topic_name, partition_index }));
    let response_partition_limit = limit;
    let asked = message!(DescribeTopicPartitionsRequest { topics, response_partition_limit, cursor });
    handle(bench.context(), call(0), asked).await
}

#[tokio::test]
async fn pages_cover_every_partition_once() {
    let bench = Bench::new().await;
    for (name, count) in [("a", 3), ("b", 1), ("c", 4)] {
        bench.create(name, count).await;
    }
    for limit in 1..9 {
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let page = page_of(&bench, &["c", "a", "b", "a"], limit, cursor.take()).await;
            let count: usize = page.topics.iter().map(|topic| topic.partitions.len()).sum();
            assert!(count <= usize::try_from(limit).unwrap(), "{count} of {limit}");
            for topic in &page.topics {
                let name = topic.name.clone().unwrap().to_string();
                seen.extend(topic.partitions.iter().map(|one| (name.clone(), one.partition_index)));
            }
            let Some(next) = page.next_cursor else { break };
            cursor = Some((next.topic_name, next.partition_index));
        }
        let all = [("a", 3), ("b", 1), ("c", 4)];
        let wanted: Vec<_> = all
            .iter()
            .flat_map(|(name, count)| (0..*count).map(move |index| ((*name).to_owned(), index)))
            .collect();
        assert_eq!(seen, wanted, "limit {limit}");
    }
}

#[tokio::test]
async fn unknown_topics_are_told_and_no_topics_are_all() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let page = page_of(&bench, &["x", "a"], 10, None).await;
    let codes: Vec<_> = page.topics.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect();
    assert_eq!(codes, [(Some("a"), 0), (Some("x"), 3)]);
    let all = page_of(&bench, &[], 2_000, None).await;
    assert_eq!(all.topics.len(), bench.broker().topics().len());
}
