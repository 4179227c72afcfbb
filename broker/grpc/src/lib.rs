//! The gRPC services, one file per service, over the [`Broker`](tidelog_runtime::Broker) API.
//!
//! A handler checks what the client sent, names every limit in its errors, and calls the broker; rules of
//! partitions, topics and groups are the broker's. What a connection asks for is bounded here: message
//! sizes, batches and partitions per request, and what one stream may have in flight ([`Limits`]).
//!
//! **Invariants**
//! * Batches of one stream to one partition are in the log in the order of the stream, without holes.
//! * Per-byte work (checksums, unfolding) happens on the connection's own task or the blocking pool, never
//!   under a partition's lock.
//! * Clients may read internal topics and never write them.
//! * No stream outlives [`Drain::started`] by more than the work it has in flight.

mod dlq;
mod drain;
mod error;
mod fetch;
mod group_admin;
mod groups;
mod health;
mod limits;
mod log;
mod membership;
mod metrics;
mod names;
mod offsets;
mod produce;
mod queue;
mod round_robin;
mod services;
mod topics;

pub use drain::{Drain, DrainSwitch};
pub use health::HealthUpdater;
pub use limits::Limits;
pub use metrics::{Api, ApiMetrics, ApiStats, DURATION_BUCKETS_MS};
pub use services::Services;
