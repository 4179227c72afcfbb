use super::*;
use crate::sim_disk::SimDisk;

fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

fn aborted(id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: ProducerId(id),
        first_offset: at(first),
        last_offset: at(last),
        last_stable: at(stable),
    }
}

fn index(all: &[AbortedTransaction]) -> Vec<u8> {
    all.iter().flat_map(encode).collect()
}

#[test]
fn the_bytes_are_those_that_kafka_reads() {
    let hex: String = index(&[aborted(7, 16, 40, 20)]).iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = "0000 0000000000000007 0000000000000010 0000000000000028 0000000000000014";
    assert_eq!(hex, golden.split_whitespace().collect::<String>());
    let all = [aborted(7, 16, 40, 20), aborted(8, 20, 44, 45)];
    assert_eq!(entries(&index(&all)).collect::<Vec<_>>(), all);
    let mut newer = index(&all);
    newer[1] = 1;
    assert_eq!(entries(&newer).collect::<Vec<_>>(), all[1..], "an entry of another version is none");
}

#[test]
fn a_range_finds_what_overlaps_it_and_knows_when_nothing_more_can() {
    let index = index(&[aborted(1, 10, 20, 15), aborted(2, 15, 30, 31), aborted(1, 40, 45, 46)]);
    let check = |from, to, expected: &[i64], done| {
        let mut found = Vec::new();
        assert_eq!(collect(&index, at(from), at(to), &mut found), done, "{from}..{to}");
        let firsts: Vec<i64> = found.iter().map(|found| found.first_offset.get()).collect();
        assert_eq!(firsts, expected, "{from}..{to}");
    };
    check(0, 10, &[], true);
    check(0, 15, &[10], true);
    check(0, 31, &[10, 15], true);
    check(20, 31, &[10, 15], true);
    check(21, 31, &[15], true);
    check(31, 41, &[40], true);
    check(31, 100, &[40], false);
    check(46, 100, &[], false);
    assert_eq!(bytes_below(&index, at(30)), ENTRY_BYTES);
    assert_eq!(bytes_below(&index, at(31)), 2 * ENTRY_BYTES);
}

/// A directory with these segments, and what they know.
fn segments(disk: &SimDisk, dir: &Path, known: &[(i64, Vec<u8>)]) -> Vec<Arc<Segment>> {
    let create = |(base, index): &(i64, Vec<u8>)| {
        let segment = Segment::create(disk, dir, at(*base)).unwrap();
        segment.indexes_mut().aborted = IndexBytes::Growing(index.clone());
        Arc::new(segment)
    };
    known.iter().map(create).collect()
}

fn change(disk: &SimDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = file::read_small(disk, path).unwrap().unwrap();
    change(&mut content);
    file::replace(disk, path.parent().unwrap(), &path.file_name().unwrap().to_string_lossy(), &content)
        .unwrap();
}

#[test]
fn what_does_not_agree_with_the_checkpoint_is_not_trusted() {
    let (disk, dir) = (SimDisk::new(1), Path::new("/"));
    let one = index(&[aborted(7, 16, 40, 20)]);
    let segments = segments(&disk, dir, &[(0, one.clone()), (50, Vec::new()), (90, one.clone())]);
    let mut files = TxnFiles::default();
    files.settle(&disk, dir, &segments).unwrap();
    let read = |disk: &SimDisk| Stored::read(disk, dir, &segments).unwrap().indexes;
    let expected = BTreeMap::from([(at(0), one.clone()), (at(90), one.clone())]);
    assert_eq!(read(&disk), Some(expected.clone()));
    assert!(disk.open(Path::new("/00000000000000000050.txnindex"), crate::disk::OpenMode::Read).is_err());
    let (first, checkpoint) = (Path::new("/00000000000000000000.txnindex"), dir.join(CHECKPOINT));
    change(&disk, first, |content| content.extend_from_slice(b"what came later"));
    assert_eq!(read(&disk), Some(expected));
    for byte in 0..one.len() {
        change(&disk, first, |content| content[byte] ^= 4);
        assert_eq!(read(&disk), None, "{byte}");
        change(&disk, first, |content| content[byte] ^= 4);
    }
    let length = file::read_small(&disk, &checkpoint).unwrap().unwrap().len();
    for byte in 0..length {
        change(&disk, &checkpoint, |content| content[byte] ^= 1);
        assert_eq!(read(&disk), None, "{byte}");
        change(&disk, &checkpoint, |content| content[byte] ^= 1);
    }
    assert!(read(&disk).is_some());
    files.replacing(&disk, dir, &segments[..1]).unwrap();
    files.settle(&disk, dir, &segments).unwrap();
    assert_eq!(read(&disk), None, "segments are being replaced");
    files.replaced();
    files.settle(&disk, dir, &segments).unwrap();
    assert!(read(&disk).is_some());
    disk.remove_file(first).unwrap();
    assert_eq!(read(&disk), None, "a file is missing");
    disk.remove_file(&checkpoint).unwrap();
    assert_eq!(read(&disk), None, "nothing says which files there are");
}
