use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::batch::BatchRules;
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
        let original = build(&parts, Compression::from_id(codec).unwrap())
            .assign(Offset::new(70).unwrap(), crate::ids::LeaderEpoch::new(3).unwrap());
        let horizon = horizon.map(Timestamp::from_millis);
        let mut builder = BatchBuilder::rewrite(original.header(), horizon, 0);
        let kept: Vec<Record> =
            expected(&parts).into_iter().filter(|r| keep >> (r.offset.get() % 32) & 1 == 1).collect();
        for record in &kept {
            let headers: Vec<HeaderRef<'_>> =
                record.headers.iter().map(|(k, v)| (k.as_ref(), v.as_deref())).collect();
            let delta = i32::try_from(record.offset.get()).unwrap();
            builder.append_kept(delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        let rewritten = builder.build_even_empty().unwrap();
        let again = RecordBatch::from_log(rewritten.into_bytes()).unwrap();
        prop_assert_eq!(again.header().base_offset, original.header().base_offset);
        prop_assert_eq!(again.header().last_offset(), original.header().last_offset());
        prop_assert_eq!(again.header().leader_epoch, 3);
        prop_assert_eq!(again.header().has_delete_horizon(), horizon.is_some());
        if !kept.is_empty() {
            let records: Vec<Record> = again.records().unwrap().map(Result::unwrap).collect();
            let moved: Vec<Record> = kept
                .into_iter()
                .map(|r| Record { offset: Offset::new(r.offset.get() + 70).unwrap(), ..r })
                .collect();
            prop_assert_eq!(records, moved);
        }
    }
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
