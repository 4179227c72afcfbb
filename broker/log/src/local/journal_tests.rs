use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{LeaderEpoch, PartitionIndex, Timestamp, TopicId};
use uuid::Uuid;

use super::*;
use crate::local::journal_read::{discard, read_back};
use crate::os_disk::OsDisk;
use crate::sim_disk::SimDisk;

fn id(partition: i32) -> PartitionId {
    let topic_id = TopicId::from_uuid(Uuid::from_u128(7));
    PartitionId { topic_id, partition: PartitionIndex::new(partition).unwrap() }
}

fn epoch(value: i32) -> LeaderEpoch {
    LeaderEpoch::new(value).unwrap()
}

fn frame(journal: &mut Journal, partition: i32, position: u64, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap();
    assert!(journal.has_room(1, bytes.len() as u64));
    let entry = encode_entry(id(partition), Offset::ZERO, position, length);
    journal.write_frame(&[&entry, bytes]).unwrap();
}

fn held(root: &Path) -> Vec<(i32, u64, Vec<u8>)> {
    let held = read_back(&OsDisk, root).unwrap();
    held.into_iter().map(|held| (held.id.partition.get(), held.position, held.bytes)).collect()
}

#[test]
fn rounds_are_read_back_in_order_across_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), 4 * BLOCK_BYTES, epoch(3)).unwrap();
    let mut expected = Vec::new();
    for number in 0..8_u8 {
        frame(&mut journal, i32::from(number), u64::from(number), &[number; 100]);
        expected.push((i32::from(number), u64::from(number), vec![number; 100]));
        assert_eq!(held(dir.path()), expected);
    }
    assert!(!journal.has_room(1, 100), "both files are full");
    let turn = journal.draining().unwrap().turn;
    journal.drained(turn, Checkpoint::Durable);
    frame(&mut journal, 8, 8, b"next turn");
    let expected: Vec<_> = expected.split_off(4).into_iter().chain([(8, 8, b"next turn".to_vec())]).collect();
    assert_eq!(held(dir.path()), expected, "the first file is in its second turn");
}

#[test]
fn a_file_whose_segments_could_not_be_synced_is_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), BLOCK_BYTES, epoch(0)).unwrap();
    frame(&mut journal, 0, 0, b"kept");
    frame(&mut journal, 1, 0, b"other file");
    let turn = journal.draining().unwrap().turn;
    journal.drained(turn, Checkpoint::Later);
    assert_eq!(journal.draining().unwrap().turn, turn, "it is tried again");
    journal.drained(turn, Checkpoint::Never);
    assert!(journal.draining().is_none());
    assert!(!journal.has_room(1, 1));
    assert_eq!(held(dir.path()).len(), 2);
}

#[test]
fn frames_of_an_earlier_run_or_turn_are_not_taken_for_the_next_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), 8 * BLOCK_BYTES, epoch(1)).unwrap();
    for number in 0..5 {
        frame(&mut journal, number, 0, b"old");
    }
    drop(journal);
    discard(&OsDisk, dir.path()).unwrap();
    assert_eq!(held(dir.path()), []);
    // Without the zeros of a new file, as if they had been lost.
    let mut journal = Journal::create(&OsDisk, dir.path(), 0, epoch(2)).unwrap();
    journal.size = 8 * BLOCK_BYTES;
    frame(&mut journal, 9, 0, b"new");
    assert_eq!(held(dir.path()), [(9, 0, b"new".to_vec())]);
}

/// Flips a bit of a byte of a file of the journal, and flips it back after a look.
fn with_flipped(journal: &Journal, half: usize, at: u64, look: impl FnOnce()) {
    let file = &journal.halves[half].file;
    let mut old = [0];
    file.read_at(&mut old, at).unwrap();
    file.write_at(&[IoSlice::new(&[old[0] ^ 1])], at).unwrap();
    look();
    file.write_at(&[IoSlice::new(&old)], at).unwrap();
}

const FRAME_USED: u64 = (HEADER_BYTES + ENTRY_BYTES + 10) as u64;

#[test]
fn a_torn_frame_ends_what_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), 8 * BLOCK_BYTES, epoch(0)).unwrap();
    for number in 0..3 {
        frame(&mut journal, number, 0, b"0123456789");
    }
    for byte in 0..FRAME_USED {
        with_flipped(&journal, 0, 2 * BLOCK_BYTES + byte, || {
            assert_eq!(held(dir.path()).len(), 2, "byte {byte}");
        });
    }
    assert_eq!(held(dir.path()).len(), 3);
}

