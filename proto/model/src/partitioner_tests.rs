use super::*;

#[test]
fn hashes_are_those_of_kafkas_java_client() {
    // Kafka's UtilsTest.testMurmur2.
    let cases = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    for (key, hash) in cases {
        assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
    }
}

#[test]
fn a_key_lands_on_the_partition_its_hash_names() {
    let negative = b"foobar";
    let expected = (-790_332_482_i32 & i32::MAX) % 12;
    assert_eq!(partition_for_key(negative, 12).get(), expected);
    assert_eq!(partition_for_key(b"anything", 1), PartitionIndex::ZERO);
    assert_eq!(partition_for_key(b"anything", 0), PartitionIndex::ZERO);
}
