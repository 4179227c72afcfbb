use super::*;

#[test]
fn assignments_of_kafkas_consumers_are_understood_and_others_are_not() {
    let bytes: &[u8] = &[0, 3, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0];
    let place = |partition| v1::TopicPartition { topic: "t".to_owned(), partition };
    assert_eq!(assignment(Bytes::copy_from_slice(bytes)), Some(vec![place(0), place(5)]));
    assert_eq!(assignment(Bytes::from_static(&[0, 0, 0, 0, 0, 0])), Some(Vec::new()));
    for end in 0..21 {
        assert_eq!(assignment(Bytes::copy_from_slice(&bytes[..end])), None, "{end} bytes");
    }
    assert_eq!(assignment(Bytes::from_static(b"{\"connect\": true}")), None);
}
