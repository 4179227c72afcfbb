//! The listener over real sockets: frames, order, long polls, and what a broken client gets.
#![expect(clippy::unwrap_used, reason = "test code")]

mod client;
mod fetch;
mod frames;
mod idempotent;
mod produce;
