//! The server as a library, over real sockets and a real directory.

#![expect(clippy::unwrap_used, reason = "a test program: a failure is a panic with its cause")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tidelog_broker::{Config, Server, StartError};
use tidelog_proto::v1::log_client::LogClient;
use tidelog_proto::v1::position::At;
use tidelog_proto::v1::topics_client::TopicsClient;
use tidelog_proto::v1::{
    CreateTopicRequest, FetchOpen, FetchRecordsRequest, FetchRequest, ListOffsetsPartition,
    ListOffsetsRequest, PlainRecord, Position, ProduceRecordsRequest, fetch_request,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;

const TOPIC: &str = "orders";
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A call whose body never comes.
const ENDLESS_CALL: &[u8] = b"POST /tidelog.v1.Topics/ListTopics HTTP/1.1\r\nhost: tidelog\r\n\
    content-type: application/grpc\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n";

fn config(data_dir: &Path) -> Config {
    let mut config = Config::new(data_dir);
    config.api_addr = "127.0.0.1:0".parse().unwrap();
    config.kafka_addr = Some("127.0.0.1:0".parse().unwrap());
    config
}

async fn start(home: &TempDir) -> Server {
    Server::start(config(&home.path().join("data"))).await.unwrap()
}

/// Asks over HTTP/1.1; the status line and the body.
async fn get(addr: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: tidelog\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.api_addr())).unwrap();
    endpoint.connect().await.unwrap()
}

async fn create_topic(channel: &Channel) {
    let request = CreateTopicRequest { name: TOPIC.to_owned(), partitions: 1, ..Default::default() };
    TopicsClient::new(channel.clone()).create_topic(request).await.unwrap();
}

async fn produce(channel: &Channel, values: &[&str]) -> Vec<i64> {
    let record = |value: &&str| PlainRecord {
        partition: Some(0),
        value: Some(value.as_bytes().to_vec().into()),
        ..Default::default()
    };
    let records = values.iter().map(record).collect();
    let request = ProduceRecordsRequest { topic: TOPIC.to_owned(), records, ..Default::default() };
    let answer = LogClient::new(channel.clone()).produce_records(request).await.unwrap().into_inner();
    answer
        .results
        .into_iter()
        .inspect(|result| assert_eq!(result.error, None))
        .map(|result| result.offset)
        .collect()
}

async fn fetch(channel: &Channel) -> Vec<String> {
    let request = FetchRecordsRequest {
        topic: TOPIC.to_owned(),
        position: Some(Position { at: Some(At::Offset(0)) }),
        limit: 100,
        ..Default::default()
    };
    let answer = LogClient::new(channel.clone()).fetch_records(request).await.unwrap().into_inner();
    answer
        .records
        .iter()
        .map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap())
        .collect()
}

