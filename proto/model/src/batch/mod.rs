//! Record batch v2 (Kafka's magic 2): the unit on the wire, on disk and in memory.
//!
//! ```text
//! 0         8        12       16    17    21     23     27       35       43       51     53     57   61
//! | base    | length | leader | mag | crc | attr | last | base   | max    | prod.  | prod.| base | n  | records…
//! | offset  | -12    | epoch  |  2  | 32c | bits | delta| timest.| timest.| id     | epoch| seq. |    |
//! |<------- outside the CRC ------->|     |<---------------------- under the CRC ------------------------->|
//! ```
//!
//! A batch is validated once, at the door; then only its base offset and leader epoch are stamped, which
//! lie outside the range of its CRC, and the rest of its bytes is never touched again.
//! Source: KIP-98 and Kafka's `DefaultRecordBatch`.

mod assign;
mod builder;
mod compression;
mod control;
mod error;
mod header;
mod lz4_frame;
mod validate;
mod walk;

pub use assign::AssignedBatch;
pub use builder::{BatchBuilder, BuildError, HeaderRef};
pub use compression::{Compression, CompressionError};
pub use control::{ControlError, ControlKind, ControlMarker};
pub use error::BatchError;
pub use header::{BATCH_OVERHEAD, BatchHeader, HeaderError, LENGTH_PREFIX};
pub use validate::{BatchRules, RecordBatch};
