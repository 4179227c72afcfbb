use kafka_protocol::messages::produce_request as second;
use kafka_protocol::protocol::{Encodable, StrBytes as SecondText};
use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_wire_core::{ApiVersion, KafkaEncode};
use proptest::prelude::*;

use super::*;
use crate::wire::{WireUuid, message};

fn partitions() -> impl Strategy<Value = Vec<ProducePartition>> {
    let records = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let one = (any::<i32>(), records)
        .prop_map(|(index, records)| ProducePartition { index, records: records.map(Bytes::from) });
    prop::collection::vec(one, 0..5)
}

fn requests() -> impl Strategy<Value = (ProduceRequest, i16)> {
    let topics = prop::collection::vec(("[a-z.ä]{0,140}", any::<u128>(), partitions()), 0..4);
    let head = (prop::option::of("[a-z]{0,9}"), any::<i16>(), any::<i32>());
    (3..=13_i16, head, topics).prop_map(|(version, (transactional_id, acks, timeout_ms), topics)| {
        let topics = topics.into_iter().map(|(name, id, partitions)| {
            let topic = if version >= 13 { TopicRef::Id(id) } else { TopicRef::Name(name.as_str().into()) };
            ProduceTopic { topic, partitions }
        });
        let transactional_id = transactional_id.map(StrBytes::from);
        (ProduceRequest { transactional_id, acks, timeout_ms, topics: topics.collect() }, version)
    })
}

fn named(topic: &TopicRef) -> (&str, u128) {
    match topic {
        TopicRef::Name(name) => (name, 0),
        TopicRef::Id(id) => ("", *id),
    }
}

fn encode_first(request: &ProduceRequest, version: i16) -> Bytes {
    let topic = |topic: &ProduceTopic| {
        let (name, id) = named(&topic.topic);
        let partition = |partition: &ProducePartition| {
            message!(PartitionProduceData { index: partition.index, records: partition.records.clone() })
        };
        message!(TopicProduceData {
            name: name.into(),
            topic_id: WireUuid::from_bytes(id.to_be_bytes()),
            partition_data: topic.partitions.iter().map(partition).collect(),
        })
    };
    let request = message!(kafka_wire::ProduceRequest {
        transactional_id: request.transactional_id.clone(),
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topic_data: request.topics.iter().map(topic).collect(),
    });
    request.encode_to_bytes(ApiVersion::new(version)).unwrap()
}

fn encode_second(request: &ProduceRequest, version: i16) -> Bytes {
    let text = |text: &str| SecondText::from_string(text.to_owned());
    let topic = |topic: &ProduceTopic| {
        let (name, id) = named(&topic.topic);
        let partition = |partition: &ProducePartition| {
            second::PartitionProduceData::default()
                .with_index(partition.index)
                .with_records(partition.records.clone())
        };
        second::TopicProduceData::default()
            .with_name(text(name).into())
            .with_topic_id(uuid::Uuid::from_u128(id))
            .with_partition_data(topic.partitions.iter().map(partition).collect())
    };
    let request = second::ProduceRequest::default()
        .with_transactional_id(request.transactional_id.as_deref().map(|id| text(id).into()))
        .with_acks(request.acks)
        .with_timeout_ms(request.timeout_ms)
        .with_topic_data(request.topics.iter().map(topic).collect());
    let mut out = bytes::BytesMut::new();
    request.encode(&mut out, version).unwrap();
    out.freeze()
}

proptest! {
    #[test]
    fn what_two_other_implementations_encode_is_read((request, version) in requests()) {
        let body = encode_first(&request, version);
        prop_assert_eq!(&body, &encode_second(&request, version));
        prop_assert_eq!(ProduceRequest::read(body, version), Ok(request));
    }

    #[test]
    fn a_cut_or_changed_request_is_read_or_refused(
        (request, version) in requests(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut body = encode_first(&request, version).to_vec();
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        body.truncate(cut.index(body.len() + 1));
        drop(ProduceRequest::read(body.into(), version));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300), version in 3..=13_i16) {
        drop(ProduceRequest::read(body.into(), version));
    }
}

#[test]
fn records_are_slices_of_the_frame() {
    let partition = ProducePartition { index: 0, records: Some(Bytes::from_static(b"records")) };
    let topic = ProduceTopic { topic: TopicRef::Name("t".into()), partitions: vec![partition] };
    let request = ProduceRequest { transactional_id: None, acks: 1, timeout_ms: 1, topics: vec![topic] };
    for version in [3, 9] {
        let body = encode_first(&request, version);
        let read = ProduceRequest::read(body.clone(), version).unwrap();
        let records = read.topics[0].partitions[0].records.as_ref().unwrap();
        assert!(body.as_ptr_range().contains(&records.as_ptr()));
    }
}
