//! The circuit breaker's states over time.

use super::*;

#[test]
fn opens_after_failures_in_a_row_and_one_try_decides_after_the_cooldown() {
    let start = Instant::now();
    let cooldown = Duration::from_secs(5);
    let mut breaker = CircuitBreaker::new(Some(Breaker::after(2).cooldown(cooldown)));
    assert!(!breaker.on_failure(start));
    assert!(!breaker.on_answer(), "it was not open");
    assert!(!breaker.on_failure(start), "an answer starts the count again");
    assert_eq!(breaker.state(start), BreakerState::Closed);
    assert!(breaker.on_failure(start));
    assert_eq!(breaker.state(start), BreakerState::Open);
    assert_eq!(breaker.open_for(start), Some(cooldown));
    assert_eq!(breaker.state(start + cooldown), BreakerState::HalfOpen);
    assert_eq!(breaker.open_for(start + cooldown), None);
    assert!(breaker.on_failure(start + cooldown), "the probe failed");
    assert_eq!(breaker.state(start + cooldown), BreakerState::Open);
    assert!(breaker.on_answer());
    assert_eq!(breaker.state(start + cooldown), BreakerState::Closed);
}

#[test]
fn never_opens_when_it_is_turned_off() {
    let mut breaker = CircuitBreaker::new(None);
    for _ in 0..1000 {
        assert!(!breaker.on_failure(Instant::now()));
    }
    assert_eq!(breaker.state(Instant::now()), BreakerState::Closed);
}
