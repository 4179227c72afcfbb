use super::*;

fn numbering(id: i64) -> Numbering {
    let mut numbering = Numbering::new(true);
    numbering.begin(ProducerId(id), ProducerEpoch(0));
    numbering
}

fn next(numbering: &mut Numbering, lane: LaneId, records: usize) -> (i64, i32) {
    let stamp = numbering.next(lane, records).unwrap();
    (stamp.id.0, stamp.sequence.0)
}

#[test]
fn each_partition_counts_its_own_records_and_wraps_to_zero() {
    let mut numbering = numbering(7);
    assert_eq!([next(&mut numbering, 0, 3), next(&mut numbering, 1, 1)], [(7, 0), (7, 0)]);
    assert_eq!([next(&mut numbering, 0, 1), next(&mut numbering, 1, 1)], [(7, 3), (7, 1)]);
    assert_eq!(after(Sequence(i32::MAX), 1), Sequence(0));
    assert_eq!(after(Sequence(i32::MAX - 1), 4), Sequence(2));
}

#[test]
fn a_partition_that_lost_its_place_begins_anew_and_the_others_go_on() {
    let mut numbering = numbering(7);
    next(&mut numbering, 0, 1);
    next(&mut numbering, 1, 1);
    numbering.lost(0, ProducerId(7));
    assert!(numbering.needs_id() && !numbering.is_ready());
    assert!(numbering.take_lost().is_empty(), "not before there is an id");
    numbering.begin(ProducerId(8), ProducerEpoch(0));
    assert_eq!(numbering.take_lost(), BTreeSet::from([0]));
    assert!(numbering.is_ready());
    assert_eq!([next(&mut numbering, 0, 1), next(&mut numbering, 1, 1)], [(8, 0), (7, 1)]);
    // An answer to a batch from before changes nothing.
    numbering.lost(0, ProducerId(7));
    assert!(numbering.is_ready());
}

#[test]
fn without_idempotence_nothing_is_stamped_and_nothing_waits() {
    let mut numbering = Numbering::new(false);
    assert!(numbering.is_ready() && !numbering.needs_id());
    assert_eq!(numbering.next(0, 1), None);
}
