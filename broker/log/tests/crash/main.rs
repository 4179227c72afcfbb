//! Crashes of the log, by the hundred thousand: whatever the moment and whatever the device kept, what was
//! acknowledged is there, and what was served once stays.
//!
//! `TIDELOG_CRASH_POINTS` says how many crash points to go through and `TIDELOG_SEED` where to start; a
//! failure names the seed that repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "test code"
)]

mod bit_rot;
mod faults;
mod indexes;
mod life;
mod model;
mod planted;
mod reached;
mod regressions;
mod transactions;
mod workload;
mod world;
