//! Kafka's own hash values, and how keyless records spread.

use super::*;

#[test]
fn murmur2_agrees_with_kafka() {
    // From Kafka's UtilsTest.testMurmur2.
    let cases: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];
    for (key, expected) in cases {
        assert_eq!(murmur2(key).cast_signed(), expected, "{key:?}");
    }
}

#[test]
fn a_key_keeps_its_partition_and_all_partitions_get_keys() {
    let mut hits = [0; 7];
    for key in 0..1000_u32 {
        let partition = partition_of_key(&key.to_le_bytes(), 7);
        assert_eq!(partition, partition_of_key(&key.to_le_bytes(), 7));
        hits[partition] += 1;
    }
    assert!(hits.iter().all(|hits| *hits > 80), "{hits:?}");
}

#[test]
fn keyless_records_stay_until_their_batch_closes_and_visit_every_partition() {
    let mut sticky = Sticky::new(u32::MAX);
    let mut visited = Vec::new();
    for _ in 0..3 {
        let at = sticky.current(3);
        assert_eq!(sticky.current(3), at);
        sticky.batch_closed((at + 1) % 3, 3);
        assert_eq!(sticky.current(3), at, "another partition's batch does not move it");
        sticky.batch_closed(at, 3);
        visited.push(at);
    }
    visited.sort_unstable();
    assert_eq!(visited, [0, 1, 2]);
}
