//! Appending over the wire.

use bytes::Bytes;
use kafka_wire::{ProduceRequest, ProduceResponse};
use kafka_wire_core::Uuid;

use crate::client::{PRODUCE, Server, batch, codes, decode, fetch, produce, records};

#[tokio::test]
async fn pipelined_requests_are_appended_and_answered_in_order() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    // More than may be in flight, and of both kinds of acks.
    for id in 0..200 {
        let acks = if id % 3 == 0 { 1 } else { -1 };
        client.send(PRODUCE, id, &produce(acks, "orders", &[(0, batch(&["a", "b"]))])).await;
    }
    for id in 0..200 {
        let (answered, body) = client.receive().await;
        assert_eq!(answered, id);
        assert_eq!(codes(&decode(PRODUCE, body)), [(0, 2 * i64::from(id))]);
    }
}

#[tokio::test]
async fn acks_0_is_appended_in_order_and_not_answered() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    for value in ["a", "b", "c"] {
        client.send(PRODUCE, 1, &produce(0, "orders", &[(0, batch(&[value]))])).await;
    }
    // The next answer is that of the next request.
    assert_eq!(client.produce(-1, &[(0, batch(&["d"]))]).await, [(0, 3)]);
    let found = records(&client.fetch(&fetch(&[(0, 0)])).await[0]);
    let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["a", "b", "c", "d"]);
    client.send(PRODUCE, 1, &produce(0, "missing", &[(0, batch(&["a"]))])).await;
    client.closed().await;
}

#[tokio::test]
async fn every_batch_of_a_request_has_its_own_outcome() {
    let server = Server::start().await;
    server.create("orders", &[("max.message.bytes", "2000")]).await;
    let good = batch(&["a"]);
    let mut flipped = good.to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let large = batch(&[&"x".repeat(2000)]);
    let twice = Bytes::from([&good[..], &good[..]].concat());
    let mut client = server.connect().await;
    let outcomes = client
        .produce(
            -1,
            &[
                (0, good.clone()),
                (1, flipped.into()),
                (1, old.into()),
                (1, large),
                (1, twice),
                (1, Bytes::new()),
                (1, good.slice(..60)),
                (2, good.clone()),
                (-1, good.clone()),
                (1, good.clone()),
            ],
        )
        .await;
    let bad = |code: i16| (code, -1);
    let expected = [(0, 0), bad(2), bad(87), bad(10), bad(87), bad(87), bad(87), bad(3), bad(3), (0, 0)];
    assert_eq!(outcomes, expected);
    let unknown: ProduceResponse = client.ask(PRODUCE, &produce(1, "missing", &[(0, good.clone())])).await;
    assert_eq!(codes(&unknown), [bad(3)]);
    assert_eq!(client.produce(2, &[(0, good.clone()), (1, good)]).await, [bad(21), bad(21)]);
}

#[tokio::test]
async fn a_record_at_fault_is_named() {
    let server = Server::start().await;
    server.create("orders", &[("cleanup.policy", "compact")]).await;
    let mut client = server.connect().await;
    let answer: ProduceResponse =
        client.ask(PRODUCE, &produce(-1, "orders", &[(0, batch(&["no key"]))])).await;
    let row = &answer.responses[0].partition_responses[0];
    assert_eq!((row.error_code, row.record_errors.len(), row.record_errors[0].batch_index), (87, 1, 0));
    assert!(row.error_message.as_deref().unwrap().contains("no key"));
}

#[tokio::test]
async fn every_version_is_answered_in_its_own_form() {
    let server = Server::start().await;
    let id = server.create("orders", &[]).await;
    let mut client = server.connect().await;
    for (version, offset) in (3..=13).zip(0..) {
        let mut request = produce(-1, "orders", &[(1, batch(&["a"]))]);
        if version >= 13 {
            request.topic_data[0].name = "".into();
            request.topic_data[0].topic_id = id;
        }
        let answer: ProduceResponse = client.ask((0, version), &request).await;
        assert_eq!(codes(&answer), [(0, offset)], "version {version}");
    }
    let mut unknown: ProduceRequest = produce(-1, "", &[(0, batch(&["a"]))]);
    for id in [Uuid::from_bytes([9; 16]), Uuid::ZERO] {
        unknown.topic_data[0].topic_id = id;
        let answer: ProduceResponse = client.ask((0, 13), &unknown).await;
        assert_eq!(codes(&answer), [(100, -1)]);
    }
}

#[tokio::test]
async fn a_batch_of_ten_megabytes_goes_in_and_comes_out_where_it_is_allowed() {
    let server = Server::start().await;
    server.create("orders", &[("max.message.bytes", "20000000")]).await;
    let mut client = server.connect().await;
    let value = "x".repeat(10 << 20);
    assert_eq!(client.produce(-1, &[(0, batch(&[&value]))]).await, [(0, 0)]);
    // Larger than both of the fetch's limits, and the first.
    let found = client.fetch(&fetch(&[(0, 0)])).await;
    assert_eq!(records(&found[0]), [(0, value)]);
}

#[tokio::test]
async fn an_append_that_is_not_safe_in_time_says_so_or_is_safe() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    let mut request = produce(-1, "orders", &[(0, batch(&["a"]))]);
    request.timeout_ms = 0;
    for round in 0..50 {
        let answer: ProduceResponse = client.ask(PRODUCE, &request).await;
        let outcome = codes(&answer)[0];
        assert!(outcome == (7, -1) || outcome == (0, round), "{outcome:?}");
    }
    // Whatever was told, all of them are there.
    assert_eq!(client.produce(-1, &[(0, batch(&["last"]))]).await, [(0, 50)]);
}
