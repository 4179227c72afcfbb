//! Mistakes planted on purpose: a simulation that cannot see them proves nothing.

use super::life::{Life, live};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Plant {
    #[default]
    Nothing,
    /// A record counts as dead although its dead letter was not written.
    DeadWithoutLetter,
    /// A dead letter whose answer was lost is written again.
    LettersTwice,
    /// Dead letters are written before it is durable that the record dies.
    LetterBeforeIntent,
    /// Whoever has a record may settle it, by whatever lease.
    FencedByMember,
    /// After a crash delayed records count as done.
    StartPassesDelayed,
    /// A crash forgets when records are due.
    DueInMemory,
    /// Keys are not looked at.
    NoKeys,
    /// A crash forgets which keys wait.
    KeysLostByCrash,
    /// Giving a record back counts as a failure.
    ReleaseFails,
    /// Retention deletes what failed before it is copied.
    RetentionEats,
    /// Time stands still while the clock is behind what it once was.
    FrozenClock,
}

/// Lives until the mistake is seen, or too many lives have not seen it.
fn is_seen(plant: Plant, promises: &[&str]) {
    let mut seen = Vec::new();
    for seed in 1..=400 {
        if let Err(broken) = live(Life { seed, plant, ..Life::default() }) {
            let promise = broken.split(':').next().unwrap_or_default().to_owned();
            assert!(promises.contains(&promise.as_str()), "{plant:?}, seed {seed}: {broken}");
            seen.push(seed);
            if seen.len() == 3 {
                return;
            }
        }
    }
    panic!("{plant:?} was seen in the lives {seen:?} only");
}

#[test]
fn a_dead_record_without_a_dead_letter_is_seen() {
    is_seen(Plant::DeadWithoutLetter, &["I2"]);
}

#[test]
fn two_dead_letters_of_one_record_are_seen() {
    is_seen(Plant::LettersTwice, &["I2"]);
}

#[test]
fn a_dead_letter_before_it_is_durable_that_its_record_dies_is_seen() {
    is_seen(Plant::LetterBeforeIntent, &["I2"]);
}

#[test]
fn a_settle_by_a_lease_that_has_ended_is_seen() {
    is_seen(Plant::FencedByMember, &["I6"]);
}

#[test]
fn a_start_that_passes_delayed_records_is_seen() {
    is_seen(Plant::StartPassesDelayed, &["I1", "I7", "I15"]);
}

#[test]
fn a_due_time_that_a_crash_forgets_is_seen() {
    is_seen(Plant::DueInMemory, &["I4", "I15"]);
}

#[test]
fn keys_that_nobody_looks_at_are_seen() {
    is_seen(Plant::NoKeys, &["I5"]);
}

#[test]
fn keys_that_a_crash_forgets_are_seen() {
    is_seen(Plant::KeysLostByCrash, &["I5", "I8"]);
}

#[test]
fn giving_back_that_counts_is_seen() {
    is_seen(Plant::ReleaseFails, &["I11"]);
}

#[test]
fn retention_that_eats_what_failed_is_seen() {
    is_seen(Plant::RetentionEats, &["I18"]);
}

#[test]
fn a_clock_that_stands_still_is_seen() {
    is_seen(Plant::FrozenClock, &["I15", "I17"]);
}
