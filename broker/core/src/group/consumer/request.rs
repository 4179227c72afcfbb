//! What a member sends and gets, and what may be wrong with a request whatever the group's state.

use std::collections::BTreeSet;

use tidelog_model::TopicName;
use uuid::Uuid;

use super::error::ConsumerGroupError;
use super::member::{JOIN_EPOCH, LEAVE_EPOCH, MemberSubscription, STATIC_LEAVE_EPOCH};
use crate::group::assignor::{Assignor, MemberId, Partitions};

/// How groups behave and how much a member may ask for. The defaults are Kafka's where Kafka has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// How long a member may be silent (`group.consumer.session.timeout.ms`).
    pub session_timeout_ms: i32,
    /// How often members are asked to send heartbeats (`group.consumer.heartbeat.interval.ms`).
    pub heartbeat_interval_ms: i32,
    /// The most members of a group (`group.consumer.max.size`).
    pub members_max: usize,
    /// The assignors members may ask for; the first serves those who do not (`group.consumer.assignors`).
    pub assignors: Vec<Assignor>,
    /// The longest member id, instance id, rack id, client id and client host, in bytes each.
    pub text_bytes_max: usize,
    /// The most topics one member may name.
    pub topic_names_max: usize,
    /// The longest regular expression, in bytes.
    pub regex_bytes_max: usize,
}

impl Default for ConsumerGroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            members_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            assignors: vec![Assignor::Uniform, Assignor::Range],
            text_bytes_max: 1_024,
            topic_names_max: 10_000,
            regex_bytes_max: 4_096,
        }
    }
}

/// A member's heartbeat (`ConsumerGroupHeartbeat`). `None` is the protocol's null: not changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The member's id; empty when an old client joins that lets the broker make one.
    pub member_id: String,
    /// The id to give to a member that has none; `None` in versions where clients make their own.
    pub generated_member_id: Option<Uuid>,
    /// The member's epoch, or one of [`JOIN_EPOCH`], [`LEAVE_EPOCH`], [`STATIC_LEAVE_EPOCH`].
    pub member_epoch: i32,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// Where the member runs.
    pub rack_id: Option<String>,
    /// How long it may take to give up partitions; the protocol's -1 is `None`.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics it subscribes to by name.
    pub subscribed_topic_names: Option<BTreeSet<TopicName>>,
    /// The topics it subscribes to by regular expression; an empty one ends that.
    pub subscribed_topic_regex: Option<String>,
    /// The assignor it prefers.
    pub server_assignor: Option<String>,
    /// The partitions it has.
    pub owned: Option<Partitions>,
    /// The client's id.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The member's id.
    pub member_id: MemberId,
    /// The epoch to use from now on.
    pub member_epoch: i32,
    /// When to send the next heartbeat; 0 in the answer to one that leaves.
    pub heartbeat_interval_ms: i32,
    /// All that the member should have, if that changed or the member should hear it again. What it has
    /// beside that it must give up.
    pub assignment: Option<Partitions>,
}

impl Heartbeat {
    /// Checks what does not depend on the group.
    pub(in crate::group) fn validate(&self, config: &ConsumerGroupConfig) -> Result<(), ConsumerGroupError> {
        self.check_lengths(config)?;
        self.check_fields()?;
        let supported = |name: &str| config.assignors.iter().any(|assignor| assignor.name() == name);
        if let Some(name) = self.server_assignor.as_deref().filter(|name| !supported(name)) {
            let names: Vec<&str> = config.assignors.iter().map(|assignor| assignor.name()).collect();
            let (name, supported) = (name.to_owned(), names.join(", "));
            return Err(ConsumerGroupError::UnsupportedAssignor { name, supported });
        }
        Ok(())
    }

