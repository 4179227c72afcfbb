//! The table of topic configs. `docs/` and descriptions show these texts; keep them to one line each.

use super::config_kind::ConfigKind;
use super::configs::ConfigKey;

const MS: ConfigKind = ConfigKind::Long { min: 0, max: i64::MAX };
const MS_OR_NEVER: ConfigKind = ConfigKind::Long { min: -1, max: i64::MAX };

/// The topic configs that have an effect, sorted by name.
pub static TOPIC_CONFIGS: &[ConfigKey] = &[
    ConfigKey {
        key: "cleanup.policy",
        kind: ConfigKind::List { allowed: &["delete", "compact"] },
        default: "delete",
        documentation: "What happens to old records: delete drops whole segments by retention, compact keeps \
                        the last record of each key; both may be given.",
    },
    ConfigKey {
        key: "delete.retention.ms",
        kind: MS,
        default: "86400000",
        documentation: "How long compaction keeps a tombstone, so that slow readers see the deletion.",
    },
    ConfigKey {
        key: "file.delete.delay.ms",
        kind: MS,
        default: "60000",
        documentation: "How long the files of a deleted segment stay on disk for readers that still use them.",
    },
    ConfigKey {
        key: "index.interval.bytes",
        kind: ConfigKind::Int { min: 0, max: 2_147_483_647 },
        default: "4096",
        documentation: "How many bytes of records lie between two entries of the offset index.",
    },
    ConfigKey {
        key: "max.compaction.lag.ms",
        kind: ConfigKind::Long { min: 1, max: i64::MAX },
        default: "9223372036854775807",
        documentation: "A record is compacted at the latest after this long, whatever the dirty ratio.",
    },
    ConfigKey {
        key: "max.message.bytes",
        kind: ConfigKind::Int { min: 1_024, max: 67_108_864 },
        default: "1048588",
        documentation: "The largest record batch accepted, as it is sent (compressed).",
    },
    ConfigKey {
        key: "message.timestamp.after.max.ms",
        kind: MS,
        default: "3600000",
        documentation: "How far in the future a producer's timestamp may lie.",
    },
    ConfigKey {
        key: "message.timestamp.before.max.ms",
        kind: MS,
        default: "9223372036854775807",
        documentation: "How far in the past a producer's timestamp may lie.",
    },
    ConfigKey {
        key: "message.timestamp.type",
        kind: ConfigKind::Word { allowed: &["CreateTime", "LogAppendTime"] },
        default: "CreateTime",
        documentation: "Whose clock stamps records: the producer's, or the broker's when it appends.",
    },
    ConfigKey {
        key: "min.cleanable.dirty.ratio",
        kind: ConfigKind::Double { min: 0.0, max: 1.0 },
        default: "0.5",
        documentation: "Compaction starts when this share of the log's bytes was never compacted.",
    },
    ConfigKey {
        key: "min.compaction.lag.ms",
        kind: MS,
        default: "0",
        documentation: "A record is not compacted before it is this old.",
    },
    ConfigKey {
        key: "retention.bytes",
        kind: ConfigKind::Long { min: -1, max: i64::MAX },
        default: "-1",
        documentation: "How many bytes each partition keeps before its oldest segments go; -1 is no limit.",
    },
    ConfigKey {
        key: "retention.ms",
        kind: MS_OR_NEVER,
        default: "604800000",
        documentation: "How long records are kept, by their timestamps; -1 is for ever.",
    },
    ConfigKey {
        key: "segment.bytes",
        kind: ConfigKind::Int { min: 1_024, max: 2_147_483_647 },
        default: "1073741824",
        documentation: "The size at which a segment file is closed and the next one started.",
    },
    ConfigKey {
        key: "segment.index.bytes",
        kind: ConfigKind::Int { min: 1_024, max: 2_147_483_647 },
        default: "10485760",
        documentation: "The largest offset index of a segment; a full index closes the segment.",
    },
    ConfigKey {
        key: "segment.ms",
        kind: ConfigKind::Long { min: 1, max: i64::MAX },
        default: "604800000",
        documentation: "The age at which a segment is closed although it is not full, so that retention can \
                        drop it.",
    },
    ConfigKey {
        key: "tidelog.flush.interval.ms",
        kind: ConfigKind::Int { min: 1, max: 3_600_000 },
        default: "1000",
        documentation: "How long a written batch may wait for its flush with tidelog.flush.policy=interval.",
    },
    ConfigKey {
        key: "tidelog.flush.policy",
        kind: ConfigKind::Word { allowed: &["sync", "interval", "os"] },
        default: "sync",
        documentation: "What a durable answer waits for: sync the flush of its batch; interval and os only its \
                        write, so that a power cut may take answered records back.",
    },
];
