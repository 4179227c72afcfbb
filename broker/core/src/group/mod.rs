//! The rules of named groups.

pub mod assignor;
pub mod consumer;
mod events;
mod offsets;

pub use events::GroupEvent;
pub use offsets::{
    CommittedOffset, GroupCommand, GroupError, GroupLimits, GroupOffsets, GroupReply, OffsetCommit,
};
