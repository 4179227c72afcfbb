use proptest::prelude::*;
use tidelog_model::Offset;

use super::{WatermarkMove, Watermarks};

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn committed(end: i64) -> WatermarkMove {
    WatermarkMove::Committed { end: offset(end), stable: offset(end) }
}

#[test]
fn an_open_transaction_keeps_the_last_stable_offset_back_until_it_ends_or_is_trimmed() {
    let marks = Watermarks::recovered(offset(2), offset(4), offset(9));
    assert_eq!((marks.last_stable, marks.high_watermark), (offset(4), offset(9)));
    let marks = marks.advance(WatermarkMove::Appended(offset(20)));
    let marks = marks.advance(WatermarkMove::Committed { end: offset(12), stable: offset(4) });
    assert_eq!((marks.last_stable, marks.high_watermark), (offset(4), offset(12)));
    let trimmed = marks.advance(WatermarkMove::Trimmed(offset(7)));
    assert_eq!((trimmed.log_start, trimmed.last_stable), (offset(7), offset(7)));
    let ended = marks.advance(WatermarkMove::Committed { end: offset(14), stable: offset(20) });
    assert_eq!((ended.last_stable, ended.high_watermark), (offset(14), offset(14)));
}

#[test]
fn a_recovered_log_is_wholly_readable() {
    let marks = Watermarks::recovered(offset(3), offset(9), offset(9));
    assert_eq!((marks.last_stable, marks.high_watermark), (offset(9), offset(9)));
}

#[test]
fn a_late_commit_changes_nothing() {
    let marks = Watermarks::recovered(offset(0), offset(9), offset(9));
    assert_eq!(marks.advance(committed(5)), marks);
}

#[test]
fn a_move_that_breaks_the_order_panics() {
    let marks = Watermarks::recovered(offset(2), offset(9), offset(9));
    for step in [
        committed(10),
        WatermarkMove::Trimmed(offset(10)),
        WatermarkMove::CutBack(offset(8)),
        WatermarkMove::CutBack(offset(10)),
        WatermarkMove::Appended(offset(8)),
    ] {
        let moved = std::panic::catch_unwind(|| marks.advance(step));
        assert!(moved.is_err(), "{step:?} was let through: {moved:?}");
    }
}

proptest! {
    #[test]
    fn what_was_readable_stays_readable_or_is_trimmed(steps in prop::collection::vec((0..4_u8, 0..50_i64), 1..60)) {
        let mut marks = Watermarks::recovered(Offset::ZERO, Offset::ZERO, Offset::ZERO);
        for (kind, by) in steps {
            let end = marks.log_end.get();
            let step = match kind {
                0 => WatermarkMove::Appended(offset(end + by)),
                1 => WatermarkMove::Committed { end: offset(by.min(end)), stable: offset(by / 2) },
                2 => WatermarkMove::Trimmed(offset(by.min(marks.high_watermark.get()))),
                _ => WatermarkMove::CutBack(offset((end - by).max(marks.high_watermark.get()))),
            };
            let next = marks.advance(step);
            prop_assert!(next.high_watermark >= marks.high_watermark);
            prop_assert!(next.log_start >= marks.log_start);
            prop_assert!(next.last_stable >= marks.last_stable);
            marks = next;
        }
    }
}
