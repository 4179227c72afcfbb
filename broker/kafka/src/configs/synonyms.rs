//! The name that the broker's default of a topic config has in Kafka.

/// Topic configs and the broker's names of them, sorted by the former.
const NAMES: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"),
    ("compression.type", "compression.type"),
    ("compression.zstd.level", "compression.zstd.level"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("preallocate", "log.preallocate"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
    ("tidelog.flush.interval.ms", "tidelog.flush.interval.ms"),
    ("tidelog.flush.policy", "tidelog.flush.policy"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// The broker's name of a topic config, if a broker has one.
pub(super) fn broker_name(topic_key: &str) -> Option<&'static str> {
    let index = NAMES.binary_search_by_key(&topic_key, |(topic, _)| *topic).ok()?;
    NAMES.get(index).map(|(_, broker)| *broker)
}

#[cfg(test)]
mod tests {
    use tidelog_runtime::{KEPT_CONFIGS, TOPIC_CONFIGS};

    use super::*;

    #[test]
    fn names_are_sorted_and_of_topic_configs() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (topic, _) in NAMES {
            assert!(TOPIC_CONFIGS.iter().chain(KEPT_CONFIGS).any(|row| row.key == *topic), "{topic}");
        }
    }
}
