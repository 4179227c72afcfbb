//! Idempotent producers of the Kafka protocol as a load: several batches in flight, sent again in their order
//! whenever the connection is cut, as the Java client and librdkafka do.
//!
//! After each cut a producer also looks at what the broker remembers of it: its last acknowledged batch of
//! each partition, sent again, must be answered with the offset it has, and a batch that leaves sequences
//! out must be refused. The checker sees when either was written all the same.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse};
use tidelog_model::batch::{BatchBuilder, Compression};
use tidelog_model::{ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::history::{Event, Tp};
use crate::kafka::{Api, Connection, decode};
use crate::load::{Load, draw, pick};
use crate::payload::Value;
use crate::wait::let_pass;

const PRODUCE: Api = Api::flexible(0, 9);
const INIT_PRODUCER_ID: Api = Api::old(22, 1);
/// One less than the broker remembers of a producer: the last acknowledged batch is always among those.
const IN_FLIGHT_MAX: usize = 4;
/// What clients try again: the broker is not there yet, or cannot say that the batch is stored.
const TRIED_AGAIN: [i16; 7] = [3, 5, 6, 7, 14, 16, 56];
const OUT_OF_ORDER: i16 = 45;
/// How far past its sequences a producer tries to go.
const GAP: i32 = 10_000;

/// A batch that is in flight.
struct Batch {
    tp: Tp,
    values: Vec<Value>,
    bytes: Bytes,
}

/// The last batch of a partition that was acknowledged.
struct Stored {
    bytes: Bytes,
    offset: i64,
}

/// Why a connection is over.
enum Ended {
    /// It was cut, or the broker cannot answer now: everything in flight is sent again.
    Cut,
    /// The broker answered what it must not.
    Wrong(anyhow::Error),
}

struct KafkaProducer {
    load: Load,
    number: u32,
    id: i64,
    random: u64,
    sequence: u64,
    next: BTreeMap<Tp, i32>,
    in_flight: VecDeque<Batch>,
    stored: BTreeMap<Tp, Stored>,
}

/// One producer until the stop; returns when everything is acknowledged.
///
/// # Errors
/// An answer that an idempotent producer must not get.
pub async fn produce(load: Load, broker: SocketAddr, number: u32, seed: u64) -> Result<()> {
    load.recorder.record(Event::Idempotent { at: load.recorder.now(), producer: number.into() });
    let id = loop {
        match producer_id(broker).await {
            Ok(id) => break id,
            Err(error) if load.stopped() => return Err(error),
            Err(_) => let_pass(Duration::from_millis(20)).await,
        }
    };
    let mut producer = KafkaProducer {
        number,
        id,
        random: seed ^ u64::from(number).wrapping_mul(0x51_7cc1),
        sequence: 0,
        next: BTreeMap::new(),
        in_flight: VecDeque::new(),
        stored: BTreeMap::new(),
        load,
    };
    loop {
        match producer.over_one_connection(broker).await {
            Ok(()) => return Ok(()),
            Err(Ended::Cut) => let_pass(Duration::from_millis(20)).await,
            Err(Ended::Wrong(error)) => return Err(error.context(format!("Kafka producer {number}"))),
        }
    }
}

async fn producer_id(broker: SocketAddr) -> Result<i64> {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    let answer: InitProducerIdResponse =
        Connection::open(broker).await?.ask(INIT_PRODUCER_ID, &request).await?;
    match answer.error_code {
        0 => Ok(answer.producer_id),
        code => bail!("no producer id: {code}"),
    }
}

impl KafkaProducer {
    async fn over_one_connection(&mut self, broker: SocketAddr) -> Result<(), Ended> {
        let mut connection = Connection::open(broker).await.map_err(|_| Ended::Cut)?;
        self.check_what_is_remembered(&mut connection).await?;
        for batch in &self.in_flight {
            self.send(&mut connection, batch.tp, &batch.bytes).await?;
        }
        loop {
            while self.in_flight.len() < IN_FLIGHT_MAX && !self.load.stopped() {
                let batch = self.batch().map_err(Ended::Wrong)?;
                let (tp, bytes) = (batch.tp, batch.bytes.clone());
                self.in_flight.push_back(batch);
                self.send(&mut connection, tp, &bytes).await?;
            }
            if self.in_flight.is_empty() {
                return Ok(());
            }
            match answer(&mut connection).await? {
                (0, offset) => self.acked(offset).map_err(Ended::Wrong)?,
                (code, _) => {
                    let tp = self.in_flight.front().map(|batch| batch.tp);
                    return Err(Ended::Wrong(anyhow!("a batch of {tp:?} is refused with {code}")));
                }
            }
            let_pass(Duration::from_millis(draw(&mut self.random, 20))).await;
        }
    }

    async fn check_what_is_remembered(&self, connection: &mut Connection) -> Result<(), Ended> {
        for (tp, stored) in &self.stored {
            self.send(connection, *tp, &stored.bytes).await?;
            let again = answer(connection).await?;
            if again != (0, stored.offset) {
                let text =
                    format!("{tp:?}: {} is answered with {again:?} when it comes again", stored.offset);
                return Err(Ended::Wrong(anyhow!(text)));
            }
            let next = self.next.get(tp).copied().unwrap_or_default();
            let never = self.encode(next.saturating_add(GAP), &[]).map_err(Ended::Wrong)?;
            self.send(connection, *tp, &never).await?;
            let (code, _) = answer(connection).await?;
            if code != OUT_OF_ORDER {
                return Err(Ended::Wrong(anyhow!("{tp:?}: sequences are left out, the answer is {code}")));
            }
            self.load.repeated.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn send(&self, connection: &mut Connection, tp: Tp, batch: &Bytes) -> Result<(), Ended> {
        let mut partition = PartitionProduceData::default();
        (partition.index, partition.records) = (tp.partition, Some(batch.clone()));
        let mut topic = TopicProduceData::default();
        (topic.name, topic.partition_data) = (self.load.topics.name(tp).as_str().into(), vec![partition]);
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        (request.acks, request.timeout_ms, request.topic_data) = (-1, 30_000, vec![topic]);
        connection.send(PRODUCE, 1, &request).await.map_err(|_| Ended::Cut)
    }

    /// The next batch: a few records for one partition, with the sequences that follow there.
    fn batch(&mut self) -> Result<Batch> {
        let partitions = self.load.topics.partitions();
        let tp = pick(&partitions, &mut self.random).context("there are partitions")?;
        let mut values = Vec::new();
        for _ in 0..=draw(&mut self.random, 8) {
            let value = Value::new(self.number, self.sequence);
            self.sequence += 1;
            let at = self.load.recorder.now();
            self.load.recorder.record(Event::SendInvoked { at, value, tp });
            values.push(value);
        }
        let first = self.next.get(&tp).copied().unwrap_or_default();
        self.next.insert(tp, first + i32::try_from(values.len())?);
        Ok(Batch { tp, bytes: self.encode(first, &values)?, values })
    }

    /// A batch of these values; without any, of a record that must never be read.
    fn encode(&self, first: i32, values: &[Value]) -> Result<Bytes> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let now = Timestamp::from_millis(now);
        let mut builder = BatchBuilder::new(Compression::None, 0);
        for value in values {
            let size = usize::try_from(value.sequence() % 700)?;
            builder.append(now, Some(value.to_string().as_bytes()), Some(&value.encode(size)), &[]);
        }
        if values.is_empty() {
            builder.append(now, None, Some(b"never to be written"), &[]);
        }
        let builder = builder.producer(ProducerId(self.id), ProducerEpoch(0), Sequence(first));
        Ok(builder.build()?.into_bytes())
    }

    fn acked(&mut self, first: i64) -> Result<()> {
        let Batch { tp, values, bytes } = self.in_flight.pop_front().context("a batch is in flight")?;
        let at = self.load.recorder.now();
        for (offset, value) in (first..).zip(values) {
            self.load.recorder.record(Event::SendAcked { at, value, tp, offset });
        }
        self.stored.insert(tp, Stored { bytes, offset: first });
        Ok(())
    }
}

/// The code and the base offset of the next answer, when it is one to go by.
async fn answer(connection: &mut Connection) -> Result<(i16, i64), Ended> {
    let (_, body) = connection.receive().await.map_err(|_| Ended::Cut)?;
    let answer: ProduceResponse = decode(PRODUCE, body).map_err(Ended::Wrong)?;
    let row = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    match row {
        Some(row) if TRIED_AGAIN.contains(&row.error_code) => Err(Ended::Cut),
        Some(row) => Ok((row.error_code, row.base_offset)),
        None => Err(Ended::Wrong(anyhow!("an answer without a partition"))),
    }
}
