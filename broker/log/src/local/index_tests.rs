use super::*;

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn offsets(entries: &[(i32, i32)]) -> Vec<u8> {
    entries.iter().flat_map(|&(relative, position)| OffsetEntry { relative, position }.encode()).collect()
}

fn times(entries: &[(i64, i32)]) -> Vec<u8> {
    let entry =
        |&(millis, relative): &(i64, i32)| TimeEntry { timestamp: Timestamp::from_millis(millis), relative };
    entries.iter().flat_map(|it| entry(it).encode()).collect()
}

#[test]
fn entries_have_kafkas_bytes() {
    assert_eq!(offsets(&[(3, 258)]), [0, 0, 0, 3, 0, 0, 1, 2]);
    assert_eq!(times(&[(1, 2)]), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
}

#[test]
fn a_lookup_finds_the_last_entry_at_or_before_its_target() {
    let index = offsets(&[(9, 100), (19, 200), (29, 300)]);
    let position = |target| entry_before(&index, offset(1000), offset(target)).map(OffsetEntry::place);
    assert_eq!(position(999), None);
    assert_eq!(position(1008), None);
    assert_eq!(position(1009), Some(100));
    assert_eq!(position(1018), Some(100));
    assert_eq!(position(1019), Some(200));
    assert_eq!(position(5000), Some(300));
    assert_eq!(position(i64::MAX), Some(300));
}

#[test]
fn a_time_lookup_starts_before_every_record_at_or_after_its_target() {
    let index = times(&[(50, 9), (70, 19)]);
    let before = |millis| {
        time_entry_before(&index, Timestamp::from_millis(millis))
            .map(|entry| offset(1000 + i64::from(entry.relative)))
    };
    assert_eq!(before(50), None);
    assert_eq!(before(51), Some(offset(1009)));
    assert_eq!(before(70), Some(offset(1009)));
    assert_eq!(before(71), Some(offset(1019)));
}

#[test]
fn only_entries_that_ascend_and_lie_inside_the_segment_are_sound() {
    assert_eq!(sound_offset_bytes(&offsets(&[(9, 100), (19, 200)]), 201), 16);
    assert_eq!(sound_offset_bytes(&offsets(&[(9, 100), (19, 200)]), 200), 8);
    assert_eq!(sound_offset_bytes(&offsets(&[(9, 100), (9, 200)]), 999), 8);
    assert_eq!(sound_offset_bytes(&offsets(&[(9, 100), (0, 0)]), 999), 8);
    assert_eq!(sound_offset_bytes(&offsets(&[(-9, 100)]), 999), 0);
    assert_eq!(sound_offset_bytes(&[0, 0, 0, 9, 0, 0, 0], 999), 0);
    let (base, end) = (offset(1000), offset(1019));
    assert_eq!(sound_time_bytes(&times(&[(50, 9), (70, 18)]), base, end), 24);
    assert_eq!(sound_time_bytes(&times(&[(50, 9), (70, 19)]), base, end), 12);
    assert_eq!(sound_time_bytes(&times(&[(50, 9), (50, 18)]), base, end), 12);
    assert_eq!(sound_time_bytes(&times(&[(50, 9), (0, 0)]), base, end), 12);
}
