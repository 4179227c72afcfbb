//! Every rule of the broker as pure state machines: no tokio, no files, no clock, no randomness.
//!
//! A machine decides (`&self`, so it cannot change anything), its owner makes the events durable, and only
//! then the machine applies them; recovery is applying them again. Time, ids and limits are arguments.
//!
//! **Invariant:** the machines (`catalog`, `group`) do not know each other; the runtime composes them.

pub mod catalog;
pub mod codec;
pub mod delivery;
pub mod group;
pub mod machine;
pub mod partition;
pub mod watermarks;

pub use machine::{Decision, Machine};
pub use watermarks::{WatermarkMove, Watermarks};
