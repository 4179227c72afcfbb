//! Queue groups over gRPC: delivered, settled, retried, dead, redriven, as clients see it, and over a restart.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: a failure is a panic with its cause"
)]

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use tidelog_broker::{Config, Server};
use tidelog_proto::v1::dlq_client::DlqClient;
use tidelog_proto::v1::group_admin_client::GroupAdminClient;
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::queue_client::QueueClient;
use tidelog_proto::v1::settle_range::Verb;
use tidelog_proto::v1::subscribe_request::Kind as Ask;
use tidelog_proto::v1::subscribe_response::Kind as Told;
use tidelog_proto::v1::topics_client::TopicsClient;
use tidelog_proto::v1::{
    AlterQueueGroupRequest, CreateQueueGroupRequest, CreateTopicRequest, DeadLetter, DeadLetterSelector,
    Deliveries, DescribeQueueGroupRequest, ListDeadLettersRequest, ListRetriesRequest, Outcome, PlainRecord,
    ProduceRecordsRequest, QueueGroup, Reason, ReceiveRequest, RedriveProgress, RedriveRequest,
    ResolveRequest, RunRetriesNowRequest, SettleAck, SettleNack, SettleRange, SettleReject, SettleRelease,
    SettleRequest, SettleResult, SettleStatus, SubscribeOpen, SubscribeRequest, SubscribeResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const TOPIC: &str = "orders";
const GROUP: &str = "mail";
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

async fn start(home: &Path) -> (Server, Channel) {
    let mut config = Config::new(home.join("data"));
    config.api_addr = "127.0.0.1:0".parse().unwrap();
    config.kafka_addr = None;
    let server = Server::start(config).await.unwrap();
    let endpoint = Channel::from_shared(format!("http://{}", server.api_addr())).unwrap();
    (server, endpoint.connect().await.unwrap())
}

async fn stop(server: Server) {
    tokio::time::timeout(DEADLINE, server.shutdown()).await.unwrap().unwrap();
}

/// Makes the topic with these records, and the group with these settings.
async fn prepare(channel: &Channel, values: &[&str], configs: &[(&str, &str)]) -> QueueGroup {
    let request = CreateTopicRequest { name: TOPIC.to_owned(), partitions: 1, ..Default::default() };
    TopicsClient::new(channel.clone()).create_topic(request).await.unwrap();
    let record = |value: &&str| PlainRecord {
        partition: Some(0),
        key: Some(value.as_bytes().to_vec().into()),
        value: Some(value.as_bytes().to_vec().into()),
        ..Default::default()
    };
    let records = values.iter().map(record).collect();
    let request = ProduceRecordsRequest { topic: TOPIC.to_owned(), records, ..Default::default() };
    LogClient::new(channel.clone()).produce_records(request).await.unwrap();
    let configs = [("share.auto.offset.reset", "earliest")].iter().chain(configs);
    let configs = configs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let request = CreateQueueGroupRequest {
        group: GROUP.to_owned(),
        topics: vec![TOPIC.to_owned()],
        configs,
        validate_only: false,
    };
    GroupAdminClient::new(channel.clone()).create_queue_group(request).await.unwrap().into_inner()
}

async fn describe(channel: &Channel) -> QueueGroup {
    let request = DescribeQueueGroupRequest { group: GROUP.to_owned() };
    GroupAdminClient::new(channel.clone()).describe_queue_group(request).await.unwrap().into_inner()
}

/// An open stream.
struct Member {
    asks: mpsc::Sender<SubscribeRequest>,
    told: Streaming<SubscribeResponse>,
    requests: u64,
    /// Records that came while an answer was waited for.
    early: VecDeque<Deliveries>,
}

impl Member {
    async fn open(channel: &Channel, credit: i32) -> Self {
        let (asks, receiver) = mpsc::channel(16);
        let open = SubscribeOpen {
            group: GROUP.to_owned(),
            client_id: "test".to_owned(),
            credit_records: credit,
            ..Default::default()
        };
        asks.send(SubscribeRequest { kind: Some(Ask::Open(open)) }).await.unwrap();
        let told = QueueClient::new(channel.clone()).subscribe(ReceiverStream::new(receiver)).await.unwrap();
        let mut member = Self { asks, told: told.into_inner(), requests: 0, early: VecDeque::new() };
        let Told::Subscribed(subscribed) = member.next().await else { panic!("not subscribed first") };
        assert_eq!(subscribed.order, "unordered");
        assert!(subscribed.lease_ms > 0 && subscribed.attempts_max > 0);
        member
    }

    async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(DEADLINE, self.told.message()).await.unwrap();
        told.unwrap().unwrap().kind.unwrap()
    }

    async fn deliveries(&mut self) -> Deliveries {
        if let Some(deliveries) = self.early.pop_front() {
            return deliveries;
        }
        match self.next().await {
            Told::Deliveries(deliveries) => deliveries,
            other => panic!("{other:?} instead of records"),
        }
    }

    async fn settle(&mut self, range: SettleRange) -> SettleResult {
        self.requests += 1;
        let request = SettleRequest { group: String::new(), request_id: self.requests, ranges: vec![range] };
        self.asks.send(SubscribeRequest { kind: Some(Ask::Settle(request)) }).await.unwrap();
        let mut settled = loop {
            match self.next().await {
                Told::Settled(settled) => break settled,
                Told::Deliveries(deliveries) => self.early.push_back(deliveries),
                other => panic!("{other:?} instead of an answer"),
            }
        };
        assert_eq!(settled.request_id, self.requests);
        assert_eq!(settled.results.len(), 1);
        settled.results.remove(0)
    }
}

