use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::batch::BatchRules;
use crate::ids::LeaderEpoch;
use crate::record::Record;

pub(in crate::batch) type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

pub(in crate::batch) fn parts() -> impl Strategy<Value = Vec<Parts>> {
    let bytes = || vec(any::<u8>(), 0..40);
    let headers = vec((vec(any::<u8>(), 0..10), option::of(bytes())), 0..4);
    vec((0_i64..2_000_000_000_000, option::of(bytes()), option::of(bytes()), headers), 1..20)
}

pub(in crate::batch) fn build(parts: &[Parts], compression: Compression) -> RecordBatch {
    let mut builder = BatchBuilder::new(compression, 0);
    for (timestamp, key, value, headers) in parts {
        let headers: Vec<HeaderRef<'_>> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
        let before = builder.size_bytes();
        builder.append(Timestamp::from_millis(*timestamp), key.as_deref(), value.as_deref(), &headers);
        let bound = BatchBuilder::record_size_bound(key.as_deref(), value.as_deref(), &headers);
        assert!(builder.size_bytes() - before <= bound);
    }
    builder.build().unwrap()
}

pub(in crate::batch) fn expected(parts: &[Parts]) -> Vec<Record> {
    parts
        .iter()
        .zip(0..)
        .map(|((timestamp, key, value, headers), offset)| Record {
            offset: Offset::new(offset).unwrap(),
            timestamp: Timestamp::from_millis(*timestamp),
            key: key.clone().map(Into::into),
            value: value.clone().map(Into::into),
            headers: headers.iter().map(|(k, v)| (k.clone().into(), v.clone().map(Into::into))).collect(),
        })
        .collect()
}

proptest! {
    #[test]
    fn a_built_batch_is_valid_and_holds_what_was_added(parts in parts(), codec in 0_i16..5) {
        let built = build(&parts, Compression::from_id(codec).unwrap());
        let batch = RecordBatch::validate(built.into_bytes(), &BatchRules::default()).unwrap();
        let records: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(records, expected(&parts));
    }

    #[test]
    fn a_rewritten_batch_keeps_offsets_and_timestamps(
        parts in parts(), keep: u32, codec in 0_i16..5, horizon in option::of(0_i64..2_000_000_000_000)
    ) {
        let original = placed(&parts, Compression::from_id(codec).unwrap());
        let horizon = horizon.map(Timestamp::from_millis);
        let mut builder = BatchBuilder::rewrite(original.header(), horizon, 0);
        let kept: Vec<Record> = original
            .records()
            .unwrap()
            .map(Result::unwrap)
            .filter(|record| keep >> (record.offset.get() % 32) & 1 == 1)
            .collect();
        for record in &kept {
            keep_record(&mut builder, record);
        }
        let rewritten = RecordBatch::from_log(builder.build().unwrap().into_bytes()).unwrap();
        let records: Vec<Record> = rewritten.records().unwrap().map(Result::unwrap).collect();
        let largest = kept.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(records, kept);
        let (old, new) = (original.header(), rewritten.header());
        prop_assert_eq!((new.base_offset, new.last_offset()), (old.base_offset, old.last_offset()));
        prop_assert_eq!(new.epoch(), old.epoch());
        prop_assert_eq!(new.producer_id, old.producer_id);
        prop_assert_eq!(new.base_sequence, old.base_sequence);
        prop_assert_eq!(new.delete_horizon(), horizon);
        prop_assert_eq!(new.max_timestamp, largest.unwrap_or(old.max_timestamp));
    }
}

/// A batch of `parts` as it stands in a log, at offset 70 in epoch 3.
fn placed(parts: &[Parts], compression: Compression) -> RecordBatch {
    let assigned = build(parts, compression).assign(Offset::new(70).unwrap(), LeaderEpoch::new(3).unwrap());
    RecordBatch::from_log(assigned.to_bytes()).unwrap()
}

fn keep_record(builder: &mut BatchBuilder, record: &Record) {
    let headers: Vec<HeaderRef<'_>> =
        record.headers.iter().map(|(key, value)| (key.as_ref(), value.as_deref())).collect();
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    builder.append_at(record.offset, record.timestamp, key, value, &headers);
}

