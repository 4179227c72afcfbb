//! The table of APIs: which ones there are, and in which versions. `skipped.rs` has the others.
//!
//! `docs/compatibility.md` shows this table; dispatch and the answer to ApiVersions are made from it, so an
//! API is told of exactly when it is served.

/// One API as it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Its number in the protocol.
    pub key: i16,
    /// Its name in the protocol.
    pub name: &'static str,
    /// The oldest version that is answered.
    pub min: i16,
    /// The newest version that is answered.
    pub max: i16,
    /// The oldest version that clients are told of; below `min` only where clients need to see it.
    pub told_min: i16,
    /// The first version with compact strings and tagged fields; `i16::MAX` where there is none.
    pub flexible_from: i16,
    /// What is worth knowing about it, in one line.
    pub note: &'static str,
}

impl Api {
    /// Whether requests and responses of this version are in the flexible form.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether the response header of this version has tagged fields. ApiVersions' never has: the client does
    /// not know yet what the broker speaks.
    #[must_use]
    pub const fn has_flexible_response_header(&self, version: i16) -> bool {
        self.is_flexible(version) && self.key != API_VERSIONS
    }
}

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const LIST_OFFSETS: i16 = 2;
pub(crate) const METADATA: i16 = 3;
pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const CREATE_TOPICS: i16 = 19;
pub(crate) const DELETE_TOPICS: i16 = 20;
pub(crate) const DELETE_RECORDS: i16 = 21;
pub(crate) const INIT_PRODUCER_ID: i16 = 22;
pub(crate) const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
pub(crate) const DESCRIBE_ACLS: i16 = 29;
pub(crate) const CREATE_ACLS: i16 = 30;
pub(crate) const DELETE_ACLS: i16 = 31;
pub(crate) const DESCRIBE_CONFIGS: i16 = 32;
pub(crate) const ALTER_CONFIGS: i16 = 33;
pub(crate) const DESCRIBE_LOG_DIRS: i16 = 35;
pub(crate) const CREATE_PARTITIONS: i16 = 37;
pub(crate) const ELECT_LEADERS: i16 = 43;
pub(crate) const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
pub(crate) const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
pub(crate) const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
pub(crate) const DESCRIBE_CLIENT_QUOTAS: i16 = 48;
pub(crate) const DESCRIBE_USER_SCRAM_CREDENTIALS: i16 = 50;
pub(crate) const DESCRIBE_CLUSTER: i16 = 60;
pub(crate) const LIST_CONFIG_RESOURCES: i16 = 74;
pub(crate) const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

pub(crate) const OFFSET_COMMIT: i16 = 8;
pub(crate) const OFFSET_FETCH: i16 = 9;
pub(crate) const FIND_COORDINATOR: i16 = 10;
pub(crate) const JOIN_GROUP: i16 = 11;
pub(crate) const HEARTBEAT: i16 = 12;
pub(crate) const LEAVE_GROUP: i16 = 13;
pub(crate) const SYNC_GROUP: i16 = 14;
pub(crate) const DESCRIBE_GROUPS: i16 = 15;
pub(crate) const LIST_GROUPS: i16 = 16;
pub(crate) const DELETE_GROUPS: i16 = 42;
pub(crate) const OFFSET_DELETE: i16 = 47;
pub(crate) const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
pub(crate) const CONSUMER_GROUP_DESCRIBE: i16 = 69;

const fn api(
    key: i16,
    name: &'static str,
    (min, max): (i16, i16),
    flexible_from: i16,
    note: &'static str,
) -> Api {
    Api { key, name, min, max, told_min: min, flexible_from, note }
}

