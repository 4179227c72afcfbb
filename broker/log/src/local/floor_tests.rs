use super::*;
use crate::os_disk::OsDisk;
use crate::sim_disk::{Fault, SimDisk};

fn id(partition: i32) -> PartitionId {
    let topic_id = TopicId::from_uuid(Uuid::from_u128(7));
    PartitionId { topic_id, partition: PartitionIndex::new(partition).unwrap() }
}

fn floor(end: i64) -> Floor {
    Floor { end: Offset::new(end).unwrap(), segment: Offset::ZERO, bytes: end.unsigned_abs() * 100 }
}

fn table(root: &Path) -> FloorTable {
    FloorTable::open(Arc::new(OsDisk), root).unwrap()
}

#[test]
fn floors_are_found_again_and_never_fall() {
    let dir = tempfile::tempdir().unwrap();
    let first = table(dir.path());
    for partition in 0..50 {
        for end in [3, 9, 5] {
            first.record(id(partition), floor(end + i64::from(partition))).unwrap();
        }
    }
    let again = table(dir.path());
    for partition in 0..50 {
        assert_eq!(again.get(id(partition)), Some(floor(9 + i64::from(partition))));
    }
    assert_eq!(again.get(id(50)), None);
}

#[test]
fn a_settled_floor_is_in_both_entries() {
    let dir = tempfile::tempdir().unwrap();
    let first = table(dir.path());
    assert_eq!(first.settle(id(0)).unwrap(), None);
    first.record(id(0), floor(4)).unwrap();
    first.record(id(0), floor(7)).unwrap();
    assert_eq!(first.settle(id(0)).unwrap(), Some(floor(7)));
    for half in [0, 64] {
        let again = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(dir.path().join("floor")).unwrap();
        bytes[half..half + 64].fill(0);
        std::fs::write(again.path().join("floor"), bytes).unwrap();
        assert_eq!(table(again.path()).get(id(0)), Some(floor(7)));
    }
}

#[test]
fn a_torn_entry_leaves_the_one_before_it() {
    for byte in 0..64 {
        let dir = tempfile::tempdir().unwrap();
        let first = table(dir.path());
        first.record(id(0), floor(1)).unwrap();
        first.record(id(0), floor(2)).unwrap();
        // The first entry lies in the second half, the second one in the first half.
        let mut old = [0];
        first.file().read_at(&mut old, byte).unwrap();
        first.file().write_at(&[IoSlice::new(&[old[0] ^ 0x40])], byte).unwrap();
        assert_eq!(table(dir.path()).get(id(0)), Some(floor(1)), "byte {byte}");
    }
}

#[test]
fn a_released_slot_is_given_to_the_next_partition_without_its_floor() {
    let dir = tempfile::tempdir().unwrap();
    let first = table(dir.path());
    first.record(id(0), floor(4)).unwrap();
    first.record(id(1), floor(5)).unwrap();
    first.remove(id(0)).unwrap();
    first.record(id(2), floor(6)).unwrap();
    assert_eq!(first.file().size().unwrap(), 256, "two slots");
    let again = table(dir.path());
    assert_eq!(again.get(id(0)), None);
    assert_eq!(again.get(id(1)), Some(floor(5)));
    assert_eq!(again.get(id(2)), Some(floor(6)));
}

#[test]
fn what_a_failed_sync_has_lost_is_there_after_the_next_one_that_succeeds() {
    for seed in 0..20 {
        let sim = SimDisk::new(seed);
        let open = |sim: &SimDisk| FloorTable::open(Arc::new(sim.clone()), Path::new("/")).unwrap();
        let first = open(&sim);
        sim.sync_dir(Path::new("/")).unwrap();
        for partition in 0..9 {
            first.record(id(partition), floor(4)).unwrap();
        }
        first.sync().unwrap();
        first.record(id(0), floor(7)).unwrap();
        sim.fail_call(sim.calls(), Fault::Io);
        assert!(first.sync().is_err());
        first.record(id(1), floor(8)).unwrap();
        first.remove(id(2)).unwrap();
        first.sync().unwrap();
        let again = open(&sim.crash(seed));
        let found: Vec<_> = (0..9).map(|partition| again.get(id(partition))).collect();
        assert_eq!(found[..3], [Some(floor(7)), Some(floor(8)), None], "seed {seed}");
        assert!(found[3..].iter().all(|found| *found == Some(floor(4))), "seed {seed}: {found:?}");
    }
}