/// A frame is written after the one before it was synced, so that one was durable.
#[test]
fn a_broken_frame_before_a_whole_one_is_named_and_not_taken_for_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), 3 * BLOCK_BYTES, epoch(0)).unwrap();
    for number in 0..5 {
        frame(&mut journal, number, 0, b"0123456789");
    }
    // Frame 2 is the last one of its file; the other file goes on after it.
    for (half, block) in [(0, 1), (0, 2), (1, 0)] {
        for byte in 0..FRAME_USED {
            if half == 1 && byte < HEADER_BYTES as u64 {
                // A file that is used again looks like this, too.
                continue;
            }
            let at = block * BLOCK_BYTES + byte;
            with_flipped(&journal, half, at, || {
                let broken = read_back(&OsDisk, dir.path()).unwrap_err().to_string();
                let place = format!("byte {}", block * BLOCK_BYTES);
                assert!(broken.contains(NAMES[half]) && broken.contains(&place), "{at}: {broken}");
            });
        }
    }
    assert_eq!(held(dir.path()).len(), 5);
}

/// Two files, of which the newer one says that what the older one holds of partition 0 is void.
fn one_file_forgets_what_the_other_holds(disk: &SimDisk, newer: usize) -> Journal {
    let root = Path::new("/");
    let mut journal = Journal::create(disk, root, BLOCK_BYTES, epoch(0)).unwrap();
    if newer == 0 {
        frame(&mut journal, 1, 0, b"first");
    }
    frame(&mut journal, 0, 0, b"gone");
    if newer == 0 {
        let turn = journal.draining().unwrap().turn;
        journal.drained(turn, Checkpoint::Durable);
    }
    journal.forget(id(0)).unwrap();
    assert_eq!(journal.active, newer);
    assert!(read_back(disk, root).unwrap().is_empty());
    journal
}

#[test]
fn a_crash_while_the_journal_is_emptied_brings_nothing_back_that_was_removed() {
    let root = Path::new("/");
    for newer in [0, 1] {
        for calls in 0..6 {
            for seed in 0..20 {
                let disk = SimDisk::new(seed);
                let mut journal = one_file_forgets_what_the_other_holds(&disk, newer);
                disk.stop_after(calls);
                drop(journal.clear());
                let after = disk.crash(seed);
                assert!(read_back(&after, root).unwrap().is_empty(), "clear: {newer} {calls} {seed}");

                let disk = SimDisk::new(seed);
                drop(one_file_forgets_what_the_other_holds(&disk, newer));
                disk.stop_after(calls);
                drop(discard(&disk, root));
                let after = disk.crash(seed);
                assert!(read_back(&after, root).unwrap().is_empty(), "discard: {newer} {calls} {seed}");
            }
        }
    }
}

#[test]
fn what_was_removed_is_not_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), 8 * BLOCK_BYTES, epoch(0)).unwrap();
    frame(&mut journal, 0, 0, b"gone");
    frame(&mut journal, 1, 0, b"stays");
    journal.forget(id(0)).unwrap();
    frame(&mut journal, 0, 0, b"of its successor");
    let expected = [(1, 0, b"stays".to_vec()), (0, 0, b"of its successor".to_vec())];
    assert_eq!(held(dir.path()), expected);
}

#[test]
fn only_small_parts_are_worth_a_second_write() {
    let appended = |size: usize| {
        let mut builder = BatchBuilder::new(Compression::None, size);
        builder.append(Timestamp::from_millis(1), None, Some(&vec![1; size]), &[]);
        let batch = builder.build().unwrap().assign(Offset::ZERO, epoch(0));
        Appended { id: id(0), segment: Offset::ZERO, position: 0, batches: vec![batch] }
    };
    assert!(is_small(&appended(1000)));
    assert!(!is_small(&appended(20_000)));
    assert_eq!(appended(1000).bytes(), u64::from(appended(1000).batches[0].header().size_bytes));
}

#[test]
fn a_file_in_a_later_turn_is_not_freed_by_the_syncs_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&OsDisk, dir.path(), BLOCK_BYTES, epoch(0)).unwrap();
    frame(&mut journal, 0, 0, b"first");
    frame(&mut journal, 1, 0, b"second");
    let slow = journal.draining().unwrap().turn;
    journal.clear().unwrap();
    frame(&mut journal, 2, 0, b"third");
    frame(&mut journal, 3, 0, b"fourth");
    journal.drained(slow, Checkpoint::Durable);
    assert!(!journal.has_room(1, 1), "neither file's segments were synced since");
    assert_eq!(held(dir.path()).len(), 2);
}