fn three() -> Vec<Parts> {
    (0..3).map(|number| (1000 + number, Some(vec![7]), None, vec![])).collect()
}

#[test]
fn a_batch_with_the_brokers_time_keeps_it_when_it_is_rewritten() {
    let stamped = placed(&three(), Compression::None).with_log_append_time(Timestamp::from_millis(5000));
    let mut builder = BatchBuilder::rewrite(stamped.header(), Some(Timestamp::from_millis(9000)), 0);
    keep_record(&mut builder, &stamped.records().unwrap().last().unwrap().unwrap());
    let rewritten = builder.build().unwrap();
    assert!(rewritten.header().is_log_append_time());
    let left: Vec<Record> = rewritten.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(left.iter().map(|record| record.timestamp.millis()).collect::<Vec<_>>(), [5000]);
}

#[test]
fn a_batch_rewritten_twice_keeps_its_first_delete_horizon() {
    let horizon = Timestamp::from_millis(9000);
    let old = placed(&three(), Compression::Zstd);
    let mut builder = BatchBuilder::rewrite(old.header(), Some(horizon), 0);
    old.records().unwrap().for_each(|record| keep_record(&mut builder, &record.unwrap()));
    let once = builder.build().unwrap();
    let mut builder = BatchBuilder::rewrite(once.header(), None, 0);
    once.records().unwrap().for_each(|record| keep_record(&mut builder, &record.unwrap()));
    let twice = builder.build().unwrap();
    assert_eq!(twice.header().delete_horizon(), Some(horizon));
    assert_eq!(twice.bytes(), once.bytes());
}

#[test]
fn a_rewritten_batch_without_records_still_spans_its_offsets() {
    let old = placed(&three(), Compression::Gzip);
    let empty = BatchBuilder::rewrite(old.header(), None, 0).build().unwrap();
    let read = RecordBatch::from_log(empty.into_bytes()).unwrap();
    assert_eq!(read.bytes().len(), BATCH_OVERHEAD);
    assert_eq!(read.header().next_offset(), old.header().next_offset());
    assert_eq!(read.header().max_timestamp, old.header().max_timestamp);
    assert_eq!(read.records().unwrap().count(), 0);
}

#[test]
fn a_record_outside_the_rewritten_batch_is_refused() {
    let old = placed(&three(), Compression::None);
    for offsets in [&[69][..], &[73], &[71, 71], &[72, 70]] {
        let mut builder = BatchBuilder::rewrite(old.header(), None, 0);
        for offset in offsets {
            builder.append_at(Offset::new(*offset).unwrap(), Timestamp::from_millis(0), None, None, &[]);
        }
        assert!(matches!(builder.build(), Err(BuildError::Misplaced { .. })), "{offsets:?}");
    }
}

#[test]
fn an_idempotent_batch_carries_its_producer() {
    let (id, epoch, sequence) = (ProducerId(9), ProducerEpoch(2), Sequence(40));
    let mut builder = BatchBuilder::new(Compression::None, 0).producer(id, epoch, sequence);
    builder.append(Timestamp::from_millis(1), None, None, &[]);
    let bytes = builder.build().unwrap().into_bytes();
    let header = *RecordBatch::validate(bytes, &BatchRules::default()).unwrap().header();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (id, epoch, sequence));
}

#[test]
fn more_records_than_a_batch_may_hold_are_refused() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for _ in 0..=limits::RECORDS_PER_BATCH_MAX {
        builder.append(Timestamp::from_millis(1), None, None, &[]);
    }
    assert!(matches!(builder.build(), Err(BuildError::TooLarge { .. })));
}

#[test]
fn an_empty_batch_is_not_built() {
    assert_eq!(BatchBuilder::new(Compression::None, 0).build().unwrap_err(), BuildError::Empty);
}

#[test]
fn building_an_uncompressed_batch_copies_nothing() {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 16);
    builder.append(Timestamp::from_millis(1), None, Some(&[7; 1000]), &[]);
    let at = builder.buffer.as_ptr();
    assert_eq!(builder.build().unwrap().bytes().as_ptr(), at);
}