    fn check_fields(&self) -> Result<(), ConsumerGroupError> {
        let names_itself =
            !self.member_id.is_empty() || (self.is_join() && self.generated_member_id.is_some());
        let checks = [
            (!names_itself, "MemberId must not be empty"),
            (self.instance_id.as_deref() == Some(""), "InstanceId must not be empty: leave it out"),
            (self.rack_id.as_deref() == Some(""), "RackId must not be empty: leave it out"),
            (self.member_epoch < STATIC_LEAVE_EPOCH, "MemberEpoch must be -2 or more"),
            (self.rebalance_timeout_ms.is_some_and(|ms| ms < 0), "RebalanceTimeoutMs must not be negative"),
            (
                self.is_join() && self.rebalance_timeout_ms.is_none(),
                "RebalanceTimeoutMs must be in the first request",
            ),
            (
                self.is_join() && self.owned.as_ref().is_none_or(|owned| !owned.is_empty()),
                "TopicPartitions must be there and empty when joining",
            ),
            (
                self.is_join() && !self.subscribes(),
                "SubscribedTopicNames or SubscribedTopicRegex must be in the first request",
            ),
            (
                self.member_epoch == STATIC_LEAVE_EPOCH && self.instance_id.is_none(),
                "InstanceId must be there when a static member leaves for a while",
            ),
        ];
        checks
            .into_iter()
            .find(|(wrong, _)| *wrong)
            .map_or(Ok(()), |(_, reason)| Err(ConsumerGroupError::InvalidRequest { reason }))
    }

    fn check_lengths(&self, config: &ConsumerGroupConfig) -> Result<(), ConsumerGroupError> {
        let text = |field, text: Option<&String>, limit| (field, "bytes", text.map_or(0, String::len), limit);
        let names = self.subscribed_topic_names.as_ref().map_or(0, BTreeSet::len);
        let lengths = [
            text("MemberId", Some(&self.member_id), config.text_bytes_max),
            text("InstanceId", self.instance_id.as_ref(), config.text_bytes_max),
            text("RackId", self.rack_id.as_ref(), config.text_bytes_max),
            text("client id", Some(&self.client_id), config.text_bytes_max),
            text("client host", Some(&self.client_host), config.text_bytes_max),
            text("SubscribedTopicRegex", self.subscribed_topic_regex.as_ref(), config.regex_bytes_max),
            ("SubscribedTopicNames", "names", names, config.topic_names_max),
        ];
        lengths
            .into_iter()
            .find(|(_, _, actual, limit)| actual > limit)
            .map_or(Ok(()), |(field, unit, actual, limit)| {
                Err(ConsumerGroupError::TooLong { field, unit, limit, actual })
            })
    }

    /// Whether the member joins, or joins again after it gave up everything.
    pub(super) const fn is_join(&self) -> bool {
        self.member_epoch == JOIN_EPOCH
    }

    /// Whether the member leaves, for good or for a while.
    pub(super) const fn is_leave(&self) -> bool {
        matches!(self.member_epoch, LEAVE_EPOCH | STATIC_LEAVE_EPOCH)
    }

    const fn subscribes(&self) -> bool {
        self.subscribed_topic_names.is_some() || self.subscribed_topic_regex.is_some()
    }

    /// Whether the member says everything, as it does when it may have missed an answer.
    pub(super) const fn is_full(&self) -> bool {
        self.is_join() || (self.rebalance_timeout_ms.is_some() && self.subscribes() && self.owned.is_some())
    }

    /// The member's id, made by the broker if it has none.
    pub(super) fn id(&self) -> MemberId {
        match self.generated_member_id {
            Some(uuid) if self.member_id.is_empty() => {
                MemberId::new(uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            _ => MemberId::new(&self.member_id),
        }
    }

    /// What the group knows of the member after this heartbeat.
    pub(super) fn update(&self, known: Option<&MemberSubscription>) -> MemberSubscription {
        let nothing = MemberSubscription::default();
        let known = known.unwrap_or(&nothing);
        let names = self.subscribed_topic_names.as_ref();
        let topic_names = match names.filter(|names| **names != *known.topic_names) {
            Some(names) => names.clone().into(),
            None => known.topic_names.clone(),
        };
        let topic_regex = match &self.subscribed_topic_regex {
            Some(regex) => Some(regex.clone()).filter(|regex| !regex.is_empty()),
            None => known.topic_regex.clone(),
        };
        MemberSubscription {
            instance_id: self.instance_id.clone().or_else(|| known.instance_id.clone()),
            rack_id: self.rack_id.clone().or_else(|| known.rack_id.clone()),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms.unwrap_or(known.rebalance_timeout_ms),
            topic_names,
            topic_regex,
            server_assignor: self.server_assignor.clone().or_else(|| known.server_assignor.clone()),
        }
    }
}
