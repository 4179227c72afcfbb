use std::collections::BTreeMap;

use proptest::prelude::*;
use tidelog_model::Offset;

use super::*;

fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

proptest! {
    #[test]
    fn it_is_a_map(
        steps in prop::collection::vec((0_i64..400, 0_u8..3), 1..300),
        ranges in prop::collection::vec((0_i64..450, 0_i64..450), 1..10),
    ) {
        let (mut ours, mut plain) = (ByOffset::default(), BTreeMap::new());
        for (step, (at, what)) in steps.into_iter().enumerate() {
            let at = offset(at);
            if what == 0 {
                prop_assert_eq!(ours.remove(at), plain.remove(&at));
            } else {
                prop_assert_eq!(ours.insert(at, step), plain.insert(at, step));
            }
            prop_assert_eq!(ours.get(at), plain.get(&at));
            prop_assert_eq!(ours.get_mut(at), plain.get_mut(&at));
            prop_assert_eq!(ours.len(), plain.len());
        }
        prop_assert!(ours.iter().eq(plain.iter().map(|(at, step)| (*at, step))));
        for (first, last) in ranges {
            let (first, last) = (offset(first), offset(last));
            let expected = plain.iter().filter(|(at, _)| (first..=last).contains(*at));
            prop_assert!(ours.range(first, last).eq(expected.map(|(at, step)| (*at, step))));
        }
        prop_assert!(ours.chunks.values().all(|chunk| chunk.present != 0));
    }
}

#[test]
fn the_last_offsets_have_their_place() {
    let mut ours = ByOffset::default();
    for at in [Offset::MAX, Offset::MAX.before(), Offset::ZERO] {
        ours.insert(at, at);
    }
    let found: Vec<Offset> = ours.iter().map(|(at, _)| at).collect();
    assert_eq!(found, [Offset::ZERO, Offset::MAX.before(), Offset::MAX]);
}

#[test]
fn few_things_keep_little_room() {
    let mut ours = ByOffset::default();
    for at in 0..64 {
        assert_eq!(ours.insert(offset(at), at), None);
    }
    for at in 0..60 {
        assert_eq!(ours.remove(offset(at)), Some(at));
    }
    assert!(ours.chunks.values().all(|chunk| chunk.things.capacity() <= 4 + 2 * ROOM));
}