fn range(of: &Deliveries, first: usize, last: usize, verb: Verb) -> SettleRange {
    SettleRange {
        topic: of.topic.clone(),
        partition: of.partition,
        lease_id: of.lease_id,
        first_offset: of.records[first].offset,
        last_offset: of.records[last].offset,
        verb: Some(verb),
    }
}

const ACK: Verb = Verb::Ack(SettleAck {});

fn nack(delay_ms: i64) -> Verb {
    Verb::Nack(SettleNack { delay_ms: Some(delay_ms), reason: Some(reason("declined")) })
}

fn reject(code: &str) -> Verb {
    Verb::Reject(SettleReject { reason: Some(reason(code)) })
}

fn reason(code: &str) -> Reason {
    Reason { code: code.to_owned(), text: format!("{code} by the test") }
}

/// What became of a range that had one fate.
fn fate(result: &SettleResult) -> (SettleStatus, Outcome) {
    assert_eq!(result.error, None);
    assert_eq!(result.settled.len(), 1);
    (result.settled[0].status(), result.settled[0].outcome())
}

fn done(outcome: Outcome) -> (SettleStatus, Outcome) {
    (SettleStatus::Done, outcome)
}

fn values(of: &Deliveries) -> Vec<(&str, i32)> {
    let value =
        |bytes: &Option<bytes::Bytes>| std::str::from_utf8(bytes.as_ref().unwrap()).unwrap().to_owned();
    of.records.iter().map(|record| (&*value(&record.value).leak(), record.attempt)).collect()
}

async fn dead_letters(
    channel: &Channel,
    selector: Option<DeadLetterSelector>,
) -> Result<Vec<DeadLetter>, Status> {
    let request = ListDeadLettersRequest { group: GROUP.to_owned(), selector, ..Default::default() };
    let listed = DlqClient::new(channel.clone()).list(request).await?.into_inner();
    assert_eq!(listed.next_page, "");
    Ok(listed.letters)
}

