use tidelog_runtime::BrokerOptions;

use super::*;
use crate::drain::DrainSwitch;
use crate::limits::Limits;
use crate::round_robin::RoundRobin;

#[test]
fn assignments_of_kafkas_consumers_are_understood_and_others_are_not() {
    let bytes: &[u8] = &[0, 3, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0];
    let place = |partition| v1::TopicPartition { topic: "t".to_owned(), partition };
    assert_eq!(assignment(Bytes::copy_from_slice(bytes)), Some(vec![place(0), place(5)]));
    assert_eq!(assignment(Bytes::from_static(&[0, 0, 0, 0, 0, 0])), Some(Vec::new()));
    for end in 0..21 {
        assert_eq!(assignment(Bytes::copy_from_slice(&bytes[..end])), None, "{end} bytes");
    }
    assert_eq!(assignment(Bytes::from_static(b"{\"connect\": true}")), None);
}

/// A service whose groups take two members, and whose requests may name three partitions.
async fn service() -> (MembershipService, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions { disk_reserve_bytes: 0, ..BrokerOptions::new(dir.path()) };
    options.group_config.consumer.members_max = 2;
    options.group_config.consumer.regex_bytes_max = 20;
    options.group_config.consumer.text_bytes_max = 30;
    options.group_config.consumer.topic_names_max = 2;
    let broker = Broker::open(options).await.unwrap();
    let limits = Limits { partitions_per_request_max: 3, ..Limits::default() };
    let (metrics, round_robin) = (crate::metrics::ApiMetrics::default(), RoundRobin::default());
    let shared = Shared { broker, limits, drain: DrainSwitch::new().1, metrics, round_robin };
    (MembershipService(Arc::new(shared)), dir)
}

fn join(member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group: "g".to_owned(),
        member_id: member.to_owned(),
        rebalance_timeout_ms: 1_000,
        subscription: Some(v1::Subscription { topics: vec!["t".to_owned()], topic_regex: String::new() }),
        owned: Some(v1::PartitionSet::default()),
        ..HeartbeatRequest::default()
    }
}

fn subscription(topics: &[&str], regex: &str) -> Option<v1::Subscription> {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Some(v1::Subscription { topics, topic_regex: regex.to_owned() })
}

fn owned(topic: &str, partitions: &[i32]) -> Option<v1::PartitionSet> {
    let topics = vec![v1::TopicPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() }];
    Some(v1::PartitionSet { topics })
}

/// What the service says to a heartbeat: the code's name and the text of its refusal.
async fn refusal(service: &MembershipService, request: HeartbeatRequest) -> (String, String) {
    let Err(status) = service.heartbeat(Request::new(request)).await else {
        return ("OK".to_owned(), String::new());
    };
    let detail = v1::ErrorDetail::from_status(&status).unwrap();
    (detail.code, detail.message)
}

type Change = fn(&mut HeartbeatRequest);

