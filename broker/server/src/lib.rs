//! The broker as a library: configuration, the listener with gRPC, health and metrics, start and stop.
//!
//! The binary adds flags, logs and signals. [`Server`] is all that a program needs to run a broker of its own.
//!
//! **Invariants**
//! * Nothing is served before everything is recovered; the port is taken before, so that a port that is in use
//!   costs no recovery.
//! * Nothing but the loopback interface is listened on unless the operator asks for it in so many words.

mod config;
mod connections;
mod http;
mod metrics;
mod server;

pub use config::{Config, ConfigError, Inputs, LogFormat, Source, load};
pub use server::{Server, StartError};
