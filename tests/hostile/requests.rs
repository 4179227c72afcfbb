//! A request of each API and version that the broker serves, to be changed at random.

use anyhow::Result;
use bytes::Bytes;
use kafka_wire_core::{ApiVersion, KafkaEncode as _};
use tidelog_kafka::APIS;

macro_rules! bodies {
    ($key:expr, $version:expr, $($of:literal $name:ident)+) => {
        match $key {
            $($of => kafka_wire::$name::default().encode_to_bytes(ApiVersion::new($version)).ok(),)+
            key => anyhow::bail!("API {key} has no request here: add a line"),
        }
    };
}

/// The body of an empty request; nothing when its defaults cannot be said in that version.
fn body(key: i16, version: i16) -> Result<Option<Bytes>> {
    Ok(bodies! { key, version,
        0 ProduceRequest
        1 FetchRequest
        2 ListOffsetsRequest
        3 MetadataRequest
        8 OffsetCommitRequest
        9 OffsetFetchRequest
        10 FindCoordinatorRequest
        11 JoinGroupRequest
        12 HeartbeatRequest
        13 LeaveGroupRequest
        14 SyncGroupRequest
        15 DescribeGroupsRequest
        16 ListGroupsRequest
        18 ApiVersionsRequest
        19 CreateTopicsRequest
        20 DeleteTopicsRequest
        21 DeleteRecordsRequest
        22 InitProducerIdRequest
        23 OffsetForLeaderEpochRequest
        24 AddPartitionsToTxnRequest
        25 AddOffsetsToTxnRequest
        26 EndTxnRequest
        27 WriteTxnMarkersRequest
        28 TxnOffsetCommitRequest
        29 DescribeAclsRequest
        30 CreateAclsRequest
        31 DeleteAclsRequest
        32 DescribeConfigsRequest
        33 AlterConfigsRequest
        35 DescribeLogDirsRequest
        37 CreatePartitionsRequest
        42 DeleteGroupsRequest
        43 ElectLeadersRequest
        44 IncrementalAlterConfigsRequest
        45 AlterPartitionReassignmentsRequest
        46 ListPartitionReassignmentsRequest
        47 OffsetDeleteRequest
        48 DescribeClientQuotasRequest
        50 DescribeUserScramCredentialsRequest
        60 DescribeClusterRequest
        61 DescribeProducersRequest
        65 DescribeTransactionsRequest
        66 ListTransactionsRequest
        68 ConsumerGroupHeartbeatRequest
        69 ConsumerGroupDescribeRequest
        74 ListConfigResourcesRequest
        75 DescribeTopicPartitionsRequest
    })
}

/// A request that can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) api: tidelog_tests::kafka::Api,
    pub(crate) name: &'static str,
    pub(crate) body: Bytes,
}

/// All of them. An API that the table of the broker gains must gain a line here.
pub(crate) fn all() -> Result<Vec<Request>> {
    let mut all = Vec::new();
    for api in APIS {
        for version in api.min..=api.max {
            let flexible = api.is_flexible(version);
            let kind = tidelog_tests::kafka::Api { key: api.key, version, flexible };
            let Some(body) = body(api.key, version)? else { continue };
            all.push(Request { api: kind, name: api.name, body });
        }
    }
    Ok(all)
}
