use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::batch::BatchRules;
use tidelog_model::{GroupId, Offset, PartitionIndex, TopicName};

use super::*;
use crate::delivery::Cause;

fn facts(sequence: u64) -> DeadLetterFacts {
    DeadLetterFacts {
        topic: TopicName::new("orders").unwrap(),
        partition: PartitionIndex::ZERO,
        offset: Offset::new(7).unwrap(),
        group: GroupId::new("billing").unwrap(),
        attempts: 5,
        cause: Cause::MaxAttempts,
        reason: ("DOWN".to_owned(), "no answer".to_owned()),
        first_failure: Timestamp::from_millis(1),
        last_failure: Timestamp::from_millis(9),
        original_timestamp: Timestamp::from_millis(3),
        redrives: 1,
        sequence,
        truncated: false,
    }
}

fn record(value: usize, key: usize, headers: Vec<(&str, &str)>) -> Record {
    let bytes = |length: usize| Some(Bytes::from(vec![b'x'; length]));
    let owned = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Record {
        offset: Offset::new(7).unwrap(),
        timestamp: Timestamp::from_millis(3),
        key: bytes(key),
        value: bytes(value),
        headers: headers.into_iter().map(|(name, value)| (owned(name), Some(owned(value)))).collect(),
    }
}

const WIDE: LetterLimits = LetterLimits { batch_bytes_max: 1_000_000, copy_record: true };

fn source() -> ProducerId {
    ProducerId::source(5).unwrap()
}

fn written(letters: &[Letter<'_>], limits: LetterLimits) -> Vec<Record> {
    let (batch, count) = letter_batch(source(), letters, limits).unwrap();
    let rules = BatchRules { batch_bytes_max: usize::MAX, key_required: false, control_allowed: false };
    let batch = RecordBatch::validate(batch.into_bytes(), &rules).unwrap();
    let records: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), count);
    records
}

fn read(record: &Record) -> DeadLetterFacts {
    let headers = record.headers.iter().filter_map(|(name, value)| Some((name.as_ref(), value.as_deref()?)));
    DeadLetterFacts::read(headers).unwrap()
}

#[test]
fn the_record_is_whole_and_says_how_it_died() {
    let original = record(10, 3, vec![("a", "1"), ("__dlq.errors.offset", "99"), ("b", "2")]);
    let letters = [Letter { facts: facts(0), record: Some(&original) }];
    let found = written(&letters, WIDE);
    assert_eq!((&found[0].key, &found[0].value), (&original.key, &original.value));
    assert_eq!(found[0].timestamp, original.timestamp);
    assert_eq!(read(&found[0]), facts(0));
    let names: Vec<_> = found[0].headers.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names[..2], [Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
    assert_eq!(names.iter().filter(|name| name.as_ref() == b"__dlq.errors.offset").count(), 1);
}

#[test]
fn a_record_that_cannot_be_read_leaves_a_letter_all_the_same() {
    let letters = [Letter { facts: facts(4), record: None }];
    let found = written(&letters, WIDE);
    assert_eq!((&found[0].key, &found[0].value), (&None, &None));
    assert!(read(&found[0]).truncated);
    assert_eq!(found[0].timestamp, Timestamp::from_millis(9));
}

#[test]
fn without_copies_only_the_facts_are_written_and_nothing_is_called_too_large() {
    let original = record(10, 3, vec![("a", "1")]);
    let letters = [Letter { facts: facts(0), record: Some(&original) }];
    let found = written(&letters, LetterLimits { copy_record: false, ..WIDE });
    assert_eq!((&found[0].key, &found[0].value), (&None, &None));
    assert!(!read(&found[0]).truncated);
}

#[test]
fn the_number_of_the_first_letter_is_the_sequence_and_a_gap_ends_the_batch() {
    let original = record(1, 1, Vec::new());
    let number = (1 << 31) + 5;
    let letters: Vec<Letter<'_>> = [number, number + 1, number + 3]
        .map(|number| Letter { facts: facts(number), record: Some(&original) })
        .into();
    let (batch, count) = letter_batch(source(), &letters, WIDE).unwrap();
    assert_eq!(count, 2);
    assert_eq!(batch.header().base_sequence, Sequence(5));
    assert_eq!(batch.header().producer_id, source());
    assert_eq!(letter_batch(source(), &[], WIDE).unwrap_err(), LetterError::None);
}

#[test]
fn a_letter_that_is_too_large_loses_its_value_and_then_the_rest() {
    let long = "h".repeat(3_000);
    let large = record(5_000, 10, Vec::new());
    let huge = record(5_000, 10, vec![("h", &long)]);
    let limits = LetterLimits { batch_bytes_max: 2_000, copy_record: true };
    let found = written(&[Letter { facts: facts(0), record: Some(&large) }], limits);
    assert_eq!((found[0].value.is_none(), found[0].key.is_some()), (true, true));
    assert!(read(&found[0]).truncated);
    let found = written(&[Letter { facts: facts(0), record: Some(&huge) }], limits);
    assert_eq!((&found[0].value, &found[0].key), (&None, &None));
    assert_eq!(read(&found[0]), DeadLetterFacts { truncated: true, ..facts(0) });
}

proptest! {
    #[test]
    fn batches_are_no_larger_than_they_may_be_and_no_letter_is_lost(
        sizes in prop::collection::vec((0usize..6_000, 0usize..100), 1..30),
        limit in 1_500usize..20_000,
    ) {
        let records: Vec<Record> =
            sizes.iter().map(|(value, key)| record(*value, *key, vec![("n", "v")])).collect();
        let letters: Vec<Letter<'_>> = (10u64..)
            .zip(&records)
            .map(|(number, record)| Letter { facts: facts(number), record: Some(record) })
            .collect();
        let limits = LetterLimits { batch_bytes_max: limit, copy_record: true };
        let mut rest = letters.as_slice();
        let mut numbers = Vec::new();
        while !rest.is_empty() {
            let (batch, count) = letter_batch(source(), rest, limits).unwrap();
            prop_assert!(batch.bytes().len() <= limit, "{} bytes", batch.bytes().len());
            prop_assert!(count > 0);
            numbers.extend(written(&rest[..count], limits).iter().map(|record| read(record).sequence));
            rest = &rest[count..];
        }
        prop_assert_eq!(numbers, letters.iter().map(|letter| letter.facts.sequence).collect::<Vec<_>>());
    }
}
