//! The engine of local segment files.
//!
//! ```text
//! log_dir ─┬─ replay, recover ─ scan ─ torn   opening
//!          ├─ commit ─ writer ─ sync_pool    writing: queue ► write ► sync ► floor ► listener
//!          │     └─ checkpoint ─ journal     or one sync for many partitions
//!          └─ local_log ─┬─ read             reading
//!                        └─ retain ─ compact ─ compact_map, compact_swap, compact_txn
//!                                            maintenance
//! segment ─ index ─ file    floor  epochs  files
//! transactions ─ producers, txn_index             what is open, what was aborted
//! ```

mod checkpoint;
mod commit;
mod compact;
mod compact_map;
mod compact_swap;
mod compact_txn;
mod epochs;
pub(crate) mod file;
mod floor;
mod identity;
mod index;
mod journal;
mod journal_read;
mod local_log;
mod log_dir;
mod producers;
mod queue;
mod read;
mod recover;
mod removal;
mod replay;
mod retain;
mod scan;
mod segment;
mod sync_pool;
mod torn;
mod transactions;
mod txn_index;
mod writer;

pub use epochs::epoch_end;
pub use log_dir::{LogDir, LogDirOptions, Threads};
