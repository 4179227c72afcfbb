//! The rules of named groups.

pub mod api;
pub mod assignor;
pub mod consumer;
mod error;
mod events;
mod offsets;

pub use api::{CommittedOffset, OffsetCommit};
pub use error::GroupError;
pub use events::GroupEvent;
pub use offsets::{GroupCommand, GroupLimits, GroupOffsets, GroupReply};
