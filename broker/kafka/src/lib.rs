//! The Kafka wire protocol over the `Broker` API: any Kafka client works on the same log.
//!
//! ```text
//! socket ─► frame ─► header ─► dispatch ─► api/<one file per API> ─► response ─► socket, in order
//! ```
//!
//! **Invariants**
//! * Nothing a peer sends makes this crate panic or allocate more than the frame it was admitted for.
//! * Responses of a connection leave in the order of its requests; so do its appends.
//! * Record bytes are never decoded and encoded again: what a producer sent is what a consumer gets.

mod api;
mod configs;
mod connection;
mod context;
mod dispatch;
mod error;
mod failure;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod header;
#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile;
mod listener;
mod names;
mod reader;
mod response;
mod sender;
mod skipped;
mod stats;
#[cfg(test)]
mod testing;
mod topic_ref;
mod versions;
mod wire;
mod writer;

pub use context::KafkaOptions;
pub use listener::serve;
pub use skipped::{SKIPPED, Skipped};
pub use stats::{KafkaStats, REQUEST_BUCKETS_MS, RequestEnd, RequestStats};
pub use versions::{APIS, Api};
