//! What the simulated disk promises and what it does not.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::content::SECTOR;
use super::{CallKind, Fault, SimDisk};
use crate::disk::{Disk, DiskFile, OpenMode};

const SEEDS: u64 = 200;

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// A disk with the durable file `/a` that holds `durable`, open.
fn disk_with(durable: &[u8]) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    let file = disk.open(path("/a"), OpenMode::CreateNew).unwrap();
    write(file.as_ref(), durable, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path("/")).unwrap();
    (disk, file)
}

fn write(file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(path(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    let read = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    Some(bytes)
}

fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    disk.list(path(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let (disk, file) = disk_with(&[7; 3000]);
    write(file.as_ref(), &[8; 2000], 3000).unwrap();
    for seed in 0..SEEDS {
        let after = content(&disk.crash(seed), "/a").unwrap();
        assert!(after.len() >= 3000);
        assert_eq!(after[..3000], [7; 3000]);
    }
}

#[test]
fn unsynced_sectors_survive_in_every_mixture() {
    let (disk, file) = disk_with(&[1; 3 * SECTOR]);
    write(file.as_ref(), &[2; 3 * SECTOR], 0).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let after = content(&disk.crash(seed), "/a").unwrap();
        let sectors: Vec<u8> = after.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(after.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 8);
}

#[test]
fn an_unsynced_size_may_come_without_its_bytes_and_bytes_without_their_size() {
    let (disk, file) = disk_with(&[]);
    write(file.as_ref(), &[3; SECTOR], 0).unwrap();
    write(file.as_ref(), &[4; SECTOR], 512).unwrap();
    let after: Vec<Vec<u8>> = (0..SEEDS).map(|seed| content(&disk.crash(seed), "/a").unwrap()).collect();
    assert!(after.iter().any(Vec::is_empty));
    assert!(after.iter().any(|bytes| bytes.len() == SECTOR));
    assert!(after.iter().any(|bytes| bytes.len() == 2 * SECTOR && bytes[0] == 0 && bytes[SECTOR] == 4));
    assert!(after.iter().any(|bytes| bytes.len() == 2 * SECTOR && bytes[0] == 3 && bytes[SECTOR] == 4));
}

#[test]
fn an_unsynced_cut_may_be_undone_by_a_power_cut_and_not_a_synced_one() {
    let (disk, file) = disk_with(&[5; 1000]);
    file.set_size(10).unwrap();
    let sizes: Vec<usize> = (0..SEEDS).map(|seed| content(&disk.crash(seed), "/a").unwrap().len()).collect();
    assert!(sizes.contains(&10) && sizes.contains(&1000));

    let (disk, file) = disk_with(&[5; 1000]);
    file.set_size(10).unwrap();
    file.sync_data().unwrap();
    assert!((0..SEEDS).all(|seed| content(&disk.crash(seed), "/a").unwrap() == [5; 10]));
}

#[test]
fn the_end_of_the_process_loses_nothing_and_ends_its_handles_and_locks() {
    let (disk, file) = disk_with(b"old");
    assert!(file.try_lock().unwrap());
    write(file.as_ref(), b"new", 3).unwrap();
    let next = disk.kill();
    assert_eq!(content(&next, "/a").unwrap(), b"oldnew");
    assert!(file.sync_data().is_err() && file.size().is_err() && disk.list(path("/")).is_err());
    assert!(next.open(path("/a"), OpenMode::ReadWrite).unwrap().try_lock().unwrap());
    // What no sync has covered is as uncertain as before.
    assert!((0..SEEDS).any(|seed| content(&next.crash(seed), "/a").unwrap() == b"old"));
}

#[test]
fn a_lock_excludes_another_handle_until_its_own_is_gone() {
    let (disk, file) = disk_with(b"");
    let other = disk.open(path("/a"), OpenMode::ReadWrite).unwrap();
    assert!(file.try_lock().unwrap());
    assert!(!other.try_lock().unwrap());
    drop(file);
    assert!(other.try_lock().unwrap());
}

#[test]
fn a_name_is_there_for_sure_only_after_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    let file = disk.open(path("/a"), OpenMode::CreateNew).unwrap();
    write(file.as_ref(), b"x", 0).unwrap();
    file.sync_data().unwrap();
    let there = (0..SEEDS).filter(|seed| content(&disk.crash(*seed), "/a").is_some()).count();
    assert!(there > 0 && there < 200);

    let (disk, _) = disk_with(b"x");
    assert!((0..SEEDS).all(|seed| content(&disk.crash(seed), "/a").unwrap() == b"x"));
}

#[test]
fn a_rename_gives_the_old_name_or_the_new_one() {
    let (disk, _) = disk_with(b"old");
    let new = disk.open(path("/a.tmp"), OpenMode::CreateNew).unwrap();
    write(new.as_ref(), b"new", 0).unwrap();
    new.sync_data().unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.rename(path("/a.tmp"), path("/a")).unwrap();
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let after = disk.crash(seed);
        outcomes.insert((names(&after, "/"), content(&after, "/a").unwrap()));
    }
    let old = (vec!["a".to_owned(), "a.tmp".to_owned()], b"old".to_vec());
    let new = (vec!["a".to_owned()], b"new".to_vec());
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [new, old]);
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let (disk, _) = disk_with(b"x");
    disk.remove_file(path("/a")).unwrap();
    assert!(names(&disk, "/").is_empty());
    assert!((0..SEEDS).any(|seed| content(&disk.crash(seed), "/a").is_some()));

    let (disk, _) = disk_with(b"x");
    disk.remove_file(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert!((0..SEEDS).all(|seed| names(&disk.crash(seed), "/").is_empty()));
}

#[test]
fn what_a_removed_name_led_to_may_come_back_even_after_the_end_of_the_process() {
    let (disk, _) = disk_with(b"x");
    disk.remove_file(path("/a")).unwrap();
    let next = disk.kill();
    assert!(names(&next, "/").is_empty());
    let back = (0..SEEDS).filter_map(|seed| content(&next.crash(seed), "/a"));
    assert!(back.map(|content| assert_eq!(content, b"x")).count() > 0);
}

#[test]
fn directories_are_created_renamed_and_removed_when_empty() {
    let disk = SimDisk::new(1);
    disk.create_dir(path("/d")).unwrap();
    assert_eq!(disk.create_dir(path("/d")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.create_dir(path("/x/y")).unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.open(path("/d/f"), OpenMode::Create).unwrap();
    assert_eq!(disk.remove_dir(path("/d")).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    disk.rename(path("/d"), path("/e")).unwrap();
    assert_eq!(names(&disk, "/e"), ["f"]);
    disk.remove_file(path("/e/f")).unwrap();
    disk.remove_dir(path("/e")).unwrap();
    assert!(names(&disk, "/").is_empty());
}

#[test]
fn after_a_failed_sync_the_cache_lies_until_it_is_dropped_and_a_later_sync_helps_nothing() {
    let mut differed = false;
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = disk.open(path("/a"), OpenMode::Create).unwrap();
        disk.sync_dir(path("/")).unwrap();
        write(file.as_ref(), &[9; 8 * SECTOR], 0).unwrap();
        disk.fail_call(disk.calls(), Fault::Io);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(content(&disk, "/a").unwrap(), [9; 8 * SECTOR]);
        let process = disk.kill();
        assert_eq!(content(&process, "/a").unwrap(), [9; 8 * SECTOR]);
        process.open(path("/a"), OpenMode::Read).unwrap().drop_cache(0).unwrap();
        let seen = content(&process, "/a").unwrap();
        assert_eq!(content(&process.crash(1), "/a").unwrap(), seen);
        assert_eq!(content(&process.crash(2), "/a").unwrap(), seen);
        differed |= seen != [9; 8 * SECTOR];
    }
    assert!(differed);
}

#[test]
fn after_a_failed_sync_of_a_directory_its_names_are_uncertain_until_one_succeeds() {
    let disk = SimDisk::new(1);
    disk.open(path("/a"), OpenMode::Create).unwrap();
    disk.fail_call(disk.calls(), Fault::Io);
    assert!(disk.sync_dir(path("/")).is_err());
    let lost = (0..SEEDS).filter(|seed| names(&disk.crash(*seed), "/").is_empty()).count();
    assert!(lost > 0 && lost < 200);

    let disk = SimDisk::new(1);
    disk.open(path("/a"), OpenMode::Create).unwrap();
    disk.fail_call(disk.calls(), Fault::Io);
    assert!(disk.sync_dir(path("/")).is_err());
    disk.sync_dir(path("/")).unwrap();
    assert!((0..SEEDS).all(|seed| names(&disk.crash(seed), "/") == ["a"]));
}

#[test]
fn a_full_disk_takes_what_fits_and_room_comes_back_with_removal() {
    let disk = SimDisk::new(1);
    let file = disk.open(path("/a"), OpenMode::Create).unwrap();
    disk.open(path("/b"), OpenMode::Create).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 1000));
    assert_eq!(write(file.as_ref(), &[1; 800], 0).unwrap(), 800);
    assert_eq!(disk.free_bytes(path("/")).unwrap(), 200);
    assert_eq!(write(file.as_ref(), &[1; 800], 800).unwrap(), 200);
    assert_eq!(write(file.as_ref(), &[1; 800], 1000).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(write(file.as_ref(), &[2; 800], 0).unwrap(), 800);
    let created = disk.open(path("/c"), OpenMode::Create);
    assert_eq!(created.unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.remove_file(path("/a")).unwrap();
    assert!(disk.free_bytes(path("/")).unwrap() > 1000);
    disk.open(path("/c"), OpenMode::Create).unwrap();
}

#[test]
fn planned_calls_go_wrong_as_planned_and_once() {
    let (disk, file) = disk_with(&[1; 100]);
    let mut buf = [0; 100];
    disk.fail_call(disk.calls(), Fault::Io);
    assert_eq!(file.read_at(&mut buf, 0).unwrap_err().raw_os_error(), Some(5));
    disk.fail_call(disk.calls(), Fault::Short);
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 50);
    disk.fail_call(disk.calls(), Fault::Interrupted);
    assert_eq!(write(file.as_ref(), b"new", 0).unwrap_err().kind(), io::ErrorKind::Interrupted);
    disk.fail_call(disk.calls(), Fault::Full);
    assert_eq!(write(file.as_ref(), b"n", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.fail_call(disk.calls(), Fault::Short);
    assert!((1..100).contains(&write(file.as_ref(), &[2; 100], 0).unwrap()));
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 100);
    disk.fail_always(CallKind::List, Some(Fault::Io));
    assert!(disk.list(path("/")).is_err() && disk.list(path("/")).is_err());
    disk.fail_always(CallKind::List, None);
    assert!(disk.list(path("/")).is_ok());
}

#[test]
fn a_stopped_machine_does_nothing_more() {
    let (disk, file) = disk_with(b"");
    disk.stop_after(2);
    write(file.as_ref(), b"a", 0).unwrap();
    file.sync_data().unwrap();
    assert!(disk.is_stopped());
    assert!(write(file.as_ref(), b"b", 1).is_err());
    assert!(file.size().is_err() && disk.open(path("/a"), OpenMode::Read).is_err());
    assert_eq!(content(&disk.crash(3), "/a").unwrap(), b"a");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let (disk, file) = disk_with(&[1; 2000]);
    write(file.as_ref(), &[2; 5000], 100).unwrap();
    for seed in 0..SEEDS {
        assert_eq!(content(&disk.crash(seed), "/a"), content(&disk.crash(seed), "/a"));
    }
}

#[test]
fn rotten_bits_stay_rotten() {
    let (disk, _) = disk_with(&[0; 10]);
    disk.corrupt(path("/a"), 3, 0x10).unwrap();
    assert_eq!(content(&disk, "/a").unwrap()[3], 0x10);
    assert_eq!(content(&disk.crash(1), "/a").unwrap()[3], 0x10);
    assert!(disk.corrupt(path("/a"), 10, 1).is_err());
}

#[test]
fn a_cached_read_sometimes_finds_nothing_in_memory() {
    let (disk, file) = disk_with(&[1; 10]);
    let mut buf = [0; 10];
    assert!((0..100).all(|_| file.read_cached_at(&mut buf, 0).unwrap() == Some(10)));
    disk.set_uncached_one_in(2);
    let missed = (0..100).filter(|_| file.read_cached_at(&mut buf, 0).unwrap().is_none()).count();
    assert!(missed > 20 && missed < 80);
}
