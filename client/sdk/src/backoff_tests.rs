//! The bounds of the waits between tries.

use super::*;

#[test]
fn waits_lie_between_zero_and_a_ceiling_that_doubles_up_to_the_limit() {
    let ms = Duration::from_millis;
    let mut backoff = Backoff::new(ms(50), ms(300));
    let ceilings: Vec<_> = (0..5).map(|_| backoff.next(u32::MAX)).collect();
    assert_eq!(ceilings, [ms(50), ms(100), ms(200), ms(300), ms(300)]);
    assert_eq!(backoff.next(0), Duration::ZERO);
    backoff.reset();
    assert_eq!(backoff.next(u32::MAX), ms(50));
}

#[test]
fn many_failures_in_a_row_do_not_overflow() {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
    for _ in 0..100 {
        backoff.next(u32::MAX / 2);
    }
}
