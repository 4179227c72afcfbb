use bytes::Bytes;
use kafka_wire::MetadataRequest;

use super::decode;

/// As librdkafka 2.x sends it: it leaves room for a count of four bytes and then writes one of a single byte.
#[test]
fn librdkafkas_request_for_all_topics_is_understood() {
    let body = Bytes::from_static(&[0, 0, 0, 0, 1, 1, 0]);
    let request: MetadataRequest = decode(body, 13).unwrap();
    assert_eq!(request.topics, None);
}

#[test]
fn a_body_that_ends_early_is_refused() {
    let body = Bytes::from_static(&[0, 0]);
    assert!(decode::<MetadataRequest>(body, 13).is_err());
}
