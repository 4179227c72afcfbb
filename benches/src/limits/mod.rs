//! What the machine can do without Tidelog: the limits its figures are compared with, measured in the same
//! run because they move from machine to machine and from hour to hour.

mod disk;
mod plain;
mod wire;

pub(crate) use disk::{append_and_sync, append_unsynced, noise, warm, warm_memory};
pub(crate) use plain::{PlainServer, serve};
pub(crate) use wire::{checksum, loopback};
