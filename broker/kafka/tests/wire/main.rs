//! The listener over real sockets: frames, order, long polls, and what a broken client gets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod client;
mod fetch;
mod frames;
mod produce;
