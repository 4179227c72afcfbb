use proptest::prelude::*;

use super::super::builder::tests::{build, parts};
use super::*;

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

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = RecordBatch::validate(bytes.clone(), &rules());
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
        let _ = RecordBatch::validate(bytes.clone(), &rules());
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
    assert!(matches!(changed(|h| h.record_count = i32::MAX), BatchError::Count { .. }));
    assert!(matches!(changed(|h| h.last_offset_delta = 3), BatchError::Count { .. }));
    assert!(matches!(changed(|h| h.base_offset = Offset::new(9).unwrap()), BatchError::BaseOffset { .. }));
    assert!(matches!(changed(|h| h.attributes = 5), BatchError::Codec { id: 5 }));
    assert!(matches!(changed(|h| h.attributes = 0x20), BatchError::ReservedBit { bit: "control" }));
    assert!(matches!(changed(|h| h.attributes = 0x40), BatchError::ReservedBit { .. }));
    assert!(matches!(changed(|h| h.attributes = 0x08), BatchError::ReservedBit { .. }));
    assert!(matches!(changed(|h| h.attributes = 0x10), BatchError::Producer { .. }));
    assert!(matches!(changed(|h| h.producer_id = ProducerId(4)), BatchError::Producer { .. }));
    let late = Timestamp::from_millis(6);
    assert!(matches!(changed(|h| h.max_timestamp = late), BatchError::MaxTimestamp { .. }));
    assert!(matches!(changed(|h| h.attributes = 1), BatchError::Compression(_)));
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
