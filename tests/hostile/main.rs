//! Hostile Kafka peers against the real broker: very many connections, slow and silent ones, broken frames,
//! and requests of every API with bytes changed at random. The broker's memory stays within a bound, its log
//! names the peer, and others are served all the while.
//!
//! `TIDELOG_SEED` replays the changed requests, `TIDELOG_FRAMES` sets how many there are.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test program: a failure is a panic with its cause"
)]

mod connections;
mod frames;
mod mutants;
mod peer;
mod requests;
