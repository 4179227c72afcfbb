use std::collections::BTreeMap;

use kafka_wire::delete_records_request::DeleteRecordsTopic;

use super::*;
use crate::names::topic_name;
use crate::testing::{Bench, call};

async fn delete_at(bench: &Bench, topic: &str, partition_index: i32, offset: i64) -> (i64, i16) {
    let wanted = message!(DeleteRecordsPartition { partition_index, offset });
    let topic = message!(DeleteRecordsTopic { name: topic.into(), partitions: vec![wanted] });
    let answer =
        handle(bench.context(), call(2), message!(DeleteRecordsRequest { topics: vec![topic] })).await;
    let result = &answer.topics[0].partitions[0];
    assert_eq!(result.partition_index, partition_index);
    (result.low_watermark, result.error_code)
}

#[tokio::test]
async fn records_go_up_to_an_offset_or_all_of_them() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    bench.append("a", 0, &[(1, "x"); 10]).await;
    assert_eq!(delete_at(&bench, "a", 0, 4).await, (4, 0));
    assert_eq!(delete_at(&bench, "a", 0, 2).await, (4, 0));
    assert_eq!(delete_at(&bench, "a", 0, -1).await, (10, 0));
}

#[tokio::test]
async fn what_cannot_be_deleted_has_an_error_and_no_low_watermark() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    bench.create("compacted", 1).await;
    let compact = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    bench.broker().alter_topic(&topic_name("compacted").unwrap(), compact, Vec::new(), false).await.unwrap();
    let internal = bench.broker().topics().into_iter().find(|topic| topic.is_internal()).unwrap();
    let cases = [
        ("a", 0, 1, 1),
        ("a", 0, -2, 1),
        ("a", 1, 0, 3),
        ("a", -1, 0, 3),
        ("x", 0, 0, 3),
        ("compacted", 0, -1, 44),
    ];
    for (topic, partition, offset, code) in cases {
        assert_eq!(
            delete_at(&bench, topic, partition, offset).await,
            (-1, code),
            "{topic} {partition} {offset}"
        );
    }
    assert_eq!(delete_at(&bench, internal.name().as_str(), 0, -1).await, (-1, 17));
}
