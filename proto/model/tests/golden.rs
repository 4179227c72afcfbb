//! Batches of an independent implementation are read to their records, and built again byte for byte.
//!
//! `golden/README.md` says who wrote them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use bytes::Bytes;
use tidelog_model::batch::{BatchBuilder, BatchRules, Compression, HeaderRef, RecordBatch};
use tidelog_model::record::Record;
use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

const START: i64 = 1_700_000_000_000;

type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// The records that `golden/make.py` wrote.
fn records() -> Vec<Parts> {
    let header = |key: &str, value: Option<&[u8]>| (key.as_bytes().to_vec(), value.map(<[u8]>::to_vec));
    let mut all = vec![
        (START, None, None, vec![]),
        (START + 5, Some(vec![]), Some(vec![]), vec![header("", None)]),
        (
            START - 3,
            Some(b"key".to_vec()),
            Some(b"value".to_vec()),
            vec![header("h", Some(b"1")), header("h", None), header("\u{e9}", Some(&[0, 0xff]))],
        ),
    ];
    for number in 0..200 {
        let key = format!("aircraft-{}", number % 7).into_bytes();
        all.push((START + number, Some(key), Some(vec![b'x'; usize::try_from(number).unwrap()]), vec![]));
    }
    all
}

/// The records of `golden/extremes.bin`.
fn extremes() -> Vec<Parts> {
    [0, 1 << 62, -1].map(|timestamp| (timestamp, None, Some(vec![]), vec![])).to_vec()
}

fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/golden/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect(&path).into()
}

fn expected(parts: Vec<Parts>) -> Vec<Record> {
    let record = |(offset, (timestamp, key, value, headers)): (i64, Parts)| Record {
        offset: Offset::new(offset).unwrap(),
        timestamp: Timestamp::from_millis(timestamp),
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: headers.into_iter().map(|(key, value)| (key.into(), value.map(Into::into))).collect(),
    };
    (0..).zip(parts).map(record).collect()
}

/// The batch of `parts` as our builder makes it, with the leader epoch 0 that kafka-python writes.
fn built(mut builder: BatchBuilder, parts: &[Parts]) -> Bytes {
    for (timestamp, key, value, headers) in parts {
        let headers: Vec<HeaderRef<'_>> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
        builder.append(Timestamp::from_millis(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().unwrap().assign(Offset::ZERO, LeaderEpoch::new(0).unwrap()).to_bytes()
}

#[test]
fn every_codec_of_kafka_python_is_read_to_the_same_records() {
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("snappy-raw", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
        ("idempotent", Compression::None),
        ("transactional", Compression::None),
    ];
    for (name, codec) in codecs {
        let batch = RecordBatch::validate(golden(name), &BatchRules::default()).expect(name);
        assert_eq!(batch.header().compression(), Some(codec), "{name}");
        let read: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
        assert_eq!(read, expected(records()), "{name}");
        assert_eq!(batch.header().max_timestamp.millis(), START + 199, "{name}");
    }
}

#[test]
fn the_producers_fields_are_read() {
    let batch = RecordBatch::validate(golden("transactional"), &BatchRules::default()).unwrap();
    let header = batch.header();
    assert!(header.is_transactional());
    assert_eq!(header.producer_id, ProducerId(4711));
    assert_eq!((header.producer_epoch, header.base_sequence), (ProducerEpoch(3), Sequence(100)));
}

#[test]
fn batches_without_compression_are_built_byte_for_byte() {
    let plain = || BatchBuilder::new(Compression::None, 0);
    assert_eq!(built(plain(), &records()), golden("none"));
    assert_eq!(built(plain(), &extremes()), golden("extremes"));
    let idempotent = plain().producer(ProducerId(4711), ProducerEpoch(3), Sequence(100));
    assert_eq!(built(idempotent, &records()), golden("idempotent"));
}

#[test]
fn timestamps_far_apart_are_read() {
    let batch = RecordBatch::validate(golden("extremes"), &BatchRules::default()).unwrap();
    let read: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, expected(extremes()));
}
