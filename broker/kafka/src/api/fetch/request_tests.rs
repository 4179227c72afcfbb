use kafka_protocol::messages::fetch_request as second;
use kafka_protocol::protocol::{Encodable, StrBytes as SecondText};
use kafka_wire::fetch_request as first;
use kafka_wire_core::{ApiVersion, KafkaEncode};
use proptest::prelude::*;

use super::*;
use crate::wire::{WireUuid, message};

fn partition(version: i16) -> impl Strategy<Value = FetchPartition> {
    (any::<i32>(), any::<i32>(), any::<i64>(), any::<i32>(), any::<i32>()).prop_map(
        move |(index, current_leader_epoch, offset, last_fetched_epoch, max_bytes)| FetchPartition {
            index,
            current_leader_epoch: if version >= 9 { current_leader_epoch } else { -1 },
            offset,
            last_fetched_epoch: if version >= 12 { last_fetched_epoch } else { -1 },
            max_bytes,
        },
    )
}

fn topic_ref(version: i16) -> impl Strategy<Value = TopicRef> {
    ("[a-z.ä]{0,140}", any::<u128>()).prop_map(move |(name, id)| {
        if version >= 13 { TopicRef::Id(id) } else { TopicRef::Name(name.as_str().into()) }
    })
}

fn requests() -> impl Strategy<Value = (FetchRequest, i16)> {
    (4..=18_i16).prop_flat_map(|version| {
        let topic = (topic_ref(version), prop::collection::vec(partition(version), 0..4))
            .prop_map(|(topic, partitions)| FetchTopic { topic, partitions });
        let forgotten = (topic_ref(version), prop::collection::vec(any::<i32>(), 0..4))
            .prop_map(|(topic, partitions)| ForgottenTopic { topic, partitions });
        let forgotten_count = if version >= 7 { 0..3 } else { 0..1 };
        let head = any::<(i32, i32, i32, i8, i32, i32)>();
        let lists = (prop::collection::vec(topic, 0..4), prop::collection::vec(forgotten, forgotten_count));
        (head, lists).prop_map(move |(head, (topics, forgotten))| {
            let (max_wait_ms, min_bytes, max_bytes, isolation_level, session_id, session_epoch) = head;
            let (session_id, session_epoch) =
                if version >= 7 { (session_id, session_epoch) } else { (0, -1) };
            let request = FetchRequest {
                max_wait_ms,
                min_bytes,
                max_bytes,
                isolation_level,
                session_id,
                session_epoch,
                topics,
                forgotten,
            };
            (request, version)
        })
    })
}

fn named(topic: &TopicRef) -> (&str, u128) {
    match topic {
        TopicRef::Name(name) => (name, 0),
        TopicRef::Id(id) => ("", *id),
    }
}

fn encode_first(request: &FetchRequest, version: i16) -> Bytes {
    let topic = |topic: &FetchTopic| {
        let (name, id) = named(&topic.topic);
        let partition = |asked: &FetchPartition| {
            message!(first::FetchPartition {
                partition: asked.index,
                current_leader_epoch: asked.current_leader_epoch,
                fetch_offset: asked.offset,
                last_fetched_epoch: asked.last_fetched_epoch,
                partition_max_bytes: asked.max_bytes,
            })
        };
        message!(first::FetchTopic {
            topic: name.into(),
            topic_id: WireUuid::from_bytes(id.to_be_bytes()),
            partitions: topic.partitions.iter().map(partition).collect(),
        })
    };
    let forgotten = |topic: &ForgottenTopic| {
        let (name, id) = named(&topic.topic);
        message!(first::ForgottenTopic {
            topic: name.into(),
            topic_id: WireUuid::from_bytes(id.to_be_bytes()),
            partitions: topic.partitions.clone(),
        })
    };
    let request = message!(kafka_wire::FetchRequest {
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: request.max_bytes,
        isolation_level: request.isolation_level,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        topics: request.topics.iter().map(topic).collect(),
        forgotten_topics_data: request.forgotten.iter().map(forgotten).collect(),
    });
    request.encode_to_bytes(ApiVersion::new(version)).unwrap()
}

fn encode_second(request: &FetchRequest, version: i16) -> Bytes {
    let text = |text: &str| SecondText::from_string(text.to_owned());
    let topic = |topic: &FetchTopic| {
        let (name, id) = named(&topic.topic);
        let partition = |asked: &FetchPartition| {
            second::FetchPartition::default()
                .with_partition(asked.index)
                .with_current_leader_epoch(asked.current_leader_epoch)
                .with_fetch_offset(asked.offset)
                .with_last_fetched_epoch(asked.last_fetched_epoch)
                .with_partition_max_bytes(asked.max_bytes)
        };
        second::FetchTopic::default()
            .with_topic(text(name).into())
            .with_topic_id(uuid::Uuid::from_u128(id))
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    let forgotten = |topic: &ForgottenTopic| {
        let (name, id) = named(&topic.topic);
        second::ForgottenTopic::default()
            .with_topic(text(name).into())
            .with_topic_id(uuid::Uuid::from_u128(id))
            .with_partitions(topic.partitions.clone())
    };
    let request = second::FetchRequest::default()
        .with_max_wait_ms(request.max_wait_ms)
        .with_min_bytes(request.min_bytes)
        .with_max_bytes(request.max_bytes)
        .with_isolation_level(request.isolation_level)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_topics(request.topics.iter().map(topic).collect())
        .with_forgotten_topics_data(request.forgotten.iter().map(forgotten).collect());
    let mut out = bytes::BytesMut::new();
    request.encode(&mut out, version).unwrap();
    out.freeze()
}

proptest! {
    #[test]
    fn what_two_other_implementations_encode_is_read((request, version) in requests()) {
        let body = encode_first(&request, version);
        if version <= 17 {
            prop_assert_eq!(FetchRequest::read(encode_second(&request, version), version), Ok(request.clone()));
        }
        prop_assert_eq!(FetchRequest::read(body, version), Ok(request));
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
        drop(FetchRequest::read(body.into(), version));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300), version in 4..=18_i16) {
        drop(FetchRequest::read(body.into(), version));
    }
}
