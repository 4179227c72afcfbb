//! The house rules that no compiler checks: who may use whom, how long a file may be, words that must not
//! land, and that documents name only what exists.
//!
//! **Invariant:** exceptions are data (`ratchet.txt` and the tables in these files), each may only shrink,
//! and one that is no longer needed fails the test until it is removed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test program: a failure is a panic with its cause"
)]

mod docs;
mod layering;
mod sources;
mod tree;
