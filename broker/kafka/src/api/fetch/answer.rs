//! The response to a Fetch request: what is around the records is written, the records are the log's bytes.

use bytes::BufMut;

use super::request::{FLEXIBLE_FROM, SESSIONS_FROM};
use crate::error::KafkaError;
use crate::response::{Records, Response};
use crate::topic_ref::TopicRef;
use crate::writer::Writer;

/// "Not known" in a field of an offset.
const UNKNOWN_OFFSET: i64 = -1;
/// The tag of the field that says where the client's log and this one parted.
const DIVERGING_EPOCH_TAG: u32 = 0;
/// About what a partition takes in the response beside its records.
const PARTITION_BYTES: usize = 48;

/// One topic of a response.
#[derive(Debug)]
pub(super) struct TopicAnswer {
    pub(super) topic: TopicRef,
    pub(super) partitions: Vec<PartitionAnswer>,
}

/// One partition of a response.
#[derive(Debug)]
pub(super) struct PartitionAnswer {
    pub(super) index: i32,
    pub(super) outcome: Result<Fetched, KafkaError>,
}

/// What is told of a partition that can be read.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) log_start: i64,
    /// The epoch that the client should go back to, and its end.
    pub(super) diverging: Option<(i32, i64)>,
    /// Whole batches, in pieces.
    pub(super) records: Vec<Records>,
}

/// How a response is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) version: i16,
    /// The client wants to know of aborted transactions.
    pub(super) read_committed: bool,
}

/// The response to a request that is wrong as a whole.
pub(super) fn refusal(error: KafkaError, version: i16) -> Response {
    write(error, Vec::new(), Form { version, read_committed: false })
}

/// Writes the response.
pub(super) fn write(error: KafkaError, topics: Vec<TopicAnswer>, form: Form) -> Response {
    let count: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let capacity = 32 + count.saturating_mul(PARTITION_BYTES);
    let mut writer = Writer::new(capacity, form.version >= FLEXIBLE_FROM);
    // Not throttled.
    writer.i32(0);
    if form.version >= SESSIONS_FROM {
        writer.i16(error.code());
        // No session.
        writer.i32(0);
    }
    writer.array(topics.len());
    for topic in topics {
        topic.topic.write(&mut writer);
        writer.array(topic.partitions.len());
        for partition in topic.partitions {
            write_partition(&mut writer, partition, form);
        }
        writer.tags();
    }
    writer.tags();
    writer.into_response()
}

fn write_partition(writer: &mut Writer, partition: PartitionAnswer, form: Form) {
    let (error, fetched) = match partition.outcome {
        Ok(fetched) => (KafkaError::NONE, fetched),
        Err(error) => (error, Fetched::unknown()),
    };
    writer.i32(partition.index);
    writer.i16(error.code());
    writer.i64(fetched.high_watermark);
    writer.i64(fetched.last_stable);
    if form.version >= 5 {
        writer.i64(fetched.log_start);
    }
    if form.read_committed {
        writer.array(0);
    } else {
        writer.null_array();
    }
    if form.version >= 11 {
        // No replica is better than the leader.
        writer.i32(-1);
    }
    writer.records(fetched.records);
    match fetched.diverging {
        Some((epoch, end)) if form.version >= FLEXIBLE_FROM => {
            let mut field = Vec::with_capacity(13);
            field.put_i32(epoch);
            field.put_i64(end);
            field.put_u8(0);
            writer.tag(DIVERGING_EPOCH_TAG, &field);
        }
        _ => writer.tags(),
    }
}

impl Fetched {
    fn unknown() -> Self {
        Self {
            high_watermark: UNKNOWN_OFFSET,
            last_stable: UNKNOWN_OFFSET,
            log_start: UNKNOWN_OFFSET,
            ..Self::default()
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
