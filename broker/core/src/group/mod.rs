//! The rules of named groups.

pub mod api;
pub mod assignor;
mod classic;
mod config;
pub mod consumer;
mod error;
mod events;
mod groups;
mod offsets;
mod queue;
mod seek;
mod serve;
#[cfg(test)]
mod testkit;

pub use api::{CommittedOffset, GroupReply, GroupRequest, OffsetCommit};
pub use classic::{ClassicImage, MemberImage};
pub use config::{GroupConfig, GroupLimits};
pub use error::GroupError;
pub use events::GroupEvent;
pub use groups::{Answer, Groups, Input, Output, Token};
pub use queue::{QueueDefinition, StoredQueue};
