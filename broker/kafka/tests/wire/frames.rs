//! What clients get that break the protocol, or only half keep it.

use std::time::Duration;

use tidelog_kafka::{KafkaOptions, RequestEnd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{PRODUCE, SOON, Server, batch, decode, frame, produce};

/// A frame around these bytes.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [&i32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_cut_off_and_nobody_else() {
    let options = KafkaOptions { request_bytes_max: 1 << 20, ..KafkaOptions::default() };
    let server = Server::with(options).await;
    server.create("orders", &[]).await;
    let mut healthy = server.connect().await;
    assert_eq!(healthy.produce(-1, &[(0, batch(&["a"]))]).await, [(0, 0)]);
    let oversize = ((1 << 20) + 1_i32).to_be_bytes();
    let array_bomb =
        [&[0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 9][..], &[0x7f; 4]].concat();
    let broken: [&[u8]; 8] = [
        &oversize,
        &(-1_i32).to_be_bytes(),
        &i32::MIN.to_be_bytes(),
        &0_i32.to_be_bytes(),
        b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
        &framed(&[0, 99, 0, 0, 0, 0, 0, 1, 0, 0]),
        &framed(&[0, 0, 0, 99, 0, 0, 0, 1, 0, 0]),
        &framed(&array_bomb),
    ];
    for (count, bytes) in (1..).zip(broken) {
        let mut client = server.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        client.closed().await;
        assert_eq!(server.stats.broken(), count, "{bytes:?}");
    }
    assert_eq!(healthy.produce(-1, &[(0, batch(&["b"]))]).await, [(0, 1)]);
    // Of an API that does not exist nothing is counted but the connection.
    let (_, produced) = server.stats.apis().find(|(api, _)| api.name == "Produce").unwrap();
    let ends = RequestEnd::ALL.map(|end| produced.ended(end));
    assert_eq!((ends, produced.in_flight()), ([2, 2, 0], 0));
    let (counts, seconds) = produced.durations();
    assert_eq!(counts.iter().sum::<u64>(), 4);
    assert!(seconds > 0.0);
}

#[tokio::test]
async fn a_client_that_goes_away_inside_a_frame_leaves_nothing_behind() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let request = frame(PRODUCE, 1, &produce(-1, "orders", &[(0, batch(&["lost"]))]));
    for cut in [2, 4, 20, request.len() - 1] {
        let mut client = server.connect().await;
        client.stream.write_all(&request[..cut]).await.unwrap();
        drop(client);
    }
    let mut client = server.connect().await;
    assert_eq!(client.produce(-1, &[(0, batch(&["a"]))]).await, [(0, 0)]);
    drop(client);
    let gone = async {
        while server.stats.open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_answered() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    for byte in frame(PRODUCE, 5, &produce(-1, "orders", &[(0, batch(&["a"]))])) {
        client.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let (id, _) = client.receive().await;
    assert_eq!(id, 5);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let options = KafkaOptions { idle_max: Duration::from_millis(50), ..KafkaOptions::default() };
    let server = Server::with(options).await;
    let mut client = server.connect().await;
    client.closed().await;
    let mut half = server.connect().await;
    half.stream.write_all(&[0, 0]).await.unwrap();
    half.closed().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let options = KafkaOptions { connections_max: 1, ..KafkaOptions::default() };
    let server = Server::with(options).await;
    server.create("orders", &[]).await;
    let mut first = server.connect().await;
    assert_eq!(first.produce(1, &[(0, batch(&["a"]))]).await, [(0, 0)]);
    server.connect().await.closed().await;
    assert_eq!(first.produce(1, &[(0, batch(&["b"]))]).await, [(0, 1)]);
}

#[tokio::test]
async fn what_was_begun_is_answered_when_the_broker_stops() {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    // An answer shows that the connection is served.
    client.produce(1, &[(0, batch(&["a"]))]).await;
    client.send(crate::client::FETCH, 8, &crate::client::fetch(&[(0, 1)])).await;
    let begun = async {
        while server.stats.requests() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, begun).await.unwrap();
    server.drain.cancel();
    let (id, body) = client.receive().await;
    assert_eq!(id, 8);
    let answer: kafka_wire::FetchResponse = decode(crate::client::FETCH, body);
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
}
