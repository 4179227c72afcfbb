use proptest::prelude::*;

use super::*;
use crate::os_disk::OsDisk;

fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

fn entry(id: i64) -> ProducerEntry {
    ProducerEntry {
        id: ProducerId(id),
        epoch: ProducerEpoch(2),
        last_sequence: Sequence(9),
        last_offset: Some(at(109)),
        offset_delta: 4,
        timestamp: Timestamp::from_millis(1_700_000_000_000),
        coordinator_epoch: -1,
        transaction_start: None,
    }
}

/// A producer in a transaction, whose epoch a marker has raised.
fn begun(id: i64) -> ProducerEntry {
    ProducerEntry {
        last_sequence: Sequence::NONE,
        last_offset: None,
        offset_delta: 0,
        coordinator_epoch: 3,
        transaction_start: Some(at(90)),
        ..entry(id)
    }
}

#[test]
fn the_bytes_are_those_that_kafka_reads() {
    let golden = "0001 ea02a27a 00000001 0000000000000007 0002 00000009 000000000000006d 00000004 \
                  0000018bcfe56800 ffffffff ffffffffffffffff";
    let hex: String = encode(&[entry(7)]).iter().map(|byte| format!("{byte:02x}")).collect();
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex, golden);
    let golden = "0007 0002 ffffffff ffffffffffffffff 00000000 0000018bcfe56800 00000003 000000000000005a";
    let hex: String = encode(&[begun(7)])[16..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden.split_whitespace().collect::<String>());
}

#[test]
fn the_newest_snapshot_that_holds_is_used_and_those_past_the_end_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let names = || offsets(&OsDisk, dir.path()).unwrap();
    assert_eq!(load(&OsDisk, dir.path(), at(0)).unwrap(), None);
    for offset in [10, 20, 30] {
        save(&OsDisk, dir.path(), at(offset), &[entry(offset)]).unwrap();
    }
    assert_eq!(names(), [at(20), at(30)]);
    let found = load(&OsDisk, dir.path(), at(30)).unwrap().unwrap();
    assert_eq!((found.at, found.entries), (at(30), vec![entry(30)]));
    let mut broken = encode(&[entry(30)]);
    broken[20] ^= 1;
    std::fs::write(dir.path().join(file_name(at(30), EXTENSION)), &broken).unwrap();
    assert_eq!(load(&OsDisk, dir.path(), at(30)).unwrap().unwrap().at, at(20));
    assert_eq!(load(&OsDisk, dir.path(), at(15)).unwrap(), None);
    assert_eq!(names(), []);
}

proptest! {
    #[test]
    fn a_snapshot_is_read_back_and_nothing_else_is(
        ids in prop::collection::vec(0..i64::MAX, 0..20),
        flip in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let entries: Vec<ProducerEntry> = ids.into_iter().map(|id| if id % 2 == 0 { entry(id) } else { begun(id) }).collect();
        let bytes = encode(&entries);
        prop_assert_eq!(decode(&bytes), Some(entries));
        let mut broken = bytes.clone();
        broken[flip.index(bytes.len())] ^= 0x10;
        prop_assert_eq!(decode(&broken), None);
        prop_assert_eq!(decode(&bytes[..flip.index(bytes.len())]), None);
        prop_assert_eq!(decode(&noise), None);
    }
}
