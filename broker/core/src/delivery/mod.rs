//! Queue groups: records are handed out one by one, each is taken back settled, what failed is tried again later,
//! and what keeps failing becomes a dead letter that can be redriven.
//!
//! ```text
//!            acquire                 ack
//! available ─────────► leased ─────────────────────────────► settled
//!     ▲   ▲              │ nack, lease lost                      ▲
//!     │   └── delayed ◄──┤                                       │ resolve
//!     │        due       │ last attempt, reject      copied      │
//!     │                  └──────────────────► dying ───────► dead letter
//!     └──────────────────────────── redrive ─────────────────────┘
//! ```
//!
//! A [`Lane`] is one queue group's view of one partition. It changes at once and says by [`LaneEvent`]s how; its
//! owner makes them durable in their order before any answer leaves that needs it. Leases are not stored: a lane that
//! is read back hands everything out again that was not settled.

mod backoff;
mod breaker;
mod budget;
mod config;
mod dead_letter;
mod event;
mod lane;
mod letter;
mod order;
mod policy;
mod records;
mod routes;
mod selector;
mod window;

pub use backoff::{Jitter, LaneBackoff, Schedule, ScheduleError};
pub use breaker::{Admission, Breaker, BreakerLimits, OpenCause};
pub use budget::{Budget, BudgetLimits};
pub use config::{DeadLetterConfig, QUEUE_CONFIGS, QueueConfig, QueueConfigError, describe_queue};
pub use dead_letter::{
    DeadLetterFacts, FactsError, TOPIC_PREFIX, TopicNameError, dead_letter_topic, is_fact,
};
pub use event::{LaneEvent, LaneId};
pub use lane::{
    Acquire, Acquired, Blocked, DeadLetter, Delivery, Dying, Lane, LaneCounts, Outcome, RecordKind,
    RecordSource, Redrive, ReplayError, Retry, Settle, SettleStatus, Settled, SourceRecord, Verb,
};
pub use letter::{Letter, LetterError, LetterLimits, letter_batch};
pub use policy::{
    Backoff, Cause, DelayedEdge, LanePolicy, LeasePolicy, OnDead, OrderMode, Reason, WindowLimits,
};
pub use routes::{CircleError, Route, check_circles};
pub use selector::Selector;
