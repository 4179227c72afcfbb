use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn encoded_i32(value: i32) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_i32(&mut out, value);
    out.to_vec()
}

fn encoded_i64(value: i64) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_i64(&mut out, value);
    out.to_vec()
}

#[test]
fn known_values_have_kafkas_bytes() {
    // From Kafka's ByteUtilsTest.
    let cases: [(i32, &[u8]); 10] = [
        (0, &[0x00]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (-65, &[0x81, 0x01]),
        (8191, &[0xfe, 0x7f]),
        (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded_i32(value), bytes);
        assert_eq!(read_i32(&mut &*bytes), Ok(value));
        assert_eq!(size_i32(value), bytes.len());
    }
    let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(encoded_i64(i64::MIN), longest);
    assert_eq!(read_i64(&mut longest.as_slice()), Ok(i64::MIN));
}

#[test]
fn integers_that_do_not_fit_are_refused() {
    let cases: [&[u8]; 3] = [
        &[0xff, 0xff, 0xff, 0xff, 0x1f],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    ];
    for bytes in cases {
        assert_eq!(read_i32(&mut &*bytes), Err(VarintError::Overlong), "{bytes:02x?}");
    }
    let cases: [&[u8]; 2] = [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
    ];
    for bytes in cases {
        assert_eq!(read_i64(&mut &*bytes), Err(VarintError::Overlong), "{bytes:02x?}");
    }
}

#[test]
fn a_longer_encoding_than_needed_is_read_as_kafka_reads_it() {
    assert_eq!(read_i32(&mut [0x80, 0x80, 0x00].as_slice()), Ok(0));
}

#[test]
fn the_end_of_the_bytes_inside_an_integer_is_named_and_takes_nothing() {
    for bytes in [&[][..], &[0x80], &[0xff, 0xff, 0xff, 0xff]] {
        let mut input = bytes;
        assert_eq!(read_i32(&mut input), Err(VarintError::Truncated));
        assert_eq!(input, bytes);
    }
}

proptest! {
    #[test]
    fn every_i32_comes_back_and_leaves_what_follows(value: i32, tail in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut bytes = encoded_i32(value);
        prop_assert_eq!(bytes.len(), size_i32(value));
        bytes.extend_from_slice(&tail);
        let mut input = bytes.as_slice();
        prop_assert_eq!(read_i32(&mut input), Ok(value));
        prop_assert_eq!(input, tail);
    }

    #[test]
    fn every_i64_comes_back_and_leaves_what_follows(value: i64, tail in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut bytes = encoded_i64(value);
        prop_assert_eq!(bytes.len(), size_i64(value));
        bytes.extend_from_slice(&tail);
        let mut input = bytes.as_slice();
        prop_assert_eq!(read_i64(&mut input), Ok(value));
        prop_assert_eq!(input, tail);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        let mut input = bytes.as_slice();
        match read_i32(&mut input) {
            Ok(_) => prop_assert!(bytes.len() - input.len() <= VARINT_BYTES_MAX),
            Err(_) => prop_assert_eq!(input.len(), bytes.len()),
        }
        let mut input = bytes.as_slice();
        match read_i64(&mut input) {
            Ok(_) => prop_assert!(bytes.len() - input.len() <= VARLONG_BYTES_MAX),
            Err(_) => prop_assert_eq!(input.len(), bytes.len()),
        }
    }
}
