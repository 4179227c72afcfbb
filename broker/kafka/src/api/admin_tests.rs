//! The APIs whose answers are short: what one broker without an authorizer has to say.

use kafka_wire::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_wire::create_acls_request::AclCreation;
use kafka_wire::delete_acls_request::DeleteAclsFilter;
use kafka_wire::describe_user_scram_credentials_request::UserName;
use kafka_wire::elect_leaders_request::TopicPartitions;
use kafka_wire::{
    AlterPartitionReassignmentsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, DescribeClusterRequest, DescribeUserScramCredentialsRequest,
    ElectLeadersRequest, ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
};

use super::*;
use crate::testing::{Bench, call};
use crate::wire::message;

#[tokio::test]
async fn the_cluster_is_one_broker_that_controls_it() {
    let bench = Bench::new().await;
    let asked = message!(DescribeClusterRequest { include_cluster_authorized_operations: true });
    let told = describe_cluster::handle(bench.context(), call(0), asked).await;
    assert_eq!((told.error_code, told.controller_id, told.brokers.len()), (0, 1, 1));
    assert_eq!((&*told.brokers[0].host, told.brokers[0].port), ("127.0.0.1", 9092));
    assert_eq!(*told.cluster_id, *bench.broker().cluster_id());
    assert!(told.cluster_authorized_operations > 0);
    for (endpoint_type, code) in [(1, 0), (2, 114), (3, 115)] {
        let asked = message!(DescribeClusterRequest { endpoint_type });
        let told = describe_cluster::handle(bench.context(), call(1), asked).await;
        assert_eq!(told.error_code, code);
    }
}

#[tokio::test]
async fn no_leader_needs_to_be_elected() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let topic = message!(TopicPartitions { topic: "a".into(), partitions: vec![0, 1] });
    let asked = message!(ElectLeadersRequest { topic_partitions: Some(vec![topic]) });
    let told = elect_leaders::handle(bench.context(), call(2), asked).await;
    let codes: Vec<_> =
        told.replica_election_results[0].partition_result.iter().map(|one| one.error_code).collect();
    assert_eq!((told.error_code, codes), (0, vec![84, 3]));
    let all = message!(ElectLeadersRequest { topic_partitions: None });
    assert!(elect_leaders::handle(bench.context(), call(2), all).await.replica_election_results.is_empty());
}

#[tokio::test]
async fn partitions_are_assigned_where_they_are() {
    let bench = Bench::new().await;
    bench.create("a", 4).await;
    let assigned = [Some(vec![1]), Some(vec![2]), Some(vec![1, 2]), None, Some(vec![1])];
    let partition = |(partition_index, replicas): (i32, &Option<Vec<i32>>)| {
        message!(ReassignablePartition { partition_index, replicas: replicas.clone() })
    };
    let partitions = (0..).zip(&assigned).map(partition).collect();
    let topic = message!(ReassignableTopic { name: "a".into(), partitions });
    let asked = message!(AlterPartitionReassignmentsRequest { topics: vec![topic] });
    let told = alter_partition_reassignments::handle(bench.context(), call(0), asked).await;
    let codes: Vec<_> = told.responses[0].partitions.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 39, 39, 85, 3]);
    let asked = ListPartitionReassignmentsRequest::default();
    let told = list_partition_reassignments::handle(bench.context(), call(0), asked).await;
    assert_eq!((told.error_code, told.topics.len()), (0, 0));
}

#[tokio::test]
async fn security_is_disabled_as_in_kafka_without_an_authorizer() {
    let bench = Bench::new().await;
    let told = acls::describe(bench.context(), call(3), DescribeAclsRequest::default()).await;
    assert_eq!(told.error_code, 54);
    let asked = message!(CreateAclsRequest { creations: vec![AclCreation::default(); 2] });
    let told = acls::create(bench.context(), call(3), asked).await;
    assert_eq!(told.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54, 54]);
    let asked = message!(DeleteAclsRequest { filters: vec![DeleteAclsFilter::default()] });
    let told = acls::delete(bench.context(), call(3), asked).await;
    assert_eq!(told.filter_results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54]);
}

#[tokio::test]
async fn there_are_no_quotas_and_no_users() {
    let bench = Bench::new().await;
    let asked = DescribeClientQuotasRequest::default();
    let told = describe_client_quotas::handle(bench.context(), call(1), asked).await;
    assert_eq!((told.error_code, told.entries), (0, Some(Vec::new())));
    let users = |names: &[&str]| {
        let user = |name: &&str| message!(UserName { name: (*name).into() });
        message!(DescribeUserScramCredentialsRequest { users: Some(names.iter().map(user).collect()) })
    };
    let asked = users(&["a", "b", "b"]);
    let told = describe_user_scram_credentials::handle(bench.context(), call(0), asked).await;
    assert_eq!(told.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [91, 92, 92]);
}

#[tokio::test]
async fn topics_and_the_broker_have_configs() {
    let bench = Bench::new().await;
    bench.create("a", 1).await;
    let asked = |resource_types: &[i8]| {
        let resource_types = resource_types.to_vec();
        list_config_resources::handle(
            bench.context(),
            call(1),
            message!(ListConfigResourcesRequest { resource_types }),
        )
    };
    let topics = bench.broker().topics().len();
    assert_eq!(asked(&[]).await.config_resources.len(), topics + 1);
    assert_eq!(asked(&[2]).await.config_resources.len(), topics);
    let broker = asked(&[4, 16]).await.config_resources;
    assert_eq!((broker.len(), &*broker[0].resource_name), (1, "1"));
    assert_eq!(asked(&[3]).await.error_code, 35);
}
