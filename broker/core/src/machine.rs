//! The contract of every rule of the broker: decide, append, apply.
//!
//! ```text
//! command ──decide(&self)──► events + reply ──append──► durable ──apply(&mut self)──► reply leaves
//! ```
//!
//! **Invariants** an implementation keeps:
//! * `decide` reads only applied state, so it reads only durable state: its reply waits for its own events
//!   and for nothing else, and a reply without events may leave at once.
//! * `apply` is total and depends on the event and the state only. It is the only mutation, and it is also
//!   replay.
//! * Applying `snapshot()` to an empty machine gives an equal machine, and applying it to the machine
//!   itself changes nothing: replay of a log that ends in half a snapshot is still right.
//! * `pending_effects` is derived from state, so that a crash cannot lose one.

use tidelog_model::Timestamp;

use crate::codec::Event;

/// What a command leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<E, R> {
    /// What happens, in this order; empty when nothing changes.
    pub events: Vec<E>,
    /// The answer. It may leave when `events` are durable and applied, and at once when there are none.
    pub reply: R,
}

impl<E, R> Decision<E, R> {
    /// An answer that changes nothing.
    #[must_use]
    pub const fn reply(reply: R) -> Self {
        Self { events: Vec::new(), reply }
    }

    /// An answer that waits for `events`.
    #[must_use]
    pub const fn with_events(events: Vec<E>, reply: R) -> Self {
        Self { events, reply }
    }
}

/// A state machine whose events live in an internal partition.
pub trait Machine: Send + Sync + 'static {
    /// What is asked of it.
    type Command: Send + 'static;
    /// What it remembers.
    type Event: Event;
    /// What it answers.
    type Reply: Send + 'static;
    /// Work outside the machine that its state calls for.
    type Effect: Send + 'static;
    /// What a command touches, see [`Self::lane`].
    type Lane: Ord + Send + 'static;

    /// The part of the state the command reads and writes; `None` is all of it. Commands of different lanes
    /// may be decided side by side and made durable together.
    fn lane(&self, command: &Self::Command) -> Option<Self::Lane>;

    /// What the command leads to at the time `now`.
    fn decide(&self, now: Timestamp, command: Self::Command) -> Decision<Self::Event, Self::Reply>;

    /// Takes a durable event into the state.
    fn apply(&mut self, event: &Self::Event);

    /// When [`Self::on_deadline`] wants to be called next.
    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// What the passing of time leads to. After its events are applied the next deadline lies after `now`.
    fn on_deadline(&self, now: Timestamp) -> Vec<Self::Event> {
        let _ = now;
        Vec::new()
    }

    /// The work that the state calls for and that has not been reported done.
    fn pending_effects(&self) -> impl Iterator<Item = Self::Effect> + Send {
        std::iter::empty()
    }

    /// Events that rebuild this state from an empty machine.
    fn snapshot(&self) -> impl Iterator<Item = Self::Event> + Send;
}
