//! A broker with a listener, and a client that speaks frames.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::PartitionData;
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use kafka_wire_core::{ApiVersion, DecodeLimits, KafkaDecode, KafkaEncode, Uuid};
use tempfile::TempDir;
use tidelog_kafka::{KafkaOptions, KafkaStats};
use tidelog_model::batch::{BatchBuilder, Compression, RecordBatch};
use tidelog_model::{Timestamp, TopicName};
use tidelog_runtime::{Broker, BrokerOptions, CreateTopic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test says that it does not happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const PRODUCE: (i16, i16) = (0, 9);
pub(crate) const FETCH: (i16, i16) = (1, 12);

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) broker: Broker,
    pub(crate) stats: Arc<KafkaStats>,
    pub(crate) drain: CancellationToken,
    dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(KafkaOptions::default()).await
    }

    pub(crate) async fn with(options: KafkaOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = BrokerOptions { disk_reserve_bytes: 0, ..BrokerOptions::new(dir.path()) };
        let broker = Broker::open(broker).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stats = Arc::new(KafkaStats::default());
        let drain = CancellationToken::new();
        let (shared, cut) = (Arc::clone(&stats), CancellationToken::new());
        tokio::spawn(tidelog_kafka::serve(listener, broker.clone(), options, shared, drain.clone(), cut));
        Self { addr, broker, stats, drain, dir }
    }

    /// Drops what memory holds of the data files, which are flushed.
    pub(crate) fn forget_files(&self) {
        let mut directories = vec![self.dir.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    let file = std::fs::File::open(path).unwrap();
                    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                }
            }
        }
    }

    pub(crate) async fn create(&self, topic: &str, configs: &[(&str, &str)]) -> Uuid {
        let configs: BTreeMap<_, _> =
            configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = TopicName::new(topic).unwrap();
        let spec = CreateTopic { name, partitions: Some(2), configs, validate_only: false };
        let topic = self.broker.create_topic(spec).await.unwrap();
        Uuid::from_bytes(*topic.id.uuid().as_bytes())
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.addr).await.unwrap() }
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    /// Sends a request without waiting for its answer.
    pub(crate) async fn send<T: KafkaEncode>(&mut self, (key, version): (i16, i16), id: i32, request: &T) {
        let frame = frame((key, version), id, request);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next answer: its correlation id and what follows it.
    pub(crate) async fn receive(&mut self) -> (i32, Bytes) {
        let read = async {
            let size = usize::try_from(self.stream.read_i32().await.unwrap()).unwrap();
            let mut body = vec![0; size];
            self.stream.read_exact(&mut body).await.unwrap();
            Bytes::from(body)
        };
        let mut body = tokio::time::timeout(SOON, read).await.unwrap();
        (body.get_i32(), body)
    }

    pub(crate) async fn ask<Q: KafkaEncode, A: KafkaDecode>(&mut self, api: (i16, i16), request: &Q) -> A {
        self.send(api, 7, request).await;
        let (id, body) = self.receive().await;
        assert_eq!(id, 7);
        decode(api, body)
    }

    /// Waits until the broker has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = [0; 64];
        let read = tokio::time::timeout(SOON, self.stream.read(&mut rest)).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "the connection is open: {read:?}");
    }

    pub(crate) async fn produce(&mut self, acks: i16, batches: &[(i32, Bytes)]) -> Vec<(i16, i64)> {
        let answer: ProduceResponse = self.ask(PRODUCE, &produce(acks, "orders", batches)).await;
        codes(&answer)
    }

    pub(crate) async fn fetch(&mut self, request: &FetchRequest) -> Vec<PartitionData> {
        let answer: FetchResponse = self.ask(FETCH, request).await;
        assert_eq!((answer.error_code, answer.session_id), (0, 0));
        answer.responses.into_iter().flat_map(|topic| topic.partitions).collect()
    }
}

pub(crate) fn frame<T: KafkaEncode>((key, version): (i16, i16), id: i32, request: &T) -> Vec<u8> {
    let body = request.encode_to_bytes(ApiVersion::new(version)).unwrap();
    let flexible = version >= if key == 0 { 9 } else { 12 };
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(id);
    frame.put_i16(4);
    frame.put_slice(b"test");
    if flexible {
        frame.put_u8(0);
    }
    frame.put_slice(&body);
    let size = i32::try_from(frame.len()).unwrap();
    [&size.to_be_bytes(), &frame[..]].concat()
}

/// The answer in the bytes that follow the correlation id.
pub(crate) fn decode<A: KafkaDecode>((key, version): (i16, i16), mut body: Bytes) -> A {
    if version >= if key == 0 { 9 } else { 12 } {
        assert_eq!(body.get_u8(), 0, "no tagged fields in the header");
    }
    let mut limits = DecodeLimits::default();
    limits.max_bytes_bytes = body.len();
    limits.max_frame_bytes = body.len();
    A::decode_from_bytes(body, ApiVersion::new(version), limits).unwrap()
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for value in values {
        builder.append(Timestamp::from_millis(1000), None, Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap().into_bytes()
}

/// A request with records for partitions of one topic.
pub(crate) fn produce(acks: i16, topic: &str, batches: &[(i32, Bytes)]) -> ProduceRequest {
    let mut data = TopicProduceData::default();
    data.name = topic.into();
    for (index, records) in batches {
        let mut partition = PartitionProduceData::default();
        partition.index = *index;
        partition.records = Some(records.clone());
        data.partition_data.push(partition);
    }
    let mut request = ProduceRequest::default();
    (request.acks, request.timeout_ms, request.topic_data) = (acks, 10_000, vec![data]);
    request
}

pub(crate) fn codes(answer: &ProduceResponse) -> Vec<(i16, i64)> {
    let rows = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    rows.map(|row| (row.error_code, row.base_offset)).collect()
}

/// A request for partitions of the topic `orders`, each from an offset, that waits for a byte and long.
pub(crate) fn fetch(partitions: &[(i32, i64)]) -> FetchRequest {
    let mut topic = FetchTopic::default();
    topic.topic = "orders".into();
    for (index, offset) in partitions {
        let mut partition = FetchPartition::default();
        (partition.partition, partition.fetch_offset, partition.partition_max_bytes) =
            (*index, *offset, 1 << 20);
        partition.current_leader_epoch = -1;
        topic.partitions.push(partition);
    }
    let mut request = FetchRequest::default();
    (request.max_wait_ms, request.min_bytes, request.max_bytes) = (60_000, 1, 1 << 20);
    request.session_epoch = -1;
    request.topics = vec![topic];
    request
}

/// The offsets and values of the records of a partition's answer.
pub(crate) fn records(partition: &PartitionData) -> Vec<(i64, String)> {
    let bytes = partition.records.clone().unwrap();
    let batches = RecordBatch::split(bytes).map(Result::unwrap);
    let records = batches.flat_map(|batch| batch.records().unwrap().map(Result::unwrap));
    records
        .map(|record| {
            let mut value = String::new();
            std::io::Read::read_to_string(&mut Cursor::new(record.value.unwrap()), &mut value).unwrap();
            (record.offset.get(), value)
        })
        .collect()
}
