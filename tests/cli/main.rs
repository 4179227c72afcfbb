//! The command line against the real broker, as its users see it: arguments in, streams, files, exit code and
//! the topics' records out.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test program: a failure is a panic with its cause"
)]

mod bench;
mod groups;
mod manage;
mod queues;
mod records;
mod replay;
mod replay_resume;