async fn stop(server: Server) {
    tokio::time::timeout(DEADLINE, server.shutdown()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_is_fetched_before_and_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let server = start(&home).await;
    let client = channel(&server).await;
    create_topic(&client).await;
    assert_eq!(produce(&client, &["one", "two"]).await, [0, 1]);
    assert_eq!(fetch(&client).await, ["one", "two"]);
    drop(client);
    stop(server).await;

    let server = start(&home).await;
    let client = channel(&server).await;
    assert_eq!(fetch(&client).await, ["one", "two"]);
    assert_eq!(produce(&client, &["three"]).await, [2]);
    let position = Some(Position { at: Some(At::Latest(true)) });
    let asked = ListOffsetsPartition { topic: TOPIC.to_owned(), partition: 0, position };
    let request = ListOffsetsRequest { partitions: vec![asked] };
    let offsets = LogClient::new(client).list_offsets(request).await.unwrap().into_inner();
    assert_eq!(offsets.results[0].offset, 3);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served_beside_grpc() {
    let home = tempfile::tempdir().unwrap();
    let server = start(&home).await;
    let client = channel(&server).await;
    create_topic(&client).await;
    produce(&client, &["one", "two"]).await;
    let addr = server.api_addr();
    for (path, status, text) in [
        ("/", "HTTP/1.1 200 OK", "/metrics"),
        ("/livez", "HTTP/1.1 200 OK", "ok"),
        ("/readyz", "HTTP/1.1 200 OK", "ready"),
        ("/nothing", "HTTP/1.1 404 Not Found", "/ says"),
    ] {
        let (head, body) = get(addr, path).await;
        assert_eq!(head, status, "{path}");
        assert!(body.contains(text), "{path}: {body}");
    }
    let (_, metrics) = get(addr, "/metrics").await;
    for line in [
        "tidelog_ready 1",
        "tidelog_produce_records_total 2",
        "tidelog_requests_total{protocol=\"grpc\",api=\"ProduceRecords\",code=\"OK\"} 1",
        "tidelog_request_duration_seconds_count{protocol=\"grpc\",api=\"CreateTopic\"} 1",
        "tidelog_partition_high_watermark{topic=\"orders\",partition=\"0\"} 2",
        "tidelog_produce_duplicates_total 0",
        "tidelog_group_rebalances_total{protocol=\"classic\"} 0",
        "tidelog_group_members{protocol=\"consumer\"} 0",
        "tidelog_append_seconds_bucket{le=\"+Inf\"} 1",
        "tidelog_connections_open{listener=\"api\"} 2",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn series_of_partitions_are_left_out_above_the_limit() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.partition_series_max = 1;
    let server = Server::start(config).await.unwrap();
    let (_, metrics) = get(server.api_addr(), "/metrics").await;
    assert!(metrics.contains("tidelog_partitions 2\n"), "{metrics}");
    assert!(!metrics.contains("tidelog_partition_size_bytes"), "{metrics}");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_silent_connections_end_by_themselves_when_the_server_stops() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.shutdown_grace = 2 * DEADLINE;
    let server = Server::start(config).await.unwrap();
    let client = channel(&server).await;
    create_topic(&client).await;
    // A fetch stream without partitions waits for its client for ever, and so does a silent connection.
    let kind = Some(fetch_request::Kind::Open(FetchOpen::default()));
    let requests = futures::stream::iter([FetchRequest { kind }]);
    let requests = futures::StreamExt::chain(requests, futures::stream::pending());
    let mut stream = LogClient::new(client).fetch(requests).await.unwrap().into_inner();
    let mut silent = TcpStream::connect(server.api_addr()).await.unwrap();
    stop(server).await;
    let end = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap();
    assert!(end.is_err() || end.unwrap().is_none());
    let mut byte = [0];
    let read = tokio::time::timeout(DEADLINE, silent.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_is_cut_after_the_grace() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.shutdown_grace = Duration::from_millis(100);
    let server = Server::start(config).await.unwrap();
    let mut stuck = TcpStream::connect(server.api_addr()).await.unwrap();
    stuck.write_all(ENDLESS_CALL).await.unwrap();
    // The server asks for the body when it has begun to serve the call.
    let mut asked = [0; 25];
    stuck.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stop(server).await;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stuck.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(read.is_err() || !rest.contains("grpc-status: 0"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed_and_places_are_freed() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.connections_max = 1;
    let server = Server::start(config).await.unwrap();
    let addr = server.api_addr();
    let first = channel(&server).await;
    create_topic(&first).await;
    let mut second = TcpStream::connect(addr).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(DEADLINE, second.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(first);
    let freed = async {
        loop {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let sent = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            let mut answer = String::new();
            if sent.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.contains("200 OK") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, freed).await.unwrap();
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let server = start(&home).await;
    let error = Server::start(config(&home.path().join("data"))).await.unwrap_err();
    assert!(matches!(error, StartError::DataDir { .. }), "{error:?}");
    assert!(error.to_string().contains("another broker"), "{error}");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_before_the_data_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&home.path().join("data"));
    config.api_addr = taken.local_addr().unwrap();
    let error = Server::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::PortTaken { flag: "--api-addr", .. }), "{error:?}");
    config.api_addr = "127.0.0.1:0".parse().unwrap();
    config.kafka_addr = taken.local_addr().ok();
    let error = Server::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::PortTaken { flag: "--kafka-addr", .. }), "{error:?}");
    assert!(!home.path().join("data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_must_be_allowed_in_so_many_words() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(home.path());
    config.api_addr = "0.0.0.0:0".parse().unwrap();
    let error = Server::start(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("--insecure-allow-remote-plaintext"), "{error}");
    config.api_addr = "127.0.0.1:0".parse().unwrap();
    config.kafka_addr = Some("0.0.0.0:0".parse().unwrap());
    let error = Server::start(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("--insecure-allow-remote-plaintext"), "{error}");
    config.insecure_allow_remote_plaintext = true;
    stop(Server::start(config).await.unwrap()).await;
}
