//! Reference pages say what the code says: tables are written from it, and every command and flag that a
//! document shows is one that the real binaries know.
//!
//! `TIDELOG_BLESS=1` writes the tables anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: a failure is a panic with its cause")]

mod commands;
mod tables;
