use std::sync::Arc;

use tidelog_model::Offset;

use super::Holds;

fn offset(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

#[test]
fn retention_stops_at_the_lowest_hold_and_goes_on_when_it_is_gone() {
    let holds = Arc::new(Holds::default());
    assert_eq!(holds.lowest(), Offset::MAX);
    let (one, two) = (holds.join(), holds.join());
    assert_eq!(holds.lowest(), Offset::ZERO);
    one.hold_from(offset(30));
    two.hold_from(offset(20));
    assert_eq!(holds.lowest(), offset(20));
    drop(two);
    assert_eq!(holds.lowest(), offset(30));
    drop(one);
    assert_eq!(holds.lowest(), Offset::MAX);
}

#[test]
fn who_holds_is_told_where_retention_wants_to_go() {
    let holds = Arc::new(Holds::default());
    let hold = holds.join();
    let mut wanted = hold.wanted();
    assert_eq!(*wanted.borrow_and_update(), Offset::ZERO);
    holds.retention_wants(offset(7));
    assert!(wanted.has_changed().unwrap());
    assert_eq!(*wanted.borrow_and_update(), offset(7));
    // An older pass does not take it back.
    holds.retention_wants(offset(3));
    assert!(!wanted.has_changed().unwrap());
}
