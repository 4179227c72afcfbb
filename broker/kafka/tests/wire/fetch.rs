//! Reading over the wire.

use std::time::Duration;

use kafka_wire::FetchResponse;
use kafka_wire::fetch_request::FetchTopic;
use kafka_wire_core::Uuid;
use tidelog_kafka::KafkaOptions;
use tidelog_model::TopicName;

use crate::client::{FETCH, SOON, Server, batch, decode, fetch, records};

async fn filled() -> Server {
    let server = Server::start().await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    for values in [&["a", "b", "c"][..], &["d"], &["e", "f"]] {
        client.produce(-1, &[(0, batch(values))]).await;
    }
    server
}

fn values(found: &[(i64, String)]) -> String {
    found.iter().map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn an_offset_inside_a_batch_brings_the_whole_batch() {
    let server = filled().await;
    let mut client = server.connect().await;
    for (offset, expected) in [(0, "abcdef"), (1, "abcdef"), (2, "abcdef"), (3, "def"), (4, "ef"), (5, "ef")]
    {
        let found = client.fetch(&fetch(&[(0, offset)])).await;
        assert_eq!((found[0].error_code, found[0].high_watermark, found[0].last_stable_offset), (0, 6, 6));
        assert_eq!(values(&records(&found[0])), expected, "from {offset}");
    }
}

#[tokio::test]
async fn every_version_is_answered_in_its_own_form() {
    let server = filled().await;
    let topic = server.broker.topic(&TopicName::new("orders").unwrap()).unwrap();
    let mut client = server.connect().await;
    for version in 4..=18 {
        let mut request = fetch(&[(0, 3), (1, 0)]);
        request.isolation_level = 1;
        if version >= 13 {
            request.topics[0].topic = "".into();
            request.topics[0].topic_id = Uuid::from_bytes(*topic.id().uuid().as_bytes());
        }
        let answer: FetchResponse = client.ask((1, version), &request).await;
        let partitions = &answer.responses[0].partitions;
        assert_eq!(values(&records(&partitions[0])), "def", "version {version}");
        assert_eq!(partitions[1].records.as_deref(), Some(&[][..]));
        assert_eq!(partitions[0].aborted_transactions, Some(Vec::new()));
    }
}

#[tokio::test]
async fn errors_are_answered_at_once_and_beside_records() {
    let server = filled().await;
    let mut client = server.connect().await;
    let mut request = fetch(&[(0, 7), (0, -1), (9, 0), (0, 4), (0, 4), (0, 4)]);
    request.min_bytes = 1 << 20;
    let epoch = i32::try_from(server.broker.topics().len()).unwrap();
    request.topics[0].partitions[4].current_leader_epoch = epoch + 1000;
    let found = client.fetch(&request).await;
    let codes: Vec<(i16, i64)> = found.iter().map(|row| (row.error_code, row.high_watermark)).collect();
    assert_eq!(codes, [(1, -1), (1, -1), (3, -1), (0, 6), (75, -1), (0, 6)]);
    assert_eq!(values(&records(&found[3])), "ef");
    let mut topic = FetchTopic::default();
    topic.topic_id = Uuid::from_bytes([9; 16]);
    topic.partitions.clone_from(&request.topics[0].partitions);
    request.topics = vec![topic];
    let answer: FetchResponse = client.ask((1, 13), &request).await;
    assert!(answer.responses[0].partitions.iter().all(|row| row.error_code == 100));
}

#[tokio::test]
async fn a_fetch_for_a_session_is_told_that_there_is_none() {
    let server = filled().await;
    let mut client = server.connect().await;
    let mut request = fetch(&[]);
    (request.session_id, request.session_epoch) = (5, 1);
    let answer: FetchResponse = client.ask(FETCH, &request).await;
    assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (70, 0, 0));
}

#[tokio::test]
async fn a_waiting_fetch_wakes_when_any_of_its_partitions_has_records() {
    let server = filled().await;
    let (mut reader, mut writer) = (server.connect().await, server.connect().await);
    for (index, end) in [(1, 0), (0, 6)] {
        reader.send(FETCH, 3, &fetch(&[(0, 6), (1, i64::from(index == 0))])).await;
        writer.produce(-1, &[(index, batch(&["new"]))]).await;
        let (_, body) = reader.receive().await;
        let answer: FetchResponse = decode(FETCH, body);
        let found = records(&answer.responses[0].partitions[usize::try_from(index).unwrap()]);
        assert_eq!(found, [(end, "new".to_owned())]);
    }
}

#[tokio::test]
async fn a_waiting_fetch_gathers_min_bytes_and_gives_what_there_is_when_time_is_up() {
    let server = filled().await;
    let (mut reader, mut writer) = (server.connect().await, server.connect().await);
    let size = i32::try_from(batch(&["xxxx"]).len()).unwrap();
    let mut request = fetch(&[(0, 6), (1, 0)]);
    request.min_bytes = 3 * size;
    reader.send(FETCH, 3, &request).await;
    for (index, round) in [(0, 0), (1, 1), (0, 2)] {
        writer.produce(-1, &[(index, batch(&[["aaaa", "bbbb", "cccc"][round]]))]).await;
    }
    let (_, body) = reader.receive().await;
    let answer: FetchResponse = decode(FETCH, body);
    let found: Vec<String> = answer.responses[0].partitions.iter().map(|row| values(&records(row))).collect();
    assert_eq!(found, ["aaaacccc", "bbbb"]);
    (request.min_bytes, request.max_wait_ms) = (1 << 20, 30);
    let found = reader.fetch(&request).await;
    assert_eq!(values(&records(&found[0])), "aaaacccc");
}

