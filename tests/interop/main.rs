//! Kafka's clients and tools, unmodified, against the real broker: each client runs the same table of cases
//! (`python/common.py` says how a program is called and what it prints), and records cross from one protocol
//! to the other byte for byte. Kafka's readers of segment files read what the broker wrote.
//!
//! `./test` installs the clients; a machine without a language skips its clients and says so.
//! `TIDELOG_INTEROP` names the directory where they are, and with `TIDELOG_INTEROP_ALL` nothing may be
//! skipped.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: a failure is a panic with its cause"
)]

mod clients;
mod installed;
mod kcat;
mod members;
mod program;
mod records;
mod segments;
mod tools;
mod transactions;
