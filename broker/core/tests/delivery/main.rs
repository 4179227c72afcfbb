//! The lives of lanes, by the thousand: consumers that fail, fall silent, are slow or come back as ghosts, dead letters
//! that are not written or whose answer is lost, clocks that are set back, retention, redrives, and a crash at any
//! durable write, which may lose what was written since. After each step the lane must be what a plain list of
//! records says ([`shadow`]).
//!
//! `TIDELOG_LANE_LIVES` says how many lives to live and `TIDELOG_SEED` where to begin; `TIDELOG_TRACE` tells what
//! happens. A failure names the seed that repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

mod consumer;
mod life;
mod operator;
mod planted;
mod rng;
mod scenarios;
mod shadow;
mod world;