/// Waits until so many dead letters can be listed: a record dies first and is copied then.
async fn until_dead(channel: &Channel, count: usize) -> Vec<DeadLetter> {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        loop {
            look.tick().await;
            let letters = dead_letters(channel, None).await.unwrap();
            if letters.len() == count && letters.iter().all(|letter| !letter.lost) {
                return letters;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}

async fn redrive(channel: &Channel, request: RedriveRequest) -> RedriveProgress {
    let mut told = DlqClient::new(channel.clone()).redrive(request).await.unwrap().into_inner();
    let mut last = RedriveProgress::default();
    while let Some(progress) = told.message().await.unwrap() {
        last = progress;
    }
    assert!(last.done, "{last:?}");
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_fails_dies_is_listed_and_redriven_to_its_group_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (server, channel) = start(home.path()).await;
    let group = prepare(&channel, &["a", "b", "c"], &[("share.delivery.count.limit", "2")]).await;
    assert_eq!((group.group.as_str(), group.topics.as_slice()), (GROUP, &[TOPIC.to_owned()][..]));
    let set = group.configs.iter().find(|entry| entry.key == "share.delivery.count.limit").unwrap();
    assert_eq!(set.value, "2");

    let mut member = Member::open(&channel, 100).await;
    let first = member.deliveries().await;
    assert_eq!(values(&first), [("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(fate(&member.settle(range(&first, 0, 0, ACK)).await), done(Outcome::Acked));
    let again = member.settle(range(&first, 0, 0, ACK)).await;
    assert_eq!(fate(&again), (SettleStatus::AlreadySettled, Outcome::Acked));
    assert_eq!(fate(&member.settle(range(&first, 1, 1, reject("no-stock"))).await), done(Outcome::Dead));
    assert_eq!(fate(&member.settle(range(&first, 2, 2, nack(0))).await), done(Outcome::Delayed));
    let second = member.deliveries().await;
    assert_eq!(values(&second), [("c", 2)]);
    assert!(second.records[0].first_failure_ms.is_some());
    // The last attempt that is allowed.
    assert_eq!(fate(&member.settle(range(&second, 0, 0, nack(0))).await), done(Outcome::Dead));
    drop(member);

    let letters = until_dead(&channel, 2).await;
    let told: Vec<_> =
        letters.iter().map(|letter| (letter.offset, letter.cause.as_str(), letter.attempts)).collect();
    assert_eq!(told, [(1, "REJECTED", 1), (2, "MAX_ATTEMPTS", 2)]);
    assert_eq!(letters[0].reason_code, "no-stock");
    assert_eq!(letters[0].value.as_deref(), Some(&b"b"[..]));
    assert_eq!(letters[0].dead_letter_topic, group.dead_letter_topic);
    let lanes = describe(&channel).await.lanes;
    assert_eq!((lanes[0].start_offset, lanes[0].dead, lanes[0].delayed), (3, 2, 0));
    drop(channel);
    stop(server).await;

    let (server, channel) = start(home.path()).await;
    let rejected = || Some(DeadLetterSelector { cause: "REJECTED".to_owned(), ..Default::default() });
    let count =
        RedriveRequest { group: GROUP.to_owned(), selector: rejected(), dry_run: true, ..Default::default() };
    let counted = redrive(&channel, count.clone()).await;
    assert_eq!((counted.seen, counted.selected, counted.redriven), (2, 1, 0));
    let mut member = Member::open(&channel, 100).await;
    let did = redrive(&channel, RedriveRequest { dry_run: false, redrive_id: 7, ..count.clone() }).await;
    assert_eq!((did.redrive_id, did.redriven), (7, 1));
    let redriven = member.deliveries().await;
    assert_eq!(values(&redriven), [("b", 1)]);
    assert_eq!(redriven.records[0].redrives, 1);
    assert_eq!(fate(&member.settle(range(&redriven, 0, 0, ACK)).await), done(Outcome::Acked));

    let request = ResolveRequest { group: GROUP.to_owned(), selector: None, dry_run: false };
    let resolved = DlqClient::new(channel.clone()).resolve(request).await.unwrap().into_inner();
    assert_eq!(resolved.resolved, 1);
    assert_eq!(dead_letters(&channel, None).await.unwrap(), []);
    assert_eq!(describe(&channel).await.lanes[0].dead, 0);
    drop((member, channel));
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_streams_receives_and_settles_and_an_operator_hurries_its_retries() {
    let home = tempfile::tempdir().unwrap();
    let (server, channel) = start(home.path()).await;
    prepare(&channel, &["a", "b"], &[]).await;
    let mut queue = QueueClient::new(channel.clone());
    let receive = |wait_ms| ReceiveRequest { group: GROUP.to_owned(), records_max: 10, wait_ms, lease_ms: 0 };
    let received = queue.receive(receive(20_000)).await.unwrap().into_inner();
    let got = &received.deliveries[0];
    assert_eq!(values(got), [("a", 1), ("b", 1)]);
    assert_eq!(queue.receive(receive(0)).await.unwrap().into_inner().deliveries, []);
    let ranges = vec![range(got, 0, 0, ACK), range(got, 1, 1, nack(3_600_000))];
    let request = SettleRequest { group: GROUP.to_owned(), request_id: 5, ranges };
    let settled = queue.settle(request).await.unwrap().into_inner();
    assert_eq!(settled.request_id, 5);
    let fates: Vec<_> = settled.results.iter().map(fate).collect();
    assert_eq!(fates, [done(Outcome::Acked), done(Outcome::Delayed)]);

    let mut admin = GroupAdminClient::new(channel.clone());
    let request = ListRetriesRequest { group: GROUP.to_owned(), ..Default::default() };
    let retries = admin.list_retries(request).await.unwrap().into_inner().retries;
    assert_eq!(retries.len(), 1);
    assert_eq!((retries[0].offset, retries[0].attempts, retries[0].reason_code.as_str()), (1, 1, "declined"));
    assert!((3_000_000..=3_600_000).contains(&retries[0].due_ms), "{}", retries[0].due_ms);
    let request = RunRetriesNowRequest { group: GROUP.to_owned(), ..Default::default() };
    assert_eq!(admin.run_retries_now(request).await.unwrap().into_inner().records, 1);
    let received = queue.receive(receive(20_000)).await.unwrap().into_inner();
    let got = &received.deliveries[0];
    assert_eq!(values(got), [("b", 2)]);
    let ranges = vec![range(got, 0, 0, Verb::Release(SettleRelease {}))];
    let request = SettleRequest { group: GROUP.to_owned(), request_id: 0, ranges };
    let released = queue.settle(request).await.unwrap().into_inner();
    assert_eq!(fate(&released.results[0]), done(Outcome::Released));
    // What is given back was not tried.
    let received = queue.receive(receive(20_000)).await.unwrap().into_inner();
    assert_eq!(values(&received.deliveries[0]), [("b", 2)]);
    drop((queue, admin, channel));
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_no_more_than_its_credit_and_settles_while_the_broker_stops() {
    let home = tempfile::tempdir().unwrap();
    let (server, channel) = start(home.path()).await;
    prepare(&channel, &["a", "b", "c"], &[]).await;
    let mut member = Member::open(&channel, 1).await;
    let first = member.deliveries().await;
    assert_eq!(values(&first), [("a", 1)]);
    assert_eq!(fate(&member.settle(range(&first, 0, 0, ACK)).await), done(Outcome::Acked));
    member.asks.send(SubscribeRequest { kind: Some(Ask::CreditRecords(1)) }).await.unwrap();
    let second = member.deliveries().await;
    assert_eq!(values(&second), [("b", 1)]);
    let stopping = tokio::spawn(stop(server));
    let Told::Draining(_) = member.next().await else { panic!("not told that the broker stops") };
    assert_eq!(fate(&member.settle(range(&second, 0, 0, ACK)).await), done(Outcome::Acked));
    drop((member, channel));
    stopping.await.unwrap();
    let (server, channel) = start(home.path()).await;
    assert_eq!(describe(&channel).await.lanes[0].start_offset, 2);
    drop(channel);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_by_field_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (server, channel) = start(home.path()).await;
    prepare(&channel, &["a"], &[]).await;
    let mut queue = QueueClient::new(channel.clone());
    let mut admin = GroupAdminClient::new(channel.clone());
    let mut dlq = DlqClient::new(channel.clone());
    let names = |status: Status, code: Code, word: &str| {
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(word), "{status:?} does not name {word}");
    };

    let receive = ReceiveRequest { group: GROUP.to_owned(), records_max: 1_001, ..Default::default() };
    names(queue.receive(receive).await.unwrap_err(), Code::InvalidArgument, "records_max");
    let receive = ReceiveRequest { group: GROUP.to_owned(), wait_ms: 60_001, ..Default::default() };
    names(queue.receive(receive).await.unwrap_err(), Code::InvalidArgument, "wait_ms");
    let receive = ReceiveRequest { group: "nobody".to_owned(), ..Default::default() };
    names(queue.receive(receive).await.unwrap_err(), Code::NotFound, "nobody");
    let ask = vec![SubscribeRequest { kind: Some(Ask::CreditRecords(1)) }];
    let mut told = queue.subscribe(tokio_stream::iter(ask)).await.unwrap().into_inner();
    names(told.message().await.unwrap_err(), Code::InvalidArgument, "open");

    let ranges = vec![SettleRange { topic: TOPIC.to_owned(), ..Default::default() }; 1_001];
    let request = SettleRequest { group: GROUP.to_owned(), request_id: 0, ranges };
    names(queue.settle(request).await.unwrap_err(), Code::InvalidArgument, "ranges");
    let ranges = vec![
        SettleRange { topic: TOPIC.to_owned(), lease_id: 99, verb: Some(ACK), ..Default::default() },
        SettleRange { topic: TOPIC.to_owned(), ..Default::default() },
    ];
    let request = SettleRequest { group: GROUP.to_owned(), request_id: 0, ranges };
    let results = queue.settle(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].settled[0].status(), SettleStatus::StaleLease);
    assert!(results[1].error.is_some(), "{:?}", results[1]);

    let create = |configs: &[(&str, &str)]| CreateQueueGroupRequest {
        group: "other".to_owned(),
        topics: vec![TOPIC.to_owned()],
        configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        validate_only: false,
    };
    let refused =
        admin.create_queue_group(create(&[("share.delivery.count.limits", "2")])).await.unwrap_err();
    names(refused, Code::InvalidArgument, "share.delivery.count.limits");
    let refused = admin.create_queue_group(create(&[("share.delivery.count.limit", "0")])).await.unwrap_err();
    names(refused, Code::InvalidArgument, "share.delivery.count.limit");
    let nothing = AlterQueueGroupRequest { group: GROUP.to_owned(), ..Default::default() };
    names(admin.alter_queue_group(nothing).await.unwrap_err(), Code::InvalidArgument, "nothing");
    let request = DescribeQueueGroupRequest { group: "other".to_owned() };
    names(admin.describe_queue_group(request).await.unwrap_err(), Code::NotFound, "other");
    let request = ListRetriesRequest { group: GROUP.to_owned(), limit: 1_001, ..Default::default() };
    names(admin.list_retries(request).await.unwrap_err(), Code::InvalidArgument, "limit");

    let selector = DeadLetterSelector { cause: "BAD_LUCK".to_owned(), ..Default::default() };
    names(dead_letters(&channel, Some(selector)).await.unwrap_err(), Code::InvalidArgument, "cause");
    let request = RedriveRequest { group: GROUP.to_owned(), rate: 100_001, ..Default::default() };
    names(dlq.redrive(request).await.unwrap_err(), Code::InvalidArgument, "rate");
    let lanes = describe(&channel).await.lanes;
    assert_eq!((lanes[0].backlog + lanes[0].available, lanes[0].leased), (1, 0));
    drop((queue, admin, dlq, channel));
    stop(server).await;
}
