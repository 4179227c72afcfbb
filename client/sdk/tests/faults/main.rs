//! The client against a broker that misbehaves on command.
#![expect(clippy::unwrap_used, reason = "test code")]

mod consumer;
mod fake;
mod producer;