/// Every API that is served, by number.
pub const APIS: &[Api] = &[
    Api {
        told_min: 0,
        ..api(
            PRODUCE,
            "Produce",
            (3, 13),
            9,
            "told from version 0 on, because older librdkafka would not compress",
        )
    },
    api(FETCH, "Fetch", (4, 18), 12, "without sessions: each request names all its partitions"),
    api(LIST_OFFSETS, "ListOffsets", (1, 11), 6, "all of a partition is on the broker's own disk"),
    api(
        METADATA,
        "Metadata",
        (0, 13),
        9,
        "a named topic that does not exist is created at once where allowed",
    ),
    api(OFFSET_COMMIT, "OffsetCommit", (2, 10), 8, "durable when answered"),
    api(OFFSET_FETCH, "OffsetFetch", (1, 10), 6, "nothing is ever unstable: there are no transactions"),
    api(FIND_COORDINATOR, "FindCoordinator", (0, 5), 3, "the one broker coordinates everything"),
    api(JOIN_GROUP, "JoinGroup", (0, 9), 6, ""),
    api(HEARTBEAT, "Heartbeat", (0, 4), 4, ""),
    api(LEAVE_GROUP, "LeaveGroup", (0, 5), 4, ""),
    api(SYNC_GROUP, "SyncGroup", (0, 5), 4, ""),
    api(DESCRIBE_GROUPS, "DescribeGroups", (0, 6), 5, "of classic groups"),
    api(LIST_GROUPS, "ListGroups", (0, 5), 3, ""),
    api(API_VERSIONS, "ApiVersions", (0, 4), 3, "an unknown version is answered in version 0"),
    api(CREATE_TOPICS, "CreateTopics", (2, 7), 5, "one replica, whatever is asked for"),
    api(DELETE_TOPICS, "DeleteTopics", (1, 6), 4, "gone for good when answered"),
    api(DELETE_RECORDS, "DeleteRecords", (0, 2), 2, "moves the log start, durably"),
    api(
        INIT_PRODUCER_ID,
        "InitProducerId",
        (0, 5),
        2,
        "without a transactional id: there are no transactions",
    ),
    api(OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch", (2, 4), 4, "of records that can be read"),
    api(DESCRIBE_ACLS, "DescribeAcls", (1, 3), 2, "SECURITY_DISABLED: there is no authorizer"),
    api(CREATE_ACLS, "CreateAcls", (1, 3), 2, "SECURITY_DISABLED: there is no authorizer"),
    api(DELETE_ACLS, "DeleteAcls", (1, 3), 2, "SECURITY_DISABLED: there is no authorizer"),
    api(DESCRIBE_CONFIGS, "DescribeConfigs", (1, 4), 4, "of topics and of the broker"),
    api(ALTER_CONFIGS, "AlterConfigs", (0, 2), 2, "of topics; the broker's configs are read-only"),
    api(DESCRIBE_LOG_DIRS, "DescribeLogDirs", (1, 4), 2, "one directory; its total size is not told"),
    api(CREATE_PARTITIONS, "CreatePartitions", (0, 3), 2, ""),
    api(DELETE_GROUPS, "DeleteGroups", (0, 2), 2, "of groups without members"),
    api(ELECT_LEADERS, "ElectLeaders", (0, 2), 2, "ELECTION_NOT_NEEDED: the one broker leads all partitions"),
    api(
        INCREMENTAL_ALTER_CONFIGS,
        "IncrementalAlterConfigs",
        (0, 1),
        1,
        "of topics; the broker's configs are read-only",
    ),
    api(ALTER_PARTITION_REASSIGNMENTS, "AlterPartitionReassignments", (0, 1), 0, "to broker 1 only"),
    api(LIST_PARTITION_REASSIGNMENTS, "ListPartitionReassignments", (0, 0), 0, "there are none"),
    api(OFFSET_DELETE, "OffsetDelete", (0, 0), i16::MAX, ""),
    api(DESCRIBE_CLIENT_QUOTAS, "DescribeClientQuotas", (0, 1), 1, "there are none"),
    api(DESCRIBE_USER_SCRAM_CREDENTIALS, "DescribeUserScramCredentials", (0, 0), 0, "there are none"),
    api(DESCRIBE_CLUSTER, "DescribeCluster", (0, 2), 0, "one broker"),
    api(CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat", (0, 1), 0, "assignors uniform and range"),
    api(CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribe", (0, 1), 0, ""),
    api(LIST_CONFIG_RESOURCES, "ListConfigResources", (0, 1), 0, "topics and the broker"),
    api(DESCRIBE_TOPIC_PARTITIONS, "DescribeTopicPartitions", (0, 0), 0, ""),
];

/// The API of this number.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().and_then(|index| APIS.get(index))
}

#[cfg(test)]
#[path = "versions_tests.rs"]
mod tests;
