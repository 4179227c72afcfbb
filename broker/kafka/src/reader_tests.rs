use super::*;

fn reader(bytes: &[u8], flexible: bool) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes), flexible)
}

#[test]
fn strings_bytes_and_arrays_are_read_in_both_forms() {
    let mut plain = reader(&[0, 2, b'm', b'e', 0xff, 0xff, 0, 0, 0, 1, 9, 0, 0, 0, 1, 7], false);
    assert_eq!(plain.string().unwrap().as_str(), "me");
    assert_eq!(plain.nullable_string(), Ok(None));
    assert_eq!(plain.nullable_bytes(), Ok(Some(Bytes::from_static(&[9]))));
    assert_eq!(plain.array(1), Ok(1));
    assert_eq!(plain.tags(), Ok(()));
    assert_eq!(plain.i8(), Ok(7));
    let mut flexible = reader(&[3, b'm', b'e', 0, 2, 9, 2, 7, 1, 0, 1, 5], true);
    assert_eq!(flexible.string().unwrap().as_str(), "me");
    assert_eq!(flexible.nullable_string(), Ok(None));
    assert_eq!(flexible.nullable_bytes(), Ok(Some(Bytes::from_static(&[9]))));
    assert_eq!(flexible.array(1), Ok(1));
    assert_eq!(flexible.i8(), Ok(7));
    assert_eq!(flexible.tags(), Ok(()));
    assert_eq!(flexible.i8(), Err(ReadError::Short));
}

#[test]
fn what_was_only_announced_is_refused() {
    let announced = i32::MAX.to_be_bytes();
    assert_eq!(reader(&announced, false).array(1), Err(ReadError::Short));
    assert_eq!(reader(&announced, false).nullable_bytes(), Err(ReadError::Short));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).array(1), Err(ReadError::Short));
    let (count, elements) = (100_001_i32.to_be_bytes(), vec![0; 100_001]);
    assert_eq!(reader(&[&count, &elements[..]].concat(), false).array(1), Err(ReadError::TooMany));
}

#[test]
fn broken_fields_are_refused() {
    assert_eq!(reader(&(-2_i32).to_be_bytes(), false).array(1), Err(ReadError::Length(-2)));
    assert_eq!(reader(&(-1_i32).to_be_bytes(), false).array(1), Err(ReadError::Null));
    assert_eq!(reader(&[0xff, 0xff], false).string(), Err(ReadError::Null));
    assert_eq!(reader(&[0, 1, 0xff], false).string(), Err(ReadError::Text));
    assert_eq!(reader(&[1, 0], true).tags(), Err(ReadError::Tags));
}
