use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::super::builder::tests::{build, parts};
use super::super::{CompressionError, HeaderError};
use super::*;
use crate::error_code::ErrorCode;
use crate::record::RecordError;
use crate::varint;

fn rules() -> BatchRules {
    BatchRules::default()
}

fn one(key: Option<&[u8]>) -> BytesMut {
    let mut builder = super::super::BatchBuilder::new(Compression::None, 0);
    builder.append(Timestamp::from_millis(5), key, Some(b"value"), &[]);
    BytesMut::from(builder.build().unwrap().bytes().as_ref())
}

/// One valid batch with `change` made to its header, checksummed again.
fn changed(change: impl FnOnce(&mut BatchHeader)) -> BatchError {
    let mut bytes = one(None);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    seal(&mut bytes, header);
    RecordBatch::validate(bytes.freeze(), &rules()).unwrap_err()
}

/// Whether `bytes` are refused, or validated and then read to their last record.
fn readable(bytes: Bytes) -> bool {
    let Ok(batch) = RecordBatch::validate(bytes, &rules()) else { return true };
    let count = usize::try_from(batch.header().record_count).unwrap();
    batch.records().unwrap().filter(Result::is_ok).count() == count
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        prop_assert!(readable(bytes.clone()));
        prop_assert!(RecordBatch::split(bytes).count() <= 2);
    }

    #[test]
    fn random_records_under_a_right_checksum_never_panic(
        records: Vec<u8>, count in 0_i32..5, codec in 0_i16..8
    ) {
        let mut bytes = BytesMut::zeroed(BATCH_OVERHEAD);
        bytes.extend_from_slice(&records);
        let template = BatchHeader::parse(&one(None)).unwrap();
        let header = BatchHeader {
            record_count: count, last_offset_delta: (count - 1).max(0), attributes: codec, ..template
        };
        seal(&mut bytes, header);
        let bytes = bytes.freeze();
        prop_assert!(readable(bytes.clone()));
        if let Ok(batch) = RecordBatch::from_log(bytes)
            && let Ok(records) = batch.records()
        {
            prop_assert!(records.count() <= 5);
        }
    }

    #[test]
    fn any_flipped_bit_is_refused(parts in parts(), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = BytesMut::from(build(&parts, Compression::None).bytes().as_ref());
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let refused = RecordBatch::validate(bytes.freeze(), &rules());
        // The leader epoch is stamped over by the partition, so its value at the door does not matter.
        prop_assert_eq!(refused.is_ok(), (12..16).contains(&at));
    }

    #[test]
    fn a_cut_off_batch_is_refused(parts in parts(), codec in 0_i16..5) {
        let bytes = build(&parts, Compression::from_id(codec).unwrap()).into_bytes();
        for end in 0..bytes.len() {
            prop_assert!(RecordBatch::validate(bytes.slice(..end), &rules()).is_err());
        }
    }

    #[test]
    fn concatenated_batches_are_split_again(all in prop::collection::vec(parts(), 0..5)) {
        let batches: Vec<Bytes> = all.iter().map(|p| build(p, Compression::Lz4).into_bytes()).collect();
        let split: Vec<Bytes> =
            RecordBatch::split(batches.concat().into()).map(|b| b.unwrap().into_bytes()).collect();
        prop_assert_eq!(split, batches);
    }
}

