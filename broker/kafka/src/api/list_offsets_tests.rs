use kafka_wire::list_offsets_request::ListOffsetsTopic;

use super::*;
use crate::testing::{Bench, call};

async fn ask(bench: &Bench, version: i16, asked: &[(i32, i32, i64)]) -> Vec<(i16, i64, i64, i32)> {
    let partition = |(index, epoch, timestamp): &(i32, i32, i64)| {
        message!(ListOffsetsPartition {
            partition_index: *index,
            current_leader_epoch: *epoch,
            timestamp: *timestamp,
        })
    };
    let topic = message!(ListOffsetsTopic {
        name: "orders".into(),
        partitions: asked.iter().map(partition).collect(),
    });
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let answer = handle(bench.context(), call(version), request).await;
    assert!(crate::wire::encode(&answer, version).is_ok(), "version {version}");
    let rows = answer.topics[0].partitions.iter();
    rows.map(|row| (row.error_code, row.offset, row.timestamp, row.leader_epoch)).collect()
}

async fn orders() -> (Bench, i32) {
    let bench = Bench::new().await;
    bench.create("orders", 2).await;
    bench.append("orders", 0, &[(1000, "a"), (3000, "b")]).await;
    bench.append("orders", 0, &[(2000, "c")]).await;
    let epoch = crate::names::partition(bench.broker(), "orders", 0).unwrap().leader_epoch().get();
    (bench, epoch)
}

#[tokio::test]
async fn every_special_timestamp_has_its_meaning_from_its_version_on() {
    let (bench, epoch) = orders().await;
    let unsupported = (35, -1, -1, -1);
    for (special, from, expected) in [
        (LATEST, 1, (0, 3, -1, epoch)),
        (EARLIEST, 1, (0, 0, -1, epoch)),
        (MAX_TIMESTAMP, 7, (0, 1, 3000, epoch)),
        (EARLIEST_LOCAL, 8, (0, 0, -1, epoch)),
        (LATEST_TIERED, 9, (0, -1, -1, -1)),
        (EARLIEST_PENDING_UPLOAD, 11, (0, -1, -1, -1)),
        (-7, 12, unsupported),
    ] {
        for version in 1..=11 {
            let expected = if version < from { unsupported } else { expected };
            let expected = if version < 4 { (expected.0, expected.1, expected.2, -1) } else { expected };
            let found = ask(&bench, version, &[(0, -1, special)]).await;
            assert_eq!(found, [expected], "{special} in version {version}");
        }
    }
}

#[tokio::test]
async fn the_first_record_at_or_after_a_time_is_found() {
    let (bench, epoch) = orders().await;
    let found = ask(&bench, 11, &[(0, -1, 1001), (1, -1, 0)]).await;
    assert_eq!(found, [(0, 1, 3000, epoch), (0, -1, -1, -1)]);
    assert_eq!(ask(&bench, 11, &[(0, -1, 3001)]).await, [(0, -1, -1, -1)]);
    let empty = [(1, -1, MAX_TIMESTAMP), (1, -1, LATEST)];
    assert_eq!(ask(&bench, 11, &empty[..1]).await, [(0, -1, -1, -1)]);
    assert_eq!(ask(&bench, 11, &empty[1..]).await, [(0, 0, -1, epoch)]);
}

#[tokio::test]
async fn wrong_epochs_partitions_and_repetitions_are_errors() {
    let (bench, epoch) = orders().await;
    let wrong = [(0, epoch + 1, LATEST), (1, epoch - 1, LATEST), (2, -1, LATEST)];
    let codes: Vec<i16> = ask(&bench, 4, &wrong).await.iter().map(|row| row.0).collect();
    assert_eq!(codes, [75, if epoch > 0 { 74 } else { 0 }, 3]);
    let twice = ask(&bench, 4, &[(0, -1, LATEST), (0, -1, LATEST)]).await;
    assert!(twice.iter().all(|row| row.0 == 42));
}
