//! Frames that are no requests: each closes its own connection, with a line in the log that names the peer.

use bytes::Bytes;
use kafka_wire::ApiVersionsResponse;
use tidelog_tests::kafka::{Api, decode};

use crate::peer::{API_VERSIONS, SOON, Target, announced, frame};

const METADATA: Api = Api::old(3, 1);
const METADATA_FLEXIBLE: Api = Api::flexible(3, 12);
const PRODUCE: Api = Api::old(0, 7);
const FETCH: Api = Api::old(1, 11);
const UNKNOWN: Api = Api::old(999, 0);
const TOO_NEW: Api = Api::old(3, 99);
const NEGATIVE: Api = Api::old(3, -1);

/// What is sent, and what the log says of it.
fn cases() -> Vec<(&'static str, Bytes, &'static str)> {
    let minus_two = (-2_i32).to_be_bytes();
    let many = i32::MAX.to_be_bytes();
    let endless = [0xff; 12];
    // A length beyond five bytes in the place of the topics' count.
    let metadata_varint = frame(METADATA_FLEXIBLE, &endless);
    // A count of which the last byte is missing.
    let cut_varint = frame(METADATA_FLEXIBLE, &[0x80]);
    let produce = |count: [u8; 4]| [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1][..], &count].concat();
    vec![
        ("garbage", Bytes::from_static(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"), "was announced"),
        ("a length of 2 GiB", announced(i32::MAX, b""), "kafka.request_bytes"),
        ("a negative length", announced(-1, b""), "kafka.request_bytes"),
        ("the least length there is", announced(i32::MIN, b""), "kafka.request_bytes"),
        ("a length of zero", announced(0, b""), "kafka.request_bytes"),
        ("no room for a header", announced(3, &[0, 3, 0]), "Kafka connection closed"),
        ("an unknown API", frame(UNKNOWN, b""), "999"),
        ("a version that is too new", frame(TOO_NEW, b""), "99"),
        ("a negative version", frame(NEGATIVE, b""), "-1"),
        ("a negative count", frame(METADATA, &minus_two), "Metadata"),
        ("a count of 2 billion", frame(METADATA, &many), "Metadata"),
        ("an endless varint", metadata_varint, "Metadata"),
        ("a truncated varint", cut_varint, "Metadata"),
        ("a negative count of topics to produce to", frame(PRODUCE, &produce(minus_two)), "Produce"),
        ("2 billion topics to produce to", frame(PRODUCE, &produce(many)), "Produce"),
        ("a fetch that ends early", frame(FETCH, &[0xff; 9]), "Fetch"),
    ]
}

#[tokio::test]
async fn broken_frames_close_their_connection_and_the_log_names_the_peer() {
    let target = Target::start(&[]).await.unwrap();
    let before = target.memory().unwrap();
    for (what, bytes, said) in cases() {
        let mut connection = target.connect().await.unwrap();
        let peer = connection.local_addr().unwrap().to_string();
        connection.send_bytes(&bytes).await.unwrap();
        connection.closed(SOON).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        target.logs(&[said, &peer]).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        target.serves_others().await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    }
    let grown = target.memory().unwrap().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_told_what_there_is() {
    let target = Target::start(&[]).await.unwrap();
    let mut connection = target.connect().await.unwrap();
    connection.send_bytes(&frame(Api::old(18, 99), b"")).await.unwrap();
    let (id, body) = connection.receive().await.unwrap();
    let answer: ApiVersionsResponse = decode(API_VERSIONS, body).unwrap();
    assert_eq!((id, answer.error_code), (7, 35));
    assert!(answer.api_keys.iter().any(|row| row.api_key == 18 && row.max_version < 99), "{answer:?}");
    // And may ask again on the same connection.
    crate::peer::asked(&mut connection).await.unwrap();
}