#[test]
fn each_broken_rule_of_the_header_is_named() {
    assert!(matches!(changed(|h| h.record_count = 2), BatchError::Count { count: 2, .. }));
    assert!(matches!(changed(|h| h.record_count = 0), BatchError::Count { .. }));
    assert!(matches!(changed(|h| h.record_count = -1), BatchError::Count { .. }));
    assert!(matches!(changed(|h| h.record_count = i32::MAX), BatchError::Count { .. }));
    assert!(matches!(changed(|h| h.last_offset_delta = 3), BatchError::Count { .. }));
    let most = limits::RECORDS_PER_BATCH_MAX;
    let many = changed(|h| (h.record_count, h.last_offset_delta) = (most + 1, most));
    assert_eq!(many, BatchError::TooManyRecords { limit: most, actual: most + 1 });
    assert!(matches!(changed(|h| h.base_offset = Offset::new(9).unwrap()), BatchError::BaseOffset { .. }));
    for id in 5..8 {
        assert_eq!(changed(|h| h.attributes = id), BatchError::Codec { id });
    }
    assert_eq!(changed(|h| h.attributes = 0x80), BatchError::Attributes { bits: 0x80 });
    assert_eq!(changed(|h| h.attributes = 0x20), BatchError::Control);
    assert_eq!(changed(|h| h.attributes = 0x40), BatchError::DeleteHorizon);
    assert_eq!(changed(|h| h.attributes = 0x08), BatchError::TimestampType);
    assert!(matches!(changed(|h| h.attributes = 0x10), BatchError::Producer { .. }));
    assert!(matches!(changed(|h| h.producer_id = ProducerId(4)), BatchError::Producer { .. }));
    assert!(matches!(changed(|h| h.producer_id = ProducerId(-2)), BatchError::Producer { .. }));
    assert!(matches!(changed(|h| h.attributes = 1), BatchError::Compression(_)));
}

/// One uncompressed batch that says it has `count` records and holds `records`, checksummed.
fn holding(count: i32, records: &[u8]) -> Result<RecordBatch, BatchError> {
    let mut bytes = one(None);
    let template = BatchHeader::parse(&bytes).unwrap();
    bytes.truncate(BATCH_OVERHEAD);
    bytes.put_slice(records);
    seal(&mut bytes, BatchHeader { record_count: count, last_offset_delta: count - 1, ..template });
    RecordBatch::validate(bytes.freeze(), &rules())
}

/// A record with the given body after its attributes, framed by its right length.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put_i32(&mut out, i32::try_from(body.len() + 1).unwrap());
    out.push(0);
    out.extend_from_slice(body);
    out
}

/// A record without key, value and headers at offset delta `delta`.
fn bare(delta: u8) -> Vec<u8> {
    framed(&[0, delta * 2, 1, 1, 0])
}

#[test]
fn each_broken_rule_of_the_records_is_named() {
    let refused = |count, records: &[u8]| match holding(count, records).unwrap_err() {
        BatchError::Record(error) => error,
        other => panic!("{other}"),
    };
    let field = |field| RecordError::Field { index: 0, field };
    assert!(holding(2, &[bare(0), bare(1)].concat()).is_ok());
    assert_eq!(refused(2, &bare(0)), RecordError::Missing { stated: 2, actual: 1 });
    let wide = framed(&[0, 0, 1, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]);
    assert_eq!(refused(2, &wide), RecordError::Missing { stated: 2, actual: 1 });
    assert_eq!(refused(1, &[bare(0), vec![9]].concat()), RecordError::Trailing { extra: 1 });
    let gap = RecordError::OffsetDelta { index: 1, expected: 1, actual: 2 };
    assert_eq!(refused(2, &[bare(0), bare(2)].concat()), gap);
    let long = RecordError::Length { index: 0, length: 63, available: 6 };
    assert_eq!(refused(1, &[126, 0, 0, 0, 1, 1, 0]), long);
    assert!(matches!(refused(1, &[1, 0, 0, 0, 1, 1, 0]), RecordError::Length { length: -1, .. }));
    assert_eq!(refused(1, &[0x80; 9]), field("length"));
    assert_eq!(refused(1, &[0; 7]), field("attributes"));
    assert_eq!(refused(1, &framed(&[0, 0, 3, 1, 0])), field("key"));
    assert_eq!(refused(1, &framed(&[0, 0, 1, 60, 0])), field("value"));
    assert_eq!(refused(1, &framed(&[0, 0, 1, 1, 1])), field("header count"));
    assert_eq!(refused(1, &framed(&[0, 0, 1, 1, 2, 1, 1])), field("header key"));
    assert_eq!(refused(1, &framed(&[0, 0, 1, 1, 2, 0, 4])), field("header value"));
    assert_eq!(refused(1, &framed(&[0, 0, 1, 1, 0, 7])), RecordError::Slack { index: 0, extra: 1 });
    let mut many = vec![0, 0, 1, 1];
    varint::put_i32(&mut many, 1001);
    many.resize(many.len() + 2002, 0);
    let refused = refused(1, &framed(&many));
    assert_eq!(refused, RecordError::HeaderCount { index: 0, limit: 1000, actual: 1001 });
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    let mut bytes = one(None);
    let header = BatchHeader::parse(&bytes).unwrap();
    seal(&mut bytes, BatchHeader { max_timestamp: Timestamp::from_millis(6), ..header });
    let batch = RecordBatch::validate(bytes.freeze(), &rules()).unwrap();
    assert_eq!(batch.bytes().as_ref(), one(None).as_ref());
    assert_eq!(batch.header().max_timestamp, Timestamp::from_millis(5));
}

