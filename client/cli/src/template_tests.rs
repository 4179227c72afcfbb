use proptest::prelude::*;
use tidelog_client::{Bytes, Offset, PartitionIndex, Timestamp, TopicName};

use super::*;

fn written(format: &str) -> Vec<u8> {
    let record = ConsumerRecord {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::new(3).unwrap(),
        offset: Offset::new(1201).unwrap(),
        timestamp: Timestamp::from_millis(1_764_000_000_123),
        key: None,
        value: Some(Bytes::from_static(b"a\"\xff")),
        headers: vec![(Bytes::from("h"), Some(Bytes::from("1"))), (Bytes::from("i"), None)],
        leader_epoch: 0,
    };
    let mut out = Vec::new();
    Template::parse(format).unwrap().write(&record, &mut out);
    out
}

#[test]
fn every_letter_writes_its_part() {
    assert_eq!(written(r"%t-%p@%o\n"), b"orders-3@1201\n");
    assert_eq!(written("%d %T"), b"2025-11-24T16:00:00.123Z 1764000000123");
    assert_eq!(written("[%k] %K %V %S"), b"[] -1 3 3");
    assert_eq!(written("%v|%s"), b"a\"\xff|a\"\xff");
    assert_eq!(written("%h"), b"h=1,i=");
    assert_eq!(written("%v{hex} %v{base64} %k{hex}."), b"6122ff YSL/ .");
    assert_eq!(written("%v{json} %k{json}"), br#"{"base64":"YSL/"} null"#);
}

#[test]
fn escapes_percent_signs_and_other_braces_are_text() {
    assert_eq!(written(r"%%\t\x00\x7e\0\\\r"), b"%\t\0~\0\\\r");
    assert_eq!(written("{%p} %v{} ä"), b"{3} a\"\xff{} \xc3\xa4");
}

#[test]
fn what_stands_for_nothing_is_refused() {
    for (format, error) in [
        ("%y", TemplateError::Letter('y')),
        ("100%", TemplateError::Lone),
        (r"\q", TemplateError::Escape("q".to_owned())),
        (r"\", TemplateError::Escape(String::new())),
        (r"\x1", TemplateError::Escape("x".to_owned())),
        (r"\xé0", TemplateError::Escape("x".to_owned())),
        ("%v{rot13}", TemplateError::Encoding("rot13".to_owned())),
    ] {
        assert_eq!(Template::parse(format), Err(error), "{format}");
    }
}

proptest! {
    #[test]
    fn any_format_is_read_or_refused(format: String) {
        drop(Template::parse(&format));
    }
}
