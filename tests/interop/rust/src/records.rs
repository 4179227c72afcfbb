//! Records there and back: codecs, acknowledgements, shapes, sizes, idempotent producers and look-ups.

use anyhow::{Context as _, Result};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;

use crate::admin::create;
use crate::client::{ANSWER, Kafka, TIME, big, equal, partition, plain, refusal, take};

/// The last word of a case's name.
fn parameter(case: &str) -> Result<&str> {
    case.rsplit('-').next().context("a case without parameter")
}

pub(crate) fn compressed(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[])?;
    let offsets = kafka.produce(case, &plain(300), &[("compression.type", parameter(case)?)])?;
    equal(offsets, (0..300).collect())?;
    equal(kafka.read(case, 300)?, plain(300))
}

pub(crate) fn acks(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[])?;
    kafka.produce(case, &plain(50), &[("acks", parameter(case)?)])?;
    equal(kafka.read(case, 50)?, plain(50))
}

/// Keys, values and headers of every shape, in each codec.
pub(crate) fn shapes(kafka: &Kafka, case: &str) -> Result<()> {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("{case}-{codec}");
        create(kafka, &topic, 1, &[("retention.ms", "-1")])?;
        kafka.produce(&topic, &kafka.shapes, &[("compression.type", codec)])?;
        equal(&kafka.read(&topic, kafka.shapes.len())?, &kafka.shapes)?;
    }
    Ok(())
}

pub(crate) fn write_for_grpc(kafka: &Kafka, _: &str) -> Result<()> {
    kafka.produce("kafka-to-grpc", &kafka.shapes, &[]).map(drop)
}

pub(crate) fn read_from_grpc(kafka: &Kafka, _: &str) -> Result<()> {
    equal(&kafka.read("grpc-to-kafka", kafka.shapes.len())?, &kafka.shapes)
}

pub(crate) fn large(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[("max.message.bytes", "11000000")])?;
    kafka.produce(case, &big(10_000_000), &[("message.max.bytes", "10500000")])?;
    equal(kafka.read(case, 1)?, big(10_000_000))
}

pub(crate) fn too_large(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[])?;
    let refused = refusal(kafka.produce(case, &big(2_000_000), &[("message.max.bytes", "10500000")]))?;
    equal(refused, RDKafkaErrorCode::MessageSizeTooLarge)
}

pub(crate) fn idempotent(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[])?;
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "50")];
    equal(kafka.produce(case, &plain(2000), &settings)?, (0..2000).collect())?;
    equal(kafka.read(case, 2000)?, plain(2000))
}

pub(crate) fn automatic_topic(kafka: &Kafka, case: &str) -> Result<()> {
    kafka.produce(case, &plain(1), &[])?;
    equal(kafka.read(case, 1)?, plain(1))
}

pub(crate) fn seek_and_times(kafka: &Kafka, case: &str) -> Result<()> {
    create(kafka, case, 1, &[("retention.ms", "-1")])?;
    kafka.produce(case, &plain(100), &[("batch.num.messages", "7")])?;
    let reader = kafka.consumer("unused", &[])?;
    for (ms, offset) in [(0, Offset::Offset(0)), (42, Offset::Offset(42)), (100, Offset::End)] {
        let found = reader.offsets_for_times(partition(case, Offset::Offset(TIME + ms))?, ANSWER)?;
        equal(found.elements_for_topic(case).iter().map(|one| one.offset()).collect(), vec![offset])?;
    }
    equal(reader.fetch_watermarks(case, 0, ANSWER)?, (0, 100))?;
    reader.assign(&partition(case, Offset::Offset(90))?)?;
    equal(offsets(&reader, 1)?, vec![90])?;
    reader.seek(case, 0, Offset::Offset(42), ANSWER)?;
    equal(offsets(&reader, 3)?, vec![42, 43, 44])
}

fn offsets(reader: &BaseConsumer, count: usize) -> Result<Vec<i64>> {
    Ok(take(reader, count)?.iter().map(|message| message.offset()).collect())
}
