use tidelog_model::ErrorCode;

use super::*;

#[test]
fn a_page_goes_on_where_the_last_one_ended() {
    let at = QueuePlace {
        topic: TopicName::new("orders.v1-eu_x").unwrap(),
        partition: PartitionIndex::new(7).unwrap(),
        offset: Offset::new(123).unwrap(),
    };
    assert_eq!(place(&page_name(&at)).unwrap(), Some(at));
    assert_eq!(place("").unwrap(), None);
    for wrong in
        ["orders", "orders/1", "orders/1/2/3", "orders/-1/2", "orders/1/-2", "a b/1/2", "/1/2", "x/y/z"]
    {
        let error = place(wrong).unwrap_err();
        assert_eq!((error.code, error.field), (ErrorCode::InvalidRequest, Some("page")), "{wrong}");
    }
}

#[test]
fn a_page_has_a_hundred_rows_unless_told_otherwise_and_never_too_many() {
    assert_eq!([0, 1, 1_000].map(|limit| page_size(limit).unwrap()), [100, 1, 1_000]);
    for wrong in [-1, 1_001, i32::MAX, i32::MIN] {
        assert_eq!(page_size(wrong).unwrap_err().field, Some("limit"));
    }
}
