use super::*;

#[test]
fn a_table_has_no_frames_and_aligns_its_columns() {
    let head = [Column::Text("TOPIC"), Column::Number("PARTITIONS")];
    let rows = vec![vec!["orders".to_owned(), "3".to_owned()], vec!["x".to_owned(), "12".to_owned()]];
    assert_eq!(table(&head, rows), "TOPIC   PARTITIONS\norders           3\nx               12");
}

#[test]
fn a_table_without_rows_is_its_head() {
    assert_eq!(table(&[Column::Text("GROUP")], Vec::new()), "GROUP");
}
