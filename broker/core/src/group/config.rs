//! How groups behave, and how much they may hold.

use tidelog_model::limits;

use super::consumer::ConsumerGroupConfig;

/// How much groups may hold: everything a client chooses is bounded by one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// The most groups.
    pub groups_max: usize,
    /// The most offsets of all groups.
    pub offsets_max: usize,
    /// The longest metadata text of an offset, in bytes.
    pub metadata_bytes_max: usize,
    /// The most members of a classic group (`group.max.size`).
    pub members_max: usize,
    /// The longest member id, instance id, client id, client host, protocol type or name, in bytes each.
    pub text_bytes_max: usize,
    /// The most protocols a member may offer.
    pub protocols_max: usize,
    /// The most bytes of all that one member tells when it joins.
    pub member_bytes_max: usize,
    /// The most bytes of what all members of a group told and of their assignments: it is stored as one record.
    pub group_bytes_max: usize,
    /// The same of all groups.
    pub bytes_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups_max: 100_000,
            offsets_max: 5_000_000,
            metadata_bytes_max: limits::OFFSET_METADATA_BYTES_MAX,
            members_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            text_bytes_max: 1_024,
            protocols_max: 64,
            member_bytes_max: 1024 * 1024,
            group_bytes_max: 16 * 1024 * 1024,
            bytes_max: 512 * 1024 * 1024,
        }
    }
}

/// How groups behave. The defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long an empty group waits for more members after the first (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay_ms: i32,
    /// The shortest session timeout (`group.min.session.timeout.ms`).
    pub min_session_timeout_ms: i32,
    /// The longest session timeout (`group.max.session.timeout.ms`).
    pub max_session_timeout_ms: i32,
    /// How long a member that has not heard of its id yet may wait for its first generation.
    pub new_member_join_timeout_ms: i32,
    /// How long offsets of empty groups are kept (`offsets.retention.minutes`).
    pub offsets_retention_ms: i64,
    /// How often they are looked at (`offsets.retention.check.interval.ms`).
    pub offsets_retention_check_interval_ms: i64,
    /// The consumer protocol's part.
    pub consumer: ConsumerGroupConfig,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            new_member_join_timeout_ms: 300_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer: ConsumerGroupConfig::default(),
        }
    }
}
