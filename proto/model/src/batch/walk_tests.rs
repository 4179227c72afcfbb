use proptest::prelude::*;

use super::super::builder::tests::{build, parts};
use super::*;
use crate::batch::BATCH_OVERHEAD;

/// What both walks say about the same plain records.
fn both(header: &BatchHeader, records: &[u8], rules: &BatchRules) -> (Option<Timestamp>, Option<Timestamp>) {
    let whole = walk(header, records, rules);
    let pieces = walk_unfolding(header, Compression::Gzip, Trickle(records), rules);
    (whole.ok(), pieces.ok())
}

/// Gives a few bytes at a time, as a codec may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = out.len().min(3);
        self.0.read(&mut out[..count])
    }
}

proptest! {
    #[test]
    fn both_walks_agree_on_valid_and_on_broken_records(
        parts in parts(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut: prop::sample::Index, key_required: bool, is_cut: bool
    ) {
        let batch = build(&parts, Compression::None);
        let mut records = batch.bytes()[BATCH_OVERHEAD..].to_vec();
        for (at, bits) in flips {
            let at = at.index(records.len());
            records[at] ^= bits;
        }
        if is_cut {
            records.truncate(cut.index(records.len()));
        }
        let rules = BatchRules { key_required, ..BatchRules::default() };
        let (whole, pieces) = both(batch.header(), &records, &rules);
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn both_walks_agree_on_random_bytes(records: Vec<u8>, count in 1_i32..4) {
        let header = BatchHeader {
            record_count: count, ..*build(&[(0, None, None, vec![])], Compression::None).header()
        };
        let (whole, pieces) = both(&header, &records, &BatchRules::default());
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_record_larger_than_the_buffer_is_walked() {
    let large = vec![7; 5 * BUFFER_BYTES];
    let parts = [(1, Some(large.clone()), Some(large), vec![]), (2, None, None, vec![])];
    for codec in Compression::ALL {
        let bytes = build(&parts, codec).into_bytes();
        let batch = super::super::RecordBatch::validate(bytes, &BatchRules::default()).unwrap();
        assert_eq!(batch.records().unwrap().count(), 2, "{}", codec.name());
    }
}
