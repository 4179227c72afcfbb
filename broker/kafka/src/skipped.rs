//! The APIs that are left out, and why.

/// An API that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Its number in the protocol.
    pub key: i16,
    /// Its name in the protocol.
    pub name: &'static str,
    /// Why it is left out, and what clients do then.
    pub why: &'static str,
}

const fn skipped(key: i16, name: &'static str, why: &'static str) -> Skipped {
    Skipped { key, name, why }
}

const PLAIN: &str = "connections are neither encrypted nor authenticated: clients use PLAINTEXT";
const TRANSACTIONS: &str = "there are no transactions: a producer with a transactional id fails at its start";
const ONE_DIR: &str = "there is one log directory";
const TOKENS: &str = "there are no delegation tokens";
const QUORUM: &str = "there is no KRaft quorum: the broker decides for itself";
const INSIDE: &str = "brokers and controllers of Kafka speak it among themselves";
const TELEMETRY: &str = "Kafka offers it only with a plug-in that takes the metrics; clients do without";
const SHARE: &str = "there are no share groups: a share consumer fails at its start";
const STREAMS: &str = "Kafka Streams uses it only with group.protocol=streams";

/// Every API that is not served, by number.
pub const SKIPPED: &[Skipped] = &[
    skipped(17, "SaslHandshake", PLAIN),
    skipped(24, "AddPartitionsToTxn", TRANSACTIONS),
    skipped(25, "AddOffsetsToTxn", TRANSACTIONS),
    skipped(26, "EndTxn", TRANSACTIONS),
    skipped(27, "WriteTxnMarkers", TRANSACTIONS),
    skipped(28, "TxnOffsetCommit", TRANSACTIONS),
    skipped(34, "AlterReplicaLogDirs", ONE_DIR),
    skipped(36, "SaslAuthenticate", PLAIN),
    skipped(38, "CreateDelegationToken", TOKENS),
    skipped(39, "RenewDelegationToken", TOKENS),
    skipped(40, "ExpireDelegationToken", TOKENS),
    skipped(41, "DescribeDelegationToken", TOKENS),
    skipped(
        49,
        "AlterClientQuotas",
        "there are no quotas per client: the broker bounds what all have in flight",
    ),
    skipped(51, "AlterUserScramCredentials", "there are no users: clients do not log in"),
    skipped(52, "Vote", QUORUM),
    skipped(53, "BeginQuorumEpoch", QUORUM),
    skipped(54, "EndQuorumEpoch", QUORUM),
    skipped(55, "DescribeQuorum", QUORUM),
    skipped(56, "AlterPartition", INSIDE),
    skipped(57, "UpdateFeatures", "there are no features to switch"),
    skipped(58, "Envelope", INSIDE),
    skipped(59, "FetchSnapshot", QUORUM),
    skipped(61, "DescribeProducers", TRANSACTIONS),
    skipped(62, "BrokerRegistration", QUORUM),
    skipped(63, "BrokerHeartbeat", QUORUM),
    skipped(64, "UnregisterBroker", "there is one broker"),
    skipped(65, "DescribeTransactions", TRANSACTIONS),
    skipped(66, "ListTransactions", TRANSACTIONS),
    skipped(67, "AllocateProducerIds", INSIDE),
    skipped(70, "ControllerRegistration", QUORUM),
    skipped(71, "GetTelemetrySubscriptions", TELEMETRY),
    skipped(72, "PushTelemetry", TELEMETRY),
    skipped(73, "AssignReplicasToDirs", ONE_DIR),
    skipped(76, "ShareGroupHeartbeat", SHARE),
    skipped(77, "ShareGroupDescribe", SHARE),
    skipped(78, "ShareFetch", SHARE),
    skipped(79, "ShareAcknowledge", SHARE),
    skipped(80, "AddRaftVoter", QUORUM),
    skipped(81, "RemoveRaftVoter", QUORUM),
    skipped(82, "UpdateRaftVoter", QUORUM),
    skipped(83, "InitializeShareGroupState", INSIDE),
    skipped(84, "ReadShareGroupState", INSIDE),
    skipped(85, "WriteShareGroupState", INSIDE),
    skipped(86, "DeleteShareGroupState", INSIDE),
    skipped(87, "ReadShareGroupStateSummary", INSIDE),
    skipped(88, "StreamsGroupHeartbeat", STREAMS),
    skipped(89, "StreamsGroupDescribe", STREAMS),
    skipped(90, "DescribeShareGroupOffsets", SHARE),
    skipped(91, "AlterShareGroupOffsets", SHARE),
    skipped(92, "DeleteShareGroupOffsets", SHARE),
    skipped(93, "StreamsGroupTopologyDescriptionUpdate", STREAMS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::find;

    #[test]
    fn the_table_is_sorted_and_has_the_protocols_names() {
        assert!(SKIPPED.windows(2).all(|pair| pair[0].key < pair[1].key));
        for skipped in SKIPPED {
            assert!(find(skipped.key).is_none(), "{} is served and skipped", skipped.name);
            let known = kafka_wire::API_DESCRIPTORS.iter().find(|known| known.api_key.value() == skipped.key);
            // The APIs of brokers among themselves are not all in that crate.
            if let Some(known) = known {
                assert_eq!(known.request.name, format!("{}Request", skipped.name));
            }
        }
    }
}
