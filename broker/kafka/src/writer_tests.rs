use bytes::{Buf, Bytes};

use super::*;
use crate::response::tests::{bytes_of, gathered};

fn in_memory(bytes: &'static [u8]) -> Records {
    Records::Bytes(Bytes::from_static(bytes), None)
}

fn written(flexible: bool, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(8, flexible);
    write(&mut writer);
    bytes_of(writer.into_response()).to_vec()
}

#[test]
fn fields_have_a_plain_and_a_flexible_form() {
    let fields = |writer: &mut Writer| {
        writer.string("me");
        writer.nullable_string(None);
        writer.array(3);
        writer.null_array();
        writer.records(vec![in_memory(b"ab"), in_memory(b"c")]);
        writer.tags();
    };
    let plain =
        [0, 2, b'm', b'e', 0xff, 0xff, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, b'a', b'b', b'c'];
    assert_eq!(written(false, fields), plain);
    assert_eq!(written(true, fields), [3, b'm', b'e', 0, 4, 0, 4, b'a', b'b', b'c', 0]);
    assert_eq!(written(true, |writer| writer.array(127)), [0x80, 0x01]);
    assert_eq!(written(true, |writer| writer.tag(200, &[7])), [1, 0xc8, 0x01, 1, 7]);
}

#[test]
fn records_are_not_copied() {
    let records = Bytes::from_static(b"records");
    let mut writer = Writer::new(8, true);
    writer.records(vec![Records::Bytes(records.clone(), None)]);
    let mut gathered = gathered(writer.into_response());
    gathered.advance(1);
    assert_eq!(gathered.chunk().as_ptr(), records.as_ptr());
}

#[test]
fn a_text_that_is_too_long_is_cut_at_a_character() {
    let text = "ä".repeat(20_000);
    let bytes = written(false, |writer| writer.string(&text));
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    assert_eq!((length, bytes.len()), (32_766, 32_768));
    assert!(std::str::from_utf8(&bytes[2..]).is_ok());
}