/// How a join is spoilt, and what the refusal says.
const SPOILT: [(Change, &str, &[&str]); 20] = [
    (|beat| beat.group = String::new(), "INVALID_NAME", &["group"]),
    (|beat| beat.group = "g".repeat(300), "INVALID_NAME", &["group", "300"]),
    (|beat| beat.member_id = String::new(), "INVALID_REQUEST", &["MemberId"]),
    (|beat| beat.member_id = "m".repeat(31), "INVALID_REQUEST", &["MemberId", "31 bytes", "at most 30"]),
    (|beat| beat.instance_id = "i".repeat(31), "INVALID_REQUEST", &["InstanceId", "31 bytes", "at most 30"]),
    (|beat| beat.client_id = "c".repeat(31), "INVALID_REQUEST", &["client id", "31 bytes", "at most 30"]),
    (|beat| beat.member_epoch = -3, "INVALID_REQUEST", &["MemberEpoch", "-2"]),
    (|beat| beat.member_epoch = i32::MIN, "INVALID_REQUEST", &["MemberEpoch", "-2"]),
    (|beat| beat.member_epoch = -2, "INVALID_REQUEST", &["InstanceId"]),
    (|beat| beat.rebalance_timeout_ms = -1, "INVALID_REQUEST", &["RebalanceTimeoutMs", "negative"]),
    (|beat| beat.subscription = None, "INVALID_REQUEST", &["SubscribedTopicNames"]),
    (|beat| beat.subscription = subscription(&[], ""), "INVALID_REQUEST", &["subscription", "topic_regex"]),
    (
        |beat| beat.subscription = subscription(&["a", "b", "c"], ""),
        "INVALID_REQUEST",
        &["3 names", "at most 2"],
    ),
    (
        |beat| beat.subscription = subscription(&["a", "b", "c", "d"], ""),
        "INVALID_REQUEST",
        &["subscription", "4", "3"],
    ),
    (|beat| beat.subscription = subscription(&["a/b"], ""), "INVALID_NAME", &["a/b"]),
    (
        |beat| beat.subscription = subscription(&[], "aaaaaaaaaaaaaaaaaaaaa"),
        "INVALID_REQUEST",
        &["SubscribedTopicRegex", "21 bytes", "at most 20"],
    ),
    (
        |beat| beat.subscription = subscription(&[], "(a"),
        "INVALID_REGULAR_EXPRESSION",
        &["regular expression"],
    ),
    (|beat| beat.assignor = "sticky".to_owned(), "UNSUPPORTED_ASSIGNOR", &["sticky", "uniform, range"]),
    (|beat| beat.owned = owned("t", &[-1]), "INVALID_REQUEST", &["partition -1"]),
    (|beat| beat.owned = owned("t", &[0, 1, 2, 3]), "INVALID_REQUEST", &["owned", "4", "3"]),
];

#[tokio::test]
async fn what_is_wrong_with_a_heartbeat_is_named_with_its_limit_and_changes_nothing() {
    let (service, _dir) = service().await;
    let mut wrong = Vec::new();
    for (number, (spoil, code, words)) in SPOILT.into_iter().enumerate() {
        let mut request = join("m");
        spoil(&mut request);
        let (found, text) = refusal(&service, request).await;
        if found != code || !words.iter().all(|word| text.contains(word)) {
            wrong.push(format!("case {number}: {found}, not {code}, or {text:?} lacks one of {words:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let describe = DescribeGroupRequest { group: "g".to_owned() };
    let status = service.describe_group(Request::new(describe)).await.unwrap_err();
    assert_eq!(v1::ErrorDetail::from_status(&status).unwrap().code, "GROUP_ID_NOT_FOUND", "{status:?}");
}

#[tokio::test]
async fn epochs_that_are_not_the_members_and_members_above_the_limit_are_refused() {
    let (service, _dir) = service().await;
    let unknown = HeartbeatRequest { member_epoch: 5, subscription: None, owned: None, ..join("nobody") };
    assert_eq!(refusal(&service, unknown).await.0, "GROUP_ID_NOT_FOUND");
    let mut epoch = 0;
    for member in ["one", "two"] {
        epoch = service.heartbeat(Request::new(join(member))).await.unwrap().into_inner().member_epoch;
    }
    let (code, text) = refusal(&service, join("three")).await;
    assert_eq!(code, "GROUP_MAX_SIZE_REACHED", "{text}");
    assert!(text.contains("maximum of 2"), "{text}");
    let ahead = HeartbeatRequest { member_epoch: epoch + 1, ..join("two") };
    assert_eq!(refusal(&service, ahead).await.0, "FENCED_MEMBER_EPOCH");
    let unknown = HeartbeatRequest { member_epoch: epoch, ..join("three") };
    assert_eq!(refusal(&service, unknown).await.0, "UNKNOWN_MEMBER_ID");
    // Those that are in have lost nothing by it.
    let beat = HeartbeatRequest { member_epoch: epoch, subscription: None, owned: None, ..join("two") };
    assert_eq!(service.heartbeat(Request::new(beat)).await.unwrap().into_inner().member_epoch, epoch);
}