#[tokio::test]
async fn limits_hold_after_the_first_batch() {
    let server = filled().await;
    let mut client = server.connect().await;
    client.produce(-1, &[(1, batch(&["g"]))]).await;
    let mut request = fetch(&[(0, 0), (1, 0)]);
    request.max_bytes = 1;
    let found = client.fetch(&request).await;
    assert_eq!((values(&records(&found[0])), values(&records(&found[1]))), ("abc".into(), String::new()));
    assert_eq!(found[1].error_code, 0);
    request.max_bytes = 1 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let found = client.fetch(&request).await;
    assert_eq!((values(&records(&found[0])), values(&records(&found[1]))), ("abc".into(), "g".into()));
}

#[tokio::test]
async fn the_brokers_own_limits_bound_a_fetch() {
    let options = KafkaOptions {
        fetch_bytes_max: 100,
        fetch_wait_max: Duration::from_millis(10),
        ..KafkaOptions::default()
    };
    let server = Server::with(options).await;
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    for _ in 0..10 {
        client.produce(-1, &[(0, batch(&["a"]))]).await;
    }
    let found = client.fetch(&fetch(&[(0, 0)])).await;
    assert_eq!(records(&found[0]).len(), 1);
    // Waits no longer than the broker's longest, whatever the client says.
    let found = tokio::time::timeout(SOON, client.fetch(&fetch(&[(0, 10)]))).await.unwrap();
    assert_eq!(found[0].records.as_deref(), Some(&[][..]));
}

/// Partition 0 with records of all sizes, partition 1 with a small one; answers what is in them.
async fn with_all_sizes(server: &Server) -> (Vec<(i64, String)>, Vec<(i64, String)>) {
    server.create("orders", &[]).await;
    let mut client = server.connect().await;
    let sizes = [1, 100, 70_000, 10, 300_000, 60_000, 400_000];
    let values: Vec<String> =
        (b'a'..).zip(sizes).map(|(letter, size)| char::from(letter).to_string().repeat(size)).collect();
    for value in &values {
        client.produce(-1, &[(0, batch(&[value]))]).await;
    }
    client.produce(-1, &[(1, batch(&["small"]))]).await;
    ((0..).zip(values).collect(), vec![(0, "small".into())])
}

#[tokio::test]
async fn records_of_every_size_arrive_whole_however_little_memory_there_is() {
    for fetch_memory_max in [0, 100, 100_000, 1 << 29] {
        let server = Server::with(KafkaOptions { fetch_memory_max, ..KafkaOptions::default() }).await;
        let (zero, one) = with_all_sizes(&server).await;
        let mut client = server.connect().await;
        for _ in 0..10 {
            let found = client.fetch(&fetch(&[(0, 0), (1, 0)])).await;
            assert!(records(&found[0]) == zero, "with {fetch_memory_max} bytes");
            assert_eq!(records(&found[1]), one);
        }
    }
}

#[tokio::test]
async fn records_that_only_the_device_has_arrive_whole() {
    for fetch_memory_max in [0, 1 << 29] {
        let server = Server::with(KafkaOptions { fetch_memory_max, ..KafkaOptions::default() }).await;
        let (zero, one) = with_all_sizes(&server).await;
        let mut client = server.connect().await;
        let cold = server.broker.metrics().cold_reads.get();
        server.forget_files();
        let found = client.fetch(&fetch(&[(0, 0), (1, 0)])).await;
        assert!(records(&found[0]) == zero);
        assert_eq!(records(&found[1]), one);
        assert!(server.broker.metrics().cold_reads.get() > cold, "nothing was read from the device");
    }
}

#[tokio::test]
async fn a_waiting_fetch_hears_that_its_topic_was_deleted() {
    let server = filled().await;
    let mut client = server.connect().await;
    client.send(FETCH, 3, &fetch(&[(0, 6)])).await;
    server.broker.delete_topic(&TopicName::new("orders").unwrap()).await.unwrap();
    let (_, body) = client.receive().await;
    let answer: FetchResponse = decode(FETCH, body);
    assert_eq!(answer.responses[0].partitions[0].error_code, 3);
}

#[tokio::test]
async fn a_client_whose_log_went_another_way_is_told_where() {
    let server = filled().await;
    let mut client = server.connect().await;
    let partition = server.broker.topics().into_iter().find(|topic| topic.name().as_str() == "orders");
    let epoch = partition.unwrap().partitions()[0].leader_epoch().get();
    let mut request = fetch(&[(0, 3)]);
    request.topics[0].partitions[0].last_fetched_epoch = epoch;
    let found = client.fetch(&request).await;
    assert_eq!((values(&records(&found[0])), found[0].diverging_epoch.epoch), ("def".into(), -1));
    request.topics[0].partitions[0].fetch_offset = 7;
    let found = client.fetch(&request).await;
    let told = &found[0].diverging_epoch;
    assert_eq!((found[0].error_code, told.epoch, told.end_offset), (0, epoch, 6));
    assert_eq!(found[0].records.as_deref(), Some(&[][..]));
}
