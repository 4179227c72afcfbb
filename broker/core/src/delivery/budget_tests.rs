use proptest::prelude::*;
use tidelog_model::Timestamp;

use super::{Budget, BudgetLimits};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn taken(budget: &mut Budget, now: i64) -> usize {
    (0..1_000_000).take_while(|_| budget.try_take(at(now))).count()
}

#[test]
fn each_second_brings_the_floor_and_each_success_its_share() {
    let mut budget = Budget::new(BudgetLimits::default());
    assert_eq!(taken(&mut budget, 0), 10);
    assert_eq!(taken(&mut budget, 999), 0);
    assert_eq!(budget.next_at(at(999)), at(1_000));
    assert_eq!(taken(&mut budget, 1_000), 10);
    budget.succeeded(at(1_500), 100);
    assert_eq!(taken(&mut budget, 1_500), 20);
    budget.succeeded(at(1_500), 4);
    assert_eq!(taken(&mut budget, 1_500), 0);
    budget.succeeded(at(1_500), 1);
    assert_eq!(taken(&mut budget, 1_500), 1);
}

#[test]
fn what_is_not_used_in_ten_seconds_is_lost() {
    let mut budget = Budget::new(BudgetLimits::default());
    budget.succeeded(at(0), 1_000);
    assert_eq!(taken(&mut budget.clone(), 9_999), 220);
    assert_eq!(taken(&mut budget, 10_000), 10);
}

#[test]
fn without_a_limit_there_is_always_one_and_a_clock_set_back_takes_none_away() {
    let mut budget = Budget::new(BudgetLimits { percent: None, floor_per_second: 0 });
    assert_eq!(taken(&mut budget, 0), 1_000_000);
    let mut budget = Budget::new(BudgetLimits::default());
    assert_eq!(taken(&mut budget, 1_000_000_000), 10);
    assert_eq!(taken(&mut budget, 0), 0);
    budget.succeeded(at(0), 100);
    assert_eq!(taken(&mut budget, 5), 20);
    assert_eq!(taken(&mut budget, 1_000_001_000), 10);
}

proptest! {
    #[test]
    fn ten_seconds_hold_no_more_retries_than_are_allowed(
        steps in prop::collection::vec((0..2_000i64, 0..200u64, 0..100usize), 1..100),
    ) {
        let mut budget = Budget::new(BudgetLimits::default());
        let mut now = 0;
        let (mut retries, mut successes) = (Vec::new(), Vec::new());
        for (wait, succeeded, asked) in steps {
            now += wait;
            budget.succeeded(at(now), succeeded);
            successes.push((now, succeeded));
            let got = (0..asked).filter(|_| budget.try_take(at(now))).count();
            retries.push((now, got));
            let recent: usize = retries.iter().filter(|(when, _)| now - when < 10_000).map(|(_, got)| got).sum();
            let earned: u64 = successes.iter().filter(|(when, _)| now - when < 20_000).map(|(_, n)| n).sum();
            let allowed = earned as f64 * 0.2 + 200.0;
            prop_assert!((recent as f64) <= allowed, "{recent} retries of {allowed}");
        }
    }
}
