//! A batch is skipped only when none of its records matches.

use bytes::{Bytes, BytesMut};
use tidelog_model::Timestamp;
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_proto::v1::{Header, ReadFilter};

use super::Filter;

type Headers<'a> = &'a [(&'a [u8], Option<&'a [u8]>)];

fn batch(compression: Compression, records: &[(Option<&str>, Option<&str>, Headers<'_>)]) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1024);
    for (key, value, headers) in records {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        builder.append(Timestamp::from_millis(1), key, value, headers);
    }
    builder.build().unwrap().into_bytes()
}

/// Whether one batch of one record passes, plain and compressed.
fn passes(filter: &ReadFilter, record: (Option<&str>, Option<&str>, Headers<'_>)) -> bool {
    let filter = Filter::new(filter.clone(), 1024).unwrap().expect("the filter filters");
    let mut verdicts = [Compression::None, Compression::Zstd].into_iter().map(|compression| {
        let bytes = batch(compression, &[record]);
        let kept = filter.apply(&bytes);
        assert!(kept.is_empty() || kept == bytes, "batches are kept whole");
        !kept.is_empty()
    });
    let (plain, packed) = (verdicts.next().unwrap(), verdicts.next().unwrap());
    assert_eq!(plain, packed, "compression changes nothing");
    plain
}

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn each_part_asks_its_own_field() {
    let key = ReadFilter { key_equals: bytes("abc"), ..ReadFilter::default() };
    assert!(passes(&key, (Some("abc"), None, &[])));
    assert!(!passes(&key, (Some("abcd"), Some("abc"), &[])));
    assert!(!passes(&key, (None, Some("abc"), &[])));
    let part = ReadFilter { key_contains: bytes("b"), ..ReadFilter::default() };
    assert!(passes(&part, (Some("abc"), None, &[])));
    assert!(!passes(&part, (Some("ac"), Some("b"), &[])));
    let value = ReadFilter { value_contains: bytes("needle"), ..ReadFilter::default() };
    assert!(passes(&value, (None, Some("hay needle hay"), &[])));
    assert!(!passes(&value, (Some("needle"), Some("hay"), &[])));
    assert!(!passes(&value, (Some("needle"), None, &[])));
}

#[test]
fn an_empty_part_is_not_an_absent_one() {
    let empty_key = ReadFilter { key_equals: bytes(""), ..ReadFilter::default() };
    assert!(passes(&empty_key, (Some(""), None, &[])));
    assert!(!passes(&empty_key, (None, None, &[])));
    assert!(!passes(&empty_key, (Some("a"), None, &[])));
    let some_value = ReadFilter { value_contains: bytes(""), ..ReadFilter::default() };
    assert!(passes(&some_value, (None, Some("x"), &[])));
    assert!(!passes(&some_value, (None, None, &[])));
}

#[test]
fn headers_match_by_key_and_value() {
    let header = |value: Option<Bytes>, any| ReadFilter {
        header: Some(Header { key: Bytes::from_static(b"k"), value }),
        header_any_value: any,
        ..ReadFilter::default()
    };
    let v: Headers<'_> = &[(b"x", Some(b"v")), (b"k", Some(b"v"))];
    let other: Headers<'_> = &[(b"k", Some(b"w")), (b"x", Some(b"v"))];
    let null: Headers<'_> = &[(b"k", None)];
    assert!(passes(&header(bytes("v"), false), (None, None, v)));
    assert!(!passes(&header(bytes("v"), false), (None, None, other)));
    assert!(passes(&header(None, true), (None, None, other)));
    assert!(passes(&header(None, true), (None, None, null)));
    assert!(passes(&header(None, false), (None, None, null)));
    assert!(!passes(&header(None, false), (None, None, v)));
    assert!(!passes(&header(None, true), (None, Some("k"), &[])));
}

#[test]
fn all_parts_must_hold_for_the_same_record() {
    let both = ReadFilter { key_equals: bytes("a"), value_contains: bytes("1"), ..ReadFilter::default() };
    let filter = Filter::new(both, 1024).unwrap().unwrap();
    for compression in [Compression::None, Compression::Lz4] {
        let apart = batch(compression, &[(Some("a"), Some("2"), &[]), (Some("b"), Some("1"), &[])]);
        assert!(filter.apply(&apart).is_empty());
        let together = batch(compression, &[(Some("b"), Some("1"), &[]), (Some("a"), Some("1"), &[])]);
        assert_eq!(filter.apply(&together), together);
    }
}

#[test]
fn kept_batches_keep_their_order_and_bytes() {
    let filter = ReadFilter { value_contains: bytes("keep"), ..ReadFilter::default() };
    let filter = Filter::new(filter, 1024).unwrap().unwrap();
    let keep = |text: &str| batch(Compression::None, &[(None, Some(text), &[])]);
    let parts = [keep("keep 1"), keep("drop"), keep("keep 2"), keep("drop")];
    let mut all = BytesMut::new();
    parts.iter().for_each(|part| all.extend_from_slice(part));
    let kept = filter.apply(&all.freeze());
    assert_eq!(kept, [parts[0].clone(), parts[2].clone()].concat());
}

#[test]
fn what_cannot_be_read_is_passed_on() {
    let filter = ReadFilter { value_contains: bytes("needle"), ..ReadFilter::default() };
    let filter = Filter::new(filter, 1024).unwrap().unwrap();
    let good = batch(Compression::None, &[(None, Some("hay"), &[])]);
    let mut broken = BytesMut::from(&good[..]);
    broken[70] ^= 1;
    let all = Bytes::from([&good[..], &broken[..], &good[..]].concat());
    assert_eq!(filter.apply(&all), all.slice(good.len()..), "from the broken batch on");
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    assert!(Filter::new(ReadFilter::default(), 1024).unwrap().is_none(), "no part, no filter");
    let any = ReadFilter { header_any_value: true, ..ReadFilter::default() };
    assert_eq!(Filter::new(any, 1024).unwrap_err().field, Some("filter"));
    let long = ReadFilter { value_contains: bytes("12345"), ..ReadFilter::default() };
    let error = Filter::new(long, 4).unwrap_err();
    assert_eq!((error.field, error.limit, error.actual), (Some("filter.value_contains"), Some(4), Some(5)));
}
