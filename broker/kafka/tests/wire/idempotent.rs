//! Idempotent producers over the wire: what the Java client and librdkafka do by default.

use bytes::Bytes;
use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::client::{Client, PRODUCE, Server, codes, decode, fetch, produce, records};

const INIT_PRODUCER_ID: (i16, i16) = (22, 1);
const OUT_OF_ORDER: (i16, i64) = (45, -1);
const OLD_EPOCH: (i16, i64) = (47, -1);

async fn producer_id(client: &mut Client) -> i64 {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    let answer: InitProducerIdResponse = client.ask(INIT_PRODUCER_ID, &request).await;
    assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
    answer.producer_id
}

/// A batch of two records, the values of which are their sequences.
fn batch(id: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for value in [sequence, sequence + 1] {
        builder.append(Timestamp::from_millis(1000), None, Some(value.to_string().as_bytes()), &[]);
    }
    let builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
    builder.build().unwrap().into_bytes()
}

/// Sends all requests before the first answer is read.
async fn pipeline(client: &mut Client, batches: &[Bytes]) -> Vec<(i16, i64)> {
    for (id, batch) in (0..).zip(batches) {
        client.send(PRODUCE, id, &produce(-1, "orders", &[(0, batch.clone())])).await;
    }
    let mut outcomes = Vec::new();
    for _ in batches {
        outcomes.extend(codes(&decode(PRODUCE, client.receive().await.1)));
    }
    outcomes
}

#[tokio::test]
async fn five_batches_that_are_sent_again_are_answered_alike_and_stored_once() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    let id = producer_id(&mut client).await;
    let mut all = Vec::new();
    for round in 0..20 {
        let batches: Vec<Bytes> = (0..5).map(|n| batch(id, 0, (round * 5 + n) * 2)).collect();
        let stored: Vec<_> = (0..5).map(|n| (0, i64::from((round * 5 + n) * 2))).collect();
        // The answers of the first try are lost with its connection.
        let mut lost = server.connect().await;
        for (id, batch) in (0..).zip(&batches) {
            lost.send(PRODUCE, id, &produce(-1, "orders", &[(0, batch.clone())])).await;
        }
        lost.receive().await;
        drop(lost);
        assert_eq!(pipeline(&mut client, &batches).await, stored, "round {round}");
        assert_eq!(pipeline(&mut client, &batches).await, stored, "round {round}");
        all.extend(round * 10..round * 10 + 10);
    }
    // The first try of the answers that were lost may not have got through whole; the second always has.
    assert!(
        server.broker.metrics().duplicates_in.get() >= 20 * 5,
        "{:?}",
        server.broker.metrics().duplicates_in
    );
    let found = records(&client.fetch(&fetch(&[(0, 0)])).await[0]);
    let values: Vec<i32> = found.iter().map(|(_, value)| value.parse().unwrap()).collect();
    assert_eq!(values, all);
}

#[tokio::test]
async fn a_gap_and_an_old_epoch_are_refused_with_kafkas_codes() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    let (id, other) = (producer_id(&mut client).await, producer_id(&mut client).await);
    assert_ne!(id, other);
    // What follows on a batch that was refused is refused as well, also in flight.
    let batches = [batch(id, 0, 0), batch(id, 0, 4), batch(id, 0, 6), batch(id, 0, 2), batch(id, 0, 4)];
    let outcomes = pipeline(&mut client, &batches).await;
    assert_eq!(outcomes, [(0, 0), OUT_OF_ORDER, OUT_OF_ORDER, (0, 2), (0, 4)]);
    let batches = [batch(other, 0, 0), batch(id, 1, 6), batch(id, 1, 0), batch(id, 0, 6), batch(other, 0, 2)];
    let outcomes = pipeline(&mut client, &batches).await;
    assert_eq!(outcomes, [(0, 6), OUT_OF_ORDER, (0, 8), OLD_EPOCH, (0, 10)]);
}
