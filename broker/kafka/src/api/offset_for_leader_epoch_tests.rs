use kafka_wire::offset_for_leader_epoch_request::OffsetForLeaderTopic;

use super::*;
use crate::testing::{Bench, call};

async fn ask(bench: &Bench, index: i32, current: i32, epoch: i32) -> (i16, i32, i64) {
    let partition = message!(OffsetForLeaderPartition {
        partition: index,
        current_leader_epoch: current,
        leader_epoch: epoch,
    });
    let topic = message!(OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition] });
    let request = message!(OffsetForLeaderEpochRequest { topics: vec![topic] });
    let answer = handle(bench.context(), call(4), request).await;
    assert!((2..=4).all(|version| crate::wire::encode(&answer, version).is_ok()));
    let row = &answer.topics[0].partitions[0];
    (row.error_code, row.leader_epoch, row.end_offset)
}

#[tokio::test]
async fn the_end_of_an_epoch_is_told() {
    let bench = Bench::new().await;
    bench.create("orders", 1).await;
    bench.append("orders", 0, &[(1, "a"), (2, "b")]).await;
    let current = crate::names::partition(bench.broker(), "orders", 0).unwrap().leader_epoch().get();
    assert_eq!(ask(&bench, 0, current, current).await, (0, current, 2));
    assert_eq!(ask(&bench, 0, -1, current + 1).await, (0, -1, -1));
    assert_eq!(ask(&bench, 0, -1, -1).await, (0, -1, -1));
    assert_eq!(ask(&bench, 0, current + 1, current).await, (75, -1, -1));
    assert_eq!(ask(&bench, 1, -1, current).await, (3, -1, -1));
}
