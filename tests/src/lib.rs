//! What the tests of the whole broker share: the harness that starts, kills and restarts the real binary,
//! the recorder of what clients asked and were told, and the checker that judges such a history.

pub mod binaries;
pub mod broker;
pub mod checker;
pub mod history;
pub mod kafka;
pub mod kafka_load;
pub mod load;
pub mod payload;
pub mod run;
pub mod wait;
