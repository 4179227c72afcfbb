//! Hard limits of what a client may choose. Configurable limits have their defaults here too.

/// The longest topic name, in bytes (Kafka's limit).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The longest group name, in bytes.
pub const GROUP_ID_BYTES_MAX: usize = 255;
/// The most partitions one topic may have.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 10_000;
/// The largest record batch accepted by default, in bytes (Kafka's `max.message.bytes`).
pub const BATCH_BYTES_MAX_DEFAULT: usize = 1_048_588;
/// The largest value `max.message.bytes` may be set to, in bytes.
pub const BATCH_BYTES_MAX_CEILING: usize = 64 * 1024 * 1024;
/// The most records one batch may hold.
pub const RECORDS_PER_BATCH_MAX: i32 = 1_000_000;
/// The most headers one record may have.
pub const HEADERS_PER_RECORD_MAX: usize = 1_000;
/// The most bytes a compressed batch may unfold to, in bytes.
pub const UNCOMPRESSED_BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The longest metadata text stored with a committed offset, in bytes (Kafka's default).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4_096;