#[test]
fn values_that_clients_leave_in_unused_producer_fields_are_let_through() {
    let mut bytes = one(None);
    let header = BatchHeader::parse(&bytes).unwrap();
    seal(&mut bytes, BatchHeader { base_sequence: crate::ids::Sequence(0), ..header });
    assert!(RecordBatch::validate(bytes.freeze(), &rules()).is_ok());
}

#[test]
fn a_batch_that_unfolds_beyond_the_limit_is_refused() {
    let mut bytes = one(None);
    let header = BatchHeader::parse(&bytes).unwrap().with_compression(Compression::Zstd);
    bytes.truncate(BATCH_OVERHEAD);
    let limit = limits::UNCOMPRESSED_BATCH_BYTES_MAX;
    let mut body = vec![0, 0, 1];
    varint::put_i32(&mut body, i32::try_from(limit).unwrap());
    body.resize(body.len() + limit + 1, 0);
    bytes.put_slice(&Compression::Zstd.compress(&framed(&body)).unwrap());
    seal(&mut bytes, header);
    let refused = RecordBatch::validate(bytes.freeze(), &rules()).unwrap_err();
    assert_eq!(refused, CompressionError::TooLarge { codec: "zstd", limit }.into());
    assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn the_limit_is_named_with_the_size_found() {
    let bytes = one(None).freeze();
    let small = BatchRules { batch_bytes_max: 20, ..rules() };
    let refused = RecordBatch::validate(bytes.clone(), &small).unwrap_err();
    assert_eq!(refused.limit(), Some((20, i64::try_from(bytes.len()).unwrap())));
    assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn compacted_topics_ask_for_keys() {
    let keyed = BatchRules { key_required: true, ..rules() };
    let refused = RecordBatch::validate(one(None).freeze(), &keyed).unwrap_err();
    assert_eq!(refused, BatchError::Record(RecordError::KeyMissing { index: 0 }));
    assert!(RecordBatch::validate(one(Some(b"")).freeze(), &keyed).is_ok());
}

#[test]
fn other_magics_and_two_batches_at_once_are_refused() {
    let mut old = one(None);
    old[16] = 1;
    let refused = RecordBatch::validate(old.freeze(), &rules()).unwrap_err();
    assert_eq!(refused, BatchError::Header(HeaderError::Magic { magic: 1 }));
    let mut two = one(None);
    two.extend_from_slice(&one(None));
    assert!(matches!(RecordBatch::validate(two.freeze(), &rules()), Err(BatchError::Length { .. })));
}

#[test]
fn log_append_time_is_the_timestamp_of_every_record() {
    let batch = RecordBatch::validate(one(None).freeze(), &rules()).unwrap();
    let now = Timestamp::from_millis(77);
    let stamped = RecordBatch::from_log(batch.with_log_append_time(now).into_bytes()).unwrap();
    assert!(stamped.header().is_log_append_time());
    let timestamps: Vec<Timestamp> = stamped.records().unwrap().map(|r| r.unwrap().timestamp).collect();
    assert_eq!(timestamps, [now]);
}

#[test]
fn assigning_leaves_the_rest_of_the_bytes_where_they_are() {
    let batch = RecordBatch::validate(one(None).freeze(), &rules()).unwrap();
    let before = batch.bytes().clone();
    let assigned = batch.assign(Offset::new(42).unwrap(), crate::ids::LeaderEpoch::new(7).unwrap());
    assert_eq!(assigned.rest().as_ptr(), before[16..].as_ptr());
    let read = RecordBatch::from_log(assigned.to_bytes()).unwrap();
    assert_eq!(read.header(), assigned.header());
    assert_eq!((read.header().base_offset.get(), read.header().leader_epoch), (42, 7));
}
