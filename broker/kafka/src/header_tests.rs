use super::*;

fn bytes(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

#[test]
fn a_header_is_taken_apart() {
    let mut frame = bytes(&[&[0, 18, 0, 4, 0, 0, 0, 7], &[0, 2], b"me", &[1, 0, 1, 9], b"rest"]);
    let head = take_head(&mut frame).unwrap();
    assert_eq!(head, RequestHead { api_key: 18, api_version: 4, correlation_id: 7 });
    assert_eq!(take_client_id(&mut frame, true).unwrap(), "me");
    assert_eq!(&frame[..], b"rest");
}

#[test]
fn a_null_client_id_is_an_empty_one() {
    assert_eq!(take_client_id(&mut bytes(&[&[0xff, 0xff]]), false), Ok(String::new()));
}

#[test]
fn every_broken_header_is_refused() {
    assert_eq!(take_head(&mut bytes(&[&[0; 7]])), Err(HeaderError::Short));
    assert_eq!(take_client_id(&mut bytes(&[&[0, 3], b"me"]), false), Err(HeaderError::Short));
    assert_eq!(take_client_id(&mut bytes(&[&[0xff, 0xfe]]), false), Err(HeaderError::ClientIdLength(-2)));
    assert_eq!(take_client_id(&mut bytes(&[&[0, 1, 0xff]]), false), Err(HeaderError::ClientIdText));
    for tags in [&[][..], &[1], &[1, 0], &[1, 0, 5, 0], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80; 6]] {
        assert_eq!(take_client_id(&mut bytes(&[&[0, 0], tags]), true), Err(HeaderError::Tags), "{tags:?}");
    }
}

#[test]
fn varints_have_32_bits() {
    assert_eq!(take_unsigned_varint(&mut bytes(&[&[0xff, 0xff, 0xff, 0xff, 0x0f]])), Some(u32::MAX));
    assert_eq!(take_unsigned_varint(&mut bytes(&[&[0xff, 0xff, 0xff, 0xff, 0x1f]])), None);
    assert_eq!(take_unsigned_varint(&mut bytes(&[&[0x80, 0x01]])), Some(128));
}
