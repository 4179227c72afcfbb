use kafka_protocol::messages::FetchResponse as Second;
use kafka_protocol::protocol::Decodable;
use kafka_wire::FetchResponse;
use proptest::prelude::*;

use super::*;
use crate::response::tests::bytes_of;
use crate::wire;

type Shape = (i32, Option<i16>, [i64; 3], Option<(i32, i64)>, Vec<Vec<u8>>);

fn shapes() -> impl Strategy<Value = Vec<(String, Vec<Shape>)>> {
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..3);
    let partition =
        (any::<i32>(), prop::option::of(1..100_i16), any::<[i64; 3]>(), any::<Option<(i32, i64)>>(), records);
    prop::collection::vec(("[a-z]{1,9}", prop::collection::vec(partition, 0..4)), 0..4)
}

fn answers(shapes: &[(String, Vec<Shape>)], version: i16) -> Vec<TopicAnswer> {
    let partition = |(index, error, offsets, diverging, records): &Shape| PartitionAnswer {
        index: *index,
        outcome: error.map_or_else(
            || {
                Ok(Fetched {
                    high_watermark: offsets[0],
                    last_stable: offsets[1],
                    log_start: offsets[2],
                    diverging: *diverging,
                    records: records
                        .iter()
                        .cloned()
                        .map(|bytes| Records::Bytes(bytes.into(), None))
                        .collect(),
                })
            },
            |code| Err(KafkaError(code)),
        ),
    };
    let topic = |(name, partitions): &(String, Vec<Shape>)| TopicAnswer {
        topic: if version >= 13 { TopicRef::Id(7) } else { TopicRef::Name(name.as_str().into()) },
        partitions: partitions.iter().map(partition).collect(),
    };
    shapes.iter().map(topic).collect()
}

proptest! {
    #[test]
    fn two_other_implementations_read_what_is_written(
        shapes in shapes(),
        version in 4..=18_i16,
        read_committed in any::<bool>(),
    ) {
        let form = Form { version, read_committed };
        let body = bytes_of(write(KafkaError::NONE, answers(&shapes, version), form));
        let first: FetchResponse = wire::decode(body.clone(), version).unwrap();
        if version <= 17 {
            let second = Second::decode(&mut body.clone(), version).unwrap();
            let of_first = first.responses.iter().flat_map(|topic| &topic.partitions);
            let of_second = second.responses.iter().flat_map(|topic| &topic.partitions);
            let of_first: Vec<_> = of_first.map(|one| one.records.clone()).collect();
            let of_second: Vec<_> = of_second.map(|one| one.records.clone()).collect();
            prop_assert_eq!(of_first, of_second);
        }
        prop_assert_eq!((first.error_code, first.session_id), (0, 0));
        prop_assert_eq!(first.responses.len(), shapes.len());
        for ((_, partitions), topic) in shapes.iter().zip(&first.responses) {
            prop_assert_eq!(topic.partitions.len(), partitions.len());
            for ((index, error, offsets, diverging, records), read) in partitions.iter().zip(&topic.partitions) {
                prop_assert_eq!(read.partition_index, *index);
                prop_assert_eq!(read.error_code, error.unwrap_or(0));
                prop_assert_eq!(read.aborted_transactions.as_ref().map(Vec::len), read_committed.then_some(0));
                let expected = if error.is_some() { [-1; 3] } else { *offsets };
                let told = [read.high_watermark, read.last_stable_offset, expected[2]];
                prop_assert_eq!(told, expected);
                prop_assert_eq!(read.log_start_offset, if version >= 5 { expected[2] } else { -1 });
                let records = if error.is_some() { Vec::new() } else { records.concat() };
                prop_assert_eq!(read.records.as_deref(), Some(&records[..]));
                if version >= 12 {
                    let told = (read.diverging_epoch.epoch, read.diverging_epoch.end_offset);
                    let diverging = diverging.filter(|_| error.is_none());
                    prop_assert_eq!(told, diverging.unwrap_or((-1, -1)));
                }
            }
        }
    }
}
