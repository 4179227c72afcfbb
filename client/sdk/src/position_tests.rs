//! Which records a filter lets pass, and its wire form.

use super::*;

#[test]
fn a_record_passes_when_it_passes_every_part_that_is_set() {
    let headers =
        [(Bytes::from_static(b"type"), Some(Bytes::from_static(b"created"))), ("flag".into(), None)];
    let record = (Some(&b"order-17"[..]), Some(&b"{\"total\":3}"[..]));
    let cases = [
        (ReadFilter::new(), true),
        (ReadFilter::new().key_equals("order-17"), true),
        (ReadFilter::new().key_equals("order-1"), false),
        (ReadFilter::new().key_contains("er-1"), true),
        (ReadFilter::new().value_contains("total"), true),
        (ReadFilter::new().value_contains("sum"), false),
        (ReadFilter::new().has_header("flag"), true),
        (ReadFilter::new().has_header("colour"), false),
        (ReadFilter::new().header_equals("type", "created"), true),
        (ReadFilter::new().header_equals("type", "deleted"), false),
        (ReadFilter::new().header_equals("flag", ""), false),
        (ReadFilter::new().key_contains("order").value_contains("sum"), false),
    ];
    for (filter, passes) in cases {
        assert_eq!(filter.passes(record.0, record.1, &headers), passes, "{filter:?}");
    }
}

#[test]
fn what_is_absent_holds_nothing_and_equals_nothing() {
    assert!(!ReadFilter::new().key_equals("").passes(None, None, &[]));
    assert!(!ReadFilter::new().key_contains("").passes(None, None, &[]));
    assert!(!ReadFilter::new().value_contains("").passes(None, None, &[]));
    assert!(ReadFilter::new().key_contains("").passes(Some(b""), None, &[]));
}

#[test]
fn the_wire_form_says_whether_a_headers_value_matters() {
    assert!(ReadFilter::new().to_wire().is_none());
    let any = ReadFilter::new().has_header("type").to_wire().unwrap();
    assert!(any.header_any_value && any.header.unwrap().value.is_none());
    let equal = ReadFilter::new().header_equals("type", "created").to_wire().unwrap();
    assert!(!equal.header_any_value && equal.header.unwrap().value.is_some());
}
