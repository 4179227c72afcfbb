//! Kafka's topic configs that have no effect here. They are accepted, kept and described, because tools that
//! were written for Kafka set them; refusing what changes nothing would only keep those tools out.
//!
//! A value that would promise something that is not done (tiered storage) is refused all the same.

use super::config_kind::ConfigKind;
use super::configs::ConfigKey;

const BOOLEAN: ConfigKind = ConfigKind::Bool;
const LEVEL: &str = "No effect: batches keep the codec and level of their producer.";
const FLUSH: &str = "No effect: tidelog.flush.policy says when batches are flushed.";
const ONE_BROKER: &str = "No effect: there is one broker.";
const NOT_TIERED: &str = "No effect: records are kept on this broker's disk only.";
const OLD_FORMAT: &str = "No effect: there is one record format. Kafka has no such config any more.";
const NEVER: &str = "9223372036854775807";

const fn row(
    key: &'static str,
    kind: ConfigKind,
    default: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    ConfigKey { key, kind, default, documentation }
}

const fn long(min: i64) -> ConfigKind {
    ConfigKind::Long { min, max: i64::MAX }
}

const fn int(min: i64, max: i64) -> ConfigKind {
    ConfigKind::Int { min, max }
}

/// Topic configs of Kafka that are kept and described without having an effect, sorted by name.
pub static KEPT_CONFIGS: &[ConfigKey] = &[
    row("compression.gzip.level", int(-1, 9), "-1", LEVEL),
    row("compression.lz4.level", int(1, 17), "9", LEVEL),
    row(
        "compression.type",
        ConfigKind::Word { allowed: &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] },
        "producer",
        "No effect: batches keep the codec of their producer, whatever is set.",
    ),
    row("compression.zstd.level", int(-131_072, 22), "3", LEVEL),
    row("flush.messages", long(1), NEVER, FLUSH),
    row("flush.ms", long(0), NEVER, FLUSH),
    row("follower.replication.throttled.replicas", ConfigKind::Replicas, "", ONE_BROKER),
    row("leader.replication.throttled.replicas", ConfigKind::Replicas, "", ONE_BROKER),
    row("local.retention.bytes", long(-2), "-2", NOT_TIERED),
    row("local.retention.ms", long(-2), "-2", NOT_TIERED),
    row(
        "min.insync.replicas",
        int(1, 2_147_483_647),
        "1",
        "No effect: there is one replica, and a durable answer waits for its disk.",
    ),
    row("preallocate", BOOLEAN, "false", "No effect: segment files grow as they are written."),
    row("remote.log.copy.disable", BOOLEAN, "false", NOT_TIERED),
    row("remote.log.delete.on.disable", BOOLEAN, "false", NOT_TIERED),
    row(
        "remote.storage.enable",
        ConfigKind::Word { allowed: &["false"] },
        "false",
        "Only false: there is no tiered storage.",
    ),
    row("segment.jitter.ms", long(0), "0", "No effect: segments close without jitter."),
    row("unclean.leader.election.enable", BOOLEAN, "false", ONE_BROKER),
];

/// Topic configs that older Kafkas had. They are accepted and kept, but described only where they are set.
pub static RETIRED_CONFIGS: &[ConfigKey] = &[
    row("message.downconversion.enable", BOOLEAN, "true", OLD_FORMAT),
    row("message.format.version", ConfigKind::Text, "3.0-IV1", OLD_FORMAT),
    row(
        "message.timestamp.difference.max.ms",
        long(0),
        NEVER,
        "No effect: message.timestamp.before.max.ms and message.timestamp.after.max.ms took its place.",
    ),
];
