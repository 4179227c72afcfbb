use bytes::Bytes;
use kafka_protocol::messages::ProduceResponse as Second;
use kafka_protocol::protocol::Decodable;
use kafka_wire::ProduceResponse;
use proptest::prelude::*;

use super::*;
use crate::response::tests::bytes_of;
use crate::wire;

fn outcome() -> impl Strategy<Value = (i32, Outcome)> {
    let placed = (0..i64::MAX, prop::option::of(0..i64::MAX), 0..i64::MAX).prop_map(|(base, time, start)| {
        Ok(Placed {
            base_offset: Offset::new(base).unwrap(),
            log_append_time: time.map(Timestamp::from_millis),
            log_start: Offset::new(start).unwrap(),
            ack: None,
        })
    });
    let rejected =
        (any::<i16>(), "[a-zä]{0,200}", prop::option::of(0..9_i32)).prop_map(|(code, text, record)| {
            Err(Rejected { failure: Failure::new(KafkaError(code), text), record })
        });
    (any::<i32>(), any::<bool>(), placed, rejected)
        .prop_map(|(index, good, placed, rejected)| (index, if good { placed } else { rejected }))
}

fn answers() -> impl Strategy<Value = (Vec<TopicOutcomes>, i16)> {
    let topics = prop::collection::vec(("[a-z]{1,9}", prop::collection::vec(outcome(), 0..4)), 0..4);
    (topics, 3..=13_i16).prop_map(|(topics, version)| {
        let topic = |(name, partitions): (String, _)| {
            let topic = if version >= 13 { TopicRef::Id(7) } else { TopicRef::Name(name.as_str().into()) };
            TopicOutcomes { topic, partitions }
        };
        (topics.into_iter().map(topic).collect(), version)
    })
}

fn body(topics: &[TopicOutcomes], version: i16) -> Bytes {
    bytes_of(write(topics, version))
}

proptest! {
    #[test]
    fn two_other_implementations_read_what_is_written((topics, version) in answers()) {
        let body = body(&topics, version);
        let first: ProduceResponse = wire::decode(body.clone(), version).unwrap();
        let second = Second::decode(&mut body.clone(), version).unwrap();
        prop_assert_eq!(first.responses.len(), topics.len());
        prop_assert_eq!(second.responses.len(), topics.len());
        let read = first.responses.iter().zip(&second.responses);
        for (topic, (first, second)) in topics.iter().zip(read) {
            match &topic.topic {
                TopicRef::Name(name) => prop_assert_eq!(&first.name, name),
                TopicRef::Id(id) => prop_assert_eq!(second.topic_id.as_u128(), *id),
            }
            prop_assert_eq!(first.partition_responses.len(), topic.partitions.len());
            let read = first.partition_responses.iter().zip(&second.partition_responses);
            for ((index, outcome), (first, second)) in topic.partitions.iter().zip(read) {
                prop_assert_eq!((first.index, second.index), (*index, *index));
                prop_assert_eq!(first.error_code, second.error_code);
                prop_assert_eq!(first.base_offset, second.base_offset);
                match outcome {
                    Ok(placed) => {
                        prop_assert_eq!(first.error_code, 0);
                        prop_assert_eq!(first.base_offset, placed.base_offset.get());
                        let time = placed.log_append_time.map_or(-1, Timestamp::millis);
                        prop_assert_eq!(first.log_append_time_ms, time);
                        let start = if version >= 5 { placed.log_start.get() } else { -1 };
                        prop_assert_eq!(first.log_start_offset, start);
                        prop_assert!(first.record_errors.is_empty() && first.error_message.is_none());
                    }
                    Err(rejected) => {
                        prop_assert_eq!(first.error_code, rejected.failure.code());
                        prop_assert_eq!((first.base_offset, first.log_append_time_ms), (-1, -1));
                        if version >= 8 {
                            prop_assert_eq!(first.error_message.as_deref(), Some(rejected.failure.text()));
                            let record = first.record_errors.first().map(|record| record.batch_index);
                            prop_assert_eq!(record, rejected.record);
                        }
                    }
                }
            }
        }
    }
}
